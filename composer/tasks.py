"""A prompt cut into tasks: what can be asked of adapters, each in the user's own words."""

from __future__ import annotations

from ..syntax import phrases
from ..words import FUNCTION_WORDS, places

_BOILERPLATE = """
masterpiece best quality high highres absurdres detailed ultra extremely highly intricate details resolution hires hdr
uhd 8k 4k 16k hd raw photo wallpaper official art amazing beautiful perfect professional sharp focus solo simple
background looking viewer rating score up cg unity very super really good great nice awesome stunning top realistic
"""
BOILERPLATE = frozenset(_BOILERPLATE.split()) | FUNCTION_WORDS
"""Words that ask for a good picture, and not for any thing in it: a phrase of these alone is no task."""
_DENYING = frozenset(("no", "not", "without"))
"""What stands behind these up to the next joining word is not wanted."""
_ARTICLES = frozenset(("a", "an", "the", "any", "some"))
_LONGEST = 4
"""Words of a phrase up to which it is one task; a longer one is a sentence, cut at the words that join its parts."""
_MOST = 40


def tasks(prompt: str) -> tuple[str, ...]:
    """Return the prompt's tasks in order, each as it is written there, each once, at most 40.

    A phrase of a tag list is a task. A sentence is cut at the words that join its parts, such as `in` and `with`.
    Phrases that only ask for quality are none.

    >>> tasks("masterpiece, best quality, 1girl, red_jacket, (Hatsune Miku:1.2)")
    ('1girl', 'red_jacket', 'Hatsune Miku')
    >>> tasks("a man riding a skateboard down the side walk, oil painting")
    ('man riding', 'skateboard', 'side walk', 'oil painting')
    >>> tasks("a house without a garden, no people")
    ('house',)
    """
    found: dict[str, None] = {}
    for phrase in phrases(prompt):
        for task in _cut(phrase):
            found.setdefault(task)
            if len(found) == _MOST:
                return tuple(found)
    return tuple(found)


def negated(prompt: str) -> tuple[frozenset[str], frozenset[str]]:
    """Return the words that a prompt asks to be left out, and those that it asks for.

    >>> denied, asked = negated("a house without a ghibli style, no people, rain")
    >>> sorted(denied), sorted(asked)
    (['ghibli', 'people', 'style'], ['house', 'rain'])
    """
    denied: set[str] = set()
    asked: set[str] = set()
    for phrase in phrases(prompt):
        into = asked
        for word, _, _ in places(phrase):
            if word in _DENYING:
                into = denied
            elif word not in FUNCTION_WORDS:
                into.add(word)
            elif word not in _ARTICLES:
                into = asked
    return frozenset(denied), frozenset(asked)


def _cut(phrase: str) -> list[str]:
    spoken = places(phrase)
    if len(spoken) <= _LONGEST and not _DENYING.intersection(word for word, _, _ in spoken):
        # Whole, less what opens it: `a fox in snow` is short enough to be one thing only when nothing joins parts.
        first = next((at for at, (word, _, _) in enumerate(spoken) if word not in FUNCTION_WORDS), len(spoken))
        spoken = spoken[first:]
        if not any(word in FUNCTION_WORDS for word, _, _ in spoken):
            return _task(phrase, spoken)
    cut: list[str] = []
    run: list[tuple[str, int, int]] = []
    is_denied = False
    for place in (*spoken, ("of", 0, 0)):
        if place[0] not in FUNCTION_WORDS:
            run.append(place)
            continue
        cut += [] if is_denied else _task(phrase, run)
        is_denied = place[0] in _DENYING or (is_denied and not run and place[0] in _ARTICLES)
        run = []
    return cut


def _task(phrase: str, run: list[tuple[str, int, int]]) -> list[str]:
    if all(word in BOILERPLATE for word, _, _ in run):
        return []
    return [phrase[run[0][1] : run[-1][2]]]
