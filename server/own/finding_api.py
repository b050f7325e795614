"""Our own API: what there is, and what of it serves a prompt."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Annotated, Any, Final, Literal

import numpy as np
from fastapi import APIRouter, HTTPException, Path, Query, Request
from starlette.responses import Response

from ... import __version__
from ...composer.formats import FORMATS
from ...errors import InputError, VelaturaError
from ...families import TITLES
from ...gates import admitted
from ...generation.file_names import bare, bare_file
from ...generation.schedulers import SAMPLERS
from ...records import USES, Candidate, Composition
from ...syntax import quoted
from ..answers import Answers, answers_of
from ..errors_told import TOKEN, errors
from ..json_answer import Json
from ..studio import LONGEST_PROMPT, Studio, Wishes, studio_of
from ..threads import awaited, computed
from ..uploads import picture_of
from .adapter_answers import known_of
from .answer_models import AboutTold, AdaptersTold, KnownTold, SearchTold
from .models import MOST_FOUND, SearchAsked
from .thumbnails import Thumbnails

router = APIRouter(tags=["Find"], dependencies=[TOKEN])

Id = Annotated[int, Path(ge=1, lt=2**63, description="The adapter's number in the catalogue.")]

_LISTED: Final = 1000


@router.get("/about", summary="What this server can do", response_model=AboutTold, responses=errors(422))
async def about(
    request: Request,
    wait: Annotated[
        bool, Query(description="Wait for a checkpoint that is being loaded; false tells `loading`.")
    ] = True,
) -> Response:
    """Return what paints here, what a request may ask for, and what the settings allow."""
    studio, answers = studio_of(request), answers_of(request)
    painter = await awaited(lambda: _painter(studio, answers, wait=wait))
    return Json(await computed(request, lambda: painter | _about(studio, answers)))


def _painter(studio: Studio, answers: Answers, *, wait: bool) -> dict[str, Any]:
    """Return what paints; a checkpoint that cannot be used is told as the reason why nothing does."""
    told: dict[str, Any] = dict.fromkeys(("family", "backend", "trouble", "own_size"))
    told |= {"painter": False, "loading": False, "defaults": {"steps": None, "guidance": None, "scheduler": None}}
    if studio.settings.model is None:
        return told
    try:
        backend = studio.backend if wait else studio.glance()
        if backend is None:
            return told | {"loading": True}
        usual = studio.request(Composition(prompt=""))
    except VelaturaError as error:
        return told | {"trouble": answers.sentence(error)}
    return told | {
        "family": backend.family,
        "backend": backend.name,
        "painter": True,
        "own_size": [usual.width, usual.height],
        "defaults": {"steps": usual.steps, "guidance": usual.guidance, "scheduler": usual.scheduler},
    }


def _about(studio: Studio, answers: Answers) -> dict[str, Any]:
    settings, wanted = studio.settings, studio.filter()
    return {
        "version": __version__,
        "model": None if settings.model is None else bare(settings.model),
        "limits": {
            "pictures": settings.most_pictures,
            "steps": settings.most_steps,
            "side": settings.largest_side,
            "body_mb": settings.largest_body,
            "queue": settings.queue,
            "prompt": LONGEST_PROMPT,
        },
        "composers": ["builtin", "llm", "stylus"] if settings.llm else ["builtin"],
        "composer": settings.composer,
        "gates": {"nsfw": settings.nsfw, "commercial": settings.commercial, "real_people": settings.real_people},
        "forms": list(FORMATS),
        "families": TITLES,
        "uses": list(USES),
        "kinds": answers.known.get("stats", studio.velatura.store.stats).by_kind,
        "search_by_picture": settings.picture_model is not None,
        "adapters": answers.count(wanted),
        "installed": answers.count(replace(wanted, installed=True)),
        "schedulers": list(SAMPLERS),
    }


@router.post(
    "/search",
    summary="Find the adapters that could serve a prompt",
    response_model=SearchTold,
    responses=errors(413, 422, 501, 502),
)
async def search(asked: SearchAsked, request: Request) -> Response:
    """Return the adapters that could serve a prompt, that a trigger calls, that a picture shows, or that are alike."""
    studio, answers = studio_of(request), answers_of(request)
    return Json(await computed(request, lambda: _found(asked, studio, answers)))


def _found(asked: SearchAsked, studio: Studio, answers: Answers) -> dict[str, Any]:
    wishes = asked.filter.wishes()
    wanted = studio.filter(wishes)
    notes = answers.notes()
    if asked.prompt is not None and not asked.trigger and (phrases := quoted(asked.prompt)):
        told = ", ".join(f"“{phrase}”" for phrase in phrases)
        notes.append(f"only what has {told} in its texts is looked at, because of the quotes")
    return {
        "prompt": asked.prompt,
        "candidates": [answers.candidate(found) for found in _candidates(asked, wishes, studio)],
        "excluded": answers.excluded(wanted),
        "notes": notes,
    }


def _candidates(asked: SearchAsked, wishes: Wishes, studio: Studio) -> list[Candidate]:
    velatura, limit = studio.velatura, asked.limit
    if asked.similar_to is not None:
        [number] = admitted(velatura.store, [(str(asked.similar_to), [asked.similar_to])], studio.filter())
        return velatura.similar(number, filter=studio.filter(wishes), limit=limit)
    if asked.picture is not None:
        if studio.settings.picture_model is None:
            raise InputError("this server has no picture model, so it cannot search by picture")
        return velatura.by_image(picture_of(asked.picture), filter=studio.filter(wishes), limit=limit)
    prompt = asked.prompt or ""
    if asked.trigger:
        return velatura.by_trigger(prompt, filter=studio.filter(wishes), limit=limit)
    return studio.search(prompt, wishes=wishes, limit=limit)


@router.get(
    "/adapters", summary="List adapters", response_model=AdaptersTold, responses=errors(422), tags=["Catalogue"]
)
async def adapters(
    request: Request,
    limit: Annotated[int, Query(ge=1, le=MOST_FOUND)] = 50,
    offset: Annotated[int, Query(ge=0, lt=2**63)] = 0,
    source: Annotated[Literal["folder", "civitai", "huggingface"] | None, Query()] = None,
    family: Annotated[str | None, Query(max_length=100)] = None,
    kind: Annotated[list[str], Query(max_length=50)] = [],  # noqa: B006 - FastAPI copies it
    commercial: Annotated[str | None, Query(max_length=100)] = None,
    safe: bool = False,
    no_real_people: bool = False,
    installed: bool = False,
) -> Response:
    """Return a page of the adapters that pass the gates and these filters, by number."""
    studio, answers = studio_of(request), answers_of(request)
    wishes = Wishes(
        family=family,
        kinds=tuple(kind),
        commercial=commercial,
        safe=safe,
        no_real_people=no_real_people,
        installed=installed,
    )

    def listed() -> dict[str, Any]:
        store, wanted = studio.velatura.store, studio.filter(wishes)
        numbers = answers.known.get(("numbers", wanted), lambda: store.select(wanted))
        if source is not None:
            numbers = np.intersect1d(numbers, store.of_source(source), assume_unique=True)
        page = store.adapters(numbers[offset : offset + limit])
        return {"total": len(numbers), "adapters": [answers.brief(each.id, each.record) for each in page]}

    return Json(await computed(request, listed))


@router.get(
    "/adapters/{number}",
    summary="All that is known of an adapter",
    response_model=KnownTold,
    responses=errors(404, 422),
    tags=["Catalogue"],
)
async def adapter(number: Id, request: Request) -> Response:
    """Return an adapter's record, what a describer said of it, its measured strength, probes and other versions."""
    studio, answers = studio_of(request), answers_of(request)
    known = await computed(request, lambda: known_of(studio, answers, number))
    if known is None:
        raise HTTPException(404, f"there is no adapter {number} here")
    return Json(known)


@router.get(
    "/adapters/{number}/preview",
    summary="A small picture of an adapter",
    response_class=Response,
    responses=errors(404, 422) | {200: {"content": {"image/webp": {}}}},
    tags=["Catalogue"],
)
async def preview(number: Id, request: Request) -> Response:
    """Return the first picture beside the adapter's file that can be read, no side longer than 320 pixels."""
    studio, thumbnails = studio_of(request), request.app.state.thumbnails
    content = await computed(request, lambda: _thumbnail(studio, thumbnails, number))
    if content is None:
        raise HTTPException(404, f"adapter {number} has no picture here")
    headers = {"Cache-Control": "private, max-age=3600", "X-Content-Type-Options": "nosniff"}
    return Response(content, media_type="image/webp", headers=headers)


def _thumbnail(studio: Studio, thumbnails: Thumbnails, number: int) -> bytes | None:
    try:
        admitted(studio.velatura.store, [(str(number), [number])], studio.filter())
    except InputError:
        return None
    return thumbnails.of(studio.velatura.store.adapter(number).record)


@router.get("/stats", summary="What the catalogue holds", responses=errors(), tags=["Catalogue"])
async def stats(request: Request) -> Response:
    """Return counts of the whole catalogue, also of what the gates keep out."""
    studio, answers = studio_of(request), answers_of(request)
    return Json(await computed(request, lambda: asdict(answers.known.get("stats", studio.velatura.store.stats))))


@router.get("/rejected", summary="What could not be read, and why", responses=errors(422), tags=["Catalogue"])
async def rejected(request: Request, limit: Annotated[int, Query(ge=1, le=_LISTED)] = _LISTED) -> Response:
    """Return what was offered to the catalogue and could not become an adapter, with the reason for each."""
    studio, answers = studio_of(request), answers_of(request)

    def listed() -> list[dict[str, Any]]:
        found = [asdict(rejection) for rejection in studio.velatura.store.rejections(limit)]
        for plain in found if not answers.is_local else ():
            plain["reason"] = plain["reason"].replace(plain["locator"], bare_file(plain["locator"]))
            plain["locator"] = bare_file(plain["locator"])
        return found

    return Json(await computed(request, listed))


@router.get("/duplicates", summary="Adapters that are one", responses=errors(), tags=["Catalogue"])
async def duplicates(request: Request) -> Response:
    """Return the groups of adapters that are one file, hold the same tensors, or are versions of one model."""
    studio, answers = studio_of(request), answers_of(request)

    def grouped() -> list[dict[str, Any]]:
        store, wanted = studio.velatura.store, studio.filter()
        allowed = answers.known.get(("allowed", wanted), lambda: frozenset(store.select(wanted).tolist()))
        groups = answers.known.get("duplicates", store.duplicates)
        within = ([number for number in group.adapters if number in allowed] for group in groups)
        return [
            asdict(group) | {"adapters": numbers}
            for group, numbers in zip(groups, within, strict=True)
            if len(numbers) > 1
        ]

    return Json(await computed(request, grouped))
