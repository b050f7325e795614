"""Describes adapters by a vision language model behind any OpenAI-compatible endpoint."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from ..protocols import Described
from ..records import AdapterRecord, RefinedAdapter, Refinement, Usage
from .vlm_answer import read_answer
from .vlm_text import FORM, INSTRUCTIONS, VERSION, question, tokens

if TYPE_CHECKING:
    from ..llm import LanguageModel
    from .shown import ShownPictures

_PICTURE_TOKENS: Final = 255
"""Of a picture of one tile, 512 pixels square: 85 + 170 as OpenAI counts for its GPT-4o; Gemini counts 258. Small
models of OpenAI count many times that, at a lower price each."""
_FORM_TOKENS: Final = 250
"""Of the schema, which servers read as well."""
_ANSWER_TOKENS: Final = 220


class VlmDescriber:
    """A describer (see `velatura.protocols.Describer`) that reads the card and looks at pictures.

    Args:
        model: Is asked.
        pictures: Chooses what it is shown; None shows nothing.
    """

    def __init__(self, model: LanguageModel, pictures: ShownPictures | None = None) -> None:
        self.model = model
        self._pictures = pictures
        self._instructions = tokens(INSTRUCTIONS) + _FORM_TOKENS

    @property
    def name(self) -> str:
        """`vlm`, the version of the question, and the model."""
        return f"vlm {VERSION} {self.model.model}"

    def origin(self, adapter: RefinedAdapter) -> str:
        """Return the address of the text and of the pictures that it would read, 32 hexadecimal digits."""
        return origin(adapter.record, self._pictures)

    def describe(self, adapter: RefinedAdapter) -> Described:
        """Describe one adapter; may be called by several threads at once.

        Raises:
            LanguageModelRefusal: The model will not describe it.
            LanguageModelUnavailable: It cannot be reached now.
            LanguageModelError: It gives no answer of use.
            InputError: The server refuses the key, or does not know the model.
        """
        record = adapter.record
        refinement, usage = self.model.ask_counted(
            INSTRUCTIONS,
            question(record),
            FORM,
            lambda answer: read_answer(answer, record),
            pictures=self._show(record),
        )
        return Described(refinement=replace(refinement, writer=self.name), usage=usage)

    def body(self, adapter: RefinedAdapter) -> dict[str, Any]:
        """Return the question about an adapter as a batch has it: a chat completion's body, as plain JSON."""
        return self.model.body(INSTRUCTIONS, question(adapter.record), FORM, self._show(adapter.record))

    def read(self, adapter: RefinedAdapter, reply: Any) -> Refinement:
        """Return the refinement that a reply holds, the JSON of a chat completion.

        Raises:
            LanguageModelRefusal: The model will not describe it.
            LanguageModelError: The reply holds no answer of use.
        """
        read = self.model.read(reply, lambda answer: read_answer(answer, adapter.record))
        return replace(read, writer=self.name)

    def tokens(self, adapter: RefinedAdapter) -> Usage:
        """Estimate what a description takes: text by its length, 255 tokens a picture; nothing is asked or fetched."""
        shown = 0
        if self._pictures is not None:
            shown = min(self._pictures.most, len(self._pictures.identities(adapter.record)))
        read = self._instructions + tokens(question(adapter.record)) + shown * _PICTURE_TOKENS
        return Usage(calls=1, read=read, written=_ANSWER_TOKENS)

    def _show(self, record: AdapterRecord) -> list[bytes]:
        return self._pictures.show(record) if self._pictures is not None else []


def origin(record: AdapterRecord, pictures: ShownPictures | None) -> str:
    """Return the address of all that a model would read of an adapter, 32 hexadecimal digits.

    The trigger groups count whole, since an answer names them by number and their ends may not be shown.
    """
    shown = pictures.identities(record) if pictures is not None else ()
    most = pictures.most if pictures is not None else 0
    told = "\0".join([question(record), repr(record.triggers), *shown[:most], "or else", *shown[most:]])
    return hashlib.blake2b(told.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
