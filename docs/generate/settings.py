"""Write docs/settings.md: every setting with its values and its default, as `velatura/settings.py` has them.

python docs/generate/settings.py writes the page; `make docs` does it before every build, and a test compares.
"""

from __future__ import annotations

import ast
import inspect
import re
from dataclasses import dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from pydantic.fields import FieldInfo

from velatura.settings import Settings, home

PAGE = Path(__file__).resolve().parents[1] / "settings.md"
BEGIN, END = "<!-- generated from settings.py: begin -->", "<!-- generated from settings.py: end -->"

_HEADING = re.compile(r"    # (\w[\w ]*)")
_WORDS = {str: "text", int: "whole number", float: "number", bool: "`true`, `false`"}


@dataclass(frozen=True)
class Told:
    """What the source says of a setting beside its type."""

    group: str
    meaning: str


def told(source: str) -> dict[str, Told]:
    """Return of every setting in the source of the class the comment that heads its group, and its docstring."""
    lines = source.splitlines()
    (defined,) = (node for node in ast.parse(source).body if isinstance(node, ast.ClassDef))
    found: dict[str, Told] = {}
    for node, after in zip(defined.body, defined.body[1:], strict=False):
        if not (isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)):
            continue
        if not (isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)):
            raise ValueError(f"the setting {node.target.id} has no docstring")
        headings = [match[1] for line in lines[: node.lineno] if (match := _HEADING.fullmatch(line))]
        found[node.target.id] = Told(headings[-1], " ".join(str(after.value.value).split()))
    return found


def values(field: FieldInfo) -> str:
    """Return what a setting may be, in words."""
    said = _kind(field.annotation)
    bounds = [
        f"{word} {limit:.15g}"
        for kind, name, word in ((Ge, "ge", "from"), (Gt, "gt", "above"), (Le, "le", "to"), (Lt, "lt", "below"))
        for item in field.metadata
        if isinstance(item, kind)
        for limit in [getattr(item, name)]
    ]
    return " ".join([said, *bounds])


def _kind(annotation: Any) -> str:
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin in (Union, UnionType):
        return ", ".join(_kind(each) for each in inner if each is not NoneType)
    if origin is Literal:
        return ", ".join(f"`{each}`" for each in inner)
    if origin in (tuple, list):
        return "JSON list"
    return _WORDS.get(annotation, "text")


def default(field: FieldInfo) -> str:
    """Return a default as a person would write it; what lies in the person's own folder is told from `~`."""
    value = field.get_default(call_default_factory=True)
    if value is None:
        return "unset"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, tuple):
        return f"`{list(value)}`"
    if isinstance(value, float):
        return f"`{value:g}`"
    return f"`{str(value).replace(str(home()), '~/.velatura')}`"


def tables() -> str:
    """Return a table for each group of settings, under a heading."""
    known = told(inspect.getsource(Settings))
    parts: list[str] = []
    for name, field in Settings.model_fields.items():
        said = known[name]
        if f"## {said.group}" not in parts:
            parts += ["", f"## {said.group}", "", "| setting | values | default | |", "| --- | --- | --- | --- |"]
        parts.append(f"| `{name}` | {values(field)} | {default(field)} | {said.meaning.replace('|', chr(92) + '|')} |")
    return "\n".join(parts).strip()


def renewed(page: str) -> str:
    """Return the page with its tables as they should be; what a person wrote around them stays.

    Raises:
        ValueError: the marks between which they stand are gone.
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{PAGE.name} lacks the marks {BEGIN} and {END}")
    return f"{before}{BEGIN}\n\n{tables()}\n\n{END}{after}"


if __name__ == "__main__":
    PAGE.write_text(renewed(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
