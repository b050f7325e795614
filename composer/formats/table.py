"""A table in CSV, for spreadsheets: one row an adapter.

A cell that a spreadsheet would run as a formula has an apostrophe in front, as spreadsheets write text themselves; so
has a cell that begins with one. Reading takes it off again.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping
from dataclasses import replace

from ...air import air_of
from ...errors import InputError
from ...records import Choice, Hashes
from ...syntax import decimal
from .foreign import MOST_ADAPTERS, Foreign, Named, named
from .written import Export, file_name, flat

COLUMNS = ("adapter", "file", "weight", "span", "triggers", "air", "hashes", "reason")
_DIGEST = re.compile(r"[0-9a-f]{8,64}", re.IGNORECASE)
_FORMULA = re.compile(r"\s*[=+\-@＝＋－＠']")


def write(export: Export) -> str:
    """Return the table. Several triggers stand in one cell, between bars; a bar of their own is escaped."""
    export.note("a table holds no prompt, only the words that each adapter serves")
    stream = io.StringIO()
    rows = csv.writer(stream, lineterminator="\n")
    rows.writerow(COLUMNS)
    for choice in export.composition.choices:
        if not file_name(choice.adapter):
            export.note(f"{choice.adapter.title!r} has no file name; other tools may not find it")
        rows.writerow(_row(choice))
    return stream.getvalue()


def read(text: str) -> Foreign:
    """Read such a table; its columns may stand in any order, and other columns are passed over.

    Raises:
        InputError: a cell is longer than any of ours.
    """
    notes: list[str] = []
    adapters: list[Named] = []
    try:
        rows = csv.reader(io.StringIO(text, newline=""))
        names = [name.strip().lower() for name in next(rows, [])]
        places = {name: names.index(name) for name in COLUMNS if name in names}
        for place, row in enumerate((row for row in rows if row), 1):
            if place > MOST_ADAPTERS:
                raise InputError(f"the table has more than {MOST_ADAPTERS:,} rows, and no more are read")
            cells = {name: _bare(row[at]) for name, at in places.items() if at < len(row)}
            if one := _named(cells, notes):
                adapters.append(one)
            else:
                notes.append(f"row {place} names no adapter and was left out")
    except csv.Error as error:
        raise InputError(f"the table cannot be read: {error}") from None
    return Foreign(form="csv", adapters=tuple(adapters), notes=tuple(notes))


def is_table(text: str) -> bool:
    """Say whether a text begins as such a table does."""
    head = text.lstrip("\ufeff").split("\n", 1)[0][:1000]
    names = {name.strip().strip('"').lower() for name in head.split(",")}
    return "weight" in names and bool(names & {"adapter", "file"})


def _row(choice: Choice) -> list[str]:
    record = choice.adapter
    triggers = " | ".join(_escaped(flat(trigger)) for trigger in choice.triggers)
    hashes = " ".join(f"{name}:{value}" for name in Hashes.__slots__ if (value := getattr(record.hashes, name)))
    cells = (
        flat(record.title),
        file_name(record),
        None,
        choice.span,
        triggers,
        air_of(record) or "",
        hashes,
        choice.reason,
    )
    return [decimal(choice.weight) if cell is None else _defused(flat(cell)) for cell in cells]


def _named(cells: Mapping[str, str], notes: list[str]) -> Named | None:
    parts = (part.partition(":") for part in cells.get("hashes", "").split())
    digests = {kind: value for kind, _, value in parts if kind in Hashes.__slots__ and _DIGEST.fullmatch(value)}
    file = cells.get("file") or ""
    names = {"air": cells["air"]} if cells.get("air") else {}
    one = named(
        file or cells.get("adapter"),
        cells.get("weight") or None,
        notes,
        digests=Hashes(**digests),
        title=not file,
        triggers=_triggers(cells.get("triggers", "")),
        span=cells.get("span", ""),
        reason=cells.get("reason", ""),
    )
    if one is None or not names:
        return one
    about = named(names["air"], 1, notes)
    return one if about is None else _numbered(one, about)


def _numbered(one: Named, about: Named) -> Named:
    return replace(one, air=about.air, model_id=about.model_id, version_id=about.version_id)


def _defused(cell: str) -> str:
    return f"'{cell}" if _FORMULA.match(cell) else cell


def _bare(cell: str) -> str:
    return cell[1:] if cell.startswith("'") else cell


def _escaped(trigger: str) -> str:
    return trigger.replace("\\", "\\\\").replace("|", "\\|")


def _triggers(cell: str) -> tuple[str, ...]:
    parts = re.split(r"(?<!\\)((?:\\\\)*)\|", cell)
    whole = [before + slashes for before, slashes in zip(parts[::2], [*parts[1::2], ""], strict=True)]
    return tuple(re.sub(r"\\(.)", r"\1", part.strip()) for part in whole if part.strip())
