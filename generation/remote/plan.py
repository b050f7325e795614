"""What is to be painted, with everything in it found on the server that paints it."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from ...records import Control, GenerationRequest
from .. import PaintingWarning
from .names import File, Found, find

Told = TypeVar("Told")

_LONGEST: Final = 8192
"""Characters of a file's name and path; what is longer is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A request with everything in it found on the server."""

    request: GenerationRequest
    """Complete."""
    checkpoint: File
    sampler: tuple[str, str]
    """The sampler and the schedule, by the server's names."""
    adapters: tuple[tuple[File, float], ...] = ()
    controls: tuple[tuple[Control, File], ...] = ()
    tokens: Mapping[str, str] = field(default_factory=dict)
    """Names of textual inversions here, and their names there."""
    doubts: tuple[str, ...] = ()
    """What a person should know of it, each one sentence."""

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return int(self.request.width or 0), int(self.request.height or 0)

    @property
    def steps(self) -> int:
        """Denoising steps."""
        return int(self.request.steps or 0)

    @property
    def guidance(self) -> float:
        """Classifier-free guidance. 1 is none: below that these programs turn towards the negative prompt."""
        return max(1.0, float(self.request.guidance or 0.0))


class Stock:
    """What a server has, asked once for each kind of file.

    Args:
        title: The server's name.
        files: Returns all files of a kind: `checkpoint`, `adapter`, `ControlNet` or `embedding`.
        remedy: Says what to do where one of that kind is not there; it ends a sentence.
        known: Returns a file of a kind with the digests that the server tells when it is asked for them.
    """

    def __init__(
        self,
        title: str,
        *,
        files: Callable[[str], list[File]],
        remedy: Callable[[str], str],
        known: Callable[[str, File], File],
    ) -> None:
        self._title = title
        self._list, self._remedy, self._known = files, remedy, known
        self._files: dict[str, list[File]] = {}
        self._found: dict[tuple[str, File], Found] = {}
        self._told: dict[str, Any] = {}

    def found(self, what: str, wanted: File, doubts: list[str]) -> File:
        """Return the server's file; where it is doubtful whether it is the one that is meant, say so in `doubts`.

        Raises:
            InputError: it does not have it.
            BackendError: it does not answer.
        """
        if what not in self._files:
            self._files[what] = [file for file in self._list(what) if len(file.name + file.path) <= _LONGEST]
        if (what, wanted) not in self._found:
            self._found[what, wanted] = find(
                wanted,
                self._files[what],
                what=what,
                where=self._title,
                remedy=self._remedy(what),
                known=lambda file: self._known(what, file),
            )
        found = self._found[what, wanted]
        if found.doubt:
            doubts.append(f"{self._title}: {found.doubt}")
        return found.file

    def told(self, question: str, ask: Callable[[], Told]) -> Told:
        """Return what the server answers to another question, which is asked once."""
        if question not in self._told:
            self._told[question] = ask()
        answer: Told = self._told[question]
        return answer


def warn(sentence: str) -> None:
    """Tell that what is painted is perhaps not what was wanted."""
    warnings.warn(sentence, PaintingWarning, stacklevel=2)
