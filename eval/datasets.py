"""Sets of prompts: COCO's captions, PartiPrompts, tables, JSON Lines, plain text. Nothing is fetched."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from ..errors import InputError
from ..syntax import encodable
from .manifest import prompt_id
from .records import Prompt

_TEXTS: Final = ("prompt", "caption", "text")
_LARGEST: Final = 1 << 30
"""Bytes of a file that are read: COCO's captions have 60 million."""
_WIDEST: Final = 1000
"""Columns of a table."""


def read_prompts(path: str | Path) -> list[Prompt]:
    """Read a set of prompts: one for each different text, in the file's order.

    Of COCO's captions (`.json` with `images` and `annotations`) it is the first caption of each image, with the
    image's name, so that there are as many references as prompts. A table (`.tsv`, `.csv`) has a column `Prompt` (or
    `caption`, `text`), and may have `id`, `Category`, `Challenge` and `file_name`; so may the lines of `.jsonl`. Of
    other files each line is a prompt.

    Raises:
        InputError: it cannot be read, or holds no prompts.
    """
    file = Path(path)
    read: Callable[[str, Path], Iterable[Prompt]] = {
        ".json": _coco, ".tsv": _table, ".csv": _table, ".jsonl": _json_lines, ".ndjson": _json_lines,
    }.get(file.suffix.lower(), _lines)  # fmt: skip
    seen: set[str] = set()
    ids: set[str] = set()
    prompts: list[Prompt] = []
    for prompt in read(_text(file), file):
        if prompt.text in seen:
            continue
        if prompt.id in ids:
            raise InputError(f"{file} has two different prompts of the id {prompt.id}")
        seen.add(prompt.text)
        ids.add(prompt.id)
        prompts.append(prompt)
    if not prompts:
        raise InputError(f"{file} holds no prompts")
    return prompts


def subsample(prompts: Sequence[Prompt], limit: int | None, *, seed: int = 0) -> list[Prompt]:
    """Return some of the prompts, in their order, chosen by a digest: a larger limit keeps those of a smaller one.

    Args:
        prompts: All.
        limit: How many; None keeps all.
        seed: Another one chooses others.

    >>> few = subsample([Prompt(id=str(n), text=str(n)) for n in range(100)], 10)
    >>> len(few), set(few) <= set(subsample([Prompt(id=str(n), text=str(n)) for n in range(100)], 20))
    (10, True)
    """
    if limit is None or limit >= len(prompts):
        return list(prompts)

    def lot(prompt: Prompt) -> str:
        return hashlib.sha256(f"{seed} {prompt.id}".encode("utf-8", "backslashreplace")).hexdigest()

    kept = {prompt.id for prompt in sorted(prompts, key=lot)[:limit]}
    return [prompt for prompt in prompts if prompt.id in kept]


def _text(file: Path) -> str:
    try:
        if file.stat().st_size > _LARGEST:
            raise InputError(f"{file} is larger than any set of prompts")
        return file.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InputError(f"{file} is not text in UTF-8") from None


def _coco(text: str, file: Path) -> Iterator[Prompt]:
    try:
        plain = json.loads(text)
        if isinstance(plain, list):
            yield from (_prompt(row, f"{file}, entry {number}") for number, row in enumerate(plain, 1))
            return
        names = {image["id"]: image.get("file_name") for image in plain.get("images", ())}
        first: dict[Any, str] = {}
        for row in sorted(plain["annotations"], key=lambda row: row.get("id", 0)):
            first.setdefault(row["image_id"], row["caption"])
        rows = [{"id": image, "caption": caption, "file_name": names.get(image)} for image, caption in first.items()]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise InputError(
            f"{file} is neither COCO's captions, with images and annotations, nor a list of prompts"
        ) from None
    yield from (_prompt(row, f"{file}, image {row['id']}") for row in rows)


def _table(text: str, file: Path) -> Iterator[Prompt]:
    # A tab-separated line is as it stands: quotes in it are the prompt's own.
    tabbed = file.suffix.lower() == ".tsv"
    stream = io.StringIO(text, newline="")
    plain = csv.DictReader(stream, delimiter="\t", quoting=csv.QUOTE_NONE) if tabbed else csv.DictReader(stream)
    try:
        # Each row is filled up to the width of the first, so that a wide and long table would take for ever.
        if len(plain.fieldnames or ()) > _WIDEST:
            raise InputError(f"{file} has more than {_WIDEST:,} columns")
        for number, row in enumerate(plain, 2):
            yield _prompt({(name or "").lower(): value for name, value in row.items()}, f"{file}, line {number}")
    except csv.Error as error:
        raise InputError(f"{file} is no table: {error}") from None


def _json_lines(text: str, file: Path) -> Iterator[Prompt]:
    for number, line in enumerate((line for line in text.split("\n") if line.strip()), 1):
        try:
            plain = json.loads(line)
        except (ValueError, RecursionError):
            plain = None
        yield _prompt(plain, f"{file}, line {number}")


def _lines(text: str, _file: Path) -> Iterator[Prompt]:
    for line in text.split("\n"):
        if line.strip():
            yield Prompt(id=prompt_id(line.strip()), text=line.strip())


def _prompt(row: Any, what: str) -> Prompt:
    if isinstance(row, str):
        row = {"prompt": row}
    text = next((row[name] for name in _TEXTS if row.get(name)), None) if isinstance(row, Mapping) else None
    if not isinstance(text, str) or not text.strip():
        raise InputError(f"{what}: there is no prompt; it must be called prompt, caption or text")
    text = encodable(text.strip())
    image = row.get("file_name") or row.get("image")
    return Prompt(
        id=_word(row.get("id")) or prompt_id(text),
        text=text,
        category=_word(row.get("category")),
        challenge=_word(row.get("challenge")),
        images=(image,) if isinstance(image, str) else (),
    )


def _word(value: object) -> str | None:
    return encodable(str(value)).strip()[:200] or None if isinstance(value, str | int) else None
