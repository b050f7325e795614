"""`results.json`: results as plain JSON, of a schema with a number, and back.

What comes back was written by anybody: every value is checked, and nothing is guessed.
"""

from __future__ import annotations

import json
import math
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from ...errors import InputError
from ...syntax import encodable
from ..anchors import anchors
from .results import Results

if TYPE_CHECKING:
    from pydantic import TypeAdapter

SCHEMA: Final = 1
"""The number of what is written here; one more whenever an older reader would misread it."""
LARGEST: Final = 256 * 2**20
"""Bytes of the largest file that is read."""
_LARGEST_COUNT: Final = 2**53
_NEVER_NEGATIVE: Final = frozenset(
    {"n", "missing", "samples", "batch", "win", "tie", "lose", "refused", "unusable", "raters", "excluded", "error"}
)
_SHARES: Final = frozenset({"p", "p_holm"})


def to_json(results: Results) -> str:
    """Return results as JSON; equal results are equal text.

    Raises:
        InputError: a number is not finite, which JSON has no word for.
    """
    plain = {"schema": SCHEMA, **cast(dict[str, Any], _plain(results, "results"))}
    return json.dumps(plain, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def from_json(text: str | bytes, name: str = "the results") -> Results:
    """Read results back.

    Args:
        text: What `to_json` wrote.
        name: What messages call it.

    Raises:
        InputError: it is not that, or of a newer schema; one sentence that names the first thing that is wrong.
    """
    from pydantic import ValidationError

    try:
        plain = json.loads(text)
    except (ValueError, RecursionError):
        raise InputError(f"{name} is not JSON; write it with `velatura eval score`") from None
    schema = plain.pop("schema", None) if isinstance(plain, dict) else None
    if not isinstance(schema, int) or isinstance(schema, bool) or schema < 1:
        raise InputError(f"{name} says no schema, so it holds no results; write it with `velatura eval score`")
    if schema > SCHEMA:
        raise InputError(f"{name} has schema {schema}, and this version reads up to {SCHEMA}; install a newer Velatura")
    try:
        # Through text again, since only there lists are tuples in strict mode.
        (results,) = _adapter().validate_json(json.dumps([plain]))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"][1:]) or "value"
        raise InputError(f"{name}: {encodable(where)}: {first['msg']}") from None
    except (ValueError, RecursionError):
        raise InputError(f"{name} is not JSON of results; write it with `velatura eval score`") from None
    _check(results, name, "")
    for anchor in results.anchors:
        if anchor not in anchors():
            raise InputError(
                f"{name}: there is no published table {encodable(anchor)!r}; take of {', '.join(anchors())}"
            )
    return results


def load_results(path: str | Path) -> Results:
    """Read `results.json`.

    Raises:
        InputError: the file cannot be read, is too large, or holds something else.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST + 1)
    except OSError as error:
        raise InputError(f"{encodable(str(path))} cannot be read: {error.strerror}") from None
    if len(content) > LARGEST:
        raise InputError(f"{encodable(str(path))} is larger than {LARGEST // 2**20} MiB, which no results are")
    return from_json(content, encodable(str(path)))


def _plain(value: Any, where: str) -> Any:
    if is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name), f"{where}.{field.name}") for field in fields(value)}
    if isinstance(value, tuple):
        return [_plain(item, f"{where}.{place}") for place, item in enumerate(value)]
    if isinstance(value, float) and not math.isfinite(value):
        raise InputError(f"{where} is {value}, and results hold finite numbers alone; leave that figure out")
    return encodable(value) if isinstance(value, str) else value


def _check(value: Any, name: str, where: str) -> None:
    """Refuse counts below zero and shares outside 0 to 1, which types alone let through."""
    if isinstance(value, tuple):
        for place, item in enumerate(value):
            _check(item, name, f"{where}.{place}")
    elif is_dataclass(value):
        for field in fields(value):
            item = getattr(value, field.name)
            inner = f"{where}.{field.name}".lstrip(".")
            if isinstance(item, (int, float)):
                if abs(item) > _LARGEST_COUNT and isinstance(item, int):
                    raise InputError(f"{name}: {inner}: there are not that many")
                if field.name in _NEVER_NEGATIVE and item < 0:
                    raise InputError(f"{name}: {inner}: it must not be below 0, and is {item}")
                if field.name in _SHARES and not 0 <= item <= 1:
                    raise InputError(f"{name}: {inner}: it must be between 0 and 1, and is {item}")
            _check(item, name, inner)


def _adapter() -> TypeAdapter[tuple[Results]]:
    from pydantic import ConfigDict, TypeAdapter

    # A dataclass alone takes no configuration from outside; within a tuple, it and all within it do.
    return TypeAdapter(tuple[Results], config=ConfigDict(strict=True, extra="forbid", allow_inf_nan=False))
