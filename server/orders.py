"""What OpenAI's and A1111's clients order: a prompt, and pictures of it. Both wait for the pictures."""

from __future__ import annotations

import secrets
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from ..errors import BackendError, InputError
from ..fenced import line
from ..records import Composition
from ..resolve import pins
from ..syntax import pinned

if TYPE_CHECKING:
    from ..records import GenerationRequest
    from .answers import Answers
    from .jobs import Job, Made
    from .studio import Studio
    from .uploads import Uploads

SEEDS: Final = 1 << 32
"""Seeds that are drawn by lot lie below; A1111 knows no larger ones."""

_TOLD: Final = 300
"""Characters of a note."""


def chosen(studio: Studio, prompt: str) -> Composition:
    """Choose adapters for a prompt among those on this machine that fit the checkpoint.

    Raises:
        InputError: the settings name no checkpoint, or the prompt is too long.
    """
    return studio.compose(prompt, wishes=studio.for_painting())


def as_written(studio: Studio, prompt: str) -> Composition:
    """Lay on what a prompt names as `<lora:name:weight>` and nothing else; where it names nothing, choose for it.

    Raises:
        InputError: one that is named is not in the catalogue, or kept out; or as `chosen`.
    """
    names = pinned(prompt)
    if not names:
        return chosen(studio, prompt)
    store = studio.velatura.store
    allowed = frozenset(store.select(studio.filter(studio.for_painting())).tolist())
    choices, refused, notes = pins(store, names, allowed)
    if refused:
        raise InputError(f"“{line(refused[0].adapter.title, 60)}” is {refused[0].reason}")
    return studio.admit(
        Composition(prompt=prompt, choices=tuple(choices.values()), composer="as the prompt names them", notes=notes),
        wishes=studio.for_painting(),
    )


def ordered(
    studio: Studio,
    client: str,
    composition: Composition,
    *,
    count: int,
    seed: int | None,
    fields: Mapping[str, object],
    uploads: Uploads,
) -> Job:
    """Put pictures in line.

    Args:
        studio: Where they are painted.
        client: Who asks.
        composition: What is painted.
        count: How many, their seeds counting up.
        seed: Of the first; None draws it by lot.
        fields: Other fields of the request.
        uploads: The pictures that it starts from; deleted when the job has ended.

    Raises:
        InputError: the request asks for what cannot be.
        QueueFull: as many are waiting as may.
    """
    first = secrets.randbelow(SEEDS) if seed is None else seed
    request = studio.request(replace(composition, refused=()), seed=first, **fields)
    job = studio.jobs.submit(client, studio.several(request, count), composition=composition)
    uploads.until(job)
    return job


def pictures_of(studio: Studio, job: Job, *, without: Collection[int] = ()) -> list[tuple[Made, bytes]]:
    """Return what a job has painted, in the order that was asked for, as PNG files.

    Args:
        studio: Where it is painted.
        job: The job.
        without: Places of pictures that are not wanted.

    Raises:
        VelaturaError: the job failed.
        BackendError: the pictures were forgotten already.
    """
    if job.error is not None:
        raise job.error
    found = []
    for made in sorted(job.made, key=lambda made: made.place):
        if made.place in without:
            continue
        kept = studio.shelf.get(made.picture)
        if kept is None:
            raise BackendError("the pictures took more memory than this server keeps; ask for fewer at once")
        found.append((made, kept[1]))
    return found


def why(request: GenerationRequest, composition: Composition, seed: int, answers: Answers) -> dict[str, Any]:
    """Return in brief why a picture looks as it does: the adapters laid on, with weights and reasons."""
    return {
        "seed": seed,
        "choices": [
            {
                "id": answers.number(choice.adapter),
                "title": choice.adapter.title,
                "weight": choice.weight,
                "span": choice.span,
                "reason": choice.reason,
            }
            for choice in request.choices
        ],
        "refused": [{"title": one.adapter.title, "reason": one.reason} for one in composition.refused],
        "notes": [line(note, _TOLD) for note in composition.notes],
    }
