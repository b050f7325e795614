"""The page that raters fill in: one HTML file that asks nothing of any network, and names no method."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from importlib.resources import files
from typing import Any, Final

from .questions import FAILURES
from .records import Plan, Question, Task

_MAGNIFIED: Final = 128
"""Pixels of the longer side, up to which pixels are shown as squares rather than smoothed."""


def render_page(
    plan: Plan,
    tasks: Sequence[Task],
    pictures: Mapping[str, str],
    references: Sequence[str],
    size: tuple[int, int],
    digest: str,
) -> str:
    """Return the page as HTML.

    Args:
        plan: Its title, introduction and questions.
        tasks: Of all forms, in order.
        pictures: Data URIs, by id.
        references: Ids of the pictures that are shown first.
        size: Of the pictures, in pixels.
        digest: Of the key, which every answer carries.
    """
    data = {
        "survey": digest,
        "title": plan.title,
        "introduction": plan.questionnaire.introduction,
        "questions": {question.name: _question(question) for question in plan.questionnaire.questions},
        "failures": {name: words for name, (_, words) in FAILURES.items()},
        "forms": {name: [_task(task, plan) for task in tasks if task.form == name] for name, _ in plan.forms},
        "references": list(references),
        "size": list(size),
        "magnified": max(size) <= _MAGNIFIED,
        "pictures": dict(pictures),
    }
    style, script = _asset("page.css"), _asset("page.js")
    policy = (
        f"default-src 'none'; img-src data:; style-src {_hash(style)}; script-src {_hash(script)}; "
        "base-uri 'none'; form-action 'none'"
    )
    # A `<` in the data would end the element that holds it.
    told = json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    title = escape(plan.title)
    return "".join(
        (
            '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<meta name="referrer" content="no-referrer"><meta name="robots" content="noindex">',
            f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
            f"<title>{title}</title><style>{style}</style></head>\n<body>\n",
            _asset("page.html"),
            f'<script type="application/json" id="data">{told}</script>\n',
            f"<script>{script}</script>\n</body></html>\n",
        )
    )


def _asset(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


def _hash(code: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(code.encode()).digest()).decode('ascii')}'"


def _question(question: Question) -> dict[str, Any]:
    return {
        "kind": question.kind,
        "text": question.text,
        "grid": question.pictures > 1,
        "ties": question.ties,
        "ends": list(question.ends),
        "references": question.references,
        "tags": list(question.tags),
    }


def _task(task: Task, plan: Plan) -> dict[str, Any]:
    """Return what the page is told of a task: whether it is counted, or a check, is not among it."""
    told: dict[str, Any] = {
        "id": task.id,
        "set": task.set,
        "question": task.question,
        "groups": [list(group) for group in task.groups],
    }
    if any(question.shows_prompt for question in _named(plan, task.question)):
        told["prompt"] = task.prompt
    return told


def _named(plan: Plan, name: str) -> Iterable[Question]:
    return (question for question in plan.questionnaire.questions if question.name == name)
