"""Texts that several requests ask of one embedder at a time, embedded together."""

from __future__ import annotations

from collections.abc import Sequence
from threading import Condition
from typing import TYPE_CHECKING, Final

from ..errors import VelaturaError

if TYPE_CHECKING:
    from ..protocols import TextEmbedder, Vectors

_MOST: Final = 32
"""Texts of one pass: so few that the embedder computes them as exactly as one alone."""


class _Asked:
    """What one thread waits for: rows, or the error that it gets."""

    __slots__ = ("error", "rows", "texts")

    def __init__(self, texts: list[str]) -> None:
        self.texts = texts
        self.rows: Vectors | None = None
        self.error: BaseException | None = None

    @property
    def is_done(self) -> bool:
        return self.rows is not None or self.error is not None


class Gathered:
    """Embeds in one pass what threads ask for while another pass is under way (implements `protocols.TextEmbedder`).

    Eight prompts together cost less than eight one by one. Nobody waits for company: where nothing is under way a
    text is embedded at once. The embedder itself is asked by one thread at a time.

    Args:
        embedder: What embeds. A text's row may not depend on its company, beyond the last digits.
    """

    def __init__(self, embedder: TextEmbedder) -> None:
        self._embedder = embedder
        self._turn = Condition()
        self._waiting: list[_Asked] = []
        self._busy = False

    @property
    def model(self) -> str:
        """The model's id."""
        return self._embedder.model

    @property
    def revision(self) -> str:
        """The model's revision."""
        return self._embedder.revision

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Return one row per text, shape (len(texts), dimension), float32, of length 1.

        Raises what the embedder raises of these texts; the others of the pass are not touched by it.
        """
        asked = _Asked(list(texts))
        with self._turn:
            self._waiting.append(asked)
            self._turn.wait_for(lambda: asked.is_done or not self._busy)
            if not asked.is_done:
                self._busy = True
                together = self._next(asked)
        if not asked.is_done:
            try:
                self._embed(together)
            finally:
                with self._turn:
                    self._busy = False
                    self._turn.notify_all()
        if asked.error is not None:
            raise asked.error
        assert asked.rows is not None  # noqa: S101 - what is done without an error has rows
        return asked.rows

    def _next(self, own: _Asked) -> list[_Asked]:
        """Take this thread's own texts, and of those that wait the first that fit beside them."""
        taken, room = [own], _MOST - len(own.texts)
        for asked in self._waiting:
            if asked is not own and len(asked.texts) <= room:
                taken.append(asked)
                room -= len(asked.texts)
        self._waiting = [asked for asked in self._waiting if asked not in taken]
        return taken

    def _embed(self, together: Sequence[_Asked]) -> None:
        try:
            rows = self._embedder.embed([text for asked in together for text in asked.texts])
        except VelaturaError as error:
            if len(together) == 1:
                together[0].error = error
                return
            # Whose text it was is not known.
            for asked in together:
                self._embed([asked])
            return
        except BaseException as error:
            for asked in together:
                asked.error = error
            return
        start = 0
        for asked in together:
            asked.rows = rows[start : start + len(asked.texts)]
            start += len(asked.texts)
