"""MS-SSIM against torchmetrics, and what it refuses."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from handmade_cells import make_cell, noise_picture
from PIL import Image

from velatura.errors import InputError
from velatura.eval.ms_ssim import MsSsim

WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def oracle(metric: MsSsim, one: Image.Image, other: Image.Image) -> float:
    image = pytest.importorskip("torchmetrics.functional.image")
    a, b = (torch.from_numpy(np.array(part, np.float64) / 255).permute(2, 0, 1)[None] for part in (one, other))
    kept = WEIGHTS[: metric.scales]
    return float(
        image.multiscale_structural_similarity_index_measure(
            a, b,
            sigma=1.5 * metric.kernel / 11, kernel_size=metric.kernel,
            data_range=1.0, betas=tuple(weight / sum(kept) for weight in kept),
        )
    )  # fmt: skip


@pytest.mark.parametrize(("size", "scales", "kernel"), [((176, 177), 5, 11), ((32, 32), 2, 7), ((65, 48), 3, 7)])
@pytest.mark.parametrize("noise", [5.0, 200.0])
def test_agrees_with_torchmetrics(size: tuple[int, int], scales: int, kernel: int, noise: float) -> None:
    metric = MsSsim(scales=scales, kernel=kernel)
    one, other = noise_picture(size, seed=1, noise=noise), noise_picture(size, seed=2, noise=noise / 2 + 3)
    assert metric.compare(metric.prepare(one), metric.prepare(other)) == pytest.approx(
        oracle(metric, one, other), abs=1e-5
    )


def test_a_picture_is_wholly_like_itself() -> None:
    metric = MsSsim()
    picture = metric.prepare(noise_picture(161, seed=0))
    assert metric.compare(picture, picture) == 1


def test_a_picture_and_its_negative_have_nothing_in_common() -> None:
    metric = MsSsim(scales=2, kernel=7)
    picture = noise_picture(48, seed=0)
    negative = Image.eval(picture, lambda value: 255 - value)
    assert metric.compare(metric.prepare(picture), metric.prepare(negative)) == oracle(metric, picture, negative) == 0


def test_value_is_the_mean_over_pairs_and_order_does_not_matter() -> None:
    pictures = {f"a-{index}.png": noise_picture(32, seed=index, noise=20.0 * index) for index in range(3)}
    metric = MsSsim(scales=2, kernel=7)
    estimate = metric.estimate(make_cell({"a": 3}, image=lambda sample: pictures[sample.image]))
    ready = [metric.prepare(picture) for picture in pictures.values()]
    pairs = [metric.compare(ready[second], ready[first]) for first, second in ((0, 1), (0, 2), (1, 2))]
    assert estimate.value == pytest.approx(np.mean(pairs))
    assert (metric.better, estimate.n) == ("lower", 3)


def test_only_so_many_pairs_are_looked_at() -> None:
    opened: list[str] = []

    def image(sample):
        opened.append(sample.image)
        return noise_picture(32, seed=sample.index)

    MsSsim(scales=2, kernel=7, most=1).estimate(make_cell({"a": 30}, image=image))
    assert len(opened) == 2


def test_pictures_that_are_too_small_are_refused_by_name_with_what_they_need() -> None:
    cell = make_cell({"a": 2}, image=lambda sample: noise_picture(160, seed=sample.index))
    with pytest.raises(InputError, match=r"a-0\.png and a-1\.png .*161 pixels a side, and there are 160 x 160"):
        MsSsim().estimate(cell)


def test_pictures_of_different_sizes_are_refused() -> None:
    cell = make_cell({"a": 2}, image=lambda sample: noise_picture(32 + sample.index, seed=0))
    with pytest.raises(InputError, match="differ in size"):
        MsSsim(scales=2, kernel=7).estimate(cell)


@pytest.mark.parametrize("options", [{"scales": 0}, {"scales": 6}, {"kernel": 8}, {"kernel": 1}, {"most": 0}])
def test_options_that_make_no_sense_are_refused(options: dict[str, int]) -> None:
    with pytest.raises(InputError, match="MS-SSIM"):
        MsSsim(**options)


def test_signature_tells_scales_and_kernel() -> None:
    assert MsSsim(scales=2, kernel=7).signature == "ms-ssim|rgb|scales=2|kernel=7|edge=mirrored|pairs=100|seed=0"
