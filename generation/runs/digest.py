"""What decides the pixels of a request, as an address; and how it is told where its files are nobody's business."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from ...plain import to_plain
from ...records import AdapterRecord, GenerationRequest
from ..checksums import digests
from ..file_names import bare_file, is_path

_MODELS: Final = frozenset({"model", "encoder", "upscaler", "embeddings"})
"""Fields of a request that name a file or a folder of weights."""
_FILES: Final = _MODELS | {"path", "key"}
_SAMPLE: Final = 1 << 20
_WEIGHTS: Final = frozenset({".safetensors", ".json", ".txt"})
_MOST_FILES: Final = 500


def request_digest(request: GenerationRequest, stamp: str = "") -> str:
    """Return the address of all that decides a picture, 64 hexadecimal digits.

    Args:
        request: Completed, so that what is left to the backend and the same asked for by name are one.
        stamp: What of the backend decides the pixels and no request tells.

    Files of pictures, adapters and models count by their content, wherever they lie and whatever they are called; a
    hub id by its name. What only tells is not in it: reasons, refusals, who chose.
    """
    choices = request.composition.choices
    plain = to_plain(request)
    del plain["composition"]
    if request.mask is None or len(request.mask) == len(choices):
        del plain["mask"]
    else:  # which no backend paints
        request = replace(request, mask=None)
    told = {
        **_by_content(plain),
        "prompt": request.prompt,
        "stamp": stamp,
        "adapters": [
            [adapter_digest(choice.adapter) or choice.adapter.key, choice.weight] for choice in request.choices
        ],
    }
    return _sha256(json.dumps(told, sort_keys=True))


def _by_content(value: Any, name: str = "") -> Any:
    """Return a plain value in which what files hold stands for their names."""
    if isinstance(value, dict):
        told = {key: _by_content(item, key) for key, item in value.items() if key != "sha256"}
        # Of a picture the backend has filled in what it read.
        return {**told, "path": value["sha256"]} if value.get("sha256") else told
    if isinstance(value, list):
        return [_by_content(item, name) for item in value]
    if isinstance(value, str) and (name == "path" or name in _MODELS):
        try:
            path = Path(value).expanduser()
            return digests(path).whole if name == "path" else _weights(path)
        except (OSError, ValueError, RuntimeError):  # not here, or no name of a file at all
            return value
    return value


def adapter_digest(record: AdapterRecord) -> str | None:
    """Return the SHA-256 of an adapter's file, as recorded, else as the file has it; None where there is none."""
    if record.hashes.sha256:
        return record.hashes.sha256
    try:
        return digests(Path(record.path).expanduser()).whole if record.path else None
    except (OSError, ValueError, RuntimeError):
        return None


def _weights(path: Path) -> str:
    """Return the address of a model's file or folder: of its names, its sizes, and samples of its content."""
    if not path.is_dir():
        stat = path.stat()
        return _sampled(path, stat.st_size, stat.st_mtime_ns)
    files = sorted(file for file in path.rglob("*") if file.suffix in _WEIGHTS and file.is_file())[:_MOST_FILES]
    return _sha256(json.dumps([[file.relative_to(path).as_posix(), _weights(file)] for file in files]))


@lru_cache(maxsize=4096)
def _sampled(path: Path, size: int, _: int) -> str:
    """Sample a file: gigabytes would take as long as a picture. The last argument tells whether it has changed."""
    told = hashlib.sha256(str(size).encode())
    with path.open("rb") as stream:
        for start in sorted({0, max(0, size // 2 - _SAMPLE // 2), max(0, size - _SAMPLE)}):
            stream.seek(start)
            told.update(stream.read(_SAMPLE))
    return told.hexdigest()


def without_folders(sentence: str, request: GenerationRequest) -> str:
    """Return a sentence in which the request's files have their bare names."""
    paths = {path for path in _files(to_plain(request)) if path and is_path(path)}
    for path in tuple(paths):
        with suppress(OSError, ValueError, RuntimeError):
            expanded = Path(path).expanduser()
            paths |= {str(expanded), str(expanded.resolve())}
    for path in sorted(paths, key=len, reverse=True):
        sentence = sentence.replace(path, bare_file(path))
    return sentence


def _files(value: Any, name: str = "") -> Iterator[str]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _files(item, key)
    elif isinstance(value, list):
        for item in value:
            yield from _files(item, name)
    elif isinstance(value, str) and name in _FILES:
        yield value


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
