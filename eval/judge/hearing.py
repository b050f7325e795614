"""Asks a judge about every pair in both orders, within a limit; what cannot be asked or read is told, never lost."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Final, get_args

from ...errors import InputError, LanguageModelError, LanguageModelUnavailable, UnreadableFile
from ...records import Usage
from .exhibits import exhibits
from .records import Answer, Exhibit, Hearing, Outcome, Pairing, Pairings, Said, Skipped, Trial
from .transcripts import ReplayJudge, Transcripts, key_of

if TYPE_CHECKING:
    from .judges import Judge

_OUTAGES: Final = 3
"""Questions in a row that nobody answers, after which no more are asked."""


def hear(
    judge: Judge,
    pairings: Pairings,
    folder: Path,
    *,
    transcripts: Transcripts | None = None,
    most_calls: int | None = None,
    workers: int = 1,
    told: Callable[[int, int], object] | None = None,
) -> Hearing:
    """Ask a judge about all pairings, each in both orders.

    An answer that stands in the transcripts is not asked for again, unless it was of no use. Pairs of the same pictures
    are ties, and nobody is asked about them.

    Args:
        judge: Is asked.
        pairings: In this order.
        folder: Where the samples' pictures lie.
        transcripts: Every answer is kept there.
        most_calls: No pair is begun whose two questions would go beyond so many calls. An answer of no use is asked
            for once more, which may go beyond it by one call for each question under way.
        workers: How many pairs are asked about at once.
        told: Called with how many pairs are done, and how many there are.

    Raises:
        InputError: the judge can never be asked, such as for a wrong key, or the transcripts cannot be written.
    """
    kept = Transcripts() if transcripts is None else transcripts
    bench = _Bench(judge, folder, kept, most_calls)
    done: list[Trial | Skipped] = []
    for found in _each(bench, pairings.pairs, workers):
        done.append(found)
        if told is not None:
            told(len(done), len(pairings.pairs))
    return Hearing(
        judge=judge.name,
        pairings=pairings,
        trials=tuple(found for found in done if isinstance(found, Trial)),
        skipped=tuple(found for found in done if isinstance(found, Skipped)),
        usage=bench.usage,
        asked=bench.asked,
        kept=bench.kept,
    )


def _each(bench: _Bench, pairs: Sequence[Pairing], workers: int) -> Iterator[Trial | Skipped]:
    """Yield what became of each pair, in their order."""
    if workers <= 1:
        yield from map(bench.hear, pairs)
        return
    pool = ThreadPoolExecutor(workers, thread_name_prefix="judge")
    try:
        yield from pool.map(bench.hear, pairs)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


class _Bench:
    """A judge, what it answered before, and what it may still be asked."""

    def __init__(self, judge: Judge, folder: Path, transcripts: Transcripts, most_calls: int | None) -> None:
        self.usage = Usage()
        self.asked = 0
        self.kept = 0
        self._judge = judge
        self._folder = folder
        self._transcripts = transcripts
        self._takes_useless = isinstance(judge, ReplayJudge)
        self._most = most_calls
        self._lock = threading.Lock()
        self._calls = 0
        self._under_way = 0
        self._outages = 0

    def hear(self, pairing: Pairing) -> Trial | Skipped:
        """Return what the judge says of a pair in both orders."""
        try:
            of, against = exhibits(self._folder, pairing)
        except InputError as error:
            return Skipped(pairing=pairing, reason=str(error), is_unasked=False)
        if sorted(exhibit.digest for exhibit in of) == sorted(exhibit.digest for exhibit in against):
            return Trial(pairing=pairing, outcome="tie")
        orders = [(of, against), (against, of)]
        keys = [key_of(self._judge.name, pairing.criterion, pairing.prompt, *order) for order in orders]
        answers = [self._known(key) for key in keys]
        missing = [place for place, answer in enumerate(answers) if answer is None]
        if not pairing.of_is_asked_first:
            missing.reverse()
        if reason := self._reserve(len(missing)):
            return Skipped(pairing=pairing, reason=reason, is_unasked=True)
        left = len(missing)
        try:
            for place in missing:
                left -= 1
                answers[place] = self._ask(keys[place], pairing, *orders[place])
        except LanguageModelUnavailable as error:
            return Skipped(pairing=pairing, reason=str(error), is_unasked=True)
        except UnreadableFile as error:
            return Skipped(pairing=pairing, reason=str(error), is_unasked=False)
        finally:
            with self._lock:
                self._under_way -= left
        given = [answer for answer in answers if answer is not None]
        return Trial(pairing=pairing, outcome=outcome_of(given[0], given[1]), answers=(given[0], given[1]))

    def _known(self, key: str) -> Answer | None:
        answer = self._transcripts.find(key)
        if answer is None or (answer.choice == "unusable" and not self._takes_useless):
            return None
        with self._lock:
            self.kept += 1
        return answer

    def _reserve(self, questions: int) -> str | None:
        """Take room for questions; return why there is none."""
        with self._lock:
            if questions and self._outages >= _OUTAGES:
                return f"{self._judge.name} did not answer {_OUTAGES} questions in a row"
            if self._most is not None and questions and self._calls + self._under_way + questions > self._most:
                return f"the limit of {self._most:,} calls"
            self._under_way += questions
        return None

    def _ask(self, key: str, pairing: Pairing, first: Sequence[Exhibit], second: Sequence[Exhibit]) -> Answer:
        taken = Usage()
        calls = 1
        try:
            answer = self._judge.choose(pairing.criterion, pairing.prompt, first, second)
            taken = answer.usage
            if answer.choice not in get_args(Said):
                answer = Answer(choice="unusable", reason="it chose neither side", usage=taken)
        except UnreadableFile:
            calls = 0  # nobody was asked
            raise
        except LanguageModelUnavailable as error:
            taken = error.usage
            with self._lock:
                self._outages += 1
            raise
        except LanguageModelError as error:
            taken = error.usage
            answer = Answer(choice="unusable", reason=str(error), usage=taken)
        finally:
            with self._lock:
                self._under_way -= 1
                self._calls += max(calls, taken.calls)
                self.usage += taken
        with self._lock:
            self._outages = 0
            self.asked += 1
        self._transcripts.keep(key, self._judge.name, pairing.criterion, pairing.prompt, answer)
        return answer


def outcome_of(as_first: Answer, as_second: Answer) -> Outcome:
    """Return what became of a pair, by the answers with the method as the first side, and as the second.

    A side wins that is named in both orders. Where one order names one side and the other another, or none, the place
    decided and not the pictures: that is a tie.

    >>> outcome_of(Answer(choice="first"), Answer(choice="second"))
    'win'
    >>> outcome_of(Answer(choice="first"), Answer(choice="first"))
    'tie'
    """
    said = (as_first.choice, as_second.choice)
    if "refused" in said:
        return "refused"
    if "unusable" in said:
        return "unusable"
    return "win" if said == ("first", "second") else "lose" if said == ("second", "first") else "tie"
