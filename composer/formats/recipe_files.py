"""Recipes in Lora Manager's own folder: `<id>.recipe.json` and beside it the picture that its page shows.

Its scanner wants `id`, `file_path` and `title`, and sorts by the times. It rewrites the file as it learns more, so one
that is there is never written again.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ...errors import InputError
from ...records import Composition
from . import lora_manager
from .written import Export, as_json

if TYPE_CHECKING:
    from PIL.Image import Image

_WIDTH: Final = 480
"""Pixels, as of the pictures that Lora Manager keeps itself."""
_PLAIN: Final = ((480, 640), (226, 221, 212))


@dataclass(frozen=True, slots=True)
class Kept:
    """A recipe that was written."""

    recipe: Path
    picture: Path
    notes: tuple[str, ...]
    """What a person should know, each one sentence."""


def keep(
    composition: Composition, folder: Path, picture: Image | None = None, *, now: float, negative: str = ""
) -> Kept:
    """Write a composition as a recipe.

    Args:
        composition: What to keep.
        folder: Lora Manager's folder of recipes: `recipes` in its first folder of LoRAs, unless its settings say other.
        picture: What its page shows; None takes a plain one.
        now: The time, in seconds since 1970.
        negative: The negative prompt.

    Raises:
        InputError: the folder is not there, the recipe is there already, or it cannot be written.
    """
    if not folder.is_dir():
        raise InputError(
            f"there is no folder {folder}; Lora Manager keeps its recipes in `recipes` in its first folder of LoRAs"
        )
    export = Export(composition, negative=negative)
    made = lora_manager.recipe(export)
    recipe, shown = (folder.absolute() / f"{made['id']}{ending}" for ending in (".recipe.json", ".webp"))
    if recipe.exists():
        raise InputError(f"this recipe is there already: {recipe}")
    if picture is None:
        export.note("a plain picture stands for the recipe; give a painted one with --picture")
    made |= {"file_path": str(shown), "modified": now, "created_date": now, "has_workflow": False}
    text = as_json(made)
    try:
        # The recipe last: once it is there, its picture is.
        shown.write_bytes(_webp(picture))
        with recipe.open("x", encoding="utf-8") as stream:
            stream.write(text)
    except FileExistsError:
        raise InputError(f"this recipe is there already: {recipe}") from None
    except OSError as error:
        raise InputError(f"the recipe cannot be written into {folder}: {error.strerror}") from None
    return Kept(recipe, shown, tuple(export.notes))


def _webp(picture: Image | None) -> bytes:
    from PIL import Image

    shown = Image.new("RGB", *_PLAIN) if picture is None else picture.convert("RGB")
    if shown.width > _WIDTH:
        shown = shown.resize((_WIDTH, max(1, round(shown.height * _WIDTH / shown.width))), Image.Resampling.LANCZOS)
    stream = io.BytesIO()
    shown.save(stream, format="WEBP", quality=85)
    return stream.getvalue()
