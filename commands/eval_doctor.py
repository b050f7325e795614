"""The command that says what can be measured here, and what is lacking for the rest."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from ..doctor import Finding, find_torchvision
from ..errors import VelaturaError
from .options import Json, print_json, read_settings
from .paint_options import Device

if TYPE_CHECKING:
    from ..eval.metrics import Row
    from ..eval.protocols import FeatureExtractor
    from ..settings import Settings

_EXTRA: Final = "pip install 'velatura[eval]'"
_PACKAGES: Final = (
    ("scipy", "every interval", _EXTRA),
    ("matplotlib", "figures", _EXTRA),
    ("torch", "every model, and MS-SSIM", _EXTRA),
    ("transformers", "clip, resnet50 and dinov2", _EXTRA),
    ("lpips", "LPIPS alone", "pip install lpips torchvision"),
)
"""(package, what needs it, how it is installed)."""
_SIDE: Final = 64
"""Pixels of the grey picture that models are tried with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Examined:
    """What is there, and what can be measured with it."""

    findings: tuple[Finding, ...]
    metrics: tuple[Finding, ...]
    """A metric each: `good` where it can be measured, else `missing`, with what to do."""
    cache: Path
    size: int
    """Bytes that are kept there."""


def doctor(
    clip: Annotated[str | None, typer.Option(metavar="MODEL", help="A CLIP model: a folder or a hub id.")] = None,
    inception: Annotated[
        str | None, typer.Option(metavar="FILE", help="inception-2015-12-05.pt, as clean-fid has it.")
    ] = None,
    resnet50: Annotated[str | None, typer.Option(metavar="MODEL", help="A ResNet-50: a folder or a hub id.")] = None,
    dinov2: Annotated[str | None, typer.Option(metavar="MODEL", help="A DINOv2: a folder or a hub id.")] = None,
    cache: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Where what is extracted and measured is kept.")
    ] = None,
    device: Device = None,
    as_json: Json = False,
) -> None:
    """Say what can be measured here, and what to do for the rest. Exits with 1 when what is set is broken."""
    from ..settings import home

    settings = read_settings(device=device)
    models = {"clip": clip or settings.picture_model, "inception": inception, "resnet50": resnet50, "dinov2": dinov2}
    found = examine_metrics(
        settings, {name: model for name, model in models.items() if model}, cache or home() / "eval"
    )
    if as_json:
        print_json(
            {
                "findings": [asdict(finding) for finding in found.findings],
                "metrics": [asdict(finding) for finding in found.metrics],
                "cache": {"folder": str(found.cache), "bytes": found.size},
            }
        )
    else:
        from .screen import out, print_findings

        print_findings(found.findings, as_json=False)
        out("")
        print_findings(found.metrics, as_json=False)
    if any(finding.state == "broken" for finding in found.findings):
        raise typer.Exit(1)


def examine_metrics(settings: Settings, models: Mapping[str, str], cache: Path) -> Examined:
    """Look at the packages, the models, the language model and the cache, and say of each metric whether it can be had.

    Args:
        settings: The settings.
        models: By the extractor's name the folder, file or hub id.
        cache: The folder that keeps features and scores.
    """
    from ..eval.metrics import METRICS, MODELS

    findings = [*_packages(), _torchvision()]
    opened: dict[str, FeatureExtractor] = {}
    for name in MODELS:
        findings.append(_model(name, models.get(name), settings, opened))
    findings.append(_language_model(settings))
    size, kept = _cache(cache)
    findings.append(kept)
    states = {finding.what: finding.state for finding in findings}
    metrics = tuple(_measurable(name, row, opened, states) for name, row in METRICS.items())
    return Examined(findings=tuple(findings), metrics=metrics, cache=cache, size=size)


def _packages() -> Iterator[Finding]:
    for name, needed, install in _PACKAGES:
        try:
            yield Finding(what=name, state="good", detail=importlib.metadata.version(name))
        except importlib.metadata.PackageNotFoundError:
            yield Finding(what=name, state="missing", detail=f"needed for {needed}; run: {install}")


def _torchvision() -> Finding:
    found = find_torchvision()
    if importlib.util.find_spec("torchvision") is None:
        return replace(found, state="missing", detail="not installed; LPIPS alone needs it")
    return found if found.state == "broken" else replace(found, detail=found.detail.replace("not needed", "for LPIPS"))


def _model(name: str, model: str | None, settings: Settings, opened: dict[str, FeatureExtractor]) -> Finding:
    """Look with a model at a grey picture; what opens is noted in `opened`."""
    if model is None:
        also = ", or set VELATURA_PICTURE_MODEL" if name == "clip" else ""
        return Finding(what=name, state="missing", detail=f"none is named; give --{name}{also}")
    from PIL import Image

    from ..eval.extract import open_extractor

    device = settings.device or "cpu"
    try:
        extractor = open_extractor(f"{name}:{model}", device=device, local_files_only=settings.offline)
        extractor.extract(extractor.prepare(Image.new("RGB", (_SIDE, _SIDE), "grey"))[None])
    except VelaturaError as error:
        return Finding(what=name, state="broken", detail=str(error))
    except (RuntimeError, AssertionError, NotImplementedError) as error:  # of torch, and of a device that is not there
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        return Finding(what=name, state="broken", detail=f"{model} does not run on {device}: {reason}")
    opened[name] = extractor
    return Finding(what=name, state="good", detail=f"{model} ({extractor.signature}), {extractor.width:,} features")


def _language_model(settings: Settings) -> Finding:
    what = "language model"
    if settings.llm is None:
        detail = "none is named; set VELATURA_LLM for the metric yes and for velatura eval judge"
        return Finding(what=what, state="missing", detail=detail)
    from ..wiring import open_language_model

    try:
        open_language_model(settings)
    except VelaturaError as error:
        return Finding(what=what, state="broken", detail=str(error))
    where = f" at {settings.llm_url}" if settings.llm_url else ""
    return Finding(what=what, state="good", detail=f"{settings.llm}{where}, if it sees pictures; it was not asked")


def _cache(folder: Path) -> tuple[int, Finding]:
    sizes = []
    for base, _, files in os.walk(folder):
        for name in files:
            try:
                sizes.append((Path(base) / name).stat().st_size)
            except OSError:  # another process has just removed it
                continue
    first = next(one for one in (folder, *folder.absolute().parents) if one.exists())
    if not first.is_dir() or not os.access(first, os.W_OK | os.X_OK):
        return sum(sizes), Finding(what="cache", state="broken", detail=f"{folder} cannot be written to; name --cache")
    told = f"{sum(sizes) / 1e6:,.1f} MB in {len(sizes):,} files" if sizes else "nothing is kept yet"
    return sum(sizes), Finding(what="cache", state="good", detail=f"{told}, at {folder}")


def _measurable(name: str, row: Row, opened: Mapping[str, Any], states: Mapping[str, str]) -> Finding:
    lacking = _lacking(name, row, opened, states)
    if lacking is not None:
        return Finding(what=name, state="missing", detail=lacking)
    return Finding(what=name, state="good", detail=row.told + ("; name --reference" if row.compares else ""))


def _lacking(name: str, row: Row, opened: Mapping[str, Any], states: Mapping[str, str]) -> str | None:
    """Say what a metric needs that is not there; None where it can be measured."""
    from ..eval.metrics import Kit, make_metric

    if states["scipy"] != "good":
        return f"intervals need scipy; run: {_EXTRA}"
    if row.extractor is not None:
        model = row.extractor.partition("-")[0]
        if model in opened:
            return None
        instead = next(iter(opened), None) if row.extractor == model and name not in ("clip", "clip-s") else None
        other = "" if instead is None else f", or measure {name}:{instead}"
        fault = "is broken, see above" if states[model] == "broken" else f"is not named; give --{model}"
        return f"{model} {fault}{other}"
    if name == "yes":
        return None if states["language model"] == "good" else "the language model is not there, see above"
    try:
        make_metric(name, Kit(extractors={}))
    except VelaturaError as error:
        return str(error)
    return None
