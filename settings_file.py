"""Writes settings into the person's `settings.toml`; what they wrote there themselves stays as it is."""

from __future__ import annotations

import json
import os
import re
import tempfile
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import InputError

_LARGEST = 50_000
"""Bytes; a file of settings is not larger. A key of so many parts takes Python's reader two seconds."""
_PIECE = re.compile(
    r'"""(?:\\.|[^\\])*?"{3,5}|\'\'\'.*?\'{3,5}|"(?:\\.|[^"\\\n])*"|\'[^\'\n]*\'|#[^\n]*|[\[\]{}\n]', re.DOTALL
)
"""What decides where a value of TOML ends: its texts, comments, brackets and the ends of lines."""


@dataclass(frozen=True, slots=True)
class _Statement:
    """What stands in the file up to the end of a line: blank lines and comments, a setting, or all from a table on."""

    text: str
    name: str | None = None
    """The setting that it gives; None where it gives none."""
    is_table: bool = False


def merge_settings(text: str, values: Mapping[str, Any]) -> str:
    r"""Return the text of a settings file with some values set in it; all else, comments too, stands as it did.

    >>> print(merge_settings("# mine\nsteps = 20  # enough\n", {"steps": 30, "nsfw": 3}))
    # mine
    steps = 30  # enough
    nsfw = 3
    <BLANKLINE>

    Args:
        text: What the file holds.
        values: Settings by name: texts, numbers, truth values and sequences of texts; None takes a setting out.

    Raises:
        InputError: the text is not TOML, or gives a setting in an unusual way.
    """
    before = _parse(text)
    left = {name: value for name, value in values.items() if value is not None}
    kept: list[str] = []
    tables: list[str] = []
    for statement in _statements(text):
        if statement.is_table:
            tables.append(statement.text)
        elif statement.name not in values:
            kept.append(statement.text)
        elif statement.name in left:
            comment = _comment(statement)
            written = _assignment(statement.name, left.pop(statement.name))
            kept.append(f"{written}  {comment}\n" if comment else f"{written}\n")
    if kept and not kept[-1].endswith("\n"):
        kept.append("\n")
    merged = "".join([*kept, *(f"{_assignment(name, value)}\n" for name, value in left.items()), *tables])
    expected = {name: value for name, value in before.items() if name not in values}
    expected |= {name: _plain(value) for name, value in values.items() if value is not None}
    try:
        is_safe = tomllib.loads(merged) == expected
    except (ValueError, RecursionError):
        is_safe = False
    if not is_safe:
        raise InputError("the settings file is written in a way that cannot be changed safely; edit it by hand")
    return merged


def read_settings_file(path: Path) -> str:
    """Return the text of a settings file; nothing when there is none.

    Raises:
        InputError: it cannot be read, or is not TOML.
    """
    try:
        if path.stat().st_size > _LARGEST:
            raise InputError(f"{path} is too large for a file of settings")
        text = path.read_bytes().decode()  # the ends of lines stay what they are
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InputError(f"{path} is not text in UTF-8") from None
    _parse(text, str(path))
    return text


def write_settings_file(path: Path, text: str) -> Path | None:
    """Put a text in the place of a settings file, whole or not at all.

    Returns:
        The copy of what stood there before; None where nothing did, or the same.

    Raises:
        InputError: it cannot be written.
    """
    try:
        path = path.resolve()  # a link stays one
        path.parent.mkdir(parents=True, exist_ok=True)
        before = path.read_bytes() if path.exists() else None
        if before == text.encode():
            return None
        copy = None if before is None else _write_copy(path, before)
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(text.encode())
                file.flush()
                os.fsync(file.fileno())
            Path(name).chmod(path.stat().st_mode & 0o777 if before is not None else 0o600)
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}") from None
    return copy


def _write_copy(path: Path, content: bytes) -> Path:
    """Keep what a file held beside it, under a name that nothing has yet."""
    number = 1
    while True:
        copy = path.with_name(f"{path.name}.bak" if number == 1 else f"{path.name}.bak{number}")
        try:
            with copy.open("xb") as file:
                file.write(content)
        except FileExistsError:
            number += 1
            continue
        return copy


def _parse(text: str, name: str = "the settings file") -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{name} is not TOML: {error}") from None


def _statements(text: str) -> Iterator[_Statement]:
    """Yield what TOML stands in a text, in its order; a value may span lines."""
    start = 0
    while start < len(text):
        line = text[start : text.find("\n", start) + 1 or None]
        first = line.strip()
        if first.startswith("["):
            yield _Statement(text[start:], is_table=True)
            return
        if not first or first.startswith("#"):
            yield _Statement(line)
            start += len(line)
            continue
        end = _end(text, start)
        yield _Statement(text[start:end], _only(text[start:end]))
        start = end


def _end(text: str, start: int) -> int:
    """Return where the line ends on which the value of a setting ends, in a text that is TOML."""
    depth = 0
    for piece in _PIECE.finditer(text, start):
        if piece[0] in "[{":
            depth += 1
        elif piece[0] in "]}":
            depth -= 1
        elif piece[0] == "\n" and not depth:
            return piece.end()
    return len(text)


def _only(statement: str) -> str | None:
    """Return the name that a statement sets; None where it is not a whole one."""
    try:
        return next(iter(tomllib.loads(statement)), None)
    except (ValueError, RecursionError):
        return None


def _comment(statement: _Statement) -> str:
    """Return the comment behind the value of a line; nothing where there is none."""
    line = statement.text.rstrip("\r\n")
    if "\n" in line:
        return ""
    return next((piece[0] for piece in _PIECE.finditer(line) if piece[0].startswith("#")), "")


def _assignment(name: str, value: Any) -> str:
    return f"{name} = {_literal(value)}"


def _literal(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        # TOML's basic strings are JSON's, but for one control character.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, list | tuple):
        inner = "".join(f"  {_literal(one)},\n" for one in value)
        return f"[\n{inner}]" if value else "[]"
    return repr(value)


def _plain(value: Any) -> Any:
    return [_plain(one) for one in value] if isinstance(value, list | tuple) else value
