"""Views cover a latent as they are meant to, whatever its size."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from velatura.generation.demofusion.windows import grid, margin, offsets, padding, shifted, starts, tiles

SIDES = st.integers(1, 90)


def published_count(length: int, window: int, stride: int) -> int:
    return int((length - window) / stride - 1e-6) + 2 if length > window else 1


@settings(max_examples=300, deadline=None)
@given(length=SIDES, window=st.integers(1, 40), data=st.data())
def test_windows_are_as_many_as_published_and_leave_no_gap(length: int, window: int, data: st.DataObject) -> None:
    stride = data.draw(st.integers(1, window))
    found = starts(length, window, stride)
    assert len(found) == published_count(length, window, stride)
    assert found[0] == 0
    assert found[-1] + min(window, length) == length
    assert all(0 < later - earlier <= stride for earlier, later in pairwise(found))


@pytest.mark.parametrize("scale", range(1, 9))
def test_with_half_a_window_of_stride_there_are_as_many_as_the_paper_counts(scale: int) -> None:
    assert len(grid((128 * scale, 128 * scale), 128, 64)) == (2 * scale - 1) ** 2


@settings(max_examples=200, deadline=None)
@given(height=SIDES, width=SIDES, window=st.integers(2, 24), data=st.data())
def test_shifted_windows_still_cover_every_cell(height: int, width: int, window: int, data: st.DataObject) -> None:
    stride = data.draw(st.integers(1, window))
    reach = margin(window, stride)
    generator = torch.Generator().manual_seed(data.draw(st.integers(0, 99)))
    drawn: list[tuple[int, int]] = []

    def jitter(low: int, high: int) -> int:
        drawn.append((low, high))
        return int(torch.randint(low, high + 1, (), generator=generator))

    found = shifted(grid((height, width), window, stride), (height, width), reach, jitter)
    seen = torch.zeros(height + 2 * reach, width + 2 * reach)
    for view in found:
        piece = seen[view.slices]
        assert piece.shape == (view.height, view.width)
        piece += 1
    assert seen[reach : reach + height, reach : reach + width].min() >= 1
    assert all((low, high) in ((-reach, 0), (-reach, reach), (0, reach)) for low, high in drawn)


def test_windows_at_an_edge_move_outwards_only() -> None:
    size, window, stride = (32, 24), 16, 8
    reach = margin(window, stride)
    plain = grid(size, window, stride)
    least = shifted(plain, size, reach, lambda low, high: low)
    most = shifted(plain, size, reach, lambda low, high: high)
    assert [(view.top - reach, view.left - reach) for view in least[:2]] == [(-2, -2), (-2, 8)]
    assert [(view.top - reach, view.left - reach) for view in most[-2:]] == [(18, 0), (18, 10)]


def test_shifts_are_drawn_in_the_published_order() -> None:
    drawn: list[tuple[int, int]] = []

    def jitter(low: int, high: int) -> int:
        drawn.append((low, high))
        return 0

    shifted(grid((16, 32), 16, 8), (16, 32), 2, jitter)
    assert drawn == [(-2, 0), (-2, 2), (0, 2)]  # to the side only: every window is as high as the latent


@pytest.mark.parametrize(("size", "dilation"), [((48, 48), 3), ((40, 33), 3), ((7, 5), 4), ((16, 16), 1)])
def test_dilated_views_see_every_cell_once(size: tuple[int, int], dilation: int) -> None:
    above, before = padding(size, dilation)
    seen = torch.zeros(size[0] + above, size[1] + before)
    shapes = set()
    for top, left in offsets(dilation):
        view = seen[top::dilation, left::dilation]
        view += 1
        shapes.add(view.shape)
    assert (seen == 1).all()
    assert len(shapes) == 1
    assert len(list(offsets(dilation))) == dilation**2


@settings(max_examples=100, deadline=None)
@given(height=st.integers(1, 700), width=st.integers(1, 700), native=st.sampled_from((16, 64, 96, 128)))
def test_tiles_cover_a_latent_and_overlap(height: int, width: int, native: int) -> None:
    found = tiles((height, width), native)
    side = max(64, native)
    assert all(view.height <= side and view.width <= side for view in found)
    for start, length, total in ((0, 2, height), (1, 3, width)):
        edges = sorted({(view[start], view[start] + view[length]) for view in found})
        assert edges[0][0] == 0
        assert edges[-1][1] == total
        assert all(end - after >= side // 4 for (_, end), (after, _) in pairwise(edges))
