"""What the Hugging Face hub keeps: how it is named, and how it comes onto this machine. Light: nothing heavy loads."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from ..errors import InputError

HUB_ID: Final = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")
"""A repository: `owner/name`."""
HUB_FILE: Final = re.compile(
    rf"(?P<repository>{HUB_ID.pattern})/(?P<file>(?!.*\.\./)[^/\\\0\n]+(?:/[^/\\\0\n]+)*\.safetensors)"
)
"""A file in one: `owner/name/path/in/it.safetensors`; none that climbs out of it."""

_LARGEST: Final = 1_000_000
"""Bytes of a configuration."""


def hub_file(repository: str, file: str, *, local_files_only: bool) -> Path:
    """Return a file of a repository, from the cache or downloaded.

    Raises:
        InputError: neither the cache nor the hub gives it.
    """
    from huggingface_hub import hf_hub_download

    try:
        return Path(hf_hub_download(repository, file, local_files_only=local_files_only))
    except Exception as error:  # every kind of network trouble, in each of the hub's own classes
        raise unreachable(f"{repository}/{file}", error) from error


def hub_folder(repository: str, patterns: Sequence[str], *, local_files_only: bool) -> Path:
    """Return the folder of a repository with those of its files that match, from the cache or downloaded.

    Raises:
        InputError: neither the cache nor the hub gives it.
    """
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(repository, allow_patterns=list(patterns), local_files_only=local_files_only))
    except Exception as error:  # as above
        raise unreachable(repository, error) from error


def unreachable(name: str, error: Exception) -> InputError:
    """Return the error that the hub does not give what is asked of it."""
    return InputError(
        f"{name} is not on this machine and the hub does not give it ({type(error).__name__}); "
        "download it where there is a network, or name a folder or a .safetensors file"
    )


def json_object(path: Path) -> dict[str, Any] | None:
    """Return the JSON object in a configuration; None where there is none in it, or it is larger than 1 MB.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as stream:
        content = stream.read(_LARGEST + 1)
    try:
        found = json.loads(content) if len(content) <= _LARGEST else None
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
