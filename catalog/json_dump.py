"""Dumps of JSON as people keep them, read item by item: JSON, JSON Lines, pages, lists, gzip, folders of these.

JSON Lines are streamed: no more than one line is held, and a line is not parsed before somebody asks for it. So are the
items of a large list. A broken line, a broken item of a list or the torn end of an archive costs itself and nothing
else. What is larger, fuller or packed tighter than any page is told in a sentence before it takes the memory.
"""

from __future__ import annotations

import codecs
import gzip
import hashlib
import io
import json
import os
import re
import stat
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

from ..errors import InputError
from ..records import Rejection

LINE_LIMIT = 64 * 2**20
"""Bytes of one line, which is one page."""
FILE_LIMIT = 128 * 2**20
"""Bytes of a file that is one JSON value and no list, and must be held whole."""
HELD = 16 * 2**20
"""Bytes of a list that is read at once; a larger one is read item by item."""
MOST_BROKEN = 10_000
"""Parts of a file that hold no page before the rest of it is given up: no dump is broken so often."""

_MOST_VALUES = 8_000_000
"""Commas and brackets of a text; each value takes up to a hundred bytes once it is read."""
_CROWDED = f"holds more than {_MOST_VALUES:,} values, which no page does"
_LEAST_ROOM, _TIGHTEST = 256 * 2**20, 100
"""What an archive may unpack to: so many bytes, or so many times its size. JSON packs to a tenth."""

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
    if _is_crowded(raw):
        raise InputError(f"{where}: {_CROWDED}")
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
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):  # a pipe would be waited for, and a device never ends
            yield Broken(str(path), "is no file")
            return
        with path.open("rb") as file:
            zipped = file.read(2) == b"\x1f\x8b"
            file.seek(0)
            stream = cast(IO[bytes], io.BufferedReader(_Unpacked(file, status.st_size), 2**20) if zipped else file)
            yield from _read_stream(stream, path)
    except OSError as error:
        yield Broken(str(path), f"cannot be read: {error.strerror or error}")


def given_up(source: str, item: Item | Broken) -> Rejection:
    """Return what is told where so much of a file is broken that the rest of it, from an item on, is not read."""
    reason = f"{MOST_BROKEN:,} parts of this file hold no page, so the rest of it is not read"
    return Rejection(source=source, locator=item.where, reason=reason)


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


class _Bomb(Exception):
    """An archive unpacks to more than its size can hold in good faith."""


class _Unpacked(io.RawIOBase):
    """What an archive holds, up to what one of its size may.

    Args:
        file: The archive.
        size: Its bytes.
    """

    def __init__(self, file: IO[bytes], size: int) -> None:
        self._archive = gzip.GzipFile(fileobj=file)
        self._left = max(_LEAST_ROOM, _TIGHTEST * size)

    def readable(self) -> bool:
        """Say that it can be read."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer.

        Raises:
            _Bomb: There is more than there may be.
        """
        # No more than is at hand: of a torn archive, what came before the tear is not to be lost.
        content = self._archive.read1(len(buffer))
        self._left -= len(content)
        if self._left < 0:
            raise _Bomb
        buffer[: len(content)] = content
        return len(content)


def _is_crowded(raw: bytes) -> bool:
    return sum(map(raw.count, (b",", b"[", b"{"))) > _MOST_VALUES


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
    except _ENDS as error:
        yield _torn(path, error)


_ENDS = (EOFError, zlib.error, gzip.BadGzipFile, _Bomb)
"""What an archive that is damaged, or is a bomb, raises."""


def _torn(path: Path, error: Exception) -> Broken:
    if isinstance(error, _Bomb):
        return Broken(str(path), f"unpacks to more than {_TIGHTEST} times its size, which no dump does")
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
    buffer, torn = io.BytesIO(), None
    buffer.write(first)
    try:
        while buffer.tell() <= FILE_LIMIT and not _is_large_list(buffer) and (chunk := stream.read(2**20)):
            buffer.write(chunk)
    except _ENDS as error:
        torn = error
    if _is_large_list(buffer) and torn is None:
        yield from _read_list(buffer.getvalue(), stream, str(path))
    elif buffer.tell() > FILE_LIMIT:
        yield Broken(str(path), f"one JSON value of more than {FILE_LIMIT // 2**20} MiB; make it JSON Lines")
    else:
        yield from _expand(buffer.getvalue(), str(path))
    if torn is not None:
        yield _torn(path, torn)


def _is_large_list(buffer: io.BytesIO) -> bool:
    begin = bytes(buffer.getbuffer()[:1000]).decode("utf-8-sig", "replace")
    return buffer.tell() > HELD and _ITEMS.match(begin) is not None


def _read_list(begun: bytes, stream: IO[bytes], where: str) -> Iterator[Item | Broken]:
    """Yield the items of a list, or of a page, of which no more than one item and what was read with it is held."""
    decoder, parser = codecs.getincrementaldecoder("utf-8")("replace"), json.JSONDecoder(parse_int=_integer)
    text = decoder.decode(begun).removeprefix("\ufeff")
    start = _ITEMS.match(text)
    position, number = start.end() if start else 0, 1
    while True:
        # Looked at before it is parsed: what is parsed takes many times the memory of its text.
        is_crowded = sum(map(text.count, ",[{")) > _MOST_VALUES
        if is_crowded or len(text) > 2 * LINE_LIMIT:
            reason = _CROWDED if is_crowded else f"longer than {LINE_LIMIT // 2**20} MiB, which no page is"
            yield Broken(f"{where}#{number}", f"{reason}; what follows is not read")
            return
        while True:
            position = _GAP.match(text, position).end()  # type: ignore[union-attr]  # matches always
            if text[position : position + 1] == "]":
                return
            try:
                value, end = parser.raw_decode(text, position)
            except (ValueError, RecursionError):
                break
            # What stands at the very end may go on: a number is whole only where something follows it.
            if end == len(text):
                break
            yield Item(f"{where}#{number}", canonical(value), value)
            position, number = end, number + 1
        # As much again each time: all that is parsed anew for one item stays within twice its size.
        chunk = stream.read(max(2**20, len(text) - position))
        if not chunk:
            yield Broken(f"{where}#{number}", "not JSON, or torn off; what follows is not read")
            return
        text, position = text[position:] + decoder.decode(chunk), 0


def _expand(raw: bytes, where: str) -> Iterator[Item | Broken]:
    """Yield the items of a page, of a list, or the one value itself."""
    if _is_crowded(raw):
        yield Broken(where, _CROWDED)
        return
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
