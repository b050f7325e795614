"""The retriever: which adapters could serve this prompt.

corpus.py       the catalogue as it is searched: words, vectors, pages, and what a filter allows
postings.py     an inverted index of words, in one file; lexicon.py keeps it in step with the catalogue
faiss_index.py  nearest vectors; segment.py: their file; growth.py, passages.py keep it in step with the catalogue
milvus_index.py the same in Milvus; milvus_collection.py, milvus_client.py: what is asked of it
lists.py        what each way of looking says: words, trigger phrases, meaning
paged.py        the same by page, so that versions of one page take one place
fusion.py       all of it -> one probability per page
rerank.py       a cross-encoder that orders the best anew
llm_rerank.py   a language model that does the same
alike.py        near-duplicates among the best -> one candidate with alternatives
similar.py      what is like another adapter
called.py       what a trigger phrase calls
pictured.py     whose look or subject a picture shows; common_look.py: what the pictures of one adapter have in common
retriever.py    a prompt, another adapter, a trigger or a picture, and a filter -> candidates, with what matched
baselines.py    other people's ways to rank, for comparison
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
