"""Web addresses that strangers wrote: which of them are asked at all, and how they are told without their secrets."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import urlsplit

_LONGEST_URL: Final = 2_000
_PASSWORD: Final = re.compile(r"(://[^/@?#\s]*?):[^/\s]*@")
_KEY: Final = re.compile(r"([?&][^=&\s]*(?:pass|pw|key|token|secret|sig)[^=&\s]*=)[^&\s#,]+", re.IGNORECASE)


def is_fetchable(url: str, *, longest: int = _LONGEST_URL) -> bool:
    """Say whether an address is one that is asked at all: http or https, a host, no name and no password in it."""
    if len(url) > longest or not url.isprintable() or " " in url or "\\" in url:
        return False
    try:
        parts = urlsplit(url)
        return (
            parts.scheme in ("http", "https") and bool(parts.hostname) and "@" not in parts.netloc and parts.port != 0
        )
    except ValueError:
        return False


def shown_address(url: str) -> str:
    """Return an address as an error shows it: what may be a secret in it is left out.

    >>> shown_address("https://me:secret@files.example/fox.safetensors?token=secret#secret")
    'https://files.example/fox.safetensors'
    """
    try:
        parts = urlsplit(url)
        told = f"{parts.scheme}://{parts.hostname or ''}{parts.path}"
    except ValueError:
        told = "an address"
    return "".join(letter if letter.isprintable() else " " for letter in told)[:120]


def without_secrets(text: str) -> str:
    """Return a text whose addresses hold neither passwords nor what is called a key.

    >>> without_secrets("postgresql://ada:secret@db.example/loras, http://a.example/v1?api_key=secret&v=1")
    'postgresql://ada:***@db.example/loras, http://a.example/v1?api_key=***&v=1'
    """
    return _KEY.sub(r"\1***", _PASSWORD.sub(r"\1:***@", text)) if "://" in text else text


def trouble(error: BaseException) -> str:
    """Return what is behind a chain of errors, in one line without an address."""
    told = str(getattr(error, "reason", None) or (error.args[0] if error.args else error))
    told = told.rpartition(": ")[2] if "Max retries" in told else told
    return " ".join(told.split())[:120].strip("'\")") or type(error).__name__
