"""LPIPS through whichever package offers it, with stand-ins for these."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import pytest
from handmade_cells import make_cell, noise_picture

from velatura.errors import InputError, MissingDependency
from velatura.eval.perceptual import Lpips


class Difference:
    """In place of the network: the mean absolute difference."""

    made: list[dict[str, Any]]

    def __init__(self, **options: Any) -> None:
        self.made.append(options)

    def eval(self) -> Difference:
        return self

    def __call__(self, one: Any, other: Any) -> Any:
        assert one.shape == other.shape == (1, 3, 64, 64)
        assert -1 <= float(one.min()) < 0 < float(one.max()) <= 1
        return (one - other).abs().mean().reshape(1, 1, 1, 1)


def offer(monkeypatch: pytest.MonkeyPatch, names: dict[str, str | None]) -> type[Difference]:
    """Let these modules be importable, each with a network of that name, and none else that offers LPIPS."""
    network = type("Network", (Difference,), {"made": []})
    for name in ("torchvision", "lpips", "torchmetrics", "torchmetrics.image.lpip"):
        monkeypatch.setitem(sys.modules, name, None)
    for name, kind in names.items():
        module = ModuleType(name)
        module.__dict__["__version__"] = "9.8"
        if kind:
            setattr(module, kind, network)
        monkeypatch.setitem(sys.modules, name, module)
    return network


LPIPS = {"torchvision": None, "lpips": "LPIPS"}
TORCHMETRICS = {
    "torchvision": None,
    "torchmetrics": None,
    "torchmetrics.image.lpip": "LearnedPerceptualImagePatchSimilarity",
}


@pytest.mark.parametrize(
    ("names", "package", "option"), [(LPIPS, "lpips-9.8", "net"), (TORCHMETRICS, "torchmetrics-9.8", "net_type")]
)
def test_pairs_of_a_prompt_are_compared_by_the_package_that_is_there(
    monkeypatch: pytest.MonkeyPatch, names: dict[str, str | None], package: str, option: str
) -> None:
    network = offer(monkeypatch, names)
    metric = Lpips()
    assert metric.signature == f"lpips|net=alex|by={package}|pairs=100|seed=0"
    assert network.made == []
    pictures = [noise_picture(64, seed=0), noise_picture(64, seed=0), noise_picture(64, seed=1)]
    estimate = metric.estimate(make_cell({"a": 2, "b": 3}, image=lambda sample: pictures[sample.index]))
    apart = metric.compare(metric.prepare(pictures[0]), metric.prepare(pictures[2]))
    assert apart > 0
    assert estimate.value == pytest.approx((0 + 2 * apart / 3) / 2)
    assert [options[option] for options in network.made] == ["alex"]


@pytest.mark.parametrize("names", [{}, {"lpips": "LPIPS"}, {"torchvision": None}])
def test_what_is_missing_is_told_with_the_line_that_installs_it(
    monkeypatch: pytest.MonkeyPatch, names: dict[str, str | None]
) -> None:
    offer(monkeypatch, names)
    with pytest.raises(MissingDependency, match=r"lpips is not installed; run: pip install 'velatura\[eval\]'"):
        Lpips()


def test_weights_that_cannot_be_had_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    network = offer(monkeypatch, LPIPS)

    def fail(self: Any, **_: Any) -> None:
        raise OSError("<urlopen error no\nnetwork>")

    monkeypatch.setattr(network, "__init__", fail)
    cell = make_cell({"a": 2}, image=lambda sample: noise_picture(64, seed=sample.index))
    with pytest.raises(InputError, match="weights of LPIPS cannot be loaded: <urlopen error no network>"):
        Lpips().estimate(cell)


@pytest.mark.parametrize(("sides", "told"), [((63, 63), "needs 64 pixels a side"), ((64, 65), "differ in size")])
def test_pictures_that_cannot_be_compared_are_refused(
    monkeypatch: pytest.MonkeyPatch, sides: tuple[int, int], told: str
) -> None:
    offer(monkeypatch, LPIPS)
    cell = make_cell({"a": 2}, image=lambda sample: noise_picture(sides[sample.index], seed=0))
    with pytest.raises(InputError, match=told):
        Lpips().estimate(cell)
