"""Published numbers, to see measured ones beside: of the Stylus paper, of a fusion study and of DemoFusion.

They were made with other models, pictures and code, so they are never ranked or averaged with what is measured here.
Each table says where its numbers come from:

    P  the paper's text or tables        N  the notebooks of its code
    D  read off a vector drawing         C  computed from published data or counts
    S  a study's report or slides
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Literal

from ..pareto import Plane, Point
from ..records import Better, CellName

Origin = Literal["P", "N", "D", "C", "S"]

_FILES = ("stylus.json", "fusion.json", "demofusion.json")


@dataclass(frozen=True, slots=True, kw_only=True)
class AnchorColumn:
    """What one number of each row is."""

    name: str
    title: str
    source: Origin
    better: Better | None = None
    """None of counts and other numbers that are neither good nor bad."""
    unit: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AnchorRow:
    """The numbers of one method."""

    cell: CellName
    group: str | None
    """Which data, criterion, batch size or length it is of, where a table has several."""
    values: Mapping[str, float]
    """By the column's name; what was not published is missing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AnchorTable:
    """One published table."""

    name: str
    title: str
    cites: str
    """The publication."""
    setting: str
    """What was measured how."""
    columns: tuple[AnchorColumn, ...]
    rows: tuple[AnchorRow, ...]
    notes: tuple[str, ...]

    def column(self, name: str) -> AnchorColumn:
        """Return a column.

        Raises:
            KeyError: there is none of that name.
        """
        return {column.name: column for column in self.columns}[name]

    def value(self, method: str, column: str, *, guidance: float | None = None, group: str | None = None) -> float:
        """Return one number.

        Args:
            method: The row's method.
            column: The column's name.
            guidance: The row's guidance; None takes whatever it is.
            group: The row's group; None takes whatever it is.

        Raises:
            KeyError: no row, or several, are so; or the number was not published.
        """
        rows = [
            row
            for row in self.rows
            if row.cell.method == method
            and (guidance is None or row.cell.guidance == guidance)
            and (group is None or row.group == group)
        ]
        if len(rows) != 1:
            raise KeyError(f"{len(rows)} rows of {self.name} are of {method}; name its guidance and group")
        return rows[0].values[column]


@cache
def anchors() -> Mapping[str, AnchorTable]:
    """Return every published table by its name."""
    texts = [files(__name__).joinpath(name).read_text(encoding="utf-8") for name in _FILES]
    tables = [_table(plain) for text in texts for plain in json.loads(text)["tables"]]
    return {table.name: table for table in tables}


def published_front() -> Plane:
    """Return CLIP score and FID over guidance as the Stylus paper draws them, without errors."""
    table = anchors()["stylus-pareto"]
    points = tuple(Point(cell=row.cell, x=row.values["clip"], y=row.values["fid"]) for row in table.rows)
    return Plane(points=points, x=table.column("clip").title, y=table.column("fid").title)


def _table(plain: Mapping[str, Any]) -> AnchorTable:
    return AnchorTable(
        name=plain["name"],
        title=plain["title"],
        cites=plain["cites"],
        setting=plain["setting"],
        columns=tuple(AnchorColumn(**{"source": plain["source"], **column}) for column in plain["columns"]),
        rows=tuple(
            AnchorRow(
                cell=CellName(method=row["method"], guidance=row.get("guidance")),
                group=row.get("group"),
                values=row["values"],
            )
            for row in plain["rows"]
        ),
        notes=tuple(plain["notes"]),
    )
