"""How long one picture takes."""

from __future__ import annotations

import os
import statistics
import time
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import torch

from ...generation import PaintingWarning, open_backend
from ...protocols import Backend
from ...records import Composition, GenerationRequest
from ..world import SIZE
from .cells import BATCH

_BATCHES: Final = 5


def measure_speed(model: Path, *, steps: int, guidance: float, backend: Backend | None = None) -> dict[str, Any]:
    """Return the seconds of one picture when `BATCH` are drawn at once: the median, the least and the most of a few.

    Args:
        model: A diffusers folder.
        steps: Denoising steps.
        guidance: Up to 1 for none.
        backend: One that holds the model already.
    """
    backend = backend or open_backend("sd", str(model), batch_size=BATCH)
    seconds = []
    for number in range(_BATCHES + 1):
        request = GenerationRequest(
            composition=Composition(prompt="a red ball by the sea"),
            model=str(model),
            seed=number * BATCH,
            steps=steps,
            guidance=guidance,
            width=SIZE,
            height=SIZE,
        )
        started = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", PaintingWarning)
            _draw(backend.generate(request, BATCH))
        seconds.append((time.perf_counter() - started) / BATCH)
    timed = seconds[1:]  # the first batch also loads code
    return {
        "seconds": round(statistics.median(timed), 4),
        "least": round(min(timed), 4),
        "most": round(max(timed), 4),
        "batches": _BATCHES,
        "batch": BATCH,
        "steps": steps,
        "threads": torch.get_num_threads(),
        "load": round(os.getloadavg()[0], 2),
    }


def _draw(images: Iterable[object]) -> None:
    for _ in images:
        pass
