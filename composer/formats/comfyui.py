"""ComfyUI workflows: a small one of our own, or the adapters laid into a given one of either form.

A chain of `LoraLoader` stands between what loads the model and all that use it; the chain of an earlier export, known
by its titles, is replaced. A workflow without text encoder takes `LoraLoaderModelOnly`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...errors import InputError
from .comfy_api import splice
from .comfy_chain import Loader, is_ours
from .comfy_editor import splice_editor
from .comfy_graph import graph_of
from .foreign import mapping_of, stem_of, text_of
from .written import Export, as_json

_LARGE = frozenset({"sdxl", "pony", "illustrious", "noobai", "sd3", "sd35", "flux1", "kolors", "auraflow", "chroma"})
_PLACEHOLDER = "checkpoint.safetensors"


def write(export: Export) -> str:
    """Return the workflow: in the form of the given one, else in the API form.

    Raises:
        InputError: where in the given workflow the adapters belong cannot be told.
    """
    loaders = [Loader(title=choice.adapter.title, file=file, weight=choice.weight) for choice, file in export.files()]
    if export.folder is None and any(choice.adapter.path for choice in export.composition.choices):
        export.note(
            "adapters are named by their files alone; those in subfolders need the folder that ComfyUI looks in"
        )
    base = export.base
    if base is None:
        return as_json(splice(_template(export), loaders, export))
    framed = isinstance(base.get("prompt"), Mapping) and not _is_api(base)  # the body of a request to the server
    _tell_twice(base["prompt"] if framed else base, loaders, export)
    if isinstance(base.get("nodes"), list):
        return as_json(splice_editor(base, loaders, export))
    if framed:
        return as_json({**base, "prompt": splice(base["prompt"], loaders, export)})
    if not _is_api(base):
        raise InputError("this is no workflow of ComfyUI: it has neither nodes nor class types")
    return as_json(splice(base, loaders, export))


def _tell_twice(base: Mapping[str, Any], loaders: list[Loader], export: Export) -> None:
    """Note the adapters that the workflow loads by itself."""
    files = {stem_of(loader.file): loader for loader in loaders}
    for node in graph_of(base).values():
        name = stem_of(text_of(node.values.get("lora_name")))
        if name in files and not is_ours(node.kind, node.title):
            export.note(f"the workflow loads {name!r} by itself, in node {node.id}; now it is laid on twice")


def _is_api(base: Mapping[str, Any]) -> bool:
    return any(isinstance(mapping_of(node).get("class_type"), str) for node in base.values())


def _template(export: Export) -> dict[str, Any]:
    """Return a workflow without adapters: load, encode twice, sample, decode, save."""
    if not export.checkpoint:
        export.note(f"choose a checkpoint in the workflow: {_PLACEHOLDER!r} holds its place")
    families = {choice.adapter.family for choice in export.composition.choices}
    side = 1024 if families & _LARGE else 512
    sampler = {"seed": 0, "steps": 25, "cfg": 7.0, "sampler_name": "euler", "scheduler": "normal", "denoise": 1.0}
    sides = {"model": ["1", 0], "positive": ["2", 0], "negative": ["3", 0], "latent_image": ["4", 0]}
    return {
        "1": _node("CheckpointLoaderSimple", "Load Checkpoint", ckpt_name=_PLACEHOLDER),
        "2": _node("CLIPTextEncode", "Positive", text="", clip=["1", 1]),
        "3": _node("CLIPTextEncode", "Negative", text=export.negative, clip=["1", 1]),
        "4": _node("EmptyLatentImage", "Empty Latent Image", width=side, height=side, batch_size=1),
        "5": _node("KSampler", "KSampler", **sampler, **sides),
        "6": _node("VAEDecode", "VAE Decode", samples=["5", 0], vae=["1", 2]),
        "7": _node("SaveImage", "Save Image", filename_prefix="Velatura", images=["6", 0]),
    }


def _node(kind: str, title: str, **inputs: Any) -> dict[str, Any]:
    return {"inputs": inputs, "class_type": kind, "_meta": {"title": title}}
