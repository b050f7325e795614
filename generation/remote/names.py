"""Files as a server names them, found by the name that they have here, or by what is in them."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from ...errors import InputError
from ...records import AdapterRecord, Hashes
from ...syntax import encodable

_SUFFIX: Final = re.compile(r"\.(?:safetensors|sft|ckpt|pth?|bin|gguf)$", re.IGNORECASE)
_BRACKETED: Final = re.compile(r"\s*\[(?P<digest>[0-9a-fA-F]{8,64})\]$")
_HEX: Final = re.compile(r"[0-9a-f]+")
_OF_NOTHING: Final = "e3b0c44298fc1c149afbf4c8996fb924"
"""Where the digest of nothing begins, which broken tools write."""


@dataclass(frozen=True, slots=True)
class File:
    """A file here or there."""

    name: str
    """What the server is to be told; here, what people call it."""
    path: str
    """Its name with as many of its folders as are known."""
    hashes: Hashes = Hashes()  # noqa: RUF009 - frozen

    @property
    def stem(self) -> str:
        """The file's name without folders and ending."""
        return stem_of(self.path)


@dataclass(frozen=True, slots=True)
class Found:
    """The server's file, and what a person should know about it."""

    file: File
    doubt: str = ""


def stem_of(path: str) -> str:
    r"""Return a file's name without folders, ending, and the digest in brackets that A1111 appends.

    >>> stem_of("sd15\\dream.v8.safetensors [879db523c3]"), stem_of("/loras/fox"), stem_of("v1.5")
    ('dream.v8', 'fox', 'v1.5')
    """
    name = re.split(r"[\\/]", _BRACKETED.sub("", path.strip()).rstrip("\\/"))[-1]
    return _SUFFIX.sub("", name)


def file_of(record: AdapterRecord) -> File:
    """Return the file of an adapter, as it is known here."""
    return File(record.title, encodable(record.path or record.file_name or ""), record.hashes)


def model_file(model: str) -> File:
    """Return what is known of a checkpoint by the name that a person gave: a name, a path, a title, or a digest.

    >>> model_file("dream [879db523c3]").hashes.autov2, model_file("879db523c3").hashes.autov2
    ('879db523c3', '879db523c3')
    """
    bracketed = _BRACKETED.search(model)
    told = (bracketed["digest"] if bracketed else model).strip().lower()
    hashes = Hashes(sha256=digest(told, 64), autov2=digest(told, 10))
    return File(model, encodable(model), hashes)


def header_hashes(header: Any) -> Hashes:
    """Return the digest of the tensors that a file's header tells (kohya's `sshs_model_hash`)."""
    told = header.get("sshs_model_hash") if isinstance(header, Mapping) else None
    whole = digest(told, 64)
    return Hashes(autov3=whole[:12] if whole else digest(told, 12))


def digest(value: Any, length: int) -> str | None:
    """Return a digest of that many hexadecimal digits in lower case; None where it is none."""
    text = value.strip().lower() if isinstance(value, str) and len(value) < 200 else ""
    whole = len(text) == length and _HEX.fullmatch(text) and not text.startswith(_OF_NOTHING[:length])
    return text if whole else None


def find(
    wanted: File,
    offered: Sequence[File],
    *,
    what: str,
    where: str,
    remedy: str,
    known: Callable[[File], File] = lambda file: file,
) -> Found:
    """Find a file among those of a server: by its name, whatever the case and the folder, then by its digests.

    Where several have the name, one whose digest is the same is preferred, then one in folders of the same names.

    Args:
        wanted: The file as it is known here.
        offered: The server's.
        what: What it is, for a person: `adapter`.
        where: The server, for a person.
        remedy: What to do where it has no such file.
        known: Returns a file with the digests that the server tells of it alone. Those are asked for where the digest
            is known here, of files with the same name, or else of the nearest names.

    Raises:
        InputError: the server does not have it; the sentence names those of the nearest names.
    """
    stem = wanted.stem.casefold()
    named = [file for file in offered if stem and file.stem.casefold() == stem]
    if wanted.hashes.autov3:
        named = [known(file) for file in named]
    same = [file for file in named if _agree(wanted.hashes, file.hashes)]
    same = same or [file for file in offered if _agree(wanted.hashes, file.hashes)]
    if not named and not same:
        near = near_names(wanted, offered)
        same = [file for file in map(known, near) if _agree(wanted.hashes, file.hashes)] if wanted.hashes.autov3 else []
        if not same:
            raise InputError(_absent(wanted, near, f"{where} has no {what}", remedy))
    if same:
        return Found(_nearest(wanted, same)[0])
    # A file of the same name and of another content is the last choice.
    others = [file for file in named if _agree(wanted.hashes, file.hashes) is None]
    nearest = _nearest(wanted, others or named)
    if not others:
        return Found(nearest[0], f"the {what} {nearest[0].path!r} there is another file than {wanted.name!r} here")
    if len(nearest) > 1:
        return Found(nearest[0], f"there are {len(others)} files {wanted.stem!r} there; {nearest[0].path!r} was taken")
    return Found(nearest[0])


def near_names(wanted: File, offered: Sequence[File]) -> list[File]:
    """Return up to three files of a server with names like a file's, the nearest first."""
    if not wanted.stem:
        return []
    stems: dict[str, File] = {}
    for file in offered:
        stems.setdefault(file.stem.casefold(), file)
    return [stems[stem] for stem in difflib.get_close_matches(wanted.stem.casefold(), list(stems), n=3, cutoff=0.6)]


def _agree(one: Hashes, other: Hashes) -> bool | None:
    """Whether two files have the same content; None where that cannot be told."""
    told = None
    for mine, theirs in (
        (_short(one.sha256) or one.autov2, _short(other.sha256) or other.autov2),
        (one.autov3, other.autov3),
    ):
        if mine and theirs:
            if mine.lower() == theirs.lower():
                return True
            told = False
    return told


def _short(sha256: str | None) -> str | None:
    return sha256[:10] if sha256 else None


def _nearest(wanted: File, files: Sequence[File]) -> list[File]:
    """Return the files that share the most folders with a file, counted from its end, by name."""
    shared = {id(file): _shared(wanted.path, file.path) for file in files}
    most = max(shared.values())
    return sorted((file for file in files if shared[id(file)] == most), key=lambda file: file.path)


def _shared(one: str, other: str) -> int:
    count = 0
    for mine, theirs in zip(_folders(one), _folders(other), strict=False):
        if mine != theirs:
            break
        count += 1
    return count


def _folders(path: str) -> list[str]:
    """Return the folders of a path, the innermost first."""
    return [part for part in re.split(r"[\\/]", path.casefold()) if part][-2::-1]


def _absent(wanted: File, near: Sequence[File], lacks: str, remedy: str) -> str:
    if not wanted.stem:
        return f"{lacks} that is {wanted.name!r}, whose file name is not known here; name the file"
    like = f"; of names like it there are {', '.join(repr(file.path) for file in near)}" if near else ""
    return f"{lacks} {wanted.stem!r}{like}; {remedy}"
