"""The graph of nodes that ComfyUI executes for a picture, in its API form: `{id: {"class_type", "inputs"}}`.

Nodes of ComfyUI's own alone; a link is `[id, output]`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from .plan import Plan
from .words import clean, spoken, with_tokens

Link = list[Any]

_BREAK = re.compile(r"\bBREAK\b")
_PENULTIMATE = ("sd2", "sdxl", "pony", "illustrious", "noobai")
"""Families whose text encoders are read one layer before the last as it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Uploaded:
    """Pictures as the server calls them."""

    start: str = ""
    mask: str = ""
    maps: tuple[str, ...] = ()
    """Of each control."""


def graph_of(plan: Plan, seed: int, uploaded: Uploaded, *, family: str) -> dict[str, Any]:
    """Return the graph for one picture.

    The picture is only previewed, so that nothing is added to anybody's collection.

    Args:
        plan: What is to be painted.
        seed: The picture's own.
        uploaded: What it is painted from.
        family: The checkpoint's, a name of `velatura.families`.
    """
    graph = _Graph()
    loaded = graph.add("CheckpointLoaderSimple", ckpt_name=plan.checkpoint.name)
    model, clip, vae = [loaded, 0], [loaded, 1], [loaded, 2]
    for file, weight in plan.adapters:
        strengths = {"strength_model": weight, "strength_clip": weight}
        node = graph.add("LoraLoader", lora_name=file.name, **strengths, model=model, clip=clip)
        model, clip = [node, 0], [node, 1]
    request = plan.request
    if request.freeu is not None:
        s1, s2, b1, b2 = request.freeu
        model = [graph.add("FreeU", model=model, b1=b1, b2=b2, s1=s1, s2=s2), 0]
    if request.clip_skip:
        last = -(request.clip_skip + (2 if family in _PENULTIMATE else 1))
        clip = [graph.add("CLIPSetLastLayer", clip=clip, stop_at_clip_layer=last), 0]
    positive = graph.encoded(_texts(spoken(request, "()"), plan), clip)
    negative = graph.encoded(_texts(clean(request.negative), plan), clip)
    for (control, file), picture in zip(plan.controls, uploaded.maps, strict=True):
        net = graph.add("ControlNetLoader", control_net_name=file.name)
        seen = graph.add("LoadImage", image=picture)
        span = {"start_percent": control.begin, "end_percent": control.end}
        sides = {"positive": positive, "negative": negative, "control_net": [net, 0], "image": [seen, 0]}
        node = graph.add("ControlNetApplyAdvanced", **sides, strength=control.weight, **span)
        positive, negative = [node, 0], [node, 1]
    latent = _latent(graph, plan, uploaded, vae)
    sampled = _sampled(graph, plan, seed, model=model, positive=positive, negative=negative, latent_image=latent)
    decoded = graph.add("VAEDecode", samples=sampled, vae=vae)
    graph.add("PreviewImage", images=[decoded, 0])
    return graph.nodes


@dataclass(slots=True)
class _Graph:
    nodes: dict[str, Any] = field(default_factory=dict)

    def add(self, kind: str, **inputs: Any) -> str:
        """Add a node and return its id."""
        name = str(len(self.nodes) + 1)
        self.nodes[name] = {"class_type": kind, "inputs": inputs}
        return name

    def encoded(self, texts: Sequence[str], clip: Link) -> Link:
        """Encode the parts of a prompt each by itself, and join them."""
        first, *others = ([self.add("CLIPTextEncode", text=text, clip=clip), 0] for text in texts)
        for other in others:
            first = [self.add("ConditioningConcat", conditioning_to=first, conditioning_from=other), 0]
        return first


def _texts(text: str, plan: Plan) -> list[str]:
    """Return the parts of a prompt between `BREAK`s, with its learned tokens as ComfyUI names them."""
    whole = with_tokens(text, plan.tokens, "embedding:{}".format)
    return [part.strip() for part in _BREAK.split(whole)]


def _latent(graph: _Graph, plan: Plan, uploaded: Uploaded, vae: Link) -> Link:
    width, height = plan.size
    if plan.request.start is None:
        return [graph.add("EmptyLatentImage", width=width, height=height, batch_size=1), 0]
    picture = graph.add("LoadImage", image=uploaded.start)
    latent = [graph.add("VAEEncode", pixels=[picture, 0], vae=vae), 0]
    if uploaded.mask:
        mask = graph.add("LoadImageMask", image=uploaded.mask, channel="red")
        latent = [graph.add("SetLatentNoiseMask", samples=latent, mask=[mask, 0]), 0]
    return latent


def _sampled(graph: _Graph, plan: Plan, seed: int, **links: Link) -> Link:
    sampler, schedule = plan.sampler
    shared = {"steps": plan.steps, "cfg": plan.guidance, "sampler_name": sampler, "scheduler": schedule}
    start = plan.request.start
    if start is None:
        return [graph.add("KSampler", seed=seed, **shared, denoise=1.0, **links), 0]
    # KSampler's `denoise` would make all the steps within the share; here a share of the steps is made.
    skipped = plan.steps - int(plan.steps * start.share)
    noise = {"add_noise": "enable", "noise_seed": seed, "return_with_leftover_noise": "disable"}
    node = graph.add("KSamplerAdvanced", **noise, **shared, start_at_step=skipped, end_at_step=plan.steps, **links)
    return [node, 0]
