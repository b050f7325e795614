"""The whole path on things made on the spot: files -> catalogue -> prompt -> adapters -> picture.

The checkpoint is tiny and its weights are random, so the picture is coloured noise: it shows that every part works
together, and nothing about art.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..pipeline import Velatura
from ..records import Composition, Filter
from .sample import make_adapter, make_checkpoint

PROMPT = "a red fox in the snow, inkwash style, lantern light"


def sample_catalogue() -> dict[str, Any]:
    """Return the sample catalogue, in the form in which Civitai's API answers; every page was written for it."""
    text = files(__package__).joinpath("sample_catalogue.json").read_text(encoding="utf-8")
    answer: dict[str, Any] = json.loads(text)
    return answer


def make_files(folder: Path) -> tuple[Path, Path]:
    """Make a checkpoint, and a folder of adapters with sidecars as their owner would have them.

    What is there already is kept, so that a second run starts at once.

    Returns:
        The checkpoint's folder and the adapters' folder.
    """
    checkpoint, loras = folder / "checkpoint", folder / "loras"
    try:
        loras.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"the folder {folder} cannot be made: {error.strerror}") from None
    if not (checkpoint / "model_index.json").is_file():
        make_checkpoint(checkpoint)
    for page in sample_catalogue()["items"]:
        version = page["modelVersions"][0]
        if page["type"] != "LORA" or not version["baseModel"].startswith("SD 1"):
            continue
        path = loras / version["files"][0]["name"]
        if not path.is_file():
            metadata = {"ss_output_name": path.stem, "ss_base_model_version": "sd_v1"}
            make_adapter(path, checkpoint, seed=version["id"], metadata=metadata)
        card = {
            **version,
            "modelId": page["id"],
            "model": {name: page[name] for name in page if name != "modelVersions"},
        }
        path.with_suffix(".civitai.info").write_text(json.dumps(card), encoding="utf-8")
    return checkpoint, loras


def run(folder: Path, say: Callable[[str], None], *, prompt: str = PROMPT) -> tuple[Composition, Path]:
    """Index, embed, compose and paint in `folder`; say each step.

    Returns:
        What was chosen, and where the picture is.
    """
    say("1. making a tiny checkpoint with random weights, and a folder of adapters")
    checkpoint, loras = make_files(folder)
    dump = folder / "civitai.json"
    dump.write_text(json.dumps(sample_catalogue()), encoding="utf-8")
    with Velatura.open(db=str(folder / "catalogue.db"), model=str(checkpoint), output=str(folder)) as velatura:
        say(f"2. indexing {loras} and {dump}")
        for source in (loras, dump):
            report = velatura.index(source)
            say(f"   {report.source}: {report.offered} seen, {report.added} added, {report.rejected} rejected")
        say(f"   embedded {velatura.embed().texts} texts")
        say(f"3. choosing adapters for: {prompt}")
        composition = velatura.compose(prompt, filter=Filter(family=velatura.backend.family, installed=True))
        say("4. painting")
        request = velatura.request(composition, seed=7, steps=8)
        path, _ = next(velatura.paint(request, overwrite=True))
    return composition, path
