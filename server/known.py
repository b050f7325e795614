"""What the catalogue was asked before, until somebody writes to it."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

if TYPE_CHECKING:
    from ..db import Store

T = TypeVar("T")

_MOST: Final = 4096
"""Answers that are kept; the oldest go first."""


class Known:
    """Remembers what a catalogue answered; several threads may ask.

    Args:
        store: The catalogue.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._mark: Any = None
        self._answers: OrderedDict[Hashable, Any] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, question: Hashable, ask: Callable[[], T]) -> T:
        """Return the answer to a question: the one from before where nobody has written since, else a new one."""
        mark = self._store.mark()
        with self._lock:
            if mark != self._mark:
                self._answers.clear()
                self._mark = mark
            if question in self._answers:
                return cast(T, self._answers[question])
        answer = ask()
        with self._lock:
            if self._mark == mark:
                self._answers[question] = answer
                if len(self._answers) > _MOST:
                    self._answers.popitem(last=False)
        return answer
