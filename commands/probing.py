"""The command that finds out what adapters really do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .options import Db, Json, handed, make_filter, open_velatura, print_json, read_prompts, refuse_missing
from .paint_options import Flags, make_flags

if TYPE_CHECKING:
    from ..pipeline import Velatura
    from ..probes import Grid, ProbeReport
    from .screen import Progress


@handed("flags", make_flags, before="clip")
def probe(
    what: Annotated[
        list[str] | None,
        typer.Argument(metavar="WHAT...", help="Adapters (number, file, title, hash, civitai id)."),
    ] = None,
    everything: Annotated[
        bool,
        typer.Option("--all", help="All adapters on this machine that the checkpoint wears and the settings allow."),
    ] = False,
    clip: Annotated[
        str | None,
        typer.Option(metavar="MODEL", help="The CLIP model that looks: a hub id or a folder; else the picture model."),
    ] = None,
    weights: Annotated[
        str | None, typer.Option(metavar="W,W,...", help="The weights that are tried; else 0.25,0.5,0.75,1,1.25.")
    ] = None,
    prompts: Annotated[
        Path | None,
        typer.Option(
            "--prompts", metavar="FILE", help="What is painted, a prompt a line, or JSON Lines; else four prompts."
        ),
    ] = None,
    seeds: Annotated[
        int | None, typer.Option(min=2, max=999, help="Pictures of each prompt at each weight; else 2.")
    ] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Denoising steps; else the model's own.")] = None,
    guidance: Annotated[
        float | None, typer.Option(min=0, help="Classifier-free guidance, up to 1 is none; else the model's own.")
    ] = None,
    scheduler: Annotated[str | None, typer.Option(help="A scheduler's name; the model's own by default.")] = None,
    again: Annotated[
        bool, typer.Option("--again", help="Look again at those that were probed so before; pictures are kept.")
    ] = False,
    db: Db = None,
    as_json: Json = False,
    *,
    flags: Flags,
) -> None:
    """Find out what adapters really do: paint with and without each at several weights, and look at the difference.

    Tells direction, strength, consistency and the best weight, and flags what has no effect or is too strong. What is
    found is kept, `show` tells it, and the composer goes by it. Can be stopped at any moment and goes on where it was.
    Exits with 1 when some could not be probed.
    """
    from .probe_screen import plain_probe, print_probes
    from .screen import Progress

    if bool(what) == everything:
        raise typer.BadParameter("name some adapters, or give --all", param_hint="WHAT")
    grid = _grid(weights, prompts, seeds)
    painted: dict[str, Any] = {"steps": steps, "guidance": guidance, "scheduler": scheduler}
    with open_velatura(db=db, picture_model=clip, **painted, **flags()) as velatura:
        refuse_missing(velatura.settings.db)
        numbers, left_out = _every(velatura) if everything else (_named(velatura, what or ()), 0)
        with Progress("probe") as bar:
            shown = _Shown(bar)
            report = velatura.probe(numbers, grid, again=again, watch=shown.watch, progress=shown.probed)
        if as_json:
            done = [{"id": number, **plain_probe(found)} for number, found in report.done]
            failed = [asdict(failure) for failure in report.failed]
            print_json({"probed": done, "kept": list(report.kept), "failed": failed, "left_out": left_out})
        else:
            adapters = velatura.store.adapters([number for number, _ in report.done])
            print_probes(report, adapters, left_out=left_out)
    if report.failed:
        raise typer.Exit(1)


def _every(velatura: Velatura) -> tuple[list[int], int]:
    """Return all that the checkpoint wears and the settings allow, and how many they keep out."""
    from ..records import Filter

    chosen = make_filter(velatura, family=velatura.backend.family, installed=True)
    numbers = velatura.store.select(chosen).tolist()
    return numbers, len(velatura.store.select(Filter(family=chosen.family, installed=True))) - len(numbers)


def _named(velatura: Velatura, names: Sequence[str]) -> list[int]:
    """Return what is named, where the settings allow it."""
    from ..gates import admitted

    return admitted(velatura.store, [(name, velatura.find(name)) for name in names], make_filter(velatura))


class _Shown:
    """How far a run of probes is, on stderr."""

    def __init__(self, bar: Progress) -> None:
        from ..protocols import Watch

        self._bar = bar
        self._done, self._whole = 0, 1
        self.watch = Watch(progress=self._painted)

    def probed(self, report: ProbeReport) -> None:
        """Take how many adapters are done."""
        self._done = len(report.done) + len(report.kept) + len(report.failed)
        self._whole = report.adapters
        self._painted(0.0)

    def _painted(self, share: float) -> None:
        # How many there are is known after the first.
        told = f"{self._done:,} of {self._whole:,}" if self._done else "the first"
        self._bar.told(told, round(1000 * (self._done + share)), 1000 * self._whole)


def _grid(weights: str | None, prompts: Path | None, seeds: int | None) -> Grid:
    from ..probes import SEEDS, WEIGHTS, Grid

    try:
        asked = WEIGHTS if weights is None else tuple(float(weight) for weight in weights.split(","))
    except ValueError:
        raise typer.BadParameter(f"{weights!r} is no list of numbers", param_hint="--weights") from None
    texts = () if prompts is None else tuple(read_prompts(None, prompts))
    return Grid(prompts=texts, seeds=seeds or SEEDS, weights=asked)
