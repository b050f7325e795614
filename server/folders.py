"""Sentences for those who may not know where files lie on this machine."""

from __future__ import annotations

import re
from typing import Final

_FOLDERS: Final = re.compile(r"(?<![\w.:/\\])(?:[A-Za-z]:)?(?:[/\\][^\s/\\'\"]+)*[/\\](?=[^\s/\\])")
"""The folders of a path that begins at a root, of either spelling."""


def without_folders(sentence: str) -> str:
    """Return a sentence with the names alone of the files that it names by their paths.

    >>> without_folders("/home/ada/loras/fox.safetensors does not fit; see https://example.org/a/b")
    'fox.safetensors does not fit; see https://example.org/a/b'
    """
    return _FOLDERS.sub("", sentence)
