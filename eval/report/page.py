"""The report as one HTML file: pictures and styles inside, no script, nothing loaded from anywhere."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from . import sections
from .gallery import Gallery
from .gallery_page import failures_section, gallery_section
from .markup import paragraph, text
from .results import Results
from .style import POLICY, STYLE
from .verdicts import tested

_ANCHOR: Final = re.compile(r'^<section id="([a-z]+)"><h2>(.*?)</h2>')


def report_page(results: Results, gallery: Gallery | None = None) -> str:
    """Return the page. Everything that comes from prompts, adapters and files is escaped.

    Args:
        results: What was found.
        gallery: Pictures of one method beside the baseline's.
    """
    parts = [part for part in _parts(results, gallery) if part]
    links = "".join(f'<li><a href="#{name}">{title}</a></li>' for name, title in _anchors(parts))
    description = paragraph(results.description) if results.description else ""
    body = "\n".join(parts)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="referrer" content="no-referrer">\n'
        f"<title>{text(results.name)}</title>\n<style>{STYLE}</style></head>\n"
        f'<body><a class="skip" href="#main">To the results</a>\n'
        f"<header><h1>{text(results.name)}</h1>{description}</header>\n"
        f'<nav aria-label="Parts of the report"><ul>{links}</ul></nav>\n<main id="main">\n{body}\n</main>\n'
        "<footer>Written by Velatura. Numbers without an interval are told, not believed.</footer>\n</body></html>\n"
    )


def _parts(results: Results, gallery: Gallery | None) -> Iterator[str]:
    judged = tested(results)
    yield sections.found(results, judged)
    yield sections.claims(results)
    yield sections.warnings(results)
    yield sections.about(results)
    yield sections.pareto(results)
    yield sections.numbers(results, judged)
    yield sections.ablations(results, judged)
    yield sections.cuts(results)
    yield sections.timings(results)
    yield sections.judge(results)
    yield sections.survey(results)
    yield gallery_section(results, gallery)
    yield failures_section(results, gallery)
    yield sections.published(results)


def _anchors(parts: list[str]) -> Iterator[tuple[str, str]]:
    """Yield each section's anchor and its heading, which is HTML already."""
    for part in parts:
        found = _ANCHOR.match(part)
        if found:
            yield found[1], found[2]
