"""Pictures that can say why they look as they do: two texts inside each PNG, and the way back.

`parameters` is A1111's text, for everybody else's tools; `velatura` is the whole request as plain JSON.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..plain import from_plain, to_plain
from ..records import AdapterRecord, GeneratedImage, GenerationRequest, Picture
from ..syntax import without_tags
from ..whole_file import whole_file
from .file_names import bare, bare_file
from .metadata import finite, parameters_text, parse_parameters, version
from .picture_text import read_texts

_LONGEST_NAME = 100
"""Bytes of the words in a file's name."""


def story_json(image: GeneratedImage) -> str:
    """Return the request, this image's seed and the checkpoint's hash as one line of ASCII JSON.

    Folders of this machine stay out of it: pictures are shared, and whose home they came from is nobody's business.
    """
    story = {
        "velatura": version(),
        "seed": image.seed,
        "model_hash": image.model_hash,
        "request": to_plain(_shareable(image.request)),
    }
    return json.dumps(story)


def png_bytes(image: GeneratedImage) -> bytes:
    """Return a picture with its story as a PNG file's content.

    The same image gives the same bytes: how long it took is not among them.
    """
    from PIL.PngImagePlugin import PngInfo

    texts = PngInfo()
    texts.add_text("parameters", parameters_text(image))
    texts.add_text("velatura", story_json(image))
    content = BytesIO()
    image.image.save(content, format="PNG", pnginfo=texts)
    return content.getvalue()


def save_png(image: GeneratedImage, path: str | Path, *, overwrite: bool = False) -> Path:
    """Write a picture with its story, as `png_bytes`; the file appears whole or not at all.

    Raises:
        InputError: the file is there already and `overwrite` is off, or the folder cannot be written to.
    """
    path = Path(path)
    content = png_bytes(image)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"the folder {path.parent} cannot be made: {error.strerror}") from None
    try:
        with whole_file(path, Path.replace if overwrite else _settle) as unfinished:
            unfinished.write_bytes(content)
    except FileExistsError:
        raise InputError(f"{path} is there already; give another name, or ask to overwrite it") from None
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror or error}") from None
    return path


def read_story(path: str | Path) -> dict[str, Any]:
    """Return what a picture tells of itself, as plain values.

    Of ours: `velatura` (the version), `seed`, `model_hash`, `request` (see `request_of`) and `parameters`. Of other
    tools' pictures with A1111's text: `parameters` alone (see `metadata.parse_parameters`).

    Raises:
        UnreadableFile: it is no picture, or a text in it is a bomb.
        InputError: it tells nothing.
    """
    path = Path(path)
    texts = read_texts(path, ("parameters", "velatura"))
    story = _ours(texts.get("velatura"))
    if "parameters" in texts:
        story["parameters"] = parse_parameters(texts["parameters"])
    if not story:
        raise InputError(f"{path.name} does not tell how it was made")
    return story


def request_of(story: Mapping[str, Any]) -> GenerationRequest:
    """Return the request that a story of ours holds.

    Raises:
        InputError: the story is another tool's, or was tampered with.
    """
    if "request" not in story:
        raise InputError("this picture was made by another program, so it holds no request to repeat")
    return from_plain(GenerationRequest, story["request"])


def image_name(request: GenerationRequest, index: int) -> str:
    """Return a safe file name for the image at that place of a batch: words of the prompt, and its seed.

    >>> from velatura.records import Composition
    >>> image_name(GenerationRequest(composition=Composition(prompt="../A red fox, snow"), model="m", seed=7), 1)
    'a-red-fox-snow-8.png'
    """
    prose = unicodedata.normalize("NFKC", without_tags(request.composition.prompt)).casefold()
    words = "-".join(re.findall(r"[^\W_]+", prose))
    short = words.encode("utf-8", "ignore")[:_LONGEST_NAME].decode("utf-8", "ignore").strip("-")
    return f"{short or 'image'}-{request.seed + index}.png"


def _shareable(request: GenerationRequest) -> GenerationRequest:
    """Return the request with bare file names in place of paths."""
    composition, start, enlargement = request.composition, request.start, request.enlargement
    return replace(
        request,
        model=bare(request.model),
        start=start and replace(start, picture=_picture(start.picture), mask=start.mask and _picture(start.mask)),
        controls=tuple(
            replace(control, model=bare(control.model), picture=_picture(control.picture))
            for control in request.controls
        ),
        image_prompts=tuple(
            replace(
                prompt,
                model=bare(prompt.model),
                encoder=prompt.encoder and bare(prompt.encoder),
                pictures=tuple(map(_picture, prompt.pictures)),
            )
            for prompt in request.image_prompts
        ),
        embeddings=tuple(map(bare_file, request.embeddings)),
        enlargement=enlargement
        and replace(enlargement, upscaler=enlargement.upscaler and bare_file(enlargement.upscaler)),
        composition=replace(
            composition,
            choices=tuple(replace(choice, adapter=_without_folders(choice.adapter)) for choice in composition.choices),
            refused=tuple(replace(item, adapter=_without_folders(item.adapter)) for item in composition.refused),
        ),
    )


def _picture(picture: Picture) -> Picture:
    return replace(picture, path=bare_file(picture.path))


def _without_folders(adapter: AdapterRecord) -> AdapterRecord:
    key = bare_file(adapter.key) if adapter.source == "folder" else adapter.key
    return replace(adapter, key=key, path=None)


def _settle(unfinished: Path, path: Path) -> None:
    """Give the file its name, unless another has it: a hard link fails then, where a rename would replace."""
    try:
        path.hardlink_to(unfinished)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links
        if path.exists():
            raise FileExistsError from None
        unfinished.replace(path)


def _ours(text: str | None) -> dict[str, Any]:
    try:
        story = json.loads(text or "{}", parse_constant=finite, parse_float=finite)
    except (ValueError, RecursionError):
        return {}
    return story if isinstance(story, dict) else {}
