"""Looks for secrets in everything that a program wrote: as they are, encoded, and inside what is packed."""

from __future__ import annotations

import base64
import gzip
import io
import json
import re
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import quote, quote_plus

from PIL import Image

_DATA = re.compile(rb"base64,([A-Za-z0-9+/=]{40,})")
_DEEPEST = 4


def spellings(secret: str) -> set[bytes]:
    """Every way in which a secret may stand somewhere."""
    plain = secret.encode()
    found = {plain, quote(secret, safe="").encode(), quote_plus(secret).encode(), plain.hex().encode()}
    found |= {json.dumps(secret)[1:-1].encode(), secret.encode("utf-16-le"), secret.encode("utf-16-be")}
    # Inside a longer text the code begins at one of three places; its ends depend on the neighbours.
    for shift in range(3):
        code = base64.b64encode(bytes(shift) + plain).rstrip(b"=")[(0, 2, 3)[shift] :]
        code = code if (len(plain) + shift) % 3 == 0 else code[:-1]
        found |= {code, code.replace(b"+", b"-").replace(b"/", b"_")}
    return found


def packed(content: bytes, depth: int = 0) -> Iterator[bytes]:
    """Yield a file's bytes, and those of whatever is packed in it."""
    yield content
    if depth >= _DEEPEST:
        return
    if content[:2] == b"\x1f\x8b":
        yield from packed(gzip.decompress(content), depth + 1)
    if content[:8] == b"\x89PNG\r\n\x1a\n":
        with Image.open(io.BytesIO(content)) as image:
            image.load()
            yield repr({**image.info, **getattr(image, "text", {})}).encode("utf-8", "replace")
    if content[:2] == b"\xff\xd8" or content[:4] == b"RIFF":
        with Image.open(io.BytesIO(content)) as image:
            yield repr(image.info).encode() + image.info.get("exif", b"")
    for match in _DATA.finditer(content):
        with_padding = match[1] + b"=" * (-len(match[1]) % 4)
        yield from packed(base64.b64decode(with_padding), depth + 1)
    for place in (found.start() for found in re.finditer(rb"\x78[\x01\x9c\xda]", content)):
        try:
            inner = zlib.decompressobj().decompress(content[place:], 1 << 22)
        except zlib.error:
            continue
        if len(inner) > 40:
            yield inner


def leaks(written: Mapping[str, bytes], secrets: Mapping[str, str]) -> list[str]:
    """Return `place: secret's name` for each secret that stands somewhere in what was written."""
    sought = {name: spellings(secret) for name, secret in secrets.items()}
    found = []
    for place, content in written.items():
        texts = list(packed(content))
        found += [
            f"{place}: {name}" for name, ways in sought.items() if any(way in text for way in ways for text in texts)
        ]
    return found


def files_under(*folders: Path) -> dict[str, bytes]:
    """Everything that lies in folders, and the names of it all."""
    paths = [path for folder in folders for path in sorted(folder.rglob("*")) if path.is_file()]
    names = "\n".join(map(str, paths)).encode("utf-8", "surrogateescape")
    return {"the names of files": names, **{str(path): path.read_bytes() for path in paths}}
