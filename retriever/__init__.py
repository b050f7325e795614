"""The retriever: which adapters could serve this prompt.

lists.py        the ranked lists: by words, by trigger phrases, by meaning
fusion.py       the lists -> one probability per adapter
paged.py        the lists by page, so that versions of one page take one place
rerank.py       a cross-encoder that orders the best anew
llm_rerank.py   a language model that does the same
alike.py        near-duplicates among the best -> one candidate with alternatives
similar.py      what is like another adapter
called.py       what a trigger phrase calls
pictured.py     whose look or subject a picture shows; common_look.py: what the pictures of one adapter have in common
retriever.py    a prompt, another adapter or a trigger, and a filter -> candidates, with what matched
baselines.py    other people's ways to rank, for comparison
faiss_index.py  nearest vectors (FAISS), in one stamped file
passages.py     keeps that file in step with the catalogue
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .retriever import Retriever as Retriever

__all__ = ["Retriever"]


def __getattr__(name: str) -> object:
    if name == "Retriever":
        from .retriever import Retriever

        return Retriever
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
