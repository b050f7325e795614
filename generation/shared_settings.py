"""Settings of the whole process, changed while any thread needs it: the first changes them, the last puts them back."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

FILTERS = threading.RLock()
"""To be held by whoever changes the filters of warnings, which all threads share, and puts them back."""


class Shared:
    """One change, whoever asks for it.

    Args:
        change: Makes the change and returns what undoes it.
    """

    def __init__(self, change: Callable[[], Callable[[], None]]) -> None:
        self._change = change
        self._lock = threading.Lock()
        self._holders = 0
        self._undo: Callable[[], None] = lambda: None

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep the change for as long as the block runs, here and in every other thread."""
        with self._lock:
            if self._holders == 0:
                self._undo = self._change()
            self._holders += 1
        try:
            yield
        finally:
            with self._lock:
                self._holders -= 1
                if self._holders == 0:
                    self._undo()
