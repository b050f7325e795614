"""Tables of numbers with their errors, as Markdown, LaTeX, CSV or HTML."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

_FORMULA = ("=", "+", "-", "@", "\t")
"""What a spreadsheet takes a cell for a formula by."""
_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", '"': "''", "±": r"$\pm$", "−": r"$-$", "–": "--", "→": r"$\rightarrow$",
    "Δ": r"$\Delta$", "≥": r"$\geq$", "≤": r"$\leq$", "×": r"$\times$",
}  # fmt: skip
_MARKDOWN = re.compile(r"([\\`*_{}\[\]()#|$~!])")


@dataclass(frozen=True, slots=True, kw_only=True)
class Number:
    """A number for a table, written with the digits that its error allows."""

    value: float | None
    """None where there is none: an empty cell."""
    error: float | None = None
    """What stands after the ±; the table's notes say which error it is."""
    low: float | None = None
    high: float | None = None
    """An interval's ends, written instead of the error."""
    digits: int | None = None
    """Decimals; None takes what the error or the interval allows."""
    signed: bool = False
    """Whether a plus is written: of differences."""
    best: bool = False
    """Written bold. For the caller to set, and only where the second best is surely worse."""

    def __str__(self) -> str:
        return _written(self)


Cell = str | int | Number | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows of text and numbers under column titles."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    caption: str = ""
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.columns or any(len(row) != len(self.columns) for row in self.rows):
            raise ValueError("a table has columns, and each row a cell for each of them")

    @property
    def right(self) -> tuple[bool, ...]:
        """Which columns are set flush right: those with numbers and without text."""
        cells = list(zip(*self.rows, strict=True)) or [()] * len(self.columns)
        return tuple(
            any(isinstance(cell, int | Number) for cell in column) and not any(isinstance(cell, str) for cell in column)
            for column in cells
        )


def to_markdown(table: Table) -> str:
    """Return a table in GitHub's Markdown; what text has of markup is escaped."""
    rule = ["---:" if right else "---" for right in table.right]
    bold = ("**", "**")
    body = [[_cell(cell, _markdown, bold) for cell in row] for row in table.rows]
    lines = ["| " + " | ".join(row) + " |" for row in ([_markdown(title) for title in table.columns], rule, *body)]
    caption = [f"**{_markdown(table.caption)}**", ""] if table.caption else []
    notes = ["", *(f"- {_markdown(note)}" for note in table.notes)] if table.notes else []
    return "\n".join([*caption, *lines, *notes]) + "\n"


def to_latex(table: Table, *, label: str = "") -> str:
    """Return a table as LaTeX, for the package booktabs; what text has of commands is escaped.

    Scripts beyond the Latin one need XeLaTeX or LuaLaTeX.
    """
    bold = (r"\textbf{", "}")
    rows = [[_cell(cell, _latex, bold) for cell in row] for row in table.rows]
    lines = [
        r"\begin{table}",
        r"\centering",
        *([rf"\caption{{{_latex(table.caption)}}}"] if table.caption else []),
        *([rf"\label{{{re.sub('[^A-Za-z0-9:-]', '-', label)}}}"] if label else []),
        rf"\begin{{tabular}}{{{''.join('r' if right else 'l' for right in table.right)}}}",
        r"\toprule",
        _latex_line([_latex(title) for title in table.columns]),
        r"\midrule",
        *map(_latex_line, rows),
        r"\bottomrule",
        r"\end{tabular}",
        *(rf"\par\footnotesize {_latex(note)}" for note in table.notes),
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def to_csv(table: Table) -> str:
    """Return a table as CSV with every digit; errors and intervals have columns of their own.

    Text that a spreadsheet would take for a formula has an apostrophe before it.
    """
    cells = list(zip(*table.rows, strict=True)) or [()] * len(table.columns)
    parts = [_parts(column) for column in cells]
    heads = [_plain(title) + suffix for title, kept in zip(table.columns, parts, strict=True) for suffix in kept]
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow([_harmless(head) for head in heads])
    for row in table.rows:
        writer.writerow([_raw(cell, part) for cell, kept in zip(row, parts, strict=True) for part in kept])
    return stream.getvalue()


def to_html(table: Table) -> str:
    """Return a table as an HTML element, escaped."""
    right = table.right
    bold = ("<strong>", "</strong>")

    def line(tag: str, cells: Sequence[str]) -> str:
        marks = (' class="number"' if flag else "" for flag in right)
        return "<tr>" + "".join(f"<{tag}{m}>{cell}</{tag}>" for m, cell in zip(marks, cells, strict=True)) + "</tr>"

    body = [line("td", [_cell(cell, _html, bold) for cell in row]) for row in table.rows]
    caption = f"<caption>{_html(table.caption)}</caption>" if table.caption else ""
    notes = "".join(f"<li>{_html(note)}</li>" for note in table.notes)
    foot = f'<tfoot><tr><td colspan="{len(right)}"><ul>{notes}</ul></td></tr></tfoot>' if notes else ""
    head = line("th", [_html(title) for title in table.columns])
    return "\n".join(["<table>" + caption, f"<thead>{head}</thead>", "<tbody>", *body, "</tbody>", foot + "</table>"])


def decimals(error: float) -> int:
    """Return to how many decimals a value with this error is written: the error to one digit, or two of 10 to 19.

    >>> [decimals(error) for error in (0.031, 0.012, 0.0996, 1.2, 4.2, 130.0, 0.0)]
    [2, 3, 2, 1, 0, 0, 2]
    """
    if not (error > 0 and math.isfinite(error)):
        return 2
    # As rounded to two digits: 0.0996 is 0.10.
    leading, exponent = f"{error:.1e}".split("e")
    return min(max(0, (float(leading) < 2) - int(exponent)), 8)


def _written(number: Number) -> str:
    if number.value is None or not math.isfinite(number.value):
        return "–"
    interval = number.low is not None and number.high is not None
    digits = number.digits
    if digits is None and number.error is not None:
        digits = decimals(number.error)
    if digits is None and number.low is not None and number.high is not None:
        digits = decimals((number.high - number.low) / 4)
    value = _figure(number.value, digits, number.signed)
    if interval:
        return f"{value} [{_figure(number.low, digits)}, {_figure(number.high, digits)}]"
    return value if number.error is None else f"{value} ± {_figure(number.error, digits)}"


def _figure(value: float | None, digits: int | None, signed: bool = False) -> str:
    if value is None or not math.isfinite(value):
        return "–"
    sign = "+" if signed else ""
    text = f"{value:{sign}.4g}" if digits is None else f"{value:{sign}.{digits}f}"
    zero = not float(text)
    return text.lstrip("+-") if zero else text.replace("-", "−")


def _cell(cell: Cell, shown: Callable[[str], str], bold: tuple[str, str]) -> str:
    if cell is None:
        return ""
    # Of what numbers are written with, LaTeX alone has a use of its own.
    text = shown(str(cell)) if isinstance(cell, str) or shown is _latex else str(cell)
    return bold[0] + text + bold[1] if isinstance(cell, Number) and cell.best else text


def _plain(text: str) -> str:
    """Return text on one line, without characters that no file or terminal should get."""
    kept = "".join(char if char.isprintable() else " " for char in text)
    return " ".join(kept.split())


def _markdown(text: str) -> str:
    return _MARKDOWN.sub(r"\\\1", escape(_plain(text), quote=False))


def _latex(text: str) -> str:
    return "".join(_LATEX.get(char, char) for char in _plain(text))


def _latex_line(cells: Sequence[str]) -> str:
    # A bracket or a star after the line before would be read as a part of its end.
    guard = "{}" if cells[0].startswith(("[", "*")) else ""
    return guard + " & ".join(cells) + r" \\"


def _html(text: str) -> str:
    return escape(_plain(text))


def _parts(column: Sequence[Cell]) -> tuple[str, ...]:
    """Return the endings of the titles of a column's own columns in CSV."""
    numbers = [cell for cell in column if isinstance(cell, Number)]
    error = (" (±)",) if any(number.error is not None for number in numbers) else ()
    ends = (" (low)", " (high)") if any(number.low is not None for number in numbers) else ()
    return ("", *error, *ends)


def _raw(cell: Cell, part: str) -> str:
    if isinstance(cell, Number):
        value = {"": cell.value, " (±)": cell.error, " (low)": cell.low, " (high)": cell.high}[part]
        return "" if value is None else repr(float(value))
    if cell is None or part:
        return ""
    return _harmless(_plain(cell)) if isinstance(cell, str) else str(cell)


def _harmless(text: str) -> str:
    return "'" + text if text.startswith(_FORMULA) else text
