"""Where a site keeps the file of a record.

What a page or a dump calls a file's address is written by strangers. So it is built here, of ids that are checked, and
leads to one of two hosts; of a stated address only the choice between the files of one version is taken.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from ..errors import InputError
from ..fenced import line
from ..records import AdapterRecord

_CIVITAI: Final = "civitai.com"
_CHOICES: Final = ("type", "format", "size", "fp", "quantType")
"""Parameters by which Civitai tells the files of one version apart."""
_CHOICE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._-]{0,39}")
_HUB: Final = "huggingface.co"
_REPOSITORY: Final = re.compile(r"[\w.-]{1,96}(?:/[\w.-]{1,96})?", re.ASCII)
_COMMIT: Final = re.compile(r"[0-9a-f]{40}")
_TOKEN: Final = re.compile(r"[\x21-\x7e]{1,2000}")
_LONGEST: Final = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where a file is asked for."""

    site: str
    """The site's name for people."""
    host: str
    """The one host that is told the token."""
    url: str
    variable: str
    """The environment variable that the site's token stands in."""

    def token(self) -> str | None:
        """Return the site's token, read from the environment now; None where there is none.

        Raises:
            InputError: it is no token. The sentence does not repeat it.
        """
        token = os.environ.get(self.variable, "").strip()
        if token and not _TOKEN.fullmatch(token):
            raise InputError(f"{self.variable} holds something else than a token")
        return token or None


def origin_of(record: AdapterRecord) -> Origin:
    """Return where the file of a record is asked for.

    Raises:
        InputError: it is on no site, not offered there, or of a format that is never fetched.
    """
    title = line(record.title, 60) or line(record.key, 60)
    if record.format == "pickle":
        raise InputError(f"“{title}” is a pickle, which can run code when it is opened; only safetensors are fetched")
    if record.available is False:
        raise InputError(f"“{title}” is not offered for download")
    if isinstance(record.version_id, int) and record.source != "huggingface":
        return _civitai(record.version_id, record.url)
    if record.source == "huggingface" and isinstance(record.file_id, str):
        found = _hub(str(record.model_id), record.version_id, record.file_id)
        if found is not None:
            return found
    raise InputError(f"“{title}” has no ids of Civitai or Hugging Face, so there is nowhere to fetch it from")


def _civitai(version: int, stated: str | None) -> Origin:
    try:
        told = parse_qsl(urlsplit(stated or "").query)
    except ValueError:
        told = []
    chosen = [(name, value) for name, value in told if name in _CHOICES and _CHOICE.fullmatch(value)]
    query = urlencode(dict(chosen) or {"type": "Model", "format": "SafeTensor"}, quote_via=quote)
    url = f"https://{_CIVITAI}/api/download/models/{version:d}?{query}"
    return Origin(site="Civitai", host=_CIVITAI, url=url, variable="CIVITAI_API_TOKEN")


def _hub(repository: str, revision: object, file: str) -> Origin | None:
    parts = file.split("/")
    is_path = len(file) <= _LONGEST and file.isprintable() and not {"", ".", ".."} & set(parts) and "\\" not in file
    is_name = _REPOSITORY.fullmatch(repository) and not {".", ".."} & set(repository.split("/"))
    if not is_path or not is_name or not file.lower().endswith(".safetensors"):
        return None
    commit = revision if isinstance(revision, str) and _COMMIT.fullmatch(revision) else "main"
    url = f"https://{_HUB}/{repository}/resolve/{commit}/{quote(file)}"
    return Origin(site="Hugging Face", host=_HUB, url=url, variable="HF_TOKEN")
