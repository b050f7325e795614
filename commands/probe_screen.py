"""What the command line shows of probes: what each adapter really does, in a line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich.table import Table

from ..probe_rules import checkpoint_of
from .screen import console, out, shown

if TYPE_CHECKING:
    from ..probes import ProbeReport
    from ..records import Probe, RefinedAdapter


def plain_probe(probe: Probe) -> dict[str, Any]:
    """Return a probe as JSON has it, with a summary in words and without its direction."""
    plain = asdict(probe)
    del plain["direction"]
    return {**plain, "summary": summary(probe)}


def summary(probe: Probe) -> str:
    """Return in a sentence what an adapter really does."""
    at = next(one for one in probe.weights if one.weight == probe.at)
    value, low, high = probe.consistency
    best = "no best weight" if probe.best is None else f"best at {probe.best:g}"
    parts = [
        f"with {checkpoint_of(probe)}",
        *(flag.upper() for flag in probe.flags),
        best,
        f"at {at.weight:g} it changes pictures by {at.change:.0%} of what another seed does",
        f"consistency {value:.2f} ({low:.2f} to {high:.2f})",
        f"alignment with what it is said to do {probe.alignment:.2f}",
    ]
    return ", ".join(parts)


def print_probes(report: ProbeReport, adapters: Sequence[RefinedAdapter], *, left_out: int = 0) -> None:
    """Print what a run of probes found.

    Args:
        report: What it did.
        adapters: Those that were probed, in its order.
        left_out: How many more there are, which the settings keep out.
    """
    if report.done:
        table = Table(box=None, pad_edge=False)
        for name in ("no.", "best", "changes", "consistent", "aligned"):
            table.add_column(name, justify="right")
        for name in ("adapter", "flags"):
            table.add_column(name, overflow="fold")
        for (number, probe), adapter in zip(report.done, adapters, strict=True):
            at = next(one for one in probe.weights if one.weight == probe.at)
            table.add_row(
                str(number),
                "-" if probe.best is None else f"{probe.best:.2f}",
                f"{at.change:.0%}",
                f"{probe.consistency[0]:.2f}",
                f"{probe.alignment:.2f}",
                shown(adapter.record.title),
                ", ".join(probe.flags),
            )
        console().print(table)
    kept = f", {len(report.kept):,} were probed before" if report.kept else ""
    out(f"{len(report.done):,} probed{kept}, {len(report.failed):,} failed ({report.seconds:.1f} s)")
    if left_out:
        out(f"[dim]{left_out:,} more are kept out by the settings (VELATURA_NSFW and the like)[/]")
    for failure in report.failed:
        out(f"[red]{shown(failure.locator)}: {shown(failure.reason)}[/]")
