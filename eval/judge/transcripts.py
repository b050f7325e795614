"""Every answer of a judge on a line of JSON, so that it is paid for once, and a verdict can be reached anew without it.

An answer is found by what was asked: the judge with the version of its question, the criterion, the prompt, and the
contents of the pictures in their order. Lines are only ever added; a damaged one costs its own answer alone.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Sequence
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any, Final

from ...errors import InputError, LanguageModelUnavailable
from ...parameters import finite
from ..whole import append_line
from .records import BEST, Answer, Criterion, Exhibit

_LONGEST: Final = 100_000
"""Bytes of a line that is read; one has about 500."""
_PROMPT: Final = 400
_MOST: Final = 10**12
"""Tokens that one answer may have taken."""


class Transcripts:
    """The answers that were given so far; may be used by several threads at once.

    Args:
        path: The file, which is made with the first answer; None keeps answers in memory alone.

    Raises:
        InputError: the file is there and cannot be read, or holds something else.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._answers: dict[str, Answer] = {}
        self._judges: set[str] = set()
        self.damaged = 0
        """Lines that could not be read."""
        if path is not None:
            self._load(path)

    def __len__(self) -> int:
        return len(self._answers)

    @property
    def judges(self) -> tuple[str, ...]:
        """The names of the judges that answered, sorted."""
        return tuple(sorted(self._judges))

    def find(self, key: str) -> Answer | None:
        """Return the latest answer to a question; None where there is none."""
        with self._lock:
            return self._answers.get(key)

    def keep(self, key: str, judge: str, criterion: Criterion, prompt: str, answer: Answer) -> None:
        """Keep an answer; once this returns, the end of the process does not take it back.

        Raises:
            InputError: the file cannot be written.
        """
        # The prompt is kept for people, who need not read all of a long one; the key is of the whole.
        told = {"key": key, "judge": judge, "criterion": criterion, "prompt": prompt[:_PROMPT], **asdict(answer)}
        line = json.dumps(told, ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n"
        with self._lock:
            if self.path is not None:
                append_line(self.path, line)
            self._answers[key] = answer
            self._judges.add(judge)

    def _load(self, path: Path) -> None:
        try:
            with path.open("rb") as file:
                while line := file.readline(_LONGEST):
                    if line.strip() and not self._take(line):
                        self.damaged += 1
        except FileNotFoundError:
            return
        except OSError as error:
            raise InputError(f"{path} cannot be read: {error.strerror}") from None
        if self.damaged and not self._answers:
            raise InputError(f"{path} holds no transcripts of a judge; name another file with --transcripts")

    def _take(self, line: bytes) -> bool:
        from pydantic import ValidationError

        try:
            plain = json.loads(line, parse_constant=finite, parse_float=finite)
            key, judge = plain.pop("key"), plain.pop("judge")
            answer: Answer = _reader().validate_python({name: plain[name] for name in _FIELDS if name in plain})
        except (ValueError, KeyError, AttributeError, TypeError, RecursionError, ValidationError):
            return False
        if not isinstance(key, str) or not isinstance(judge, str) or not _can_be(answer):
            return False
        self._answers[key] = answer
        self._judges.add(judge)
        return True


class ReplayJudge:
    """Answers from transcripts alone: nothing is asked of anybody.

    Args:
        transcripts: The answers.
        name: The judge that gave them; None takes the only one that is there.

    Raises:
        InputError: there are answers of none, or of several.
    """

    def __init__(self, transcripts: Transcripts, name: str | None = None) -> None:
        if name is None:
            if len(transcripts.judges) != 1:
                listed = ", ".join(transcripts.judges) or "nobody"
                raise InputError(f"the transcripts are of {listed}; they can be replayed where they are of one judge")
            name = transcripts.judges[0]
        self.name = name
        self._transcripts = transcripts

    def choose(self, criterion: Criterion, prompt: str, first: Sequence[Exhibit], second: Sequence[Exhibit]) -> Answer:
        """Return what was answered.

        Raises:
            LanguageModelUnavailable: This was not asked.
        """
        answer = self._transcripts.find(key_of(self.name, criterion, prompt, first, second))
        if answer is None:
            raise LanguageModelUnavailable("the transcripts hold no answer to this")
        return answer


def key_of(judge: str, criterion: Criterion, prompt: str, first: Sequence[Exhibit], second: Sequence[Exhibit]) -> str:
    """Return the address of a question, 32 hexadecimal digits."""
    sides = [[exhibit.digest for exhibit in side] for side in (first, second)]
    told = json.dumps([judge, criterion, prompt, *sides])
    return hashlib.sha256(told.encode()).hexdigest()[:32]


_FIELDS: Final = ("choice", "reason", "scores", "usage")


def _can_be(answer: Answer) -> bool:
    """Return whether the numbers of an answer are such as a judge gives."""
    counts = (answer.usage.calls, answer.usage.read, answer.usage.cached, answer.usage.written)
    return all(0 <= score <= BEST for score in answer.scores or ()) and all(0 <= count <= _MOST for count in counts)


@cache
def _reader() -> Any:
    from pydantic import TypeAdapter

    return TypeAdapter(Answer)
