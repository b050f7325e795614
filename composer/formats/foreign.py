"""What another tool's file says: a prompt, and adapters by the names, hashes and numbers that it knows them by."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from ...air import parse_air
from ...errors import InputError
from ...records import Composition, Hashes, Id

T = TypeVar("T")

HEAVIEST = 100.0
"""The largest weight, of either sign, that is read; ComfyUI's own bound."""
LONGEST_NAME = 1000
MOST_ADAPTERS = 10_000
"""Of one content; a picture wears a handful, and the largest recipes name some dozens."""
NO_HASHES = Hashes()
_EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
"""SHA-256 of nothing, which broken tools write."""
_KINDS = {8: "autov1", 10: "autov2", 12: "autov3", 64: "sha256"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """An adapter as another tool names it.

    Looked for in a catalogue by hash, version, AIR, file stem and alias, the surest first.
    """

    name: str
    """A file stem, an alias or a page's title, as written."""
    weight: float = 1.0
    """The UNet's."""
    clip_weight: float | None = None
    """The text encoder's, where it is another."""
    hashes: Hashes = NO_HASHES
    air: str | None = None
    model_id: Id | None = None
    version_id: Id | None = None
    file: str | None = None
    """The file as written, with folders of the other machine: a name, never to be opened."""
    triggers: tuple[str, ...] = ()
    span: str = ""
    """The words that it serves, where the form tells them."""
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Foreign:
    """What was read."""

    form: str
    """Whose form it is: `a1111`, `comfyui`, `rgthree`, `lora-manager`, `invokeai`, `swarmui`, `air`, `csv`, `json`."""
    prompt: str = ""
    """The words, without tags for adapters."""
    negative: str = ""
    adapters: tuple[Named, ...] = ()
    """In the order in which they are laid on."""
    triggers: tuple[str, ...] = ()
    """Trigger words that the other tool adds to the prompt and that belong to no one adapter."""
    notes: tuple[str, ...] = ()
    """What was left out or guessed, each one sentence."""
    composition: Composition | None = None
    """The whole of it, where the content is our own."""


def named(
    name: object,
    weight: object,
    notes: list[str],
    *,
    clip: object = None,
    digests: Hashes = NO_HASHES,
    title: bool = False,
    **fields: Any,
) -> Named | None:
    """Make one of foreign values, telling in `notes` what was wrong with them; None where there is no name.

    A name that is an AIR gives its numbers; a name with folders or an extension gives the file, unless it is a title.
    """
    if not isinstance(name, str) or not name.strip():
        return None
    if len(name) > LONGEST_NAME:
        notes.append(f"an adapter's name of {len(name):,} characters was left out")
        return None
    value = weight_of(weight)
    if value is None:
        if weight is not None:
            notes.append(f"the weight of {name!r} cannot be read ({_short(weight)}); 1 is taken")
        value = 1.0
    second = weight_of(clip)
    if air := parse_air(name):
        fields = {"air": name.strip(), "model_id": air.model_id, "version_id": air.version_id, **fields}
    elif not title and (stem := stem_of(name)) != name:
        fields = {"file": name, **fields}
        name = stem
    if not name:  # `<lora:\:1>`: a folder alone
        return None
    return Named(
        name=name, weight=value, clip_weight=None if second == value else second, hashes=digests, **fields
    )  # fmt: skip


def weight_of(value: object) -> float | None:
    """Return a foreign value as a weight, also one spelt as text; None where it is none, or out of bounds."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    if isinstance(value, str) and len(value) > 400:
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) and abs(number) <= HEAVIEST else None


def stem_of(file: str) -> str:
    r"""Return a file's name without folders, of either spelling, and without the extension of a model.

    >>> stem_of("styles\\ink v1.5.safetensors"), stem_of("a/b.c"), stem_of("v1.5")
    ('ink v1.5', 'b.c', 'v1.5')
    """
    last = re.split(r"[\\/]", file.rstrip("\\/"))[-1]
    return re.sub(r"(?<=.)\.(?:safetensors|ckpt|pt|pth|bin)$", "", last, flags=re.IGNORECASE | re.DOTALL)


def hashes_of(*digests: object) -> Hashes:
    """Sort digests of one file by their lengths; what is no digest, or one of nothing, is left out.

    >>> hashes_of("AABBCCDDEE", "xyz", "e3b0c44298", "blake3:" + "ab" * 32).autov2
    'aabbccddee'
    """
    found: dict[str, str] = {}
    for digest in digests:
        if not isinstance(digest, str) or len(digest) > 100:
            continue
        algorithm, _, value = digest.strip().lower().rpartition(":")
        value = value.removeprefix("0x")
        kind = "blake3" if algorithm.startswith("blake3") else _KINDS.get(len(value))
        whole = re.fullmatch(r"[0-9a-f]+", value)
        if kind and whole and len(value) in _KINDS and not _EMPTY.startswith(value):
            found.setdefault(kind, value)
    return Hashes(**found)


def text_of(value: object) -> str:
    """Return a foreign value where it is a text; else nothing."""
    return value if isinstance(value, str) else ""


def mapping_of(value: object) -> Mapping[str, Any]:
    """Return a foreign value where it is an object; else an empty one."""
    return value if isinstance(value, Mapping) else {}


def list_of(value: object) -> list[Any]:
    """Return a foreign value where it is a list; else an empty one."""
    return value if isinstance(value, list) else []


def few(values: Sequence[T]) -> Sequence[T]:
    """Return what adapters are listed by, unless there are more than any list has.

    Raises:
        InputError: there are.
    """
    if len(values) > MOST_ADAPTERS:
        raise InputError(f"it lists {len(values):,} adapters; at most {MOST_ADAPTERS:,} are read")
    return values


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:40] + "…"
