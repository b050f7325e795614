"""The painted world: the same record gives the same pixels, and what should be told apart can be."""

from __future__ import annotations

import random

import numpy as np
import pytest

from velatura.errors import InputError
from velatura.playground.world import (
    BASE_SCENES,
    BASE_SUBJECTS,
    COLOURS,
    NEW_SCENES,
    NEW_STYLES,
    NEW_SUBJECTS,
    SCENES,
    SIZE,
    STYLES,
    SUBJECTS,
    VARIANTS,
    Picture,
    draw,
    paint,
)


def linear_accuracy(kind: str, names: tuple[str, ...], **given: tuple[str, ...]) -> float:
    """Fit a ridge classifier to the pixels of one draw of pictures, and name the pictures of another draw."""
    rng = random.Random(7)

    def drawn(count: int) -> tuple[np.ndarray, np.ndarray]:
        numbers = np.arange(count) % len(names)
        pictures = [paint(draw(rng, **{**given, f"{kind}s": (names[number],)})) for number in numbers]
        return np.stack(pictures).reshape(count, -1) / 255 - 0.5, numbers

    seen, answers = drawn(2000)
    weights = np.linalg.solve(seen @ seen.T + 20 * np.eye(len(seen)), np.eye(len(names))[answers])
    unseen, truth = drawn(600)
    return float(((unseen @ seen.T @ weights).argmax(1) == truth).mean())


def test_vocabularies_are_complete_and_do_not_overlap() -> None:
    assert len(BASE_SUBJECTS) == 12
    assert len(NEW_SUBJECTS) == 14
    assert len(NEW_STYLES) == 10
    assert SUBJECTS == BASE_SUBJECTS + NEW_SUBJECTS
    assert SCENES == BASE_SCENES + NEW_SCENES
    assert ("flat", *NEW_STYLES) == STYLES
    names = (*SUBJECTS, *COLOURS, *SCENES, *STYLES)
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("style", STYLES)
def test_every_combination_is_painted_and_always_alike(style: str) -> None:
    for subject in SUBJECTS:
        for number, scene in enumerate(SCENES):
            picture = Picture(subject=subject, colour=COLOURS[number % 8], scene=scene, style=style, variant=number * 5)
            pixels = paint(picture)
            assert pixels.shape == (SIZE, SIZE, 3)
            assert pixels.dtype == np.uint8
            np.testing.assert_array_equal(pixels, paint(picture))


def test_painting_into_a_picture_leaves_the_next_one_whole() -> None:
    for style in STYLES:
        picture = Picture(subject="cat", colour="red", scene="meadow", style=style)
        first = paint(picture)
        kept = first.copy()
        first[:] = 0
        np.testing.assert_array_equal(paint(picture), kept)


def test_the_same_generator_draws_the_same_pictures_from_the_given_vocabularies() -> None:
    def some() -> list[Picture]:
        rng = random.Random(5)
        return [draw(rng, subjects=BASE_SUBJECTS, scenes=BASE_SCENES, styles=STYLES[:1]) for _ in range(200)]

    assert some() == some()
    assert {picture.subject for picture in some()} == set(BASE_SUBJECTS)
    assert {picture.colour for picture in some()} == set(COLOURS)
    assert {picture.scene for picture in some()} == set(BASE_SCENES)
    assert {picture.style for picture in some()} == {"flat"}


def test_variants_move_and_mirror_the_subject_and_count_round() -> None:
    def pixels(variant: int) -> np.ndarray:
        return paint(Picture(subject="duck", colour="yellow", scene="meadow", variant=variant))

    assert len({pixels(variant).tobytes() for variant in range(VARIANTS)}) == VARIANTS
    np.testing.assert_array_equal(pixels(3), pixels(3 + VARIANTS))


def test_the_subject_fills_the_picture_and_never_touches_its_edge() -> None:
    for subject in SUBJECTS:
        for variant in range(VARIANTS):
            plain = np.array([0xD9, 0xDB, 0xE0])
            painted = paint(Picture(subject=subject, colour="red", scene="plain", variant=variant))
            ys, xs = np.nonzero((painted != plain).any(-1))
            assert ys.min() >= 2 <= xs.min()
            assert max(ys.max(), xs.max()) <= SIZE - 3
            assert max(np.ptp(ys), np.ptp(xs)) + 1 >= 18, subject


def test_subjects_are_told_apart_by_a_linear_classifier() -> None:
    assert linear_accuracy("subject", SUBJECTS, scenes=("plain",), styles=("flat",), colours=("red",)) >= 0.97


def test_outlines_of_any_two_subjects_differ_in_a_tenth_of_the_sprite() -> None:
    def silhouette(subject: str, variant: int) -> np.ndarray:
        pictures = (
            paint(Picture(subject=subject, colour="red", scene=at, variant=variant)) for at in ("plain", "space")
        )
        first, second = pictures
        return (first == second).all(-1)

    for number, one in enumerate(SUBJECTS):
        for other in SUBJECTS[:number]:
            for variant in (0, 9):  # as drawn, and mirrored
                different = (silhouette(one, 0) != silhouette(other, variant)).sum()
                assert different >= 55, f"{one} and {other}: {different}"


def test_styles_are_told_apart_by_a_linear_classifier_over_every_subject_scene_and_colour() -> None:
    assert linear_accuracy("style", NEW_STYLES) >= 0.97


def test_scenes_are_told_apart_by_a_linear_classifier() -> None:
    assert linear_accuracy("scene", SCENES, styles=("flat",)) >= 0.97


def test_every_style_changes_at_least_a_fifth_of_the_flat_picture() -> None:
    rng = random.Random(3)
    for style in NEW_STYLES:
        for _ in range(60):
            flat = draw(rng, styles=("flat",))
            styled = Picture(
                subject=flat.subject, colour=flat.colour, scene=flat.scene, style=style, variant=flat.variant
            )
            changed = (np.abs(paint(styled).astype(int) - paint(flat)).max(-1) > 24).mean()
            assert changed >= 1 / 5, f"{styled}: {changed:.0%}"


def test_colours_of_a_caption_are_seen_in_the_flat_style() -> None:
    rng = random.Random(2)
    for subject in SUBJECTS:
        means = []
        for colour in COLOURS:
            picture = draw(rng, subjects=(subject,), colours=(colour,), scenes=("plain",), styles=("flat",))
            pixels = paint(picture).reshape(-1, 3)
            means.append(pixels[(pixels != (0xD9, 0xDB, 0xE0)).any(-1)].mean(0))
        for number, one in enumerate(means):
            for other in means[:number]:
                assert np.abs(one - other).max() >= 10, subject


@pytest.mark.parametrize(
    ("part", "name"), [("subject", "dragon"), ("colour", "mauve"), ("scene", "moonbase"), ("style", "baroque")]
)
def test_an_unknown_name_is_refused_in_a_sentence_that_lists_the_known(part: str, name: str) -> None:
    known = {"subject": "cat", "colour": "red", "scene": "sea", "style": "neon"}
    with pytest.raises(InputError, match=f"has no {part} '{name}': choose one of .*{known[part]}"):
        Picture(**{**known, part: name})
