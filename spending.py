"""What a process may spend on a language model."""

from __future__ import annotations

import threading
from typing import Final

from .errors import LanguageModelSpent
from .records import Usage

_WRITTEN: Final = 250
"""Tokens of an answer, before one is known."""


class Purse:
    """Money for a language model, by the prices that are set; may be used by any number of threads.

    No call begins once what was spent and what the calls under way are expected to cost reach the limit. So it is
    passed by no more than the last call, and by what others cost more than expected.

    Args:
        limit: How much may be spent.
        read: What a million tokens cost that the model reads; those that were cached at the full price.
        written: What a million tokens cost that it writes.
    """

    def __init__(self, limit: float, *, read: float, written: float) -> None:
        self.limit = limit
        self._read = read / 1e6
        self._written = written / 1e6
        self._lock = threading.Lock()
        self._usage = Usage()
        self._reserved = 0.0

    @property
    def spent(self) -> float:
        """What was spent so far."""
        with self._lock:
            return self._cost(self._usage)

    def begin(self, tokens: int) -> float:
        """Set aside what a call may cost that reads about so many tokens, and return it.

        Raises:
            LanguageModelSpent: The limit is reached.
        """
        with self._lock:
            spent, calls = self._cost(self._usage), self._usage.calls
            if spent + self._reserved >= self.limit:
                beside = f", and {self._reserved:.4g} more are under way" if self._reserved else ""
                raise LanguageModelSpent(
                    f"the money for the language model is spent: {spent:.4g} of {self.limit:.4g}{beside}; "
                    "VELATURA_LLM_SPEND sets how much there is"
                )
            written = self._usage.written / calls if calls else _WRITTEN
            expected = tokens * self._read + written * self._written
            self._reserved += expected
        return expected

    def end(self, reserved: float, usage: Usage | None) -> None:
        """Pay for a call that has ended, and free what was set aside for it.

        Args:
            reserved: What `begin` returned.
            usage: What it took; None where no answer came.
        """
        with self._lock:
            self._reserved = max(0.0, self._reserved - reserved)
            if usage is not None:
                self._usage += usage

    def _cost(self, usage: Usage) -> float:
        return usage.read * self._read + usage.written * self._written
