"""A judge looks at the pictures of two methods side by side, and what it says is checked before it is believed.

records.py      the nouns: what is asked, what is answered, what became of a pair
pairs.py        which pictures of two methods are shown together, and in which order
exhibits.py     pictures as a judge is given them: nothing tells who made which
templates.py    what a language model is asked, and how its answer is read
judges.py       the seam, and the members that ask a model or a metric
transcripts.py  every answer kept, so that it is paid for once; the judge that answers from them
hearing.py      both orders of every pair asked, within a limit
verdicts.py     what the answers come to, and how sure that is
doubts.py       what speaks against believing a judge
agreement.py    how often people say the same
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .agreement import read_people as read_people
    from .hearing import hear as hear
    from .judges import ClipJudge as ClipJudge
    from .judges import Judge as Judge
    from .judges import LlmJudge as LlmJudge
    from .pairs import pair_up as pair_up
    from .records import Answer as Answer
    from .records import Verdict as Verdict
    from .transcripts import ReplayJudge as ReplayJudge
    from .transcripts import Transcripts as Transcripts
    from .verdicts import reach_verdicts as reach_verdicts

_HOMES = {
    "Answer": "records",
    "ClipJudge": "judges",
    "Judge": "judges",
    "LlmJudge": "judges",
    "ReplayJudge": "transcripts",
    "Transcripts": "transcripts",
    "Verdict": "records",
    "hear": "hearing",
    "pair_up": "pairs",
    "reach_verdicts": "verdicts",
    "read_people": "agreement",
}

__all__ = [
    "Answer",
    "ClipJudge",
    "Judge",
    "LlmJudge",
    "ReplayJudge",
    "Transcripts",
    "Verdict",
    "hear",
    "pair_up",
    "reach_verdicts",
    "read_people",
]


def __getattr__(name: str) -> object:
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(f".{_HOMES[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
