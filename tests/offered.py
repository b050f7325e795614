"""Candidates as a retriever would offer them for a prompt, of adapters that a test made."""

from __future__ import annotations

import zlib
from typing import Any

from shelf import adapter

from velatura.records import AdapterRecord, Candidate, Match, RefinedAdapter, Refinement
from velatura.syntax import plain_text
from velatura.words import terms, words


def offered(
    prompt: str,
    title: str,
    *,
    score: float = 0.6,
    near: float | None = None,
    rarity: float = 1.0,
    refinement: Refinement | None = None,
    **fields: Any,
) -> Candidate:
    """Return an adapter with all that the prompt shares with it.

    Args:
        prompt: What is asked.
        title: Of the adapter; its key, too.
        score: How likely it is meant.
        near: The cosine of its nearest example prompt.
        rarity: Of each of its trigger phrases that stands in the prompt.
        refinement: What a describer told.
        fields: Of its record.
    """
    record = adapter(fields.pop("key", title), title=title, **fields)
    spoken = f" {' '.join(words(plain_text(prompt)))} "
    matched = [
        Match(by="phrase", text=" ".join(cut), score=rarity)
        for cut in dict.fromkeys(tuple(words(phrase)) for group in record.triggers for phrase in group)
        if cut and f" {' '.join(cut)} " in spoken
    ]
    asked = set(terms(plain_text(prompt)))
    for by, text in _texts(record).items():
        shared = [term for term in dict.fromkeys(terms(text)) if term in asked]
        if shared:
            matched.append(Match(by=by, text=", ".join(shared), score=float(len(shared))))
    if near is not None:
        matched.append(Match(by="meaning", text="an example prompt", score=near))
    number = zlib.crc32(record.key.encode("utf-8", "replace"))
    refined = RefinedAdapter(id=number, record=record, refinement=refinement or Refinement())
    return Candidate(adapter=refined, score=score, matched=tuple(matched))


def _texts(record: AdapterRecord) -> dict[str, str]:
    return {
        "title": record.title,
        "triggers": ", ".join(phrase for group in record.triggers for phrase in group),
        "tags": ", ".join(record.tags),
        "names": " ".join(filter(None, (record.file_name, record.version_name))),
        "description": record.description or "",
        "prompts": ", ".join(example.prompt or "" for example in record.examples),
    }
