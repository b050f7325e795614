"""What stands beside figures and differences, as tables: claims, fronts, parts of the prompts, times, answers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ..anchors import AnchorTable, anchors
from ..judge.records import Share, Verdict
from ..tables import Number
from .grids import PLUS_MINUS, Entry, Grid, row_of, unit_of
from .numbers import NOTHING, likely, percent, probability, with_ends, with_interval
from .results import Claim, Cut, Front, Results, Survey, Timing
from .verdicts import Kind


def claim_grid(claims: Sequence[Claim]) -> Grid:
    """Return what was said beforehand, and whether it holds."""
    return Grid(
        title="Said beforehand",
        columns=("claim", "measured", "must be", "", "who says so"),
        rows=tuple(map(_claim_row, claims)),
    )


def front_grids(results: Results, front: Front) -> Iterator[Grid]:
    """Yield hypervolumes, and whose front lies before whose."""
    if front.volumes:
        corner = ", ".join(f"{one:g}" for one in front.reference or ())
        yield Grid(
            title="Hypervolume",
            columns=("method", "value"),
            rows=tuple(row_of(one.method, with_ends(one.value, one.low, one.high)) for one in front.volumes),
            notes=(f"The area between a front and ({corner}): more is better.",) if corner else (),
        )
    if front.verdicts:
        rows = []
        for one in front.verdicts:
            gap: tuple[Number, str] = NOTHING, str(NOTHING)
            if one.gaps is not None:
                low, high = one.gaps.mean.interval or (None, None)
                mean = with_ends(one.gaps.mean.value, low, high, signed=True)
                gap = mean, f"{one.gaps.low:.4g} to {one.gaps.high:.4g}"
            gain = with_ends(one.gain.value, one.gain.low, one.gain.high, signed=True)
            rows.append(row_of(str(one), likely(one.probability), gain, *gap))
        x, y = results.title(front.x), results.title(front.y)
        yield Grid(
            title="Front against front",
            columns=("", "probability that it dominates", "hypervolume gained", f"{y} at equal {x}", f"over {x}"),
            rows=tuple(rows),
        )


def cut_grids(results: Results) -> Iterator[Grid]:
    """Yield what was measured on parts of the prompts: a table for each metric and way to part them."""
    for metric, by in dict.fromkeys((cut.metric, cut.by) for cut in results.cuts):
        own = [cut for cut in results.cuts if (cut.metric, cut.by) == (metric, by)]
        prompts = {part.name: part.prompts for cut in own for part in cut.slices}
        yield Grid(
            title=f"{results.title(metric)}{unit_of(own[0].unit)} by {by}; {own[0].better} is better",
            columns=(by, "prompts", *map(_cut_name, own)),
            rows=tuple(
                (*row_of(name, f"{count:,}"), *(_part(cut, name) for cut in own)) for name, count in prompts.items()
            ),
            notes=(PLUS_MINUS, "The p of each difference is corrected after Holm for the parts that it is cut into."),
        )


def timing_grids(timings: Sequence[Timing]) -> Iterator[Grid]:
    """Yield the times of each method: stages by batch size."""
    for method in dict.fromkeys(one.method for one in timings):
        own = [one for one in timings if one.method == method]
        batches = sorted({one.batch for one in own})
        counts = sorted({one.n for one in own})
        language = any(one.tokens is not None or one.cost is not None for one in own)
        rows = []
        for stage, warm in dict.fromkeys((one.stage, one.warm) for one in own):
            group = {one.batch: one for one in own if (one.stage, one.warm) == (stage, warm)}
            name = stage + {True: ", warm", False: ", cold", None: ""}[warm]
            seconds = (_seconds(group.get(batch)) for batch in batches)
            told = next(iter(group.values()))
            extra = (_optional(told.tokens, 0), _optional(told.cost, 4)) if language else ()
            rows.append(row_of(name, *seconds, *extra))
        span = f"{counts[0]:,}" if len(counts) == 1 else f"{counts[0]:,} to {counts[-1]:,}"
        yield Grid(
            title=f"{method}: seconds by stage and batch size",
            columns=("stage", *(f"batch {batch}" for batch in batches), *(("tokens", "US $") if language else ())),
            rows=tuple(rows),
            notes=(f"Medians, with quartiles in brackets; n = {span}.",),
        )


def judge_grids(verdicts: Sequence[Verdict]) -> Iterator[Grid]:
    """Yield what a judge answered, and how it answers."""
    if verdicts:
        yield Grid(
            title="Prompts won, each pair asked in both orders",
            columns=(
                "compared",
                "criterion",
                "judge",
                "win / tie / lose",
                "refused",
                "wins of decided",
                "Holm's p",
                "verdict",
            ),
            rows=tuple(map(_verdict_row, verdicts)),
        )
        yield Grid(
            title="How the judge answers",
            columns=(
                "compared",
                "criterion",
                "judge",
                "one answer in both orders",
                "with ties in both",
                "named the first",
                "people say the same",
            ),
            rows=tuple(map(_judge_row, verdicts)),
            notes=(
                "A coin gives one answer in both orders half of the time. A tie in one order alone is another answer; "
                "ties in both count in the second column alone.",
            ),
        )


def survey_grids(survey: Survey) -> Iterator[Grid]:
    """Yield what people said, and how far they agree."""
    for question, measure in dict.fromkeys((one.question, one.measure) for one in survey.opinions):
        own = [one for one in survey.opinions if (one.question, one.measure) == (question, measure)]
        yield Grid(
            title=f"{question} ({measure}, {own[0].better} is better)",
            columns=("method", measure, "answers", "raters"),
            rows=tuple(
                row_of(one.method, with_ends(one.value, one.low, one.high), f"{one.n:,}", f"{one.raters:,}")
                for one in own
            ),
        )
    if survey.agreements:
        yield Grid(
            title="How far people agree",
            columns=("question", "measure", "value", "n"),
            rows=tuple(
                row_of(one.question, one.measure, with_ends(one.value, one.low, one.high), f"{one.n:,}")
                for one in survey.agreements
            ),
        )


def anchor_grids(names: Sequence[str]) -> Iterator[Grid]:
    """Yield published tables; a name that there is none of is passed over."""
    known = anchors()
    for name in names:
        if name in known:
            yield _anchor_grid(known[name])


def _anchor_grid(table: AnchorTable) -> Grid:
    grouped = any(row.group is not None for row in table.rows)
    rows = []
    for row in table.rows:
        group = (row.group or "",) if grouped else ()
        numbers = (row.values.get(column.name) for column in table.columns)
        rows.append(row_of(str(row.cell), *group, *(Number(value=one) for one in numbers)))
    return Grid(
        title=f"The paper's, not measured here: {table.title}",
        columns=("", *(("of",) if grouped else ()), *(f"{one.title}{unit_of(one.unit)}" for one in table.columns)),
        rows=tuple(rows),
        notes=(f"{table.cites}.", f"{table.setting}.", *table.notes),
    )


def _claim_row(claim: Claim) -> tuple[Entry, ...]:
    kinds: dict[bool | None, tuple[Kind, str]] = {
        True: ("better", "holds"),
        False: ("worse", "does not hold"),
        None: ("untested", "not measured"),
    }
    kind, said = kinds[claim.holds]
    if claim.holds is not None and claim.sure is False:
        kind, said = "unclear", f"{said}, within error"
    return (
        Entry(content=claim.claim, wide=True),
        *row_of(with_ends(claim.value, claim.low, claim.high), claim.bound),
        Entry(content=said, kind=kind),
        Entry(content=claim.source, wide=True),
    )


def _part(cut: Cut, name: str) -> Entry:
    found = next((part for part in cut.slices if part.name == name), None)
    if found is None:
        return Entry(content=NOTHING)
    if cut.baseline is None:
        return Entry(content=with_interval(found.value, found.low, found.high))
    p = found.p if found.adjusted is None else found.adjusted
    kind: Kind = "untested"
    if p is not None:
        better = (found.value > 0) == (cut.better == "higher")
        kind = "unclear" if p > 0.05 else "better" if better else "worse"
    return Entry(content=with_interval(found.value, found.low, found.high, signed=True), kind=kind)


def _cut_name(cut: Cut) -> str:
    return str(cut.cell) if cut.baseline is None else f"{cut.cell} less {cut.baseline}"


def _verdict_row(one: Verdict) -> tuple[Entry, ...]:
    kind: Kind = "unclear" if one.wins is None else "better" if one.wins == "of" else "worse"
    said = {"of": f"{one.of} wins", "against": f"{one.against} wins", None: "nobody wins"}[one.wins]
    counts = one.prompts
    unanswered = counts.refused + counts.unusable
    return (
        *row_of(
            f"{one.of} / {one.against}",
            one.criterion,
            one.judge,
            f"{counts.win} / {counts.tie} / {counts.lose}",
            f"{unanswered} of {counts.win + counts.tie + counts.lose + unanswered}",
            _share(one.share),
            probability(one.p_holm),
        ),
        Entry(content=f"not to be believed: {'; '.join(one.hollow_for)}" if one.is_hollow else said, kind=kind),
    )


def _judge_row(one: Verdict) -> tuple[Entry, ...]:
    people = str(NOTHING)
    if one.agreement is not None:
        kappa = with_ends(one.agreement.kappa, one.agreement.low, one.agreement.high)
        people = f"{percent(one.agreement.same)} of {one.agreement.n:,}, kappa {kappa}"
    compared = f"{one.of} / {one.against}"
    shares = map(_share, (one.consistency, one.same, one.first))
    return row_of(compared, one.criterion, one.judge, *shares, people)


def _share(share: Share | None) -> str:
    if share is None:
        return str(NOTHING)
    return f"{percent(share.value)} [{100 * share.low:.1f}, {100 * share.high:.1f}], n = {share.n:,}"


def _seconds(timing: Timing | None) -> Number:
    return NOTHING if timing is None else with_ends(timing.median, timing.low, timing.high)


def _optional(value: float | None, digits: int) -> Number:
    return Number(value=value, digits=digits)
