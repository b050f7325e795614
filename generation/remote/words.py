"""Prompts as programs want them that read brackets, tags and learned tokens in ways of their own."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace

from ...plain import untagged
from ...records import GenerationRequest
from ...syntax import encodable, escaped

_OPENED = re.compile(r"<(?=\s*\w+\s*:)")


def spoken(request: GenerationRequest, brackets: str) -> str:
    r"""Return what a request's model is to read, without tags; brackets in triggers are escaped, for they are names.

    The user's own brackets are emphasis and stay.

    Args:
        request: The request.
        brackets: Those that the reader takes for emphasis.
    """
    choices = tuple(
        replace(choice, triggers=tuple(escaped(" ".join(trigger.split()), brackets) for trigger in choice.triggers))
        for choice in request.choices
    )
    bare = replace(request.composition, prompt=untagged(request.composition.prompt), choices=choices)
    return clean(bare.painted_prompt)


def clean(text: str) -> str:
    """Return a text without tags, whole or begun: one that is never closed would swallow what follows it.

    >>> clean("a fox <lora:evil:9> in snow <lora:evil")
    'a fox in snow lora:evil'
    """
    return encodable(_OPENED.sub("", untagged(text)))


def with_tokens(text: str, names: Mapping[str, str], write: Callable[[str], str]) -> str:
    """Write the learned tokens that a text names as their reader wants them.

    A token is named by its name in any case, as a whole word, or as `<name>` or `embedding:name`.

    Args:
        text: A prompt.
        names: The names here, and what the reader calls each.
        write: Spells a name of the reader's.

    >>> with_tokens("<ugly> hands, Ugly, uglyness", {"ugly": "neg/ugly"}, "embedding:{}".format)
    'embedding:neg/ugly hands, embedding:neg/ugly, uglyness'
    """
    known = {name.casefold(): write(theirs) for name, theirs in names.items()}
    if not known:
        return text
    # The longest first, so that no name hides another that it begins.
    spelt = "|".join(map(re.escape, sorted(names, key=len, reverse=True)))
    ending = r"(?:\.(?:safetensors|pt|bin))?"
    named = re.compile(
        rf"(?<![\w:/])embedding:(?P<marked>{spelt}){ending}(?!\w)|<(?P<quoted>{spelt})>|(?<!\w)(?P<bare>{spelt})(?!\w)",
        re.IGNORECASE,
    )
    return named.sub(lambda found: known[(found["marked"] or found["quoted"] or found["bare"]).casefold()], text)
