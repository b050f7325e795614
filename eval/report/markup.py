"""Pieces of HTML. Everything that comes from outside goes through `text`: prompts and titles are hostile."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

from ...syntax import encodable
from .verdicts import SIGNS, Kind

_UNSEEN: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ufffe\uffff]")
"""Controls that no page shows, and those that turn the text behind them around."""


@dataclass(frozen=True, slots=True)
class Html:
    """Text that is HTML already."""

    code: str


Content = str | Html


def text(content: Content) -> str:
    r"""Escape text for elements and attributes; leave HTML as it is.

    >>> text("<b>\u202egnp"), text(Html("<b>"))
    ('&lt;b&gt;\ufffdgnp', '<b>')
    """
    if isinstance(content, Html):
        return content.code
    return escape(_UNSEEN.sub("\N{REPLACEMENT CHARACTER}", encodable(content)), quote=True)


def foreign(content: str) -> Html:
    """Return what somebody wrote, in whatever direction, kept from turning around what stands beside it."""
    return Html(f'<bdi dir="auto">{text(content)}</bdi>')


def mark(kind: Kind, content: Content) -> Html:
    """Return text marked as better, worse, unclear or untested: by colour, and by a sign for who sees none."""
    return Html(f'<span class="mark {kind}"><span aria-hidden="true">{SIGNS[kind]} </span>{text(content)}</span>')


def paragraph(content: Content, kind: str = "") -> str:
    """Return a paragraph."""
    return f"<p{_kind(kind)}>{text(content)}</p>"


def bullets(items: Iterable[Content], kind: str = "") -> str:
    """Return a list; nothing where there are no items."""
    lines = "".join(f"<li>{text(item)}</li>" for item in items)
    return f"<ul{_kind(kind)}>{lines}</ul>" if lines else ""


def terms(pairs: Iterable[tuple[str, Content]]) -> str:
    """Return a list of names and what each is."""
    inner = "".join(f"<div><dt>{text(name)}</dt><dd>{text(content)}</dd></div>" for name, content in pairs)
    return f"<dl>{inner}</dl>" if inner else ""


def table(caption: Content, columns: Sequence[Content], rows: Iterable[Sequence[Content]], note: Content = "") -> str:
    """Return a table whose first column names the rows; on a narrow screen it scrolls alone, by the keyboard too."""
    head = "".join(f'<th scope="col">{text(column)}</th>' for column in columns)
    body = "".join(
        f'<tr><th scope="row">{text(row[0])}</th>{"".join(f"<td>{text(cell)}</td>" for cell in row[1:])}</tr>'
        for row in rows
    )
    below = f'<p class="note">{text(note)}</p>' if note else ""
    return (
        f'<div class="scroll" tabindex="0"><table><caption>{text(caption)}</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>{below}"
    )


def folded(summary: Content, inner: str, *, opened: bool = False) -> str:
    """Return something that is shown when its summary is pressed; it needs no script."""
    return f"<details{' open' if opened else ''}><summary>{text(summary)}</summary>{inner}</details>"


def section(name: str, title: str, parts: Iterable[str]) -> str:
    """Return a section with an anchor; nothing where all of its parts are empty."""
    inner = "\n".join(part for part in parts if part)
    return f'<section id="{text(name)}"><h2>{text(title)}</h2>\n{inner}\n</section>' if inner else ""


def _kind(kind: str) -> str:
    return f' class="{text(kind)}"' if kind else ""
