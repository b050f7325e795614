"""The key: which picture of the page is whose, sealed by a digest that the page and every answer carry.

The key holds the digest of the plan in turn, so that neither can be changed once the page is out, and the salt that
the lots are drawn with, without which whoever has the page could draw them again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any, Final, TypeVar, cast

from ...errors import InputError
from .files import KEY, PLAN, dumped, parse, read_bytes
from .lots import Lot
from .records import Plan, Shown, Survey, Task

T = TypeVar("T")

_MOST: Final = 1 << 28
_FORMAT: Final = 1


def seal(plan: Plan, pictures: Mapping[str, Shown], tasks: Sequence[Task], lot: Lot) -> tuple[bytes, bytes, str]:
    """Return the content of the plan's file and of the key's file, and the survey's digest."""
    told = dumped({"velatura_survey_plan": _FORMAT, **asdict(plan)})
    key = dumped(
        {
            "velatura_survey_key": _FORMAT,
            "plan": hashlib.sha256(told).hexdigest(),
            "pictures": {name: asdict(shown) for name, shown in pictures.items()},
            "tasks": [asdict(task) for task in tasks],
            "seed": lot.seed,
            "salt": lot.salt,
        }
    )
    return told, key, _digest(key)


def open_survey(folder: str | Path) -> Survey:
    """Open a survey with its key.

    Raises:
        InputError: there is none, or its plan or key is damaged or was changed since the page was made.
    """
    where = Path(folder)
    for name in (PLAN, KEY):
        if not (where / name).is_file():
            raise InputError(f"{where} holds no {name}; `velatura eval survey make` writes it")
    told, key = read_bytes(where / PLAN, _MOST), read_bytes(where / KEY, _MOST)
    known = _object(key, where / KEY, "velatura_survey_key")
    plain = _object(told, where / PLAN, "velatura_survey_plan")
    if known.get("plan") != hashlib.sha256(told).hexdigest():
        raise InputError(
            f"{where / PLAN} is not the plan that the survey was made with: questions and rules of exclusion hold from "
            "then on; put the first one back"
        )
    plan = _read(Plan, {name: value for name, value in plain.items() if name != "velatura_survey_plan"}, where / PLAN)
    pictures = _read(dict[str, Shown], known.get("pictures"), where / KEY)
    tasks = _read(list[Task], known.get("tasks"), where / KEY)
    asked = {question.name for question in plan.questionnaire.questions}
    if any(task.question not in asked for task in tasks):
        raise InputError(f"{where / KEY} has tasks whose question is not in {PLAN}")
    return Survey(plan=plan, pictures=pictures, tasks={task.id: task for task in tasks}, digest=_digest(key))


def _digest(key: bytes) -> str:
    return hashlib.sha256(key).hexdigest()[:32]


def _object(content: bytes, path: Path, mark: str) -> dict[str, Any]:
    value = parse(content, str(path))
    if not isinstance(value, dict) or value.get(mark) != _FORMAT:
        raise InputError(f"{path} is not what `velatura eval survey make` of this version wrote")
    return value


def _read(kind: type[T], plain: Any, path: Path) -> T:
    from pydantic import ValidationError

    try:
        value: T = _adapter(cast("Any", kind)).validate_python(plain)
    except (ValidationError, RecursionError) as error:
        where = ".".join(map(str, error.errors()[0]["loc"])) if isinstance(error, ValidationError) else "depth"
        raise InputError(f"{path} is damaged ({where})") from None
    return value


@cache
def _adapter(kind: Any) -> Any:
    from pydantic import TypeAdapter

    return TypeAdapter(kind)
