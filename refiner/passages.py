"""Which texts of an adapter speak for it.

Stylus embeds one description per adapter (section 3.1). People's prompts look like other people's prompts more
than like descriptions, so the example prompts are embedded as well, each on its own.
"""

from __future__ import annotations

import hashlib

from ..db.words import told
from ..records import RefinedAdapter
from ..syntax import plain_text

VERSION = "3"
"""Changes when the same adapter would give other passages."""

CARD = "card"
PROMPT = "prompt"
FIELDS = (CARD, PROMPT)

_CARD_LIMIT = 1200
"""Characters of a card: MiniLM reads 256 tokens, and the title and the triggers come first."""
_PROMPT_LIMIT = 600
_PROMPTS = 8
"""Example prompts per adapter: the search takes the best of them, and more of them are near copies."""


def passages(adapter: RefinedAdapter) -> list[tuple[str, str]]:
    r"""Return (field, text) for each text that is embedded for the adapter: its card, then its example prompts.

    >>> from ..records import AdapterRecord, Example
    >>> record = AdapterRecord(
    ...     source="folder", key="k", title="Ink", triggers=(("inkstyle",),), tags=("style",),
    ...     examples=(Example(prompt="(fox:1.2), inkstyle <lora:ink:1>"), Example(prompt="fox, inkstyle")),
    ... )
    >>> passages(RefinedAdapter(id=1, record=record))
    [('card', 'Ink\nstyle\ninkstyle'), ('prompt', 'fox, inkstyle')]
    """
    return [(CARD, card(adapter)), *((PROMPT, text) for text in example_prompts(adapter))]


def card(adapter: RefinedAdapter) -> str:
    """Return the adapter's card: title, version, tags, triggers, what a describer says, what else is written."""
    record = adapter.record
    triggers = "; ".join(", ".join(group) for group in record.triggers)[:300]
    title = record.title if not record.version_name else f"{record.title}, {record.version_name}"
    training = ", ".join(tag for tag, _ in record.training_tags[:20])
    parts = [
        title,
        ", ".join(record.tags),
        triggers,
        told(adapter.refinement),
        record.notes,
        record.description,
        training,
    ]
    return "\n".join(part.strip() for part in parts if part and part.strip())[:_CARD_LIMIT]


def example_prompts(adapter: RefinedAdapter) -> list[str]:
    """Return the example prompts as plain words, each once, in the order of the page."""
    texts = (plain_text(example.prompt)[:_PROMPT_LIMIT] for example in adapter.record.examples if example.prompt)
    return list(dict.fromkeys(text for text in texts if text))[:_PROMPTS]


def digest(text: str) -> str:
    """Return the text's content address, 32 hexadecimal digits."""
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
