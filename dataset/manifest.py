"""`velatura.json`: the format's version, what the dataset holds, and size and digest of every file."""

from __future__ import annotations

import hashlib
import json
import re
import stat
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from ..errors import InputError

NAME: Final = "velatura.json"
CARD: Final = "README.md"
FORMAT: Final = 1

LONGEST: Final = 4 << 20
"""Bytes of a manifest."""
MOST_ADAPTERS: Final = 20_000_000

_SHARD: Final = r"(?:-\d{5}-of-\d{5})?"
ADAPTERS: Final = re.compile(rf"adapters{_SHARD}\.parquet")
VECTORS: Final = re.compile(rf"embeddings-[A-Za-z0-9][A-Za-z0-9._-]{{0,99}}{_SHARD}\.safetensors")
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_LARGEST: Final = 1 << 44
_MOST_FILES: Final = 10_000
_READ: Final = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """One file of a dataset."""

    name: str
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Embedded:
    """What one model embedded."""

    model: str
    revision: str
    dimension: int
    vectors: int
    files: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What a dataset says of itself."""

    adapters: int
    passages: str
    """The version of what cuts an adapter's texts into those that are embedded."""
    embedded: tuple[Embedded, ...] = ()
    files: tuple[File, ...] = ()
    """Every file but the manifest itself, by name."""

    @property
    def rows(self) -> list[str]:
        """The files with the adapters, in their order."""
        return [file.name for file in self.files if ADAPTERS.fullmatch(file.name)]


def is_known(name: str) -> bool:
    """Say whether the format has a file of this name."""
    return name in (NAME, CARD) or bool(ADAPTERS.fullmatch(name) or VECTORS.fullmatch(name))


def shard(stem: str, suffix: str, place: int, of: int) -> str:
    """Return the name of one of several files, of which a single one has no number.

    >>> shard("adapters", "parquet", 0, 1), shard("adapters", "parquet", 0, 12)
    ('adapters.parquet', 'adapters-00001-of-00012.parquet')
    """
    return f"{stem}.{suffix}" if of <= 1 else f"{stem}-{place + 1:05}-of-{of:05}.{suffix}"


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write the manifest, the same bytes for the same contents."""
    told = {"velatura_dataset": FORMAT, **asdict(manifest)}
    (folder / NAME).write_bytes(json.dumps(told, indent=1, ensure_ascii=True).encode() + b"\n")


def file_of(path: Path) -> File:
    """Return a file's name, size and digest; it is read to its end.

    Raises:
        InputError: It is no file that can be read.
    """
    digest, size = hashlib.sha256(), 0
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise InputError(f"{path} is no file")
        with path.open("rb") as stream:
            while part := stream.read(_READ):
                digest.update(part)
                size += len(part)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None
    return File(name=path.name, bytes=size, sha256=digest.hexdigest())


def read_manifest(folder: str | Path) -> Manifest:
    """Return the manifest of a dataset; its other files are not looked at.

    Raises:
        InputError: There is none, it is no manifest, or it is of a newer version of the format.
    """
    path = Path(folder).expanduser() / NAME
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode) or found.st_size > LONGEST:
            raise InputError(f"{path} is no manifest of a dataset")
        text = path.read_bytes()
    except OSError:
        raise InputError(f"{folder} is no dataset: there is no {NAME} in it that can be read") from None
    return parse_manifest(text, str(path))


def parse_manifest(text: bytes, name: str) -> Manifest:
    """Return the manifest that these bytes are.

    Raises:
        InputError: They are none, or one of a newer version of the format.
    """
    try:
        plain = json.loads(text)
        version = plain["velatura_dataset"]
        if version != FORMAT:
            raise InputError(f"{name} is of version {version!r:.20} of the format, and this program reads {FORMAT}")
        manifest = Manifest(
            adapters=_count(plain["adapters"], MOST_ADAPTERS),
            passages=_text(plain["passages"]),
            embedded=tuple(_embedded(one) for one in _list(plain["embedded"])),
            files=tuple(_file(one) for one in _list(plain["files"])),
        )
    except InputError:
        raise
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise InputError(f"{name} is no manifest of a dataset") from None
    names = [file.name for file in manifest.files]
    told = [name for one in manifest.embedded for name in one.files]
    if len({*names}) != len(names) or len({*told}) != len(told) or not {*told} <= {*names}:
        raise InputError(f"{name} names a file twice, or one that it does not list")
    return manifest


def check_files(folder: Path, manifest: Manifest) -> Iterator[tuple[str, int]]:
    """Read every file of a dataset, and yield (its name, its bytes) as each is found to be what the manifest says.

    Raises:
        InputError: One is not.
    """
    for told in manifest.files:
        path = folder / told.name
        try:
            size = path.stat().st_size
        except OSError:
            raise InputError(f"{told.name} is missing; the dataset is not whole") from None
        if size != told.bytes:
            raise InputError(f"{told.name} has {size:,} bytes and not the {told.bytes:,} that the manifest tells")
        if file_of(path).sha256 != told.sha256:
            raise InputError(f"{told.name} is not the file that the manifest tells of: its SHA-256 is another")
        yield told.name, told.bytes


def _file(plain: Any) -> File:
    name, digest = plain["name"], plain["sha256"]
    if not isinstance(name, str) or not is_known(name) or name == NAME or not _DIGEST.fullmatch(digest):
        raise ValueError
    return File(name=name, bytes=_count(plain["bytes"], _LARGEST), sha256=digest)


def _embedded(plain: Any) -> Embedded:
    files = tuple(_list(plain["files"]))
    if not all(VECTORS.fullmatch(name) for name in files):
        raise ValueError
    return Embedded(
        model=_text(plain["model"]),
        revision=_text(plain["revision"]),
        dimension=_count(plain["dimension"], 1 << 16),
        vectors=_count(plain["vectors"], 1 << 40),
        files=files,
    )


def _count(value: Any, most: int) -> int:
    if type(value) is not int or not 0 <= value <= most:
        raise ValueError
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str) or len(value) > 300 or not value.isprintable():
        raise ValueError
    value.encode()
    return value


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list) or len(value) > _MOST_FILES:
        raise ValueError
    return value
