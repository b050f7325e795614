"""Other people's ways to rank adapters, by name, so that ours can be compared with them in one run.

`random` is the floor. `overlap` and `tfidf` are what the two ComfyUI nodes that pick LoRAs by themselves do: the share
of the prompt's words that stand on the page, and TF-IDF over its 1,000 commonest words and pairs of words with those of
the title counted three times. Stylus's own retriever is `dense`, which is one of our lists.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from ..errors import MissingDependency
from ..syntax import plain_text
from ..words import FUNCTION_WORDS, words

if TYPE_CHECKING:
    from ..records import RefinedAdapter

Scores = dict[int, float]
"""By catalogue number; higher is better, and what is not there is not found."""
Ranker = Callable[[str], Scores]

_FEATURES: Final = 1000
_TITLE: Final = 3


def random_ranker(adapters: Sequence[RefinedAdapter]) -> Ranker:
    """Rank by lot; the same prompt draws the same lots."""

    def rank(prompt: str) -> Scores:
        return {adapter.id: _lot(prompt, adapter.id) for adapter in adapters}

    return rank


def overlap_ranker(adapters: Sequence[RefinedAdapter]) -> Ranker:
    """Rank by the share of the prompt's words that stand in title, triggers, tags or description."""
    held = {adapter.id: frozenset(words(_naming(adapter))) for adapter in adapters}

    def rank(prompt: str) -> Scores:
        asked = frozenset(words(plain_text(prompt))) - FUNCTION_WORDS
        shares = {number: len(asked & own) / len(asked) for number, own in held.items()} if asked else {}
        return {number: share for number, share in shares.items() if share > 0}

    return rank


def tfidf_ranker(adapters: Sequence[RefinedAdapter]) -> Ranker:
    """Rank by the cosine of TF-IDF vectors.

    Raises:
        MissingDependency: scikit-learn is not installed.
    """
    try:
        from sklearn.feature_extraction.text import TfidfVectorizer
    except ModuleNotFoundError:
        raise MissingDependency("sklearn", extra="embed") from None
    vectorizer: Any = TfidfVectorizer(max_features=_FEATURES, ngram_range=(1, 2), analyzer="word", stop_words="english")
    texts = [" ".join([adapter.record.title] * (_TITLE - 1) + [_naming(adapter)]) for adapter in adapters]
    try:
        table = vectorizer.fit_transform(texts)
    except ValueError:  # not one word among all texts
        return lambda _: {}

    def rank(prompt: str) -> Scores:
        cosines = (table @ vectorizer.transform([plain_text(prompt)]).T).toarray()[:, 0]
        return {adapters[place].id: float(cosines[place]) for place in cosines.nonzero()[0]}

    return rank


RANKERS: Final[dict[str, Callable[[Sequence[RefinedAdapter]], Ranker]]] = {
    "random": random_ranker,
    "overlap": overlap_ranker,
    "tfidf": tfidf_ranker,
}


def _naming(adapter: RefinedAdapter) -> str:
    record = adapter.record
    triggers = (phrase for group in record.triggers for phrase in group)
    return " ".join(filter(None, (record.title, *triggers, *record.tags, record.description)))


def _lot(prompt: str, number: int) -> float:
    digest = hashlib.blake2b(f"{number} {prompt}".encode("utf-8", "replace"), digest_size=8).digest()
    return (int.from_bytes(digest, "little") + 1) / 2**64
