"""Our own API: choosing adapters, judging a choice, and carrying it to other tools and back."""

from __future__ import annotations

import re
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from fastapi import APIRouter, Request
from starlette.responses import Response

from ...errors import InputError
from ...families import TITLES
from ...fenced import line
from ...generation.file_names import bare_file
from ...generation.picture_text import read_texts
from ...refiner.picture_file import SUFFIXES
from ..answers import Answers, answers_of
from ..errors_told import TOKEN, errors
from ..failures import WrongField
from ..json_answer import Json, dumped
from ..sent import composition_of, named, within_gates
from ..studio import Studio, studio_of
from ..threads import awaited, computed
from ..uploads import Uploads, content_of
from .answer_models import ComposeTold, ExportTold, ValidateTold
from .models import ComposeAsked, ExportAsked, ImportAsked, ValidateAsked

if TYPE_CHECKING:
    from ...records import Composition

router = APIRouter(tags=["Choose"], dependencies=[TOKEN])

_FORMS: Final = {
    "a1111": ("txt", "text/plain"),
    "lora-manager-text": ("txt", "text/plain"),
    "air": ("txt", "text/plain"),
    "csv": ("csv", "text/csv"),
}
"""(ending, media type) of the forms that are not JSON."""
_LONGEST_NAME: Final = 60


@router.post(
    "/compose",
    summary="Choose adapters for a prompt",
    response_model=ComposeTold,
    responses=errors(413, 422, 501, 502),
)
async def compose(asked: ComposeAsked, request: Request) -> Response:
    """Choose adapters for the words of a prompt, with weights, reasons, refusals, and what does not go together."""
    studio, answers = studio_of(request), answers_of(request)

    wanted = wishes = asked.filter.wishes()
    if asked.for_painting and studio.settings.model is not None:
        # Where the checkpoint is still being loaded this waits, and keeps no search from being computed.
        wishes = await awaited(lambda: studio.for_painting(wanted))

    def work() -> dict[str, Any]:
        composition = studio.compose(asked.prompt, wishes=wishes, locked=asked.locked)
        return answers.judged(
            composition, family=wishes.family, masks=asked.masks, seed=asked.seed, scheme=asked.scheme
        )

    # A language model takes seconds, in which nothing is computed here.
    asks = studio.settings.composer != "builtin" or studio.settings.reranker == "llm"
    return Json(await (awaited(work) if asks else computed(request, work)))


@router.post(
    "/validate",
    summary="Say what does not go together",
    response_model=ValidateTold,
    responses=errors(413, 422),
)
async def validate(asked: ValidateAsked, request: Request) -> Response:
    """Say what does not go together in a set of adapters, whoever chose it, and what to do."""
    studio = studio_of(request)

    def work() -> dict[str, Any]:
        if asked.family is not None and asked.family not in TITLES:
            raise InputError(f"the family {line(asked.family, 40)!r} is none of {', '.join(TITLES)}")
        if asked.composition is not None:
            composition = composition_of(studio, asked.composition)
        else:
            adapters = [(each.id, each.weight) for each in asked.adapters or ()]
            composition = named(studio, adapters, asked.prompt or "")
        if asked.prompt is not None:
            composition = replace(composition, prompt=asked.prompt)
        found = studio.velatura.validate(composition, family=asked.family, steps=asked.steps)
        titles = [choice.adapter.title for choice in composition.choices]
        return {"adapters": titles, "conflicts": [asdict(conflict) for conflict in found]}

    return Json(await computed(request, work))


@router.post(
    "/export",
    summary="Write a composition for another tool",
    response_model=ExportTold,
    responses=errors(413, 422),
)
async def export(asked: ExportAsked, request: Request) -> Response:
    """Write a composition as text for A1111, ComfyUI, rgthree, Lora Manager, InvokeAI, as AIR names, CSV or JSON."""
    studio, answers = studio_of(request), answers_of(request)
    return Json(await computed(request, lambda: _exported(asked, studio, answers)))


def _exported(asked: ExportAsked, studio: Studio, answers: Answers) -> dict[str, Any]:
    from ...composer.formats import load_workflow, write

    if asked.loras is not None and not answers.is_local:
        # The names relative to a folder would tell where files lie to whoever guesses folders.
        raise WrongField("this server tells nobody where its files lie, and names them by themselves alone", "loras")
    composition = studio.velatura.localised(composition_of(studio, asked.composition))
    if asked.form == "json" and not answers.is_local:
        composition = _without_folders(composition)
    base = None if asked.workflow is None else load_workflow(dumped(asked.workflow), "the workflow")
    written = write(
        composition,
        asked.form,
        base=base,
        checkpoint=asked.checkpoint,
        negative=asked.negative,
        folder=asked.loras,
    )
    ending, media = _FORMS.get(asked.form, ("json", "application/json"))
    words = "-".join(re.findall(r"[^\W_]+", composition.prompt.casefold()))[:_LONGEST_NAME].strip("-")
    return {
        "form": asked.form,
        "text": written.text,
        "notes": list(written.notes),
        "file_name": f"{words or 'composition'}.{ending}",
        "media_type": media,
    }


def _without_folders(composition: Composition) -> Composition:
    choices = []
    for choice in composition.choices:
        adapter = choice.adapter
        key = bare_file(adapter.key) if adapter.source == "folder" else adapter.key
        choices.append(replace(choice, adapter=replace(adapter, key=key, path=None)))
    return replace(composition, choices=tuple(choices))


@router.post(
    "/import",
    summary="Read another tool's adapters",
    response_model=ComposeTold,
    responses=errors(413, 422),
)
async def import_(asked: ImportAsked, request: Request) -> Response:
    """Read the adapters of another tool's picture, workflow, recipe or prompt as a composition of the catalogue."""
    studio, answers = studio_of(request), answers_of(request)
    return Json(await computed(request, lambda: _imported(asked, studio, answers)))


def _imported(asked: ImportAsked, studio: Studio, answers: Answers) -> dict[str, Any]:
    velatura, name = studio.velatura, line(asked.name, _LONGEST_NAME) or "the file"
    if asked.text is not None:
        found = velatura.read_composition(asked.text, "the text")
    elif asked.picture is not None:
        found = velatura.read_composition(_texts_of(content_of(asked.picture), "the picture"), "the picture")
    else:
        content = content_of(asked.file or "", name)
        is_picture = Path(name).suffix.lower() in SUFFIXES
        found = velatura.read_composition(_texts_of(content, name) if is_picture else content, name)
    return answers.judged(within_gates(studio, answers, found), family=None)


def _texts_of(content: bytes, name: str) -> dict[str, str]:
    from ...composer.formats import PICTURE_TEXTS

    with Uploads() as uploads:
        texts = read_texts(Path(uploads.add(content, "picture").path), PICTURE_TEXTS)
        uploads.close()
    if not texts:
        raise InputError(f"{name} holds no prompt and no workflow")
    return texts
