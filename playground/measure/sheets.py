"""A sheet that shows at a glance what the right adapters do, and what wrong ones do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from ..world import paint, sheet
from .prompts import Ask
from .run import COUNT, Progress, make_plan

_ROWS: Final = {"subject": 3, "style": 3, "pair": 4}
_COLUMNS: Final = {
    "base": "base model alone",
    "oracle": "the right adapters",
    "picks": "Velatura's picks",
    "wrong": "wrong adapters",
}


def write_sheet(weights: Path, output: Path, path: Path, *, progress: Progress | None = None) -> Path:
    """Write a sheet of subjects, styles and pairs: as painted, and as the model paints them with various adapters.

    What the measure has painted into the same output folder is shown, not painted again.

    Args:
        weights: The folder of the trained models.
        output: As `measure` has it.
        path: The PNG to write.
        progress: Called as it goes.

    Raises:
        InputError: a trained model is not there, or a folder cannot be written to.
    """
    told = progress or (lambda *_: None)
    plan = make_plan(weights, output, told, every=1, count=COUNT)
    asks = _spread(plan.asks)
    painted = plan.paint(list(_COLUMNS), asks, told)
    rows = [[paint(ask.picture), *(painted[name][ask.number].pictures[0] for name in _COLUMNS)] for ask in asks]
    columns = ["as it is meant", *_COLUMNS.values()]
    page = sheet(rows, row_labels=[ask.prompt for ask in asks], column_labels=columns, factor=4)
    path.parent.mkdir(parents=True, exist_ok=True)
    page.save(path, "PNG")
    return path


def _spread(asks: Sequence[Ask]) -> list[Ask]:
    """Take some prompts of each kind, so that the subjects and styles are as many as can be."""
    taken: list[Ask] = []
    shown: Counter[tuple[str, str]] = Counter()
    for kind, rows in _ROWS.items():
        own = [ask for ask in asks if ask.kind == kind]
        for _ in range(min(rows, len(own))):
            ask = min(own, key=lambda ask: sum(shown[need] for need in ask.needs))
            own.remove(ask)
            taken.append(ask)
            shown.update(ask.needs)
    return taken
