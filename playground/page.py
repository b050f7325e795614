"""A web page about a demonstration: one file with its pictures inside, readable without a network."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

from PIL.Image import Image

from ..records import Choice, Composition
from ..syntax import encodable

_REFUSALS: Final = 5
"""How many refused adapters are named."""

_STYLE: Final = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; color: #22242a; }
figure { display: inline-block; margin: 0 1rem 1rem 0; }
figcaption { font-size: .9rem; color: #555; }
img { image-rendering: pixelated; display: block; }
table { border-collapse: collapse; margin: .5rem 0 1rem; }
th, td { text-align: left; vertical-align: top; padding: .3rem .8rem .3rem 0; border-bottom: 1px solid #ddd; }
section { margin-top: 2.5rem; }
.quiet { color: #555; }
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """One prompt: what was chosen for it, and how it was painted."""

    composition: Composition
    pictures: Sequence[tuple[str, Image]]
    """Each with its caption, as large as it is to be shown."""


def page(title: str, introduction: str, sections: Sequence[Section]) -> str:
    """Return the page as HTML. Everything that comes from prompts and adapters is escaped."""
    body = "\n".join(_section(section) for section in sections)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; img-src data:; '
        "style-src 'unsafe-inline'\">"
        f"<title>{_text(title)}</title><style>{_STYLE}</style></head>\n"
        f"<body><h1>{_text(title)}</h1>\n<p>{_text(introduction)}</p>\n{body}\n</body></html>\n"
    )


def _section(section: Section) -> str:
    composition = section.composition
    parts = [f"<section><h2>{_text(composition.prompt)}</h2>"]
    parts += [_figure(caption, image) for caption, image in section.pictures]
    if composition.choices:
        rows = "".join(map(_row, composition.choices))
        parts.append(
            "<table><tr><th>adapter</th><th>for the words</th><th>weight</th><th>added to the prompt</th>"
            f"<th>why</th></tr>{rows}</table>"
        )
    else:
        parts.append("<p>No adapter was picked: the prompt asks for nothing that one of them is about.</p>")
    refused = composition.refused[:_REFUSALS]
    if refused:
        items = "".join(f"<li>{_text(item.adapter.title)}: {_text(item.reason)}</li>" for item in refused)
        parts.append(f'<p class="quiet">Came close and was not taken:</p><ul class="quiet">{items}</ul>')
    return "\n".join([*parts, "</section>"])


def _row(choice: Choice) -> str:
    cells = (choice.adapter.title, choice.span, f"{choice.weight:g}", ", ".join(choice.triggers), choice.reason)
    return f"<tr>{''.join(f'<td>{_text(cell)}</td>' for cell in cells)}</tr>"


def _figure(caption: str, image: Image) -> str:
    stream = io.BytesIO()
    image.save(stream, "PNG")
    data = base64.b64encode(stream.getvalue()).decode("ascii")
    size = f'width="{image.width}" height="{image.height}"'
    return (
        f'<figure><img alt="{_text(caption)}" {size} src="data:image/png;base64,{data}">'
        f"<figcaption>{_text(caption)}</figcaption></figure>"
    )


def _text(text: str) -> str:
    """Escape text for elements and attributes; half of a surrogate pair is no character and cannot be written."""
    return escape(encodable(text), quote=True)
