"""What `velatura refine` shows: a few lines for people, one object for programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from rich.table import Table

from ..records import Usage
from .screen import console, out, shown

if TYPE_CHECKING:
    from ..refiner.batch import BatchReport
    from ..refiner.embed import EmbedReport
    from ..refiner.pictures import PictureReport
    from ..refiner.refine_report import RefineReport
    from ..refiner.undescribed import Estimate
    from ..settings import Settings

PRICES: Final = "set VELATURA_PRICE_READ and VELATURA_PRICE_WRITTEN to what a million tokens cost"
_AGAIN: Final = "--retry asks again, --failures tells why"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of the command."""

    plain: Mapping[str, Any]
    """For programs."""
    lines: Sequence[str]
    """For people: the first says most, the others are what belongs to it."""
    notes: Sequence[str] = ()
    """What else a person should know."""
    failures: Sequence[tuple[int, str, str, bool]] | None = None
    """(number, title, reason, whether it is a refusal) of adapters; None where they are not to be listed."""
    problem: str | None = None
    """Why not all could be done that was to be done, in a sentence."""


def detail(report: RefineReport, settings: Settings) -> str:
    """Return how far a run is, for the line of progress."""
    cost = settings.cost(report.usage)
    told = f"{report.done:,} of {report.adapters:,}"
    if report.usage.calls:
        told += f", {report.usage.read + report.usage.written:,} tokens"
    return f"{told}, cost {_money(cost)}" if cost else told


def cleared(count: int, *, is_done: bool) -> Outcome:
    """Return what is told when descriptions are taken away."""
    verb = "are cleared" if is_done else "would be cleared"
    line = f"the descriptions of {_many(count, 'adapter')} {verb}; having them back costs nothing"
    return Outcome(plain={"describer": "none", "cleared": count}, lines=[line if count else "nothing is described"])


def estimated(name: str, told: Estimate, settings: Settings) -> Outcome:
    """Return what is told of a run that was not made."""
    cost = settings.cost(told.usage)
    asked = f"{told.to_ask:,} to ask about"
    lines = [
        f"{name}: {_many(told.adapters, 'adapter')} to describe" if told.adapters else _nothing(name),
        *([asked] if told.adapters else []),
        *_counted(told.reused, "by what it answered before, or answers on an equal one"),
        *_counted(told.failed_before, f"that it failed at or refused before; {_AGAIN}"),
        *_counted(told.under_way, "under way in batches; --batch collect reads them"),
        *_counted(told.adapters - told.to_ask - told.reused - told.failed_before - told.under_way, "left"),
    ]
    notes = []
    if told.usage.calls:
        lines.append(f"takes about {told.usage.read:,} tokens read and {told.usage.written:,} written")
        if cost is not None:
            lines.append(f"costs about {_money(cost)}")
        else:
            notes.append(f"no cost is told; {PRICES}")
    return Outcome(plain={"describer": name, "dry_run": True, **asdict(told), "cost": cost}, lines=lines, notes=notes)


def refined(name: str, report: RefineReport, settings: Settings) -> Outcome:
    """Return what is told of a run."""
    cost = settings.cost(report.usage)
    settled = report.failed + report.refused + report.passed
    left = report.adapters - report.done - report.unanswered - report.under_way
    all_of = _many(report.adapters, "adapter")
    lines = [_nothing(name)]
    if report.adapters:
        lines = [
            f"{name}: {report.done - settled:,} of {all_of} described ({report.seconds:.1f} s)",
            *_counted(report.reused, "by what it answered before, or on an equal one"),
            *_counted(report.failed, f"failed; {_AGAIN}"),
            *_counted(report.refused, f"refused; {_AGAIN}"),
            *_counted(report.passed, f"failed or refused before, and not asked again; {_AGAIN}"),
            *_counted(report.unanswered, "without an answer; the same command asks again"),
            *_counted(report.under_way, "under way in batches; --batch collect reads them"),
            *_counted(left, "left; the same command goes on"),
            *_taken(report.usage, cost),
        ]
    return Outcome(
        plain={"describer": name, **asdict(report), "cost": cost},
        lines=lines,
        notes=_unpriced(report.usage, cost) + ([report.stopped] if report.stopped and not report.unanswered else []),
        problem=_problem(report),
    )


def batched(name: str, what: str, report: BatchReport, settings: Settings) -> Outcome:
    """Return what is told of batches that were sent or read."""
    cost = settings.cost(report.usage)
    if what == "submit":
        first = f"{name}: {_many(report.submitted, 'question')} sent in {_many(report.batches, 'batch')}"
    else:
        first = f"{name}: {_many(report.described, 'adapter')} described by {_many(report.batches, 'batch')}"
    lines = [
        first,
        *_counted(report.described if what == "submit" else 0, "described by what it answered before"),
        *_counted(report.failed, f"failed; {_AGAIN}"),
        *_counted(report.refused, f"refused; {_AGAIN}"),
        *_counted(report.unanswered, "came back without an answer; --batch submit sends them again"),
        *_counted(report.unknown, "answers to no question of ours, or on adapters that have changed since"),
        *_counted(report.under_way, "under way; --batch collect reads them when they are answered"),
        *_taken(report.usage, cost, " before what batches are cheaper"),
    ]
    plain = {"describer": name, "batch": what, **asdict(report), "cost": cost}
    return Outcome(plain=plain, lines=lines, notes=[*report.notes, *_unpriced(report.usage, cost)])


def print_outcome(outcome: Outcome) -> None:
    """Print what came of the command, for people."""
    for place, line in enumerate(outcome.lines):
        out(f"  {shown(line)}" if place else shown(line))
    for note in outcome.notes:
        out(f"[dim]{shown(note)}[/]")
    if outcome.failures is not None:
        _print_failures(outcome.failures)


def plain_outcome(
    outcome: Outcome, embedded: EmbedReport | None = None, pictures: PictureReport | None = None
) -> dict[str, Any]:
    """Return what came of the command, and of the embedding that followed, for programs."""
    plain = dict(outcome.plain)
    if outcome.failures is not None:
        names = ("id", "title", "reason", "refused")
        plain["failures"] = [dict(zip(names, failure, strict=True)) for failure in outcome.failures]
    done = {"embedded": embedded, "pictures": pictures}
    return {**plain, **{name: None if report is None else asdict(report) for name, report in done.items()}}


def _print_failures(failures: Sequence[tuple[int, str, str, bool]]) -> None:
    if not failures:
        out("it failed at nothing and refused nothing")
        return
    table = Table(box=None, pad_edge=False)
    table.add_column("no.", justify="right")
    for name in ("adapter", "", "why"):
        table.add_column(name, overflow="fold")
    for number, title, reason, is_refusal in failures:
        table.add_row(str(number), shown(title), "refused" if is_refusal else "failed", shown(reason))
    console().print(table)


def _nothing(name: str) -> str:
    return f"{name}: nothing to describe, all is up to date"


def _counted(count: int, what: str) -> list[str]:
    return [f"{count:,} {what}"] if count else []


def _taken(usage: Usage, cost: float | None, less: str = "") -> list[str]:
    """Return what was read, written and paid, where a model was asked."""
    if not usage.calls:
        return []
    cached = f" ({usage.cached:,} of them cached)" if usage.cached else ""
    lines = [f"{_many(usage.calls, 'call')}, {usage.read:,} tokens read{cached}, {usage.written:,} written"]
    cheaper = " at the most, for cached tokens mostly cost less" if usage.cached else ""
    return lines if cost is None else [*lines, f"cost {_money(cost)}{less or cheaper}"]


def _unpriced(usage: Usage, cost: float | None) -> list[str]:
    return [f"no cost is told; {PRICES}"] if usage.calls and cost is None else []


def _problem(report: RefineReport) -> str | None:
    if not report.unanswered:
        return None
    if report.stopped is not None:
        return report.stopped
    return f"{_many(report.unanswered, 'adapter')} had no answer, the last since {report.fault}; run the same again"


def _many(count: int, thing: str) -> str:
    """Return a count of things.

    >>> _many(1, "batch"), _many(2, "batch"), _many(1000, "adapter")
    ('1 batch', '2 batches', '1,000 adapters')
    """
    plural = "" if count == 1 else "es" if thing.endswith("ch") else "s"
    return f"{count:,} {thing}{plural}"


def _money(cost: float) -> str:
    """Return an amount with at least two digits that count.

    >>> _money(12.345), _money(0.012345), _money(0.0)
    ('12.35', '0.0123', '0.00')
    """
    return f"{cost:.2f}" if cost >= 1 or not cost else f"{cost:.4f}"
