"""Compositions in the forms of other tools, and back.

a1111.py         prompts with `<lora:name:weight>`, and the `parameters` text of pictures
comfyui.py       workflows: a small one, or the adapters laid into a given one
rgthree.py       rows of the Power Lora Loader
lora_manager.py  recipes, the loader's list and the loader's text
recipe_files.py  recipes in Lora Manager's own folder
invokeai.py      metadata; graphs and workflows to read
swarm.py         SwarmUI's pictures, to read
airs.py          AIR names, one a line
table.py         CSV for spreadsheets
own.py           our own JSON, whole

`write` gives a text and what that form cannot say; `read` finds the form by looking and gives names, which are still
to be looked for in the catalogue. Names of files are names: nothing is ever opened.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from ...errors import InputError
from ...records import Composition
from . import a1111, airs, comfyui, invokeai, lora_manager, own, rgthree, table
from .foreign import Foreign, Named, stem_of
from .reading import PICTURE_TEXTS, load_workflow, read
from .written import Export, Written

__all__ = ["FORMATS", "PICTURE_TEXTS", "Foreign", "Named", "Written", "load_workflow", "read", "stem_of", "write"]

FORMATS: dict[str, Callable[[Export], str]] = {
    "a1111": a1111.write,
    "comfyui": comfyui.write,
    "rgthree": rgthree.write,
    "lora-manager": lora_manager.write,
    "lora-manager-text": lora_manager.write_tags,
    "invokeai": invokeai.write,
    "air": airs.write,
    "csv": table.write,
    "json": own.write,
}
"""Every form that can be written, with its writer."""


def write(
    composition: Composition,
    form: str,
    *,
    base: Mapping[str, Any] | None = None,
    checkpoint: str | None = None,
    negative: str = "",
    folder: str | None = None,
) -> Written:
    """Write a composition in another tool's form.

    Args:
        composition: what to write.
        form: one of `FORMATS`.
        base: a ComfyUI workflow to lay the adapters into, of either form; only for `comfyui`.
        checkpoint: the checkpoint's file as ComfyUI names it; only for `comfyui`.
        negative: a negative prompt, for the forms that have one.
        folder: the folder where the other tool looks for adapters; with it, files are named with their subfolders.

    Raises:
        InputError: there is no such form, a weight is not finite, or the workflow has no place for adapters.
    """
    if form not in FORMATS:
        raise InputError(f"there is no form {form!r}; there are {', '.join(FORMATS)}")
    if base is not None and form != "comfyui":
        raise InputError(f"{form} is not laid into a workflow; only comfyui is")
    for choice in composition.choices:
        if not math.isfinite(choice.weight):
            raise InputError(f"the weight of {choice.adapter.title!r} must be a finite number, not {choice.weight}")
    export = Export(composition, base=base, checkpoint=checkpoint, negative=negative, folder=folder)
    text = FORMATS[form](export)
    return Written(text, tuple(export.notes))
