"""Opens an evaluation by what people write: a manifest, models' folders, metrics' names, reference pictures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ..errors import InputError
from .evaluation import Evaluation, Told, restricted
from .manifest import Manifest
from .metrics import METRICS, Kit, make_metric, usual

if TYPE_CHECKING:
    from .extract.run import Through
    from .protocols import FeatureExtractor, Metric
    from .scores import Scores
    from .yes_probability import Seer

Elsewhere = Callable[[Sequence[str], "Sequence[FeatureExtractor]"], "AbstractContextManager[Through]"]
"""Opens extractors elsewhere too: as `open_extractors` takes them, and as they are open here."""
_SHARED: Final = "inception"
"""One file that several extractors are the outputs of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """An evaluation that is ready to be scored."""

    evaluation: Evaluation
    metrics: tuple[Metric, ...]
    rejected: tuple[tuple[str, str], ...]
    """(picture, why) of pictures that cannot be read, and are left out."""
    asked: bool
    """Whether the metrics were asked for by name; else they are the usual ones."""
    unmade: tuple[tuple[str, str], ...] = ()
    """(metric, why) of usual metrics that cannot be had here."""

    def score(self, *, told: Told | None = None) -> Scores:
        """Measure every cell by every metric; see `Evaluation.score`."""
        scores = self.evaluation.score(self.metrics, told=told)
        lacking = (f"{name} is left out: {why}" for name, why in self.unmade)
        return replace(scores, warnings=(*scores.warnings, *lacking), failed=(*self.unmade, *scores.failed))


def open_evaluation(
    manifest: Manifest,
    *,
    models: Mapping[str, str],
    metrics: Sequence[str] = (),
    reference: str | Path | Sequence[str | Path] | None = None,
    cache: str | Path,
    methods: Sequence[str] = (),
    limit: int | None = None,
    seed: int = 0,
    paired: bool = True,
    yes_samples: int = 0,
    ms_ssim: tuple[int, int] | None = None,
    device: str | None = None,
    offline: bool = False,
    seer: Callable[[], Seer] | None = None,
    elsewhere: Elsewhere | None = None,
    told: Told | None = None,
) -> Opened:
    """Extract what the metrics need, and return the evaluation.

    Args:
        manifest: The samples.
        models: By the extractor's name (`clip`, `inception`, `resnet50`, `dinov2`) the folder, file or hub id.
        metrics: Their names; none takes the usual ones that what is given allows.
        reference: A folder of pictures, a list of them, a manifest, or an `.npz` of statistics.
        cache: A folder that keeps features, scores and answers.
        methods: Only these; empty for all.
        limit: Only so many prompts, chosen by a digest.
        seed: Of that choice.
        paired: See `Evaluation`.
        yes_samples: See `Kit`.
        ms_ssim: See `Kit`.
        device: Where networks run; None takes the best there is.
        offline: Never ask a model hub.
        seer: Opens the language model for the metric `yes`.
        elsewhere: Has networks look at the pictures that are open elsewhere; None has those of this process.
        told: Called as it goes.

    Raises:
        InputError: a name is wrong, what a metric needs is not given, or nothing can be read.
        MissingDependency: a package is not installed.
    """
    from .cache import FeatureCache, ScoreCache
    from .extract import CachedFeatures, CachedTexts, extract, open_sample
    from .references import open_references

    cache = Path(cache)
    told = told or (lambda _what, _done, _of: None)
    manifest = restricted(manifest, methods=methods, limit=limit, seed=seed)
    extractors = _extractors(models, metrics, device=usual_device(device), offline=offline)
    features = FeatureCache(cache / "features")
    references = None
    if reference is not None:
        references = open_references(reference, features, progress=lambda done, of: told("reference", done, of))
    kit = Kit(
        extractors=extractors, references=references, seer=seer, answers=str(cache / "answers"),
        yes_samples=yes_samples, ms_ssim=ms_ssim,
    )  # fmt: skip
    made, unmade = _made(metrics, kit)
    needed = [extractors[name] for name in dict.fromkeys(name for metric in made for name in metric.needs)]
    damaged: dict[str, str] = {}
    if not all(metric.needs for metric in made):
        damaged = _damaged(manifest, cache / "pictures", told)
    whole = tuple(sample for sample in manifest.samples if sample.image not in damaged)
    looked = nullcontext() if elsewhere is None else elsewhere([_spec(one.name, models) for one in needed], needed)
    with looked as through:
        found = extract(
            whole,
            needed,
            features,
            folder=manifest.folder,
            progress=lambda done, of: told("extract", done, of),
            through=through,
        )
    rejected = (*damaged.items(), *((rejection.locator, rejection.reason) for rejection in found.rejections))
    readable = Manifest(samples=found.readable(whole), folder=manifest.folder)
    if not readable.samples:
        raise InputError(f"no picture can be read: {rejected[0][1]}")
    readers: list[Any] = [one for one in needed if hasattr(one, "read")]
    evaluation = Evaluation(
        readable,
        features=lambda samples: CachedFeatures(samples, needed, features, folder=manifest.folder),
        texts=lambda samples: CachedTexts(samples, readers, features),
        image=lambda sample: open_sample(replace(sample, image=str(manifest.path(sample)))),
        scores=ScoreCache(cache / "scores"),
        paired=paired,
        metrics=made,
        rejected=rejected,
    )
    return Opened(evaluation=evaluation, metrics=made, rejected=rejected, asked=bool(metrics), unmade=unmade)


def _made(names: Sequence[str], kit: Kit) -> tuple[tuple[Metric, ...], tuple[tuple[str, str], ...]]:
    """Return the metrics of names, or the usual ones, and which of these cannot be had, such as KID of moments alone.

    Raises:
        InputError: one that is named cannot be had, or none at all.
    """
    if names:
        return tuple(make_metric(name, kit) for name in dict.fromkeys(names)), ()
    wanted = usual(kit)
    if not wanted:
        raise InputError("nothing can be measured without a model; name one with --clip, --inception or --resnet50")
    made, unmade = [], []
    for name in wanted:
        try:
            made.append(make_metric(name, kit))
        except InputError as error:
            unmade.append((name, str(error)))
    if not made:
        raise InputError(unmade[0][1])
    return tuple(made), tuple(unmade)


def _damaged(manifest: Manifest, folder: Path, told: Told) -> dict[str, str]:
    """Return the pictures that cannot be decoded, with the reason for each.

    Metrics that read pictures themselves stop at such a one. What is whole is remembered, and not decoded again.
    """
    from .extract import read_picture_file
    from .extract.digests import FileDigests
    from .extract.pictures import no_warnings

    known, found = FileDigests(folder), {}
    with no_warnings():
        for done, sample in enumerate(manifest.samples):
            told("look", done, len(manifest.samples))
            path = manifest.path(sample)
            sha256 = known.get(path)
            if sha256 is not None and (sample.sha256 is None or sample.sha256.lower() == sha256):
                continue
            try:
                file = read_picture_file(path, sample.sha256)
                file.decode()
            except InputError as error:
                found[sample.image] = str(error)
            else:
                known.note(file)
    known.flush()
    return found


def usual_device(name: str | None) -> str:
    """Return the device to use.

    Raises:
        InputError: it is not there, which would show when the first picture is looked at.
    """
    if name == "cpu":
        return name
    from .extract.weights import require

    require("torch")
    import torch

    if name is None:
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.ones(1, device=name).cpu()
    except (RuntimeError, AssertionError, NotImplementedError):
        raise InputError(f"there is no device {name!r} here; name another one with --device, such as cpu") from None
    return name


def _extractors(
    models: Mapping[str, str], metrics: Sequence[str], *, device: str, offline: bool
) -> dict[str, FeatureExtractor]:
    """Open what the metrics read; of no metrics, everything that was given."""
    from .extract import open_extractors

    names = list(dict.fromkeys(filter(None, map(_read_by, metrics)))) if metrics else list(models)
    specs = {name: spec for name in names if (spec := _spec(name, models))}
    opened = open_extractors(list(specs.values()), device=device, local_files_only=offline)
    return dict(zip(specs, opened, strict=True))


def _spec(name: str, models: Mapping[str, str]) -> str:
    """Return an extractor as `open_extractors` takes it; nothing where no model is given for it."""
    model = models.get(name) or models.get(_SHARED if name.startswith(_SHARED) else name)
    return "" if model is None else f"{name}:{model}"


def _read_by(metric: str) -> str | None:
    """Return the extractor that a metric reads, by what people write."""
    name, _, other = metric.partition(":")
    row = METRICS.get(name)
    return None if row is None or row.extractor is None else other or row.extractor
