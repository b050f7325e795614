"""How many calls a server is sent at once, and how fast one after the other.

`Window` finds out how many it takes at once; `Pace` keeps to a rate that is set. Neither waits: whoever asks does.
"""

from __future__ import annotations

import math
from typing import Final

_FIRST: Final = 32.0
"""Calls at once before anything is known of a server."""
_FASTER: Final = 1.4
"""Twice the calls that take at most so many times as long are worth it: a server that answers many together answers
each of them later. Where they take twice as long, they only stand in line."""
_USUAL, _SLOW = 1.15, 1.5
"""Times as long as usual up to which answers come as they do, and beyond which calls stand in line."""
_LESS: Final = 0.9
_STILL: Final = 30.0
"""Seconds without growth after a server turned calls away: each try beyond its room costs the wait it asks for then."""
_FORGETTING: Final = 0.02
"""How much of what is usual follows what is now: questions of another kind may take longer for good."""
_BURST: Final = 1.0
"""Seconds of a rate that may be used at once."""
_MINUTE: Final = 60.0


class Window:
    """The most calls that may be under way at a server: additive increase, multiplicative decrease, as in TCP.

    It doubles while that makes answers come faster, then grows by one for every round of answers. It shrinks by a tenth
    where answers take half again as long as usual, and down to what the server takes, at most to the half, where
    that turns calls away.
    """

    def __init__(self) -> None:
        self.size = _FIRST
        self._is_doubling = True
        self._floor = 1.0
        self._changed = self._still = -math.inf
        self._usual: float | None = None
        self._is_filled = False
        self._answers = 0
        self._seconds = 0.0

    def has_room(self, under_way: int) -> bool:
        """Say whether another call may begin beside those under way."""
        return under_way < int(self.size)

    def begun(self, under_way: int) -> None:
        """Note that a call has begun, and how many are under way with it."""
        self._is_filled |= not self.has_room(under_way)

    def answered(self, began: float, now: float) -> None:
        """Note an answer; a round of them decides whether there may be more at once."""
        if began < self._changed:
            return  # it tells of another size
        self._answers += 1
        self._seconds += now - began
        if self._answers < int(self.size):
            return
        mean, is_filled = self._seconds / self._answers, self._is_filled
        self._begin_round()
        usual = mean if self._usual is None else self._usual
        slower = mean / max(usual, 1e-9)
        self._usual = min(mean, usual + _FORGETTING * (mean - usual))
        if not is_filled:
            return  # nobody asked for more
        if self._is_doubling and slower <= _FASTER:
            self._resize(self.size * 2, now)
            self._usual = mean
        elif self._is_doubling:
            self._is_doubling = False
            self._resize(self.size / 2, now)
        elif slower > _SLOW:
            self._resize(self.size * _LESS, now)
        elif slower <= _USUAL and now >= self._still:
            self.size += 1.0

    def turned_away(self, began: float, under_way: int, now: float) -> None:
        """Note that the server is full; `under_way` are the calls that it has not turned away."""
        if began >= self._changed:
            self._floor = self.size / 2
            self._is_doubling = False
            self._still = now + _STILL
            self._begin_round()
            self._changed = now
        elif now >= self._still:
            return  # of an earlier burst
        self.size = max(1.0, min(self.size, max(self._floor, float(under_way))))

    def _resize(self, size: float, now: float) -> None:
        self.size = max(1.0, size)
        self._changed = now

    def _begin_round(self) -> None:
        self._answers, self._seconds, self._is_filled = 0, 0.0, False


class Pace:
    """A rate a minute, evenly spread, with a second's worth at once.

    Args:
        rate: How many a minute; None for any number.
    """

    def __init__(self, rate: float | None) -> None:
        self._each = _MINUTE / rate if rate else 0.0
        self._due = -math.inf

    @property
    def opens(self) -> float:
        """When the next may begin, by `time.monotonic()`."""
        return self._due - _BURST

    def take(self, amount: float, now: float) -> None:
        """Use some of it, or give some back that was not used after all."""
        if self._each:
            self._due = max(self._due, now) + amount * self._each
