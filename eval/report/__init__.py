"""The report of an evaluation: one self-contained page, versioned results, and tables and figures for papers.

results.py       everything that was found, as one value; what is worse than the baseline
fronts.py        a plane of points, as the results tell it      opinions.py  a survey's score, likewise
stored.py        `results.json` and back
verdicts.py      what can be said of the differences, all tests counted
grids.py         figures, differences and ablations as tables   side_grids.py  all other tables
gains.py         what each prompt gained                         failures.py    failures suspected from numbers
gallery.py       pictures side by side, made small
page.py          the page: sections.py, gallery_page.py, chart.py, markup.py, style.py
write.py         all files of a report
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .fronts import front_of
    from .gains import Gains
    from .gallery import Gallery, gallery_of
    from .opinions import survey_of
    from .page import report_page
    from .results import Results, worse
    from .stored import SCHEMA, from_json, load_results, to_json
    from .write import write_report

__all__ = [
    "SCHEMA",
    "Gains",
    "Gallery",
    "Results",
    "from_json",
    "front_of",
    "gallery_of",
    "load_results",
    "report_page",
    "survey_of",
    "to_json",
    "worse",
    "write_report",
]

_HOMES = {
    "SCHEMA": "stored",
    "Gains": "gains",
    "Gallery": "gallery",
    "Results": "results",
    "from_json": "stored",
    "front_of": "fronts",
    "gallery_of": "gallery",
    "load_results": "stored",
    "report_page": "page",
    "survey_of": "opinions",
    "to_json": "stored",
    "worse": "results",
    "write_report": "write",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f".{_HOMES[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
