"""Adapters that make a model paint in few steps, and the steps, guidance and scheduler that each of them needs.

They are told by their names, as `velatura.categories` tells tools. What each needs is what its makers say:

- LCM-LoRA (https://huggingface.co/latent-consistency/lcm-lora-sdxl): LCM's scheduler, 2 to 8 steps, no guidance or 1
  to 2.
- SDXL-Lightning (https://huggingface.co/ByteDance/SDXL-Lightning): Euler with trailing times, as many steps as the
  file was made for, no guidance.
- Hyper-SD (https://huggingface.co/ByteDance/Hyper-SD): DDIM with trailing times, as many steps as the file was made
  for, no guidance; the one-step file with TCD's scheduler at any number of steps; those that keep guidance (`CFG`) 5 to
  8. Those for FLUX.1 leave it at 3.5.
- TCD (https://huggingface.co/h1t/TCD-SDXL-LoRA): TCD's scheduler, 4 steps or more, no guidance.
- DMD2 (https://huggingface.co/tianweiy/DMD2): LCM's steps at the times 999, 749, 499 and 249, no guidance.
- PCM (https://huggingface.co/wangfuyun/PCM_Weights; Wang and others, 2024): DDIM with trailing times, as many steps as
  the file was made for; `smallcfg` no guidance, `normalcfg` the usual.
- Turbo: what SDXL-Turbo needs (https://huggingface.co/stabilityai/sdxl-turbo), at 4 steps; for FLUX.1 8 steps at 3.5
  (https://huggingface.co/alimama-creative/FLUX.1-Turbo-Alpha).

No guidance is written as 1: below that, A1111 and ComfyUI turn towards the negative prompt.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ..categories import tool_of
from ..fenced import line
from ..records import AdapterRecord, GenerationRequest

_OFF = 1.0
_MOST = 50
"""Steps that a name can mean."""
_PAINTED = ("sd1", "sd2", "sdxl", "pony", "illustrious", "noobai", "miniature", "unknown")
"""Families whose adapters these rules are for, beside FLUX.1; those of other architectures have other rules."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What an adapter needs in order to paint in few steps."""

    adapter: str
    """Its title."""
    method: str
    """How it was made: `LCM`, `SDXL-Lightning`, ..."""
    steps: int
    guidance: float
    scheduler: str | None
    """A name of `SAMPLERS`; None keeps the model's own."""
    least: int
    """The fewest steps that it bears."""
    most: int
    """The most."""
    strongest: float
    """The most guidance that it bears."""
    doubt: str | None = None
    """Why it can hardly be followed: one sentence."""


_METHODS = tuple(
    (method, re.compile(pattern))
    for method, pattern in (
        ("DMD2", r"\bdmd ?2?\b"),
        ("PCM", r"\bpcm\b|phased consistency"),
        ("TCD", r"\btcd\b|trajectory consistency"),
        ("Hyper-SD", r"\bhyper"),
        ("SDXL-Lightning", r"lightning"),
        ("LCM", r"\blcm\b|latent consistency"),
        ("Turbo", r"turbo"),
    )
)
"""Tried in order: people name what an adapter is mixed with after what it is."""
_PHASED = re.compile(r"\bpcm\b.*\b(?:small|normal)cfg\b|\bpcm\b.*\blora\b|phased consistency")
_STEPS = re.compile(r"(?<!\d)(\d{1,2})[ _-]?steps?\b")
_TAGS = {
    "lcm-lora": "LCM", "sdxl-lightning": "SDXL-Lightning", "hyper-sd": "Hyper-SD", "tcd-lora": "TCD", "dmd2": "DMD2",
    "phased-consistency-model": "PCM",
}  # fmt: skip


def few_step_rule(record: AdapterRecord) -> Rule | None:
    """Return what an adapter needs to paint in few steps; None where it was made for something else.

    >>> rule = few_step_rule(AdapterRecord(source="folder", key="a", title="sdxl_lightning_8step_lora"))
    >>> rule.steps, rule.guidance, rule.scheduler
    (8, 1.0, 'euler_sgm_uniform')
    >>> few_step_rule(AdapterRecord(source="folder", key="b", title="Lightning Farron"))
    """
    flux = record.family == "flux1" or "flux" in record.title.lower()
    if record.family not in _PAINTED and not flux:
        return None
    names = _names(record)
    method = _method(record, names)
    if method is None:
        return None
    found = [int(seen[1]) for seen in map(_STEPS.search, names) if seen]
    told = next((steps for steps in found if 1 <= steps <= _MOST), None)
    if flux:
        return _flux(record, method, told)
    return _rule(record, method, told, " ".join(names))


def advised(records: Sequence[AdapterRecord]) -> Rule | None:
    """Return what adapters that are worn together need to paint in few steps; None where none of them does.

    Two that need different things break the picture; the first is followed, and `Rule.doubt` says so.
    """
    rules = [rule for record in records if (rule := few_step_rule(record)) is not None]
    if not rules:
        return None
    first = rules[0]
    other = next((rule for rule in rules if _needs(rule) != _needs(first)), None)
    if other is None:
        return first
    reason = f"{first.adapter} needs {_said(first)} and {other.adapter} {_said(other)}"
    return replace(first, doubt=f"{reason}; together they break the picture, so wear one of them")


def departures(rule: Rule, request: GenerationRequest) -> tuple[str, ...]:
    """Say in one sentence each where a request asks for what the adapter does not bear."""
    steps, guidance, name = request.steps, request.guidance, request.scheduler
    made = f"{rule.least} steps" if rule.least == rule.most else f"{rule.least} to {rule.most} steps"
    found = [] if rule.doubt is None else [rule.doubt]
    if steps is not None and not rule.least <= steps <= rule.most:
        found.append(f"{rule.adapter} paints in {made}, not in {steps}")
    if guidance is not None and guidance > rule.strongest:
        bears = f"guidance up to {rule.strongest:g}" if rule.strongest > 1 else "no guidance"
        found.append(f"{rule.adapter} bears {bears}, not {guidance:g}")
    if rule.scheduler is not None and name is not None and name != rule.scheduler:
        found.append(f"{rule.adapter} was made for the scheduler {rule.scheduler}, not {name}")
    return tuple(found)


def _names(record: AdapterRecord) -> list[str]:
    file = record.file_name or (record.path or "").replace("\\", "/").rpartition("/")[2]
    names = (record.title, file.removesuffix(".safetensors"), record.version_name)
    return [name[:300].lower().replace("_", " ") for name in names if name]


def _method(record: AdapterRecord, names: Sequence[str]) -> str | None:
    by_tag = next((_TAGS[tag] for tag in record.tags if tag in _TAGS), None)
    tool = tool_of(replace(record, file_name=record.file_name or next(reversed(names), None)))
    text = " ".join(names)
    if (tool is None or tool.kind != "speed") and not _PHASED.search(text):
        return by_tag
    return next((method for method, pattern in _METHODS if pattern.search(text)), by_tag)


def _rule(record: AdapterRecord, method: str, told: int | None, text: str) -> Rule:
    kept = re.search(r"\bcfg\b|normalcfg", text) is not None
    steps, guidance, strongest = told or 4, _OFF, 2.0
    least, most = steps, steps
    if method == "LCM":
        scheduler, least, most = "lcm", 2, max(12, steps)
    elif method == "SDXL-Lightning":
        scheduler = "euler_sgm_uniform"
    elif method == "Hyper-SD":
        scheduler = "tcd" if steps == 1 else "ddim_trailing"
        most = 8 if steps == 1 else steps
        guidance, strongest = (5.0, 8.0) if kept else (guidance, strongest)
    elif method == "TCD":
        scheduler, least, most = "tcd", 2, 50
    elif method == "DMD2":
        scheduler, most = "lcm_sgm_uniform", max(8, steps)
    elif method == "PCM":
        scheduler = "lcm" if "lcmlike" in text else "ddim_trailing"
        guidance, strongest = (7.5, 10.0) if kept else (guidance, strongest)
    else:
        scheduler, least, most, strongest = "euler_a_sgm_uniform", 1, max(12, steps), 2.5
    return Rule(
        adapter=line(record.title, 60),
        method=method,
        steps=steps,
        guidance=guidance,
        scheduler=scheduler,
        least=least,
        most=most,
        strongest=strongest,
    )


def _flux(record: AdapterRecord, method: str, told: int | None) -> Rule | None:
    if method not in ("Hyper-SD", "Turbo"):
        return None
    steps = told or 8
    return Rule(
        adapter=line(record.title, 60),
        method=method,
        steps=steps,
        guidance=3.5,
        scheduler=None,
        least=min(4, steps),
        most=max(16, steps),
        strongest=5.0,
    )


def _needs(rule: Rule) -> tuple[int, float, str | None]:
    return rule.steps, rule.guidance, rule.scheduler


def _said(rule: Rule) -> str:
    return f"{rule.steps} steps" if rule.scheduler is None else f"{rule.steps} steps of {rule.scheduler}"
