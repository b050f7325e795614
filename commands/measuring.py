"""The options with which commands measure pictures: models, metrics, reference pictures, and what is kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import InputError
from .options import Address, Engine, engine_flags, read_settings
from .paint_options import Device

if TYPE_CHECKING:
    from ..eval.opening import Opened
    from ..eval.records import Difference
    from ..eval.scores import Scores

Open = Callable[..., Any]
"""Opens a manifest, for some metrics, with the options of a command; see `make_opened`."""


Metrics = Annotated[
    str | None,
    typer.Option(
        metavar="NAME,...",
        help="clip, fid, kid, cmmd, dfid, diversity, ... (see `velatura eval metrics`); fid:clip reads CLIP's "
        "features. By default the usual ones that the models allow.",
    ),
]


def make_opened(
    manifest: Path,
    metrics: str | None = None,
    *,
    clip: Annotated[str | None, typer.Option(metavar="MODEL", help="A CLIP model: a folder or a hub id.")] = None,
    inception: Annotated[
        str | None, typer.Option(metavar="FILE", help="inception-2015-12-05.pt, as clean-fid has it.")
    ] = None,
    resnet50: Annotated[str | None, typer.Option(metavar="MODEL", help="A ResNet-50: a folder or a hub id.")] = None,
    dinov2: Annotated[str | None, typer.Option(metavar="MODEL", help="A DINOv2: a folder or a hub id.")] = None,
    reference: Annotated[
        str | None,
        typer.Option(metavar="WHAT", help="Pictures to compare with: a folder, a manifest, or .npz statistics."),
    ] = None,
    methods: Annotated[str | None, typer.Option(metavar="NAME,...", help="Only these methods.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="So many prompts, chosen by a digest.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of that choice.")] = 0,
    everything: Annotated[
        bool, typer.Option("--all", help="Measure each cell over all it has, not over the pairs that all have.")
    ] = False,
    ms_ssim: Annotated[
        str | None, typer.Option(metavar="SCALES,KERNEL", help="MS-SSIM for small pictures, such as 2,7.")
    ] = None,
    yes_samples: Annotated[
        int,
        typer.Option(min=0, max=100, help="For yes: draw so many answers, where a server tells no log probabilities."),
    ] = 0,
    images: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Where the pictures lie, if not beside the manifest.")
    ] = None,
    cache: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="What is extracted and measured is kept here.")
    ] = None,
    device: Device = None,
    engine: Engine = None,
    address: Address = None,
) -> Opened:
    """Open a manifest as a command's options say, with everything extracted that the metrics need."""
    from ..engines import look_elsewhere
    from ..eval.manifest import read_manifest
    from ..eval.opening import open_evaluation
    from ..settings import home
    from .screen import Progress

    settings = read_settings(device=device, **engine_flags(engine, address))

    def seer() -> Any:
        from ..wiring import open_language_model

        return open_language_model(settings)

    models = {"clip": clip or settings.picture_model, "inception": inception, "resnet50": resnet50, "dinov2": dinov2}
    with Progress("measure") as progress:
        return open_evaluation(
            read_manifest(manifest, images=images),
            models={name: model for name, model in models.items() if model is not None},
            metrics=listed(metrics),
            reference=reference or None,
            cache=cache or home() / "eval",
            methods=listed(methods),
            limit=limit,
            seed=seed,
            paired=not everything,
            ms_ssim=_scales(ms_ssim),
            yes_samples=yes_samples,
            device=settings.device,
            offline=settings.offline,
            seer=seer if settings.llm is not None else None,
            elsewhere=None if settings.engine == "local" else partial(look_elsewhere, settings),
            told=progress.told,
        )


def scored(opened: Opened) -> Scores:
    """Measure what was opened."""
    from .screen import Progress

    with Progress("measure") as progress:
        return opened.score(told=progress.told)


def against(scores: Scores, baseline: str | None, *, needed: bool = False) -> tuple[Difference, ...]:
    """Return the differences to a baseline; where some are needed, a check that checks nothing must not go well."""
    found = () if baseline is None else scores.differences(baseline)
    if needed and baseline is not None and not found:
        raise InputError(
            next(iter(scores.uncompared(baseline)), None)
            or f"nothing can be compared with {baseline!r}: no other method was painted at its guidances, or no "
            "metric here is one to rank by"
        )
    return found


def refuse_aimless(baseline: str | None, *, fail_if_worse: bool) -> None:
    """Refuse a check that says no baseline."""
    if fail_if_worse and baseline is None:
        raise typer.BadParameter("name the method that the others must not be worse than", param_hint="--baseline")


def told_of(scores: Scores, opened: Opened, baseline: str | None = None) -> dict[str, Any]:
    """Return what programs are told besides figures."""
    uncompared = () if baseline is None else scores.uncompared(baseline)
    return {"warnings": [*scores.warnings, *uncompared], "rejected": dict(opened.rejected)}


def plain(differences: Sequence[Difference]) -> list[dict[str, Any]]:
    """Return differences for JSON, p adjusted for all of them."""
    from ..eval.scores import holm

    adjusted = holm(differences) if differences else ()
    return [
        {**asdict(one), "verdict": one.verdict, "p_adjusted": p} for one, p in zip(differences, adjusted, strict=True)
    ]


def end(scores: Scores, opened: Opened, differences: Sequence[Difference] = (), *, fail_if_worse: bool = False) -> None:
    """End with 1 where a metric that was asked for could not be measured, or a method is worse and must not be.

    Raises:
        InputError: a method must not be worse, and no difference has a p.
        typer.Exit: as said.
    """
    from ..eval.scores import surely_worse

    worse = surely_worse(differences) if fail_if_worse else ()
    if worse:
        one = worse[0]
        typer.echo(
            f"{len(worse)} worse than {one.baseline.method}, first {one.cell} in {one.metric}: {one.value:+.3g}",
            err=True,
        )
    elif fail_if_worse and all(one.p is None for one in differences):
        raise InputError("nothing is tested: no difference here has an interval that can be compared by")
    if worse or (opened.asked and scores.failed):
        raise typer.Exit(1)


def listed(text: str | None) -> tuple[str, ...]:
    """Return the parts of a text between its commas, each once."""
    return tuple(dict.fromkeys(part.strip() for part in (text or "").split(",") if part.strip()))


def _scales(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    try:
        scales, kernel = map(int, text.split(","))
    except ValueError:
        raise typer.BadParameter("two whole numbers with a comma between them", param_hint="--ms-ssim") from None
    return scales, kernel
