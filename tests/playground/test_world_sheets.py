"""Contact sheets: pictures enlarged without blur, labels that fit."""

from __future__ import annotations

import numpy as np
from PIL import Image

from velatura.playground.world import Picture, enlarge, paint, sheet

PICTURE = paint(Picture(subject="duck", colour="yellow", scene="sea"))


def test_enlarged_pixels_stay_squares() -> None:
    large = np.asarray(enlarge(PICTURE, 5))
    np.testing.assert_array_equal(large, PICTURE.repeat(5, 0).repeat(5, 1))
    np.testing.assert_array_equal(large, np.asarray(enlarge(Image.fromarray(PICTURE), 5)))


def found(paper: Image.Image, picture: np.ndarray) -> list[tuple[int, int]]:
    """Return where the picture stands on the paper."""
    pixels = np.asarray(paper)
    height, width = picture.shape[:2]
    corners = zip(*np.nonzero((pixels == picture[0, 0]).all(-1)), strict=True)
    return [(y, x) for y, x in corners if np.array_equal(pixels[y : y + height, x : x + width], picture)]


def test_every_picture_is_shown_whole_beside_and_below_its_labels() -> None:
    paper = sheet(
        [[PICTURE, PICTURE], [PICTURE]],
        row_labels=["without an adapter", "with"],
        column_labels=["a long label over several lines", "incomprehensibilities-in-one-word"],
        title="A title",
        factor=3,
    )
    places = found(paper, np.asarray(enlarge(PICTURE, 3)))
    assert len(places) == 3
    pixels = np.asarray(paper).copy()
    for y, x in places:
        pixels[y : y + 96, x : x + 96] = 255
    top, left = min(y for y, _ in places), min(x for _, x in places)
    assert (pixels[:top] < 255).any(), "no column labels"
    assert (pixels[:, :left] < 255).any(), "no row labels"
    assert (pixels[top:, left:] == 255).all(), "a label runs into the pictures"
    for margin in (pixels[:4], pixels[-4:], pixels[:, :4], pixels[:, -4:]):
        assert (margin == 255).all(), "something touches the edge"


def test_labels_may_be_left_out() -> None:
    assert len(found(sheet([[PICTURE]]), np.asarray(enlarge(PICTURE, 4)))) == 1


def test_a_sheet_without_pictures_is_still_an_image() -> None:
    assert sheet([]).width > 0
