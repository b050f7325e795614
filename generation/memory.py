"""Out of memory: the sentence that says what would fit, found by trying."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from ..errors import VelaturaError

if TYPE_CHECKING:
    from .batches import Row
    from .local import LocalBackend

_SHARES = (0.75, 0.5, 0.375, 0.25, 0.125)
"""Of a side, tried one after the other."""
_GRAIN = 64
"""Sides that are proposed are multiples of this, or of the backend's own."""


@contextmanager
def telling_what_fits(backend: LocalBackend[Any], rows: Sequence[Row]) -> Iterator[None]:
    """Turn a lack of memory into a sentence that says what would fit.

    Raises:
        VelaturaError: the memory does not suffice.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_lack(error):
            raise
    else:
        return
    # Outside of the handler, whose traceback would hold on to what has to be freed.
    raise VelaturaError(_sentence(backend, rows))


def is_lack(error: BaseException) -> bool:
    """Whether an error means that there is not enough memory.

    >>> is_lack(MemoryError()), is_lack(RuntimeError("CUDA error: out of memory")), is_lack(RuntimeError("a bug"))
    (True, True, False)
    """
    said = str(error).lower()
    lacks = ("out of memory", "not enough memory", "can't allocate memory")
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or any(lack in said for lack in lacks)


def _sentence(backend: LocalBackend[Any], rows: Sequence[Row]) -> str:
    width, height = rows[0].size
    many = f" and {len(rows)} at once" if len(rows) > 1 else ""
    said = f"there is not enough memory for pictures of {width}x{height}{many}"
    if len(rows) > 1 and _fits(backend, rows[:1]):
        return f"{said}; one at a time fits: set the batch size to 1"
    grain = max(_GRAIN, backend.multiple)
    sizes = [[max(grain, round(side * share / grain) * grain) for side in (width, height)] for share in _SHARES]
    for size in dict.fromkeys(tuple(size) for size in sizes if size != [width, height]):
        if _fits(backend, [_sized(rows[0], *size)]):
            return f"{said}; {size[0]}x{size[1]} fits"
    return f"{said}, nor for much smaller ones; close other programs, or load the checkpoint in half precision"


def _sized(row: Row, width: int, height: int) -> Row:
    return replace(row, request=replace(row.request, width=width, height=height))


def _fits(backend: LocalBackend[Any], rows: Sequence[Row]) -> bool:
    """Try one step."""
    _free()
    probe = [replace(row, request=replace(row.request, steps=1)) for row in rows]
    return _survives(lambda: backend.try_out(probe))


def _survives(attempt: Callable[[], None]) -> bool:
    try:
        attempt()
    except (MemoryError, RuntimeError) as error:
        if not is_lack(error):
            raise
    else:
        return True
    _free()
    return False


def _free() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
