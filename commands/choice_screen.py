"""What the command line shows of choices: weights before and after, masks, conflicts, what a model cost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.table import Table

from .screen import console, out, shown

if TYPE_CHECKING:
    from ..composer.budget import Row
    from ..composer.worn import Conflict
    from ..records import Composition, Usage
    from ..settings import Settings

_COLOURS = {"error": "red", "warning": "yellow", "note": "dim"}


def print_weights(rows: Sequence[Row]) -> None:
    """Print the weight of each adapter before and after the others were considered; nothing where none changed."""
    if len(rows) < 2:
        return
    table = Table(box=None, pad_edge=False)
    table.add_column("adapter", overflow="fold")
    for name in ("alone", "together", "strength", "share"):
        table.add_column(name, justify="right")
    for row in rows:
        strength = f"{row.strength:.2f}" if row.is_measured else "-"
        table.add_row(shown(row.title), f"{row.advised:g}", f"{row.laid:g}", strength, f"{row.share:.0%}")
    console().print(table)


def print_masks(composition: Composition, masks: Sequence[Sequence[bool]], weights: Sequence[Sequence[float]]) -> None:
    """Print which adapters each mask leaves on, each with the weight that it has without the others."""
    titles = [choice.adapter.title for choice in composition.choices]
    for number, (mask, laid) in enumerate(zip(masks, weights, strict=True), 1):
        on = [f"{title} at {weight:g}" for title, is_on, weight in zip(titles, mask, laid, strict=True) if is_on]
        out(f"[dim]mask {number}:[/] {shown(', '.join(on)) or '[dim]none[/]'}")


def print_usage(usage: Usage, settings: Settings) -> None:
    """Print what a language model read and wrote, and what that cost where its prices are known."""
    if not usage.calls:
        return
    cost = settings.cost(usage)
    told = f"{usage.read:,} tokens read ({usage.cached:,} of them cached), {usage.written:,} written"
    out(f"[dim]{told}{'' if cost is None else f', cost {cost:.4f}'}[/]")


def print_conflicts(composition: Composition, found: Sequence[Conflict]) -> None:
    """Print what does not go together, and what to do about it."""
    titles = [choice.adapter.title for choice in composition.choices]
    for conflict in found:
        out(f"[{_COLOURS[conflict.severity]}]{conflict.severity}[/] {shown(conflict.explanation)}")
        if conflict.drop:
            out(f"  leave out {shown(', '.join(titles[place] for place in conflict.drop))}")
        if conflict.weights:
            told = ", ".join(f"{titles[place]} at {weight:g}" for place, weight in conflict.weights)
            out(f"  instead: {shown(told)}")
        if conflict.triggers:
            out(f"  add to the prompt: {shown(', '.join(conflict.triggers))}")
    if not found:
        out(f"nothing speaks against {'this adapter' if len(titles) == 1 else f'these {len(titles)} adapters'}")
