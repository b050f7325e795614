"""How many calls a server is sent at once, against servers made of arithmetic."""

from __future__ import annotations

import heapq
from collections.abc import Callable

import pytest

from velatura.throttle import Pace, Window


def run(seconds: float, answer: Callable[[int], float | None], workers: int = 256) -> tuple[list[float], int, int]:
    """Ask as much as the window lets; return its sizes at each answer, how many answers came, how many refusals.

    Args:
        seconds: How long.
        answer: How long a call takes beside so many others; None where it is turned away.
        workers: The most calls at once.
    """
    window, now, blocked = Window(), 0.0, 0.0
    ends: list[tuple[float, float]] = []
    sizes, turned_away = [], 0
    while now < seconds:
        while now >= blocked and len(ends) < workers and window.has_room(len(ends)):
            takes = answer(len(ends))
            if takes is None:
                turned_away += 1
                blocked = now + 1.0
                window.turned_away(now, len(ends), now)
            else:
                heapq.heappush(ends, (now + takes, now))
                window.begun(len(ends))
        if now < blocked and (not ends or ends[0][0] > blocked):
            now = blocked
            continue
        now, began = heapq.heappop(ends)
        window.answered(began, now)
        sizes.append(window.size)
    return sizes, len(sizes), turned_away


def test_server_that_turns_calls_away_is_used_nearly_whole_and_seldom_asked_too_much() -> None:
    sizes, answers, turned_away = run(300, lambda others: None if others >= 48 else 1.0)
    assert answers > 0.9 * 300 * 48
    assert turned_away < 20
    assert max(sizes[200:]) <= 50


def test_server_that_lets_calls_stand_in_line_is_used_whole_with_a_short_line() -> None:
    def line(others: int) -> float:
        return max(1.0, (others + 1) / 48)

    sizes, answers, _ = run(300, line)
    assert answers > 0.95 * 300 * 48
    assert max(sizes[1000:]) < 3 * 48


def test_server_that_is_faster_with_many_at_once_gets_them() -> None:
    sizes, _, _ = run(100, lambda others: 1.0 + others / 128)
    assert max(sizes) >= 128


def test_window_that_is_never_full_does_not_grow() -> None:
    sizes, _, _ = run(100, lambda others: 1.0, workers=8)
    assert set(sizes) == {sizes[0]}


def test_server_that_takes_one_at_a_time_is_sent_one() -> None:
    sizes, answers, _ = run(300, lambda others: None if others else 1.0)
    assert sizes[-1] < 2
    assert answers > 200


@pytest.mark.parametrize("amount", [1, 30])
def test_pace_is_kept_but_for_the_first_second(amount: int) -> None:
    pace, now, taken = Pace(60 * amount * 4), 100.0, 0
    while (now := max(now, pace.opens)) < 110:
        pace.take(amount, now)
        taken += 1
    assert 40 <= taken <= 46
    pace.take(-amount, now)
    assert pace.opens <= now


def test_no_pace_is_none() -> None:
    pace = Pace(None)
    pace.take(1e9, 5.0)
    assert pace.opens < 5.0
