"""The metrics by name. A metric is one file, and one row here.

A metric that reads features may be asked for with those of another extractor than its usual one: `fid:clip` is the
Fréchet distance in CLIP's features, and is called so everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from ..errors import InputError, MissingDependency

if TYPE_CHECKING:
    from .protocols import FeatureExtractor, Metric, TextExtractor
    from .references import References
    from .yes_probability import Seer

MODELS: Final = ("clip", "inception", "resnet50", "dinov2")
"""What features are of, as options name it; `inception` has several outputs."""
USUAL: Final = ("clip", "fid", "kid", "cmmd", "dfid", "diversity")
"""What is measured where nothing is asked for, as far as it can be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kit:
    """What metrics are made of."""

    extractors: Mapping[str, FeatureExtractor]
    """By name."""
    references: References | None = None
    seer: Callable[[], Seer] | None = None
    """Opens the language model that sees pictures."""
    answers: str | None = None
    """The folder that keeps its answers."""
    yes_samples: int = 0
    """Of the metric yes: answers drawn of each picture; 0 reads log probabilities instead."""
    ms_ssim: tuple[int, int] | None = None
    """MS-SSIM's scales and kernel; None takes the usual five, and 11."""

    def extractor(self, name: str, metric: str) -> FeatureExtractor:
        """Return an extractor.

        Raises:
            InputError: it was not given.
        """
        if name not in self.extractors:
            flag = name.partition("-")[0]
            if flag not in MODELS:
                raise InputError(f"{metric}: there are no features of {name!r}; there are those of {', '.join(MODELS)}")
            given = ", ".join(self.extractors) or "none"
            raise InputError(f"{metric} reads features of {name}, which is not given ({given}); name it with --{flag}")
        return self.extractors[name]

    def reference(self, metric: str) -> References:
        """Return the references.

        Raises:
            InputError: none are given.
        """
        if self.references is None:
            raise InputError(f"{metric} compares with other pictures; name a folder or statistics with --reference")
        return self.references


Make = Callable[[Kit, str, str, str], "Metric"]
"""Makes a metric of a kit, its name, its title's ending, and its extractor's name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A metric as it is asked for."""

    told: str
    """What it says, in a phrase."""
    extractor: str | None
    """Whose features it reads if nothing else is said; None where it reads none."""
    make: Make
    compares: bool = False
    """Whether it needs reference pictures."""


def make_metric(spec: str, kit: Kit) -> Metric:
    """Return a metric by what people write: `fid`, `fid:clip`.

    Raises:
        InputError: there is no such metric, or what it needs is not given.
        MissingDependency: a package that it needs is not installed.
    """
    name, colon, other = spec.partition(":")
    row = METRICS.get(name)
    if row is None or (colon and not other):
        raise InputError(f"there is no metric {spec!r}; there are {', '.join(METRICS)}")
    if other and row.extractor is None:
        raise InputError(f"{name} reads no features, so there is no {spec}")
    return row.make(kit, spec, f" ({other})" if other else "", other or row.extractor or "")


def usual(kit: Kit) -> tuple[str, ...]:
    """Return the usual metrics that a kit can make."""
    rows = {name: METRICS[name] for name in USUAL}
    return tuple(
        name
        for name, row in rows.items()
        if (row.extractor is None or row.extractor in kit.extractors) and (kit.references or not row.compares)
    )


def _clip(kit: Kit, name: str, ending: str, extractor: str) -> Metric:
    from .alignment import ClipScore

    found = _reader(kit, extractor, name)
    return ClipScore(
        name=name, title="CLIP score" + ending, extractor=extractor, extractor_signature=found.signature,
        truncated=found.truncated,
    )  # fmt: skip


def _clip_s(kit: Kit, name: str, ending: str, extractor: str) -> Metric:
    from .alignment import ClipS

    found = _reader(kit, extractor, name)
    return ClipS(
        name=name, title="CLIP-S" + ending, extractor=extractor, extractor_signature=found.signature,
        truncated=found.truncated, read=found.read,
    )  # fmt: skip


def _reader(kit: Kit, extractor: str, metric: str) -> TextExtractor:
    found = kit.extractor(extractor, metric)
    if not hasattr(found, "read"):
        raise InputError(f"{metric} needs an extractor that reads texts too, such as clip, not {extractor}")
    return found  # type: ignore[return-value]


def _yes(kit: Kit, name: str, _ending: str, _extractor: str) -> Metric:
    from pathlib import Path

    from .yes_probability import YesProbability

    if kit.seer is None:
        raise InputError("the metric yes asks a language model that sees pictures; name one with VELATURA_LLM")
    return YesProbability(
        model=kit.seer(), folder=Path(kit.answers) if kit.answers else None, samples=kit.yes_samples, name=name
    )


def _fid(kit: Kit, name: str, ending: str, extractor: str) -> Metric:
    from .frechet import FrechetDistance

    found, reference = kit.extractor(extractor, name), kit.reference(name)
    return FrechetDistance(
        name, extractor, reference.moments(found), reference.signature, found.signature,
        title="FID" + ending,
    )  # fmt: skip


def _fid_infinity(kit: Kit, name: str, ending: str, extractor: str) -> Metric:
    from .frechet import FidInfinity

    found, reference = kit.extractor(extractor, name), kit.reference(name)
    return FidInfinity(
        name, extractor, reference.moments(found), reference.signature, found.signature,
        title="FID∞" + ending,
    )  # fmt: skip


def _kid(kit: Kit, name: str, ending: str, extractor: str) -> Metric:
    from .mmd import KernelDistance

    found, reference = kit.extractor(extractor, name), kit.reference(name)
    return KernelDistance(
        name, extractor, reference.features(found), reference.signature, found.signature, title="KID" + ending
    )


def _cmmd(kit: Kit, name: str, ending: str, extractor: str) -> Metric:
    from .mmd import Cmmd

    found, reference = kit.extractor(extractor, name), kit.reference(name)
    return Cmmd(name, extractor, reference.features(found), reference.signature, found.signature, title="CMMD" + ending)


def _inception_score(kit: Kit, name: str, _ending: str, extractor: str) -> Metric:
    from .inception_score import InceptionScore

    if not extractor.endswith("-logits"):
        raise InputError(f"{name}: the Inception Score is of a classifier's logits, and {extractor} has none")
    found = kit.extractor(extractor, name)
    return InceptionScore(name, found.signature, extractor=extractor)


def _dfid(kit: Kit, name: str, _ending: str, extractor: str) -> Metric:
    from .diversity import TraceDispersion

    found = kit.extractor(extractor, name)
    return TraceDispersion(name=name, extractor=extractor, extractor_signature=found.signature)


def _diversity(kit: Kit, name: str, ending: str, extractor: str) -> Metric:
    from .diversity import DiversityScore

    found = kit.extractor(extractor, name)
    return DiversityScore(
        name=name, title="Diversity Score" + ending, extractor=extractor, extractor_signature=found.signature
    )


def _ms_ssim(kit: Kit, name: str, _ending: str, _extractor: str) -> Metric:
    from .ms_ssim import MsSsim

    if kit.ms_ssim is None:
        return MsSsim(name=name)
    scales, kernel = kit.ms_ssim
    return MsSsim(name=name, title=f"MS-SSIM ({scales} scales, {kernel})", scales=scales, kernel=kernel)


def _lpips(_kit: Kit, name: str, _ending: str, _extractor: str) -> Metric:
    from .perceptual import Lpips

    try:
        return Lpips(name=name)
    except MissingDependency:  # no extra of ours has it: it needs torchvision, which must fit torch
        raise InputError(
            "LPIPS needs a package that is not installed, and torchvision; run: pip install lpips torchvision"
        ) from None


def _vendi(kit: Kit, name: str, ending: str, extractor: str) -> Metric:
    from .vendi import VendiScore

    found = kit.extractor(extractor, name)
    return VendiScore(name=name, title="Vendi score" + ending, extractor=extractor, extractor_signature=found.signature)


def _vendi_whole(kit: Kit, name: str, ending: str, extractor: str) -> Metric:
    from .vendi import WholeVendiScore

    found = kit.extractor(extractor, name)
    return WholeVendiScore(
        name=name, title="Vendi score, whole" + ending, extractor=extractor, extractor_signature=found.signature
    )


METRICS: Final[dict[str, Row]] = {
    "clip": Row(told="how well pictures fit their prompts: 100 times CLIP's cosine", extractor="clip", make=_clip),
    "clip-s": Row(told="the same as Hessel and others scale it", extractor="clip", make=_clip_s),
    "yes": Row(told="how surely a language model sees the prompt in the picture", extractor=None, make=_yes),
    "fid": Row(told="Fréchet distance to real pictures", extractor="inception", make=_fid, compares=True),
    "fid-infinity": Row(
        told="the same, as it would be of endlessly many",
        extractor="inception",
        make=_fid_infinity,
        compares=True,
    ),
    "kid": Row(
        told="kernel distance, right at any number of pictures",
        extractor="inception",
        make=_kid,
        compares=True,
    ),
    "cmmd": Row(told="kernel distance in CLIP's features", extractor="clip", make=_cmmd, compares=True),
    "is": Row(
        told="Inception Score; for completeness, not for ranking",
        extractor="inception-logits",
        make=_inception_score,
    ),
    "dfid": Row(
        told="how much the pictures of a prompt differ: trace of covariance", extractor="inception", make=_dfid
    ),
    "diversity": Row(told="the same as mean distance", extractor="resnet50", make=_diversity),
    "ms-ssim": Row(told="how alike the pictures of a prompt are", extractor=None, make=_ms_ssim),
    "lpips": Row(told="how much they differ to a trained eye", extractor=None, make=_lpips),
    "vendi": Row(told="how many different pictures a prompt's are worth", extractor="inception", make=_vendi),
    "vendi-whole": Row(told="the same of a whole cell", extractor="inception", make=_vendi_whole),
}
"""Every metric."""
