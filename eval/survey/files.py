"""A survey's files: read with suspicion, written as a whole or not at all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from ...errors import InputError
from ...parameters import finite
from ...whole_file import whole_file

PAGE: Final = "survey.html"
"""Goes to the raters."""
PLAN: Final = "plan.json"
"""May be published before anybody answers."""
KEY: Final = "key.json"
"""Stays with whoever made the survey."""
ANSWERS: Final = "answers.jsonl"
"""What came back; a line for each form that a rater filled in."""


def read_bytes(path: Path, most: int) -> bytes:
    """Return a file's content.

    Raises:
        InputError: it cannot be read, or has more bytes than `most`.
    """
    try:
        with path.open("rb") as file:
            content = file.read(most + 1)
    except (OSError, ValueError) as error:  # a name with a NUL
        raise InputError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if len(content) > most:
        raise InputError(f"{path} is larger than {most / 1e6:g} MB, which no such file is")
    return content


def parse(content: bytes | str, name: str) -> Any:
    """Return what JSON says, all of its numbers finite.

    Raises:
        InputError: it is no JSON.
    """
    try:
        text = content.decode("utf-8-sig") if isinstance(content, bytes) else content
        return json.loads(text, parse_constant=finite, parse_float=finite)
    except (ValueError, RecursionError):
        raise InputError(f"{name} is not JSON") from None


def dumped(value: Any) -> bytes:
    """Return a value as JSON that people can read, always the same bytes."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, indent=1, sort_keys=True)
    return (text + "\n").encode("utf-8", "backslashreplace")


def write(path: Path, content: bytes) -> None:
    """Write a file, as a whole or not at all.

    Raises:
        InputError: it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as unfinished:
            unfinished.write_bytes(content)
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}") from None
