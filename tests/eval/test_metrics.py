"""The metrics by name: what each is made of, and what is said where that is lacking."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from handmade_cells import make_cell

from velatura.errors import InputError
from velatura.eval.metrics import METRICS, MODELS, USUAL, Kit, make_metric, usual
from velatura.eval.moments import moments_of

ROWS = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)


class Reader:
    """An extractor of three numbers that reads texts too."""

    width = 3

    def __init__(self, name: str = "clip") -> None:
        self.name = name
        self.fingerprint = name
        self.signature = f"{name}=0"

    def read(self, texts: Any) -> Any:
        return np.ones((len(texts), 3), np.float32)

    def truncated(self, texts: Any) -> int:
        return 0


REFERENCES = SimpleNamespace(
    signature="photos:0", features=lambda _extractor: ROWS, moments=lambda _extractor: moments_of(ROWS)
)


def kit(*names: str, **more: Any) -> Kit:
    return Kit(extractors={name: Reader(name) for name in names}, **more)


@pytest.mark.parametrize("name", [name for name in METRICS if name not in ("yes", "lpips")])
def test_every_metric_is_made_by_its_name_and_reads_what_the_list_says(name: str) -> None:
    extractor = METRICS[name].extractor
    made = make_metric(name, kit(*filter(None, [extractor]), references=REFERENCES))
    assert made.name == name
    assert made.needs == (() if extractor is None else (extractor,))
    assert made.signature
    assert made.title
    assert made.ranking is (name != "is")


def test_a_metric_of_other_features_is_called_so_everywhere() -> None:
    made = make_metric("fid:clip", kit("clip", "inception", references=REFERENCES))
    assert (made.name, made.title, made.needs) == ("fid:clip", "FID (clip)", ("clip",))
    assert "clip=0" in made.signature
    estimate = make_metric("kid:dinov2", kit("dinov2", references=REFERENCES)).estimate(
        make_cell({"a": 4, "b": 4}, features={"dinov2": ROWS[:8]})
    )
    assert estimate.n == 8


def test_the_scales_of_ms_ssim_are_in_its_title_so_that_it_is_not_taken_for_the_usual_one() -> None:
    assert make_metric("ms-ssim", kit()).title == "MS-SSIM"
    other = make_metric("ms-ssim", kit(ms_ssim=(2, 7)))
    assert other.title == "MS-SSIM (2 scales, 7)"
    assert other.signature != make_metric("ms-ssim", kit()).signature


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ("best", "there is no metric 'best'; there are clip"),
        ("", "there is no metric ''"),
        ("clip:", "there is no metric 'clip:'"),
        ("ms-ssim:clip", "ms-ssim reads no features, so there is no ms-ssim:clip"),
        ("fid", r"fid reads features of inception, which is not given \(clip, resnet50\); name it with --inception"),
        ("is", "name it with --inception$"),
        ("fid:eyes", "there are no features of 'eyes'; there are those of clip, inception, resnet50, dinov2"),
        ("cmmd", "compares with other pictures; name a folder or statistics with --reference"),
        ("is:clip", "of a classifier's logits, and clip has none"),
        ("yes", "set?.*VELATURA_LLM"),
    ],
)
def test_what_cannot_be_made_says_why(spec: str, told: str) -> None:
    with pytest.raises(InputError, match=told):
        make_metric(spec, kit("clip", "resnet50"))


def test_a_metric_of_texts_needs_an_extractor_that_reads() -> None:
    with pytest.raises(InputError, match="needs an extractor that reads texts too, such as clip, not resnet50"):
        make_metric("clip:resnet50", Kit(extractors={"resnet50": SimpleNamespace(signature="r")}))  # type: ignore[dict-item]


def test_lpips_without_its_packages_says_which_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchvision", None)
    with pytest.raises(InputError, match="pip install lpips torchvision"):
        make_metric("lpips", kit())


def test_the_usual_metrics_are_those_that_what_is_given_allows() -> None:
    assert usual(kit()) == ()
    assert usual(kit("clip")) == ("clip",)
    assert usual(kit("clip", references=REFERENCES)) == ("clip", "cmmd")
    assert usual(kit("inception")) == ("dfid",)
    assert usual(kit("clip", "inception", "resnet50", references=REFERENCES)) == USUAL


def test_the_list_names_models_that_there_are_options_for_and_is_light() -> None:
    assert {row.extractor.partition("-")[0] for row in METRICS.values() if row.extractor} <= set(MODELS)
    assert set(USUAL) <= set(METRICS)
    code = "import sys, velatura.eval.metrics; sys.exit(any(n in sys.modules for n in ('torch', 'scipy', 'PIL')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_answers_that_are_drawn_for_yes_are_in_its_signature() -> None:
    seer: Any = SimpleNamespace(model="sees")
    assert "by=logprobs" in make_metric("yes", kit(seer=lambda: seer)).signature
    assert "by=samples-8" in make_metric("yes", kit(seer=lambda: seer, yes_samples=8)).signature
