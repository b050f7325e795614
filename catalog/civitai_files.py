"""The entries of a Civitai version's `files`, and the ids, addresses and digests that Civitai gives."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from ..records import Hashes
from .identity import good_hash
from .text import clean_line

_FILES = 100
_ADAPTER_FILES = frozenset({"model", "pruned model", "negative"})
_FORMATS = {"safetensors": "safetensors", "pt": "pickle", "ckpt": "pickle", "bin": "pickle", "pth": "pickle"}
_OTHER_SUFFIXES = frozenset({"zip", "rar", "7z", "yaml", "yml", "json", "txt", "png", "jpg", "jpeg", "webp", "mp4"})
_SECRET = re.compile(r"([?&])(?:token|api_key|apikey)=[^&#]*&?", re.IGNORECASE)


def adapter_files(version: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the files of a version that are the adapter itself: no training data, VAE, configuration or archive."""
    files = version.get("files")
    if not isinstance(files, list):
        return []
    return [file for file in files[:_FILES] if isinstance(file, dict) and _is_adapter(file)]


def file_fields(file: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of `AdapterRecord` that one entry of a version's `files` tells of itself."""
    size = file.get("sizeKB")
    count = size * 1024 if isinstance(size, int | float) and not isinstance(size, bool) else math.nan
    return {
        "file_id": read_id(file.get("id")),
        "file_name": _file_name(file),
        "size": round(count) if 0 < count < 2**53 else None,
        "format": _format(file),
        "hashes": read_hashes(file.get("hashes")),
        "url": read_url(file.get("downloadUrl")),
    }


def read_hashes(hashes: object) -> Hashes:
    """Return the digests that a file's `hashes` state, lower-case; malformed ones and those of nothing are refused.

    >>> read_hashes({"AutoV2": "336CA6AFBC", "AutoV3": "e3b0c44298fc", "CRC32": 7})
    Hashes(sha256=None, autov1=None, autov2='336ca6afbc', autov3=None, crc32=None, blake3=None)
    """
    if not isinstance(hashes, dict):
        return Hashes()
    sha256 = good_hash(hashes.get("SHA256"), 64)
    return Hashes(
        sha256=sha256,
        autov1=good_hash(hashes.get("AutoV1"), 8),
        autov2=sha256[:10] if sha256 else good_hash(hashes.get("AutoV2"), 10),
        autov3=good_hash(hashes.get("AutoV3"), 12) or good_hash(hashes.get("AutoV3"), 64, keep=12),
        crc32=good_hash(hashes.get("CRC32"), 8),
        blake3=good_hash(hashes.get("BLAKE3"), 64),
    )


def read_id(value: object) -> int | None:
    """Return a count that Civitai may have given: whole, positive, within 63 bits, also spelt as a string.

    >>> [read_id(value) for value in (7, "7", 7.0, True, 7.5, -7, 2**63, "7a", None)]
    [7, 7, 7, None, None, None, None, None, None]
    """
    if isinstance(value, str):
        value = int(value) if len(value) <= 19 and value.isascii() and value.isdigit() else None
    elif isinstance(value, float):
        value = int(value) if value.is_integer() else None
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 2**63 else None


def read_url(value: object) -> str | None:
    """Return a web address without what would unlock it for others, or None when it is none.

    >>> read_url("https://civitai.com/api/download/models/7?token=secret&type=Model"), read_url("file:///etc/passwd")
    ('https://civitai.com/api/download/models/7?type=Model', None)
    """
    if not isinstance(value, str) or not value.startswith(("https://", "http://")) or len(value) > 2000:
        return None
    if not value.isprintable() or " " in value:
        return None
    return _SECRET.sub(r"\1", value).rstrip("?&") if "=" in value else value


def _file_name(file: Mapping[str, Any]) -> str | None:
    """Return what the file is called, without any folder."""
    name = (clean_line(file.get("name"), 255) or "").replace("\\", "/").rsplit("/", 1)[-1].strip()
    return None if name in ("", ".", "..") else name


def _is_adapter(file: Mapping[str, Any]) -> bool:
    kind, suffix = file.get("type"), _suffix(file)
    if isinstance(kind, str):
        return kind.strip().lower() in _ADAPTER_FILES and suffix not in _OTHER_SUFFIXES
    return suffix in _FORMATS


def _format(file: Mapping[str, Any]) -> str | None:
    """Return the format; where the scan and the name disagree, the one that must not be opened."""
    metadata = file.get("metadata")
    scanned = metadata.get("format") if isinstance(metadata, dict) else None
    named = _FORMATS.get(_suffix(file))
    if named == "pickle" or scanned == "PickleTensor":
        return "pickle"
    return "safetensors" if named == "safetensors" or scanned == "SafeTensor" else None


def _suffix(file: Mapping[str, Any]) -> str:
    name = file.get("name")
    return name[-40:].rpartition(".")[2].strip().lower() if isinstance(name, str) and "." in name[-40:] else ""
