"""What every writer is given and gives back, and the names and numbers that most of them write."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import PurePath, PurePosixPath, PureWindowsPath
from typing import Any

from ...errors import InputError
from ...plain import untagged
from ...records import AdapterRecord, Choice, Composition
from ...syntax import encodable, escaped
from .foreign import stem_of

_TAG = re.compile(r"<(?!lora:|lyco:)\w+:[^<>]*>", re.IGNORECASE)
_ADAPTER = re.compile(r"<(?:lora|lyco):[^<>]*>", re.IGNORECASE)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")


@dataclass(frozen=True, slots=True)
class Written:
    """A composition in another form."""

    text: str
    notes: tuple[str, ...] = ()
    """What that form cannot say, each one sentence."""


@dataclass(slots=True)
class Export:
    """A composition on its way into another form."""

    composition: Composition
    base: Mapping[str, Any] | None = None
    """The workflow to write into."""
    checkpoint: str | None = None
    """The checkpoint's file, as the other tool names it."""
    negative: str = ""
    folder: str | None = None
    """The folder in which the other tool looks for adapters, so that files in its subfolders can be named."""
    notes: list[str] = field(default_factory=list)

    def note(self, text: str) -> None:
        """Say what cannot be said, once."""
        if text not in self.notes:
            self.notes.append(text)

    def prompt(self, brackets: str = "") -> str:
        """Return the prompt with its triggers, without tags for adapters, the brackets in triggers escaped.

        The user's own brackets are emphasis and stay.
        """
        whole = self.composition.painted_prompt
        for tag in _TAG.findall(whole):
            self.note(f"{tag} was left out of the prompt: only adapters are carried over")
        added = (trigger for choice in self.composition.choices for trigger in choice.triggers)
        for tag in _ADAPTER.findall("\n".join([*added, self.composition.suffix])):
            self.note(f"{tag} was left out of the triggers: they lay no adapters on")
        choices = tuple(
            replace(choice, triggers=tuple(escaped(flat(trigger), brackets) for trigger in choice.triggers))
            for choice in self.composition.choices
        )
        bare = replace(self.composition, prompt=untagged(self.composition.prompt), choices=choices)
        return encodable(untagged(bare.painted_prompt))

    def files(self) -> Iterator[tuple[Choice, str]]:
        """Yield each choice with its file's name for the other tool; those without one of their own are left out."""
        taken: dict[str, str] = {}
        for choice in self.composition.choices:
            name, title = self._file(choice.adapter), choice.adapter.title
            if not name:
                self.note(f"{title!r} has no file name, so it cannot be named here and was left out")
            elif name in taken:
                self.note(f"{title!r} was left out: its file has the name of {taken[name]!r}, {name!r}; rename one")
            else:
                taken[name] = title
                yield choice, name

    def _file(self, record: AdapterRecord) -> str:
        if record.path and self.folder:
            windows = "\\" in self.folder
            path: PurePath = PureWindowsPath(record.path) if windows else PurePosixPath(record.path)
            if path.is_relative_to(self.folder) and ".." not in path.parts:
                return encodable(str(path.relative_to(self.folder)))
            self.note(f"{record.title!r} lies outside {self.folder}; it is named by its file alone")
        return file_name(record)


def file_name(record: AdapterRecord) -> str:
    r"""Return the name of an adapter's file without folders; nothing where it is not known, or blank.

    >>> file_name(AdapterRecord(source="folder", key="k", title="Fox", path="C:\\loras\\fox.safetensors"))
    'fox.safetensors'
    """
    file = record.path or record.file_name or ""
    name = encodable(re.split(r"[\\/]", file.rstrip("\\/"))[-1])
    # Twice, as readers of a stem take an ending off that is left.
    return name if stem_of(stem_of(name)).strip() else ""


def file_stem(record: AdapterRecord) -> str:
    """Return the name of an adapter's file without folders and extension; nothing where it is not known."""
    return stem_of(file_name(record))


def flat(text: str) -> str:
    """Return the text on one line, without control characters or half characters."""
    return encodable(_CONTROL.sub(" ", text)).strip()


def as_json(value: object) -> str:
    """Return a value as JSON for people.

    Raises:
        InputError: it holds a number that JSON cannot tell, or is nested too deep.
    """
    try:
        return encodable(json.dumps(value, ensure_ascii=False, indent=2, allow_nan=False))
    except (ValueError, RecursionError):
        raise InputError(
            "this cannot be written as JSON: a number in it is not finite, or it is nested too deep"
        ) from None
