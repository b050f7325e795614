"""A1111's names of samplers and schedules, and ours."""

from __future__ import annotations

from typing import Any, Final

from ...generation.schedulers import SAMPLERS
from ..failures import WrongField

_OWN: Final = {
    "DPM++ 2M": "Karras",
    "DPM++ SDE": "Karras",
    "DPM++ 2M SDE": "Exponential",
    "DPM++ 3M SDE": "Exponential",
    "DPM2": "Karras",
    "DPM2 a": "Karras",
}
"""The schedule that A1111 takes for a sampler where none is named."""
_USUAL: Final = "Euler"
"""The sampler that A1111 takes where a schedule alone is named."""
_SCHEDULES: Final = {
    "automatic": "Automatic",
    "uniform": "Uniform",
    "normal": "Uniform",
    "karras": "Karras",
    "exponential": "Exponential",
    "beta": "Beta",
    "sgm_uniform": "SGM Uniform",
    "simple": "SGM Uniform",
}
"""A1111's names and ComfyUI's, and A1111's labels of what we have."""
_BY_TITLE: Final = {
    (sampler.title.lower(), sampler.schedule or "Uniform"): name for name, sampler in reversed(list(SAMPLERS.items()))
}


def scheduler_of(sampler: str | None, schedule: str | None) -> str | None:
    """Return our scheduler for A1111's sampler and schedule type; None leaves it to the model.

    Names from before A1111 1.9, `DPM++ 2M Karras`, and our own are understood.

    Raises:
        WrongField: there is none, and the sentence says which there are.

    >>> scheduler_of("DPM++ 2M", "Automatic"), scheduler_of("dpm++ 2m karras", None), scheduler_of("Euler", "Uniform")
    ('dpmpp_2m_karras', 'dpmpp_2m_karras', 'euler')
    """
    told = (schedule or "automatic").strip().lower().replace(" ", "_")
    label = _SCHEDULES.get(told)
    if label is None:
        known = ", ".join(dict.fromkeys(_SCHEDULES.values()))
        raise WrongField(f"there is no schedule type {(schedule or '')[:60]!r} here; take one of {known}", "scheduler")
    name = (sampler or "").strip().lower()
    if name in ("", "automatic"):
        if label == "Automatic":
            return None
        name = _USUAL.lower()
    titles = {sampler.title.lower(): sampler.title for sampler in SAMPLERS.values()}
    if name not in titles and name in SAMPLERS:
        return name
    for title in ("Karras", "Exponential", "SGM Uniform"):
        if name.endswith(f" {title.lower()}"):
            name, label = name.removesuffix(f" {title.lower()}"), title
    if name not in titles:
        known = ", ".join(titles.values())
        raise WrongField(f"there is no sampler {(sampler or '')[:60]!r} here; take one of {known}", "sampler_name")
    if label == "Automatic":
        label = _OWN.get(titles[name], "Uniform")
        if (name, label) not in _BY_TITLE:  # ours knows it with a schedule alone
            label = next(known for title, known in _BY_TITLE if title == name)
    if (name, label) not in _BY_TITLE:
        known = ", ".join(sorted(known for title, known in _BY_TITLE if title == name))
        raise WrongField(f"{titles[name]} has no schedule type {label} here; it has {known}", "scheduler")
    return _BY_TITLE[name, label]


def samplers() -> list[dict[str, Any]]:
    """Return the samplers, as A1111 lists them."""
    found: dict[str, tuple[list[str], dict[str, str]]] = {}
    for name, sampler in SAMPLERS.items():
        aliases, options = found.setdefault(sampler.title, ([], {}))
        aliases.append(name)
        if sampler.title in _OWN:
            options["scheduler"] = _OWN[sampler.title].lower()
    return [{"name": title, "aliases": aliases, "options": options} for title, (aliases, options) in found.items()]


def schedulers() -> list[dict[str, Any]]:
    """Return the schedule types, as A1111 lists them."""
    labels = {label: name for name, label in reversed(_SCHEDULES.items())}
    return [
        {"name": name, "label": label, "aliases": None, "default_rho": -1, "need_inner_model": False}
        for label, name in reversed(labels.items())
    ]
