"""What rules say of a record that never changes, worked out once: a set is judged several times before it is done."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Final, TypeVar

A = TypeVar("A")
T = TypeVar("T")

_MOST: Final = 4096
"""Answers that are remembered; then it begins anew."""


def once(ask: Callable[[A], T]) -> Callable[[A], T]:
    """Return a function that asks once of each object, told by its identity: to hash a record takes too long.

    The object may never change. Any number of threads may ask; at the worst two ask the same.
    """
    known: dict[int, tuple[A, T]] = {}

    @wraps(ask)
    def remembered(of: A) -> T:
        found = known.get(id(of))
        if found is None:
            if len(known) >= _MOST:
                known.clear()
            # With the object itself, so that no other takes its identity.
            found = known[id(of)] = of, ask(of)
        return found[1]

    return remembered
