"""How often people say the same as a judge: what they said, in a plain file, and Cohen's kappa."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from ...errors import InputError
from ..records import CellName
from ..stats import cohen_kappa, wilson
from .records import CRITERIA, Agreement, Criterion, Outcome, Share

People = Mapping[tuple[str, Criterion], str]
"""By the prompt's id and the criterion: the method that people prefer, or `tie`."""
TIE: Final = "tie"
_LARGEST: Final = 100_000_000
_WIDEST: Final = 1000
_COLUMNS: Final = ("prompt_id", "criterion", "winner")


def read_people(path: str | Path) -> People:
    """Read what people said: a table (`.csv`) or JSON Lines with `prompt_id`, `criterion` and `winner` in each row.

    The winner is a method's name, or `tie`. Of several rows on one prompt the majority counts, and none is a tie.

    Raises:
        InputError: it cannot be read, or a row lacks one of the three.
    """
    file = Path(path)
    votes: dict[tuple[str, Criterion], Counter[str]] = {}
    for what, row in _rows(file):
        prompt, criterion, winner = (row.get(name) for name in _COLUMNS)
        known = next((name for name in CRITERIA if name == criterion), None)
        if known is None or not isinstance(winner, str) or not winner or not isinstance(prompt, str | int):
            raise InputError(f"{what}: it must have prompt_id, winner, and criterion, one of {', '.join(CRITERIA)}")
        votes.setdefault((str(prompt), known), Counter())[winner] += 1
    if not votes:
        raise InputError(f"{file} holds no answers of people")
    return {key: _majority(counted) for key, counted in votes.items()}


def agreement_with(
    people: People, criterion: Criterion, outcomes: Mapping[str, Outcome], of: CellName, against: CellName
) -> Agreement | None:
    """Return how far a judge and people agree over the prompts that both speak of; None where there are none.

    Args:
        people: What they said.
        criterion: The criterion.
        outcomes: The judge's, by the prompt's id; refusals and what was of no use are left out.
        of: The method that is asked about.
        against: The other one.
    """
    names: dict[Outcome, str] = {"win": of.method, "lose": against.method, "tie": TIE}
    both = [
        (prompt, names[outcome], people[prompt, criterion])
        for prompt, outcome in sorted(outcomes.items())
        if outcome in names and people.get((prompt, criterion)) in names.values()
    ]
    if not both:
        return None
    prompts, judged, told = zip(*both, strict=True)
    # Of one who always says the same kappa is 0 with no error, whatever the other says.
    kappa = cohen_kappa(prompts, judged, told) if len(set(judged)) > 1 and len(set(told)) > 1 else None
    interval = kappa.interval if kappa is not None else None
    return Agreement(
        kappa=kappa.value if kappa is not None else None,
        low=interval[0] if interval is not None else None,
        high=interval[1] if interval is not None else None,
        same=sum(one == other for one, other in zip(judged, told, strict=True)) / len(both),
        n=len(both),
        decided=share_of(
            sum(one == other for one, other in zip(judged, told, strict=True) if TIE not in (one, other)),
            sum(TIE not in (one, other) for one, other in zip(judged, told, strict=True)),
        ),
    )


def share_of(count: int, whole: int, n: int | None = None) -> Share | None:
    """Return a share with Wilson's interval; None of nothing.

    Args:
        count: How many.
        whole: Of how many.
        n: How many of these are independent, which the interval is for; None takes all. What is no whole count of them
            lies in the interval whichever way it is rounded.
    """
    n = whole if n is None else n
    if not n or not whole:
        return None
    low, high = wilson(count * n // whole, n), wilson(-(-count * n // whole), n)
    return Share(value=count / whole, low=low.low, high=high.high, n=n)


def _majority(counted: Counter[str]) -> str:
    (winner, votes), *others = counted.most_common(2)
    return TIE if others and others[0][1] == votes else winner


def _rows(file: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    try:
        if file.stat().st_size > _LARGEST:
            raise InputError(f"{file} is larger than any list of answers")
        text = file.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InputError(f"{file} is not text in UTF-8") from None
    if file.suffix.lower() == ".csv":
        table = csv.DictReader(io.StringIO(text, newline=""))
        try:
            # Each row is filled up to the width of the first, so that a wide and long table would take for ever.
            if len(table.fieldnames or ()) > _WIDEST:
                raise InputError(f"{file} has more than {_WIDEST:,} columns")
            for number, row in enumerate(table, 2):
                yield f"{file}, line {number}", row
        except csv.Error as error:
            raise InputError(f"{file} is no table: {error}") from None
        return
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            plain = json.loads(line)
        except (ValueError, RecursionError):
            plain = None
        if not isinstance(plain, dict):
            raise InputError(f"{file}, line {number}: not a JSON object")
        yield f"{file}, line {number}", plain
