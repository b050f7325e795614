"""The words of an adapter, column by column, as they are written and asked for."""

from __future__ import annotations

import re

from ..records import AdapterRecord, Refinement
from ..words import words

COLUMNS = ("title", "triggers", "tags", "description", "prompts", "names")
"""The columns of words of an adapter. `names` holds the version's name, the file's stem and the creator."""

LONGEST = 100_000
"""Characters of a column that are searchable; what an honest page says ends long before."""

_TRAINING_TAGS = 40

# In a prompt `<lora:name:0.8>` names another file, and `:1.2` is an emphasis.
_MARKUP = re.compile(r"<[^<>]*>|:\s*-?\d*\.?\d+")
_SUFFIX = re.compile(r"\.(?:safetensors|ckpt|pt|pth|bin)$", re.IGNORECASE)


def stem(file_name: str) -> str:
    """Return a file's name without its folders and without the suffix of a weights file.

    >>> stem("styles/ink.v2.safetensors"), stem("ink.v2")
    ('ink.v2', 'ink.v2')
    """
    return _SUFFIX.sub("", re.split(r"[\\/]", file_name)[-1])


def told(refinement: Refinement) -> str | None:
    r"""Return what a describer says that an adapter is for, line by line: description, category, facets.

    What it must not be used for stays out, since whoever asks for that is to find another.

    >>> told(Refinement(description="a fox", category="animal", facets=(("medium", "ink"),), avoid="cats"))
    'a fox\nanimal, ink'
    """
    sides = [refinement.category, *(words for _, words in refinement.facets)]
    return "\n".join(filter(None, (refinement.description, ", ".join(filter(None, sides))))) or None


def texts(record: AdapterRecord, description: str | None) -> tuple[str, ...]:
    """Return the words of each of `COLUMNS`, joined by single spaces.

    Args:
        record: The adapter.
        description: What a describer says of it, as `told` gives it.
    """
    prompts = dict.fromkeys(example.prompt for example in record.examples if example.prompt)
    tags = (*record.tags, *(tag for tag, _ in record.training_tags[:_TRAINING_TAGS]))
    columns = (
        (record.title,),
        (phrase for group in record.triggers for phrase in group),
        tags,
        (record.description, record.notes, description),
        (_MARKUP.sub(" ", prompt[:LONGEST]) for prompt in prompts),
        (record.version_name, stem(record.file_name or ""), record.creator),
    )
    return tuple(" ".join(words("\n".join(filter(None, parts))[:LONGEST])) for parts in columns)
