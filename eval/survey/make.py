"""Making a survey: from samples to the page, the plan and the sealed key."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from ...errors import InputError
from ...syntax import encodable
from ..records import Sample
from .design import Load, Sheet, draw_tasks
from .files import ANSWERS, KEY, PAGE, PLAN, write
from .key import seal
from .lots import Lot
from .page import render_page
from .pictures import Box, encode_picture, fit_box
from .questions import QUESTIONNAIRES
from .records import Plan, Questionnaire, Rules, Shown
from .units import Unit, answerable, choose_units

Told = Callable[[int, int], None]
"""Is told how many pictures of how many are done."""

_MOST_REFERENCES: Final = 40
_HEAVY: Final = 60_000_000
"""Bytes of a page from which on phones take long over it."""


def make_survey(
    samples: Iterable[Sample],
    methods: Sequence[str],
    questions: str | Questionnaire,
    out: str | Path,
    *,
    folder: str | Path = "",
    references: Sequence[str | Path] = (),
    limit: int | None = None,
    seed: int = 0,
    salt: str | None = None,
    load: Load | None = None,
    rules: Rules | None = None,
    pictures: int | None = None,
    side: int = 512,
    title: str = "Which pictures do you prefer?",
    progress: Told | None = None,
) -> Plan:
    """Write a survey: `survey.html` for the raters, `plan.json` to publish, and `key.json` to keep.

    Everything is drawn from the seed, the pictures and the salt, and of the same comes out the same. The prompts that
    `limit` takes are by the seed alone.

    Args:
        samples: Of these and other methods.
        methods: Two or more; `name@guidance` where a method has several guidances.
        questions: A questionnaire, or the name of one of `QUESTIONNAIRES`.
        out: The folder, which may not hold a survey yet.
        folder: Where the samples' relative names begin.
        references: Pictures that are shown first and asked likeness to.
        limit: Prompts at most; None takes all.
        seed: Draws prompts, orders, places, forms and ids; stands in the key alone.
        salt: Keeps raters from drawing the same again; stands in the key alone, and is never used for another survey
            that the same raters see. None draws one.
        load: How much is asked of whom.
        rules: Whose answers will not count.
        pictures: In a group; None takes what the questionnaire says.
        side: Pixels of the longer side that no picture exceeds.
        title: Of the page. It must not tell what is compared.
        progress: Is told how many pictures of how many are done.

    Raises:
        InputError: a method is unknown or ambiguous, no prompt has pictures of all, a picture cannot be read, or the
            folder holds a survey.
    """
    folder, out, load = Path(folder), Path(out), load or Load()
    _check(out, references)
    asked = _questionnaire(questions, pictures)
    lot = Lot(seed=seed) if salt is None else Lot(seed=seed, salt=salt)
    units, notes = choose_units(samples, methods, asked, limit, lot)
    asked, unasked = answerable(asked, units, len(references))
    units = _trimmed(units, asked)
    taken = (sample for unit in units for of in unit.samples.values() for sample in of)
    box = fit_box(dict.fromkeys(folder / sample.image for sample in taken), side)
    uris, shown, ids, lot = _encoded(units, folder, box, lot, progress)
    sheets = [_sheet(unit, ids) for unit in units]
    tasks = draw_tasks(sheets, methods, asked, load, lot.draw("tasks"))
    plan = Plan(
        title=encodable(title),
        questionnaire=asked,
        methods=tuple(methods),
        rules=rules or Rules(),
        raters=load.raters,
        forms=tuple(Counter(task.form for task in tasks).items()),
        items=len({task.item for task in tasks if task.role == "item"}),
        prompts=len(units),
        pictures=len(shown),
        notes=(*notes, *unasked, *_doubts(box, uris, sheets)),
    )
    told, key, digest = seal(plan, shown, tasks, lot)
    referred = _references(references, side, uris)
    page = render_page(plan, tasks, uris, referred, (box.width, box.height), digest)
    for name, content in ((KEY, key), (PLAN, told), (PAGE, page.encode())):
        write(out / name, content)
    return plan


def _check(out: Path, references: Sequence[str | Path]) -> None:
    if out.exists() and not out.is_dir():
        raise InputError(f"{out} is a file; name a folder for the survey")
    held = [name for name in (PAGE, PLAN, KEY, ANSWERS) if (out / name).exists()]
    if held:
        raise InputError(
            f"{out} holds a survey already ({held[0]}), whose answers nobody could read any more; name another folder"
        )
    if len(references) > _MOST_REFERENCES:
        raise InputError(
            f"nobody can keep {len(references)} reference pictures in mind; give at most {_MOST_REFERENCES}"
        )


def _sheet(unit: Unit, ids: Mapping[tuple[str, str, int], str]) -> Sheet:
    groups = {method: tuple(ids[method, *sample.pair] for sample in of) for method, of in unit.samples.items()}
    return Sheet(prompt_id=unit.prompt_id, prompt=encodable(unit.prompt), groups=groups)


def _questionnaire(questions: str | Questionnaire, pictures: int | None) -> Questionnaire:
    if isinstance(questions, str):
        if questions not in QUESTIONNAIRES:
            raise InputError(f"there is no questionnaire {questions!r}; there is {', '.join(QUESTIONNAIRES)}")
        questions = QUESTIONNAIRES[questions]
    if pictures is None:
        return questions
    if pictures < 2:
        raise InputError("a group has two pictures or more")
    grouped = [replace(each, pictures=pictures) if each.pictures > 1 else each for each in questions.questions]
    return replace(questions, questions=tuple(grouped))


def _trimmed(units: Sequence[Unit], asked: Questionnaire) -> list[Unit]:
    """Return the units less the samples, and less the prompts, that no question is about."""
    most = max(question.pictures for question in asked.questions)
    least = min(question.pictures for question in asked.questions)
    kept = []
    for unit in units:
        samples = {method: of[:most] for method, of in unit.samples.items()}
        if least == 1 or len(next(iter(samples.values()))) > 1:
            kept.append(replace(unit, samples=samples))
    return kept


def _encoded(
    units: Sequence[Unit], folder: Path, box: Box, lot: Lot, progress: Told | None
) -> tuple[dict[str, str], dict[str, Shown], dict[tuple[str, str, int], str], Lot]:
    """Return the pictures by id, whose they are, the ids by method, prompt and index, and the lot that drew the ids."""
    taken = [(method, sample) for unit in units for method, of in unit.samples.items() for sample in of]
    uris: dict[tuple[str, str, int], str] = {}
    first: dict[str, Shown] = {}
    digests = []
    for number, (method, sample) in enumerate(taken, 1):
        encoded = encode_picture(folder / sample.image, box, sample.sha256)
        uris[method, *sample.pair] = encoded.uri
        digests.append(encoded.sha256)
        shown = Shown(
            prompt_id=sample.prompt_id,
            method=method,
            index=sample.index,
            image=encodable(sample.image),
            sha256=encoded.sha256,
        )
        first.setdefault(encoded.uri, shown)
        if progress is not None:
            progress(number, len(taken))
    lot = lot.of(digests)
    order = lot.draw("pictures").permutation(len(first)) + 1
    names = {uri: f"p{number}" for uri, number in zip(first, order.tolist(), strict=True)}
    by_lot = dict(sorted(((name, uri) for uri, name in names.items()), key=lambda item: int(item[0][1:])))
    whose = {names[uri]: shown for uri, shown in first.items()}
    return by_lot, whose, {place: names[uri] for place, uri in uris.items()}, lot


def _references(references: Sequence[str | Path], side: int, uris: dict[str, str]) -> list[str]:
    """Add the reference pictures, each in its own shape; return their ids."""
    names = []
    for number, path in enumerate(map(Path, references), 1):
        uris[f"r{number}"] = encode_picture(path, fit_box([path], side)).uri
        names.append(f"r{number}")
    return names


def _doubts(box: Box, uris: Mapping[str, str], sheets: Sequence[Sheet]) -> Iterable[str]:
    if box.is_padded:
        yield "the pictures are of different shapes, and grey borders may give methods away"
    elif box.is_scaled:
        yield f"the pictures are of different sizes, and were brought to {box.width} x {box.height}"
    same = sum(len(set(sheet.groups.values())) < len(sheet.groups) for sheet in sheets)
    if same:
        yield f"of {same:,} prompts two methods have the same pictures, to the pixel"
    heavy = sum(map(len, uris.values()))
    if heavy > _HEAVY:
        yield f"the page has {heavy / 1e6:.0f} MB, which is much for phones; lower --limit or --side"
