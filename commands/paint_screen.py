"""What the commands that paint show: the checkpoints that are known, and what a picture will take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from rich.table import Table

from .options import print_json
from .screen import console, out, shown

if TYPE_CHECKING:
    from ..generation.demofusion import Plan
    from ..generation.known import Listed
    from ..records import GenerationRequest


def print_checkpoints(listed: Sequence[Listed], *, as_json: bool) -> None:
    """Print the checkpoints that are known by name."""
    if as_json:
        print_json(
            [
                {**asdict(one.known), "model": one.known.model, "debias": one.known.debias, "cached": one.cached}
                for one in listed
            ]
        )
        return
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("name", no_wrap=True)
    table.add_column("")
    table.add_column("painted by", no_wrap=True)
    for title in ("steps", "guidance", "pixels"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("here", no_wrap=True)
    for one in listed:
        known = one.known
        table.add_row(
            f"[bold]{known.name}[/]",
            shown(known.title),
            known.backend,
            str(known.steps),
            f"{known.guidance:g}",
            str(known.size),
            "yes" if one.cached else "",
        )
    console().print(table)
    out("[dim]give a name as --model; what is not on this machine is fetched from the hub[/]")


def print_plan(request: GenerationRequest, plan: Plan, *, as_json: bool) -> None:
    """Print what painting a request takes."""
    if as_json:
        phases = [
            {
                "scale": phase.scale,
                "height": phase.size[0],
                "width": phase.size[1],
                "steps": len(phase.steps),
                "windows": max((step.windows for step in phase.steps), default=0),
                "dilated": max((step.dilated for step in phase.steps), default=0),
                "samples": phase.samples,
            }
            for phase in plan.phases
        ]
        totals = {"samples": plan.samples, "tiles": plan.tiles, "bytes": plan.bytes, "seconds": plan.seconds}
        print_json({"width": request.width, "height": request.height, "mode": plan.mode, "phases": phases, **totals})
        return
    out(f"[bold]{request.width}x{request.height}[/] by {plan.mode}, {request.steps} steps")
    table = Table(box=None, pad_edge=False, header_style="dim")
    for title in ("phase", "latents", "steps", "windows", "dilated views", "passes through the model"):
        table.add_column(title, justify="right")
    for phase in plan.phases:
        table.add_row(
            f"{phase.scale:g}x",
            f"{phase.size[1]}x{phase.size[0]}",
            str(len(phase.steps)),
            str(max((step.windows for step in phase.steps), default=0)),
            str(max((step.dilated for step in phase.steps), default=0)),
            f"{phase.samples:,}",
        )
    console().print(table)
    out(f"{plan.samples:,} passes of one sample, {plan.tiles} tiles to decode, {_size(plan.bytes)} beside the model")
    if plan.seconds is not None:
        out(f"about {_duration(plan.seconds)} on this machine")


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
