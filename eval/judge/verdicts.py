"""What a judge's answers come to: who wins, how sure that is, and whether the judge can be believed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from statistics import fmean

from ..stats import WinTieLose, detectable_rate, holm
from .agreement import People, agreement_with, share_of
from .doubts import doubts_of
from .records import CRITERIA, Criterion, Hearing, Outcome, Tally, Trial, Verdict


def reach_verdicts(
    hearing: Hearing, *, people: People | None = None, makers: Sequence[str] = ()
) -> tuple[Verdict, ...]:
    """Return a verdict for each criterion that was asked about.

    Args:
        hearing: The answers.
        people: What people said of the same prompts, where that is known.
        makers: Names of the models that had a part in the pictures, such as the generator, the refiner and the
            composer: a judge may prefer its own kin.
    """
    asked = {pairing.criterion for pairing in hearing.pairings.pairs}
    verdicts = [_verdict(hearing, criterion, people) for criterion in CRITERIA if criterion in asked]
    corrected = holm([verdict.p for verdict in verdicts])
    whole = (replace(verdict, p_holm=p) for verdict, p in zip(verdicts, corrected, strict=True))
    return tuple(replace(verdict, doubts=doubts_of(verdict, makers)) for verdict in whole)


def _verdict(hearing: Hearing, criterion: Criterion, people: People | None) -> Verdict:
    trials = [trial for trial in hearing.trials if trial.pairing.criterion == criterion]
    skipped = [skip for skip in hearing.skipped if skip.pairing.criterion == criterion]
    outcomes = _by_prompt(trials)
    prompts = _tally(outcomes.values())
    wins = WinTieLose(wins=prompts.win, ties=prompts.tie, losses=prompts.lose)
    asked = [trial for trial in trials if trial.answers is not None]
    found = Counter(trial.is_consistent for trial in asked)
    said = Counter(tuple(sorted(answer.choice for answer in trial.answers or ())) for trial in asked)
    places = [_places(trial) for trial in asked]
    named = [place for place in places if place.total()]
    one = Counter(place for each in named if each.total() == 1 for place in each)
    tied = said["tie", "tie"]
    of, against = hearing.pairings.of, hearing.pairings.against
    return Verdict(
        criterion=criterion,
        of=of,
        against=against,
        judge=hearing.judge,
        pairs=_tally(trial.outcome for trial in trials),
        prompts=prompts,
        identical=sum(trial.answers is None for trial in trials),
        unasked=sum(skip.is_unasked for skip in skipped),
        unread=sum(not skip.is_unasked for skip in skipped),
        share=share_of(wins.wins, wins.decided),
        p=wins.p if wins.decided else None,
        half_ties=wins.score,
        net=wins.net,
        net_interval=wins.net_interval,
        consistency=share_of(found[True], found[True] + found[False]),
        same=share_of(found[True] + tied, found[True] + found[False] + tied),
        both_tied=tied,
        first=share_of(sum(each["first"] for each in named), sum(each.total() for each in named), len(named)),
        both_first=said["first", "first"],
        both_second=said["second", "second"],
        once_first=one["first"],
        once_second=one["second"],
        detectable=detectable_rate(wins.decided) if wins.decided else None,
        scores=_scores(trials),
        agreement=agreement_with(people, criterion, outcomes, of, against) if people is not None else None,
    )


def _by_prompt(trials: Sequence[Trial]) -> dict[str, Outcome]:
    """Return each prompt's outcome: who wins more of its pairs; a tie where nobody does."""
    found: dict[str, Counter[Outcome]] = {}
    for trial in trials:
        found.setdefault(trial.pairing.prompt_id, Counter())[trial.outcome] += 1
    return {prompt: _most(counted) for prompt, counted in found.items()}


def _most(counted: Counter[Outcome]) -> Outcome:
    if not (counted["win"] or counted["tie"] or counted["lose"]):
        return "refused" if counted["refused"] else "unusable"
    ahead = counted["win"] - counted["lose"]
    return "win" if ahead > 0 else "lose" if ahead < 0 else "tie"


def _tally(outcomes: Iterable[Outcome]) -> Tally:
    counted = Counter(outcomes)
    return Tally(
        win=counted["win"],
        tie=counted["tie"],
        lose=counted["lose"],
        refused=counted["refused"],
        unusable=counted["unusable"],
    )


def _places(trial: Trial) -> Counter[str]:
    """Return how often either place was named in the two orders."""
    return Counter(answer.choice for answer in trial.answers or () if answer.choice in ("first", "second"))


def _scores(trials: Sequence[Trial]) -> tuple[float, float] | None:
    """Return the mean scores of either method over both orders."""
    told = [
        ((as_first.scores[0] + as_second.scores[1]) / 2, (as_first.scores[1] + as_second.scores[0]) / 2)
        for as_first, as_second in (trial.answers for trial in trials if trial.answers is not None)
        if as_first.scores is not None and as_second.scores is not None
    ]
    return (fmean(one for one, _ in told), fmean(other for _, other in told)) if told else None
