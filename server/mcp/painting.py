"""The tool for language models that paints: the pictures, each with why it looks as it does."""

from __future__ import annotations

import io
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from PIL import Image

from ...errors import Cancelled, InputError
from ...fenced import line
from ...generation.file_names import bare
from ..following import follow
from ..orders import SEEDS, pictures_of
from ..studio import Wishes
from ..threads import awaited
from .asked import GenerateImage
from .told import GenerateTold, PictureTold
from .tools import Answer, choice_lines, chosen, exactly, named, notes_of, one_line, refused

if TYPE_CHECKING:
    from ...records import Composition
    from ..jobs import Job, Made
    from ..studio import Studio

Progress = Callable[[float, str], Awaitable[None]]
"""Tells the share that is done, which only ever grows, and in words what is being done."""

PICTURES: Final = "velatura://pictures/"
"""Where the addresses of kept pictures begin; the rest is `ID.png`."""
_MOST: Final = 720_000
"""Bytes of all pictures of one answer: base64 makes 960,000 characters of them, and Claude Desktop takes 1,048,576."""
_LOOK: Final = 1.0
"""Seconds after which a job is looked at though it says nothing."""
_APART: Final = 0.02
"""The share that is painted between two messages."""
_QUALITIES: Final = (90, 75)
_SMALLEST: Final = 64
"""Pixels of the longer side, below which a picture is not made smaller."""


async def generate(
    studio: Studio, asked: GenerateImage, progress: Progress, *, client: str, folder: Path | None
) -> Answer:
    """Paint pictures and wait for them; whoever stops waiting ends the job.

    Args:
        studio: Where they are painted.
        asked: What is painted.
        progress: Told as it goes on.
        client: Who asks; clients take turns.
        folder: Where the PNG files are also written.

    Raises:
        VelaturaError: it cannot be painted.
    """
    await progress(0.0, "choosing adapters" if asked.adapters is None else "opening the checkpoint")
    job = await awaited(lambda: _submitted(studio, asked, client))
    last = 0.0
    try:
        async for _ in follow(job, every=_LOOK):
            if job.progress >= last + _APART:
                last = job.progress
                await progress(last, f"{len(job.made)} of {len(job.requests)} pictures painted")
    finally:
        if not job.ended:
            studio.jobs.cancel(job)
    return await awaited(lambda: _answered(studio, job, folder))


def _submitted(studio: Studio, asked: GenerateImage, client: str) -> Job:
    if asked.adapters is None:
        wishes = studio.for_painting(Wishes(banned=tuple(asked.without)))
        composition = studio.compose(asked.prompt, wishes=wishes)
    else:
        composition = exactly(studio, asked.adapters, asked.prompt)
    seed = secrets.randbelow(SEEDS) if asked.seed is None else asked.seed
    request = studio.request(replace(composition, refused=()), seed=seed, **asked.fields())
    requests = studio.several(request, asked.count, masks=asked.vary)
    return studio.jobs.submit(client, requests, composition=composition)


def _answered(studio: Studio, job: Job, folder: Path | None) -> Answer:
    painted = pictures_of(studio, job)
    if job.state == "cancelled":
        raise Cancelled("the pictures were cancelled")
    composition = job.asked
    shown = [_shown(content, _MOST // len(painted)) for _, content in painted]
    pictures = [
        _picture(studio, job, made, media, None if folder is None else _written(studio, made, content, folder))
        for (made, content), (_, media) in zip(painted, shown, strict=True)
    ]
    told = GenerateTold(
        prompt=composition.prompt,
        pictures=pictures,
        choices=chosen(studio, composition),
        refused=refused(studio, composition),
        notes=notes_of(composition),
    )
    return Answer(told=told, text=_text(told, composition), pictures=tuple(shown))


def _picture(studio: Studio, job: Job, made: Made, media: str, file: Path | None) -> PictureTold:
    request = job.requests[made.place]
    return PictureTold(
        seed=made.seed,
        prompt=one_line(request.prompt),
        negative=request.negative,
        adapters=named(studio, request.choices),
        steps=request.steps,
        guidance=request.guidance,
        width=request.width,
        height=request.height,
        scheduler=request.scheduler,
        model=bare(request.model),
        uri=f"{PICTURES}{made.picture}.png",
        file=None if file is None else str(file),
        shown=media,
    )


def _text(told: GenerateTold, composition: Composition) -> str:
    one = len(told.pictures) == 1
    seeds = ", ".join(str(picture.seed) for picture in told.pictures)
    size = f"{told.pictures[0].width} x {told.pictures[0].height}"
    rows = [f"painted {'a picture' if one else f'{len(told.pictures)} pictures'}, {size}, seed {seeds}"]
    rows += [f"{picture.seed}: {picture.file}" for picture in told.pictures if picture.file is not None]
    rows += choice_lines(told.choices) or ["no adapter was laid on"]
    rows.append(f"prompt: {one_line(composition.painted_prompt)}")
    smaller = [picture for picture in told.pictures if picture.shown != "image/png"]
    notes = [*told.notes, *(["shown as JPEG, since the PNG is too large for an answer; see uri"] if smaller else [])]
    return "\n".join([*rows, *(f"note: {note}" for note in notes)])


def _shown(content: bytes, most: int) -> tuple[bytes, str]:
    """Return a picture as an answer shows it: the PNG with its story, or, where that is too large, a JPEG."""
    if len(content) <= most:
        return content, "image/png"
    with Image.open(io.BytesIO(content), formats=("PNG",)) as opened:
        picture = opened.convert("RGB")
    while True:
        for quality in _QUALITIES:
            stream = io.BytesIO()
            picture.save(stream, format="JPEG", quality=quality)
            if stream.tell() <= most or max(picture.size) <= _SMALLEST:
                return stream.getvalue(), "image/jpeg"
        picture = picture.resize((max(1, picture.width // 2), max(1, picture.height // 2)))


def _written(studio: Studio, made: Made, content: bytes, folder: Path) -> Path:
    """Write a picture under a name that no file has, and return where it is."""
    kept = studio.shelf.get(made.picture)
    name = Path(kept[0] if kept else f"{made.picture}.png")
    number = 1
    while True:
        path = folder / (name.name if number == 1 else f"{name.stem}-{number}{name.suffix}")
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with path.open("xb") as file:
                file.write(content)
        except FileExistsError:
            number += 1
            continue
        except OSError as error:
            raise InputError(f"{line(str(path), 200)} cannot be written: {error.strerror}") from None
        return path


def kept_picture(studio: Studio, uri: str) -> bytes | None:
    """Return the PNG of a picture's address; None where it is none, or is not kept any more."""
    if not (uri.startswith(PICTURES) and uri.endswith(".png")):
        return None
    kept = studio.shelf.get(uri.removeprefix(PICTURES).removesuffix(".png"))
    return None if kept is None else kept[1]
