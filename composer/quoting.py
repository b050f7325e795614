"""A language model's words for a part of the prompt, found again as their writer wrote them."""

from __future__ import annotations

from ..words import FUNCTION_WORDS, places, words

_LONGEST = 300
"""Characters of what a model takes for a part of the prompt."""


def as_written(prompt: str, told: str) -> str | None:
    """Return the part of the prompt that is meant, as it is written there; None where there is no such part.

    It is the same words in the same order, whatever their case and accents; else the shortest part that holds at least
    half of the words told, each of which the prompt has, with few others between.

    >>> as_written("A Red-Fox in the snow", "red fox")
    'Red-Fox'
    >>> as_written("A Red-Fox in the snow", "a fox, red"), as_written("A Red-Fox in the snow", "grey wolf")
    ('Red-Fox', None)
    """
    wanted = words(told[:_LONGEST])
    spoken = places(prompt)
    for start in range(len(spoken) - len(wanted) + 1):
        if wanted and spoken[start][0] == wanted[0]:
            run = spoken[start : start + len(wanted)]
            if [word for word, _, _ in run] == wanted:
                return prompt[run[0][1] : run[-1][2]]
    content = set(wanted) - FUNCTION_WORDS
    present = content & {word for word, _, _ in spoken}
    if not present or 2 * len(present) < len(content):
        return None
    first, last = _shortest(spoken, present)
    if last - first + 1 > 2 * len(present) + 1:
        return None
    return prompt[spoken[first][1] : spoken[last][2]]


def _shortest(spoken: list[tuple[str, int, int]], present: set[str]) -> tuple[int, int]:
    """Return the first and last place of the shortest run that holds all of these words."""
    latest: dict[str, int] = {}
    best = (0, len(spoken) - 1)
    for at, (word, _, _) in enumerate(spoken):
        if word in present:
            latest[word] = at
            if len(latest) == len(present):
                first = min(latest.values())
                if at - first < best[1] - best[0]:
                    best = (first, at)
    return best
