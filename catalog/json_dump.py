"""Dumps of JSON as people keep them, read item by item: JSON, JSON Lines, pages, lists, gzip, folders of these.

JSON Lines are streamed: no more than one line is held, and a line is not parsed before somebody asks for it. A broken
line, a broken item of a list or the torn end of an archive costs itself and nothing else.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

from ..errors import InputError

LINE_LIMIT = 64 * 2**20
"""Bytes of one line, which is one page."""
FILE_LIMIT = 2**30
"""Bytes of a file that is one JSON value and must be held whole."""

_SUFFIXES = (".json", ".jsonl", ".ndjson")
_PAGE = re.compile(rb'\s*(?:\[|\{\s*"(?:items|metadata)"\s*:)')
_GAP = re.compile(r"[\s,]*")
_ITEMS = re.compile(r'\s*(?:\{\s*"items"\s*:\s*)?\[')


@dataclass(frozen=True, slots=True)
class Item:
    """One JSON value of a dump."""

    where: str
    """`file`, `file:line` or `file#item`."""
    raw: bytes
    value: Any = None
    """The value where it had to be parsed to be found; else None."""

    def load(self) -> Any:
        """Return the value.

        Raises:
            InputError: it is not JSON.
        """
        return self.value if self.value is not None else parse(self.raw, self.where)


@dataclass(frozen=True, slots=True)
class Broken:
    """A part of a dump that holds no value."""

    where: str
    reason: str


def parse(raw: bytes, where: str) -> Any:
    """Return the JSON value of some bytes; wrong UTF-8 and endless numbers are tolerated.

    Raises:
        InputError: it is not JSON, or is nested too deeply.
    """
    try:
        return json.loads(raw)
    except RecursionError:
        raise InputError(f"{where}: nested too deeply to be read") from None
    except ValueError:
        pass
    try:
        return json.loads(raw.decode("utf-8-sig", "replace"), parse_int=_integer)
    except (ValueError, RecursionError) as error:
        reason = f"{error.msg}, column {error.colno}" if isinstance(error, json.JSONDecodeError) else "unreadable"
        raise InputError(f"{where}: not JSON ({reason})") from None


def stamp(raw: bytes, version: str) -> str:
    """Return a short digest of some bytes and of the version of what reads them."""
    digest = hashlib.blake2b(version.encode() + b"\0", digest_size=12)
    digest.update(raw)
    return digest.hexdigest()


def canonical(value: Any) -> bytes:
    """Return bytes that are the same for the same JSON value."""
    return json.dumps(value, separators=(",", ":"), sort_keys=True, default=str).encode("utf-8", "surrogatepass")


def dump_files(path: Path) -> list[Path]:
    """Return the dump's files: the file itself, or all JSON files below the folder, in order; links are left alone."""
    if not path.is_dir():
        return [path]
    found = []
    for folder, folders, names in os.walk(path):
        folders.sort()
        found += [Path(folder, name) for name in sorted(names) if _is_dump(name)]
    return found


def read_items(path: Path) -> Iterator[Item | Broken]:
    """Yield every item of one file, whatever its form."""
    try:
        with path.open("rb") as file:
            zipped = file.read(2) == b"\x1f\x8b"
            file.seek(0)
            stream = cast(IO[bytes], gzip.GzipFile(fileobj=file) if zipped else file)
            yield from _read_stream(stream, path)
    except OSError as error:
        yield Broken(str(path), f"cannot be read: {error.strerror or error}")


def first_value(path: Path) -> Any:
    """Return the first item that can be read, or None: a look at what kind of dump it is."""
    for count, file in enumerate(dump_files(path)):
        if count == 20:
            break
        for tried, item in enumerate(read_items(file)):
            if isinstance(item, Item):
                try:
                    return item.load()
                except InputError:
                    pass
            if tried == 20:
                break
    return None


def _is_dump(name: str) -> bool:
    lowered = name.lower()
    return lowered.removesuffix(".gz").endswith(_SUFFIXES) and not lowered.startswith("._")


def _read_stream(stream: IO[bytes], path: Path) -> Iterator[Item | Broken]:
    try:
        first = _next_line(stream)
        while first is not None and not first.strip():
            first = _next_line(stream)
        if first is None:
            yield Broken(str(path), "is empty")
        elif path.name.lower().removesuffix(".gz").endswith((".jsonl", ".ndjson")) or _is_whole_object(first):
            yield from _read_lines(first, stream, path)
        else:
            yield from _read_whole(first, stream, path)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        yield _torn(path, error)


def _torn(path: Path, error: Exception) -> Broken:
    return Broken(str(path), f"is a torn gzip archive ({error}); what came before the tear was read")


def _is_whole_object(line: bytes) -> bool:
    stripped = line.strip()
    if not (stripped.startswith(b"{") and stripped.endswith(b"}")):
        return False
    try:
        parse(stripped, "")
    except InputError:
        return False
    return True


def _read_lines(first: bytes, stream: IO[bytes], path: Path) -> Iterator[Item | Broken]:
    line: bytes | None = first
    number = 0
    while line is not None:
        number += 1
        where = f"{path}:{number}"
        if len(line) > LINE_LIMIT:
            yield Broken(where, f"longer than {LINE_LIMIT // 2**20} MiB, which no page is")
            _skip_line(stream)
        elif _PAGE.match(line):
            yield from _expand(line, where)
        elif line.strip():
            yield Item(where, line.strip())
        line = _next_line(stream)


def _next_line(stream: IO[bytes]) -> bytes | None:
    return stream.readline(LINE_LIMIT + 1) or None


def _skip_line(stream: IO[bytes]) -> None:
    while (rest := stream.readline(2**20)) and not rest.endswith(b"\n"):
        pass


def _read_whole(first: bytes, stream: IO[bytes], path: Path) -> Iterator[Item | Broken]:
    buffer = io.BytesIO()
    buffer.write(first)
    torn = None
    try:
        while chunk := stream.read(2**20):
            buffer.write(chunk)
            if buffer.tell() > FILE_LIMIT:
                yield Broken(str(path), f"one JSON value of more than {FILE_LIMIT // 2**30} GiB; make it JSON Lines")
                return
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        torn = error
    yield from _expand(buffer.getvalue(), str(path))
    if torn is not None:
        yield _torn(path, torn)


def _expand(raw: bytes, where: str) -> Iterator[Item | Broken]:
    """Yield the items of a page, of a list, or the one value itself."""
    try:
        value = parse(raw, where)
    except InputError as error:
        yield from _salvage(raw, where, str(error))
        return
    if isinstance(value, dict) and isinstance(value.get("items"), list):
        value = value["items"]
    if not isinstance(value, list):
        yield Item(where, raw.strip(), value)
        return
    for number, item in enumerate(value, 1):
        yield Item(f"{where}#{number}", canonical(item), item)


def _salvage(raw: bytes, where: str, reason: str) -> Iterator[Item | Broken]:
    """Yield what can still be read of a broken value: the items before the break, or JSON Lines by another name."""
    text = raw.decode("utf-8-sig", "replace")
    if (start := _ITEMS.match(text)) is None:
        lines = raw.splitlines()
        if any(_is_whole_object(line) for line in lines[1:]):
            for number, line in enumerate(lines, 1):
                yield Item(f"{where}:{number}", line)
        else:
            yield Broken(where, reason)
        return
    decoder = json.JSONDecoder(parse_int=_integer)
    position, number = start.end(), 1
    while (position := _GAP.match(text, position).end()) < len(text):  # type: ignore[union-attr]  # matches always
        try:
            value, position = decoder.raw_decode(text, position)
        except (ValueError, RecursionError):
            break
        yield Item(f"{where}#{number}", canonical(value), value)
        number += 1
    yield Broken(f"{where}#{number}" if number > 1 else where, reason)


def _integer(digits: str) -> int | float:
    return int(digits) if len(digits) < 40 else float("inf")


def check_dump(path: str | Path) -> Path:
    """Return the absolute path of a dump.

    Raises:
        InputError: there is nothing at that path.
    """
    found = Path(path).expanduser().absolute()
    if not os.path.exists(found):  # noqa: PTH110 - unlike Path.exists, it answers for names too long, too
        raise InputError(f"{found} does not exist; give a JSON, JSON Lines or .gz file, or a folder of these")
    return found
