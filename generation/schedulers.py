"""Schedulers by the names that people use, with the names that A1111 writes for them."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from ..errors import InputError


@dataclass(frozen=True, slots=True)
class Sampler:
    """A scheduler class of diffusers with the options that make it this sampler."""

    cls: str
    title: str
    """A1111's name of it."""
    schedule: str | None = None
    """A1111's schedule type, where it is not the model's own."""
    options: Mapping[str, object] = field(default_factory=dict)


def _solver(*, karras: bool, sde: bool) -> dict[str, object]:
    algorithm = "sde-dpmsolver++" if sde else "dpmsolver++"
    return {"use_karras_sigmas": karras, "algorithm_type": algorithm, "solver_order": 2}


_DPM = "DPMSolverMultistepScheduler"

SAMPLERS: dict[str, Sampler] = {
    # Clipping is for pixels, not for latents; the class's own default would clip where the model's file is silent.
    "ddim": Sampler("DDIMScheduler", "DDIM", options={"clip_sample": False}),
    "ddpm": Sampler("DDPMScheduler", "DDPM", options={"clip_sample": False}),
    "deis": Sampler("DEISMultistepScheduler", "DEIS"),
    "dpmpp_2m": Sampler(_DPM, "DPM++ 2M", options=_solver(karras=False, sde=False)),
    "dpmpp_2m_karras": Sampler(_DPM, "DPM++ 2M", "Karras", _solver(karras=True, sde=False)),
    "dpmpp_2m_sde": Sampler(_DPM, "DPM++ 2M SDE", options=_solver(karras=False, sde=True)),
    "dpmpp_2m_sde_karras": Sampler(_DPM, "DPM++ 2M SDE", "Karras", _solver(karras=True, sde=True)),
    "euler": Sampler("EulerDiscreteScheduler", "Euler", options={"use_karras_sigmas": False}),
    "euler_karras": Sampler("EulerDiscreteScheduler", "Euler", "Karras", {"use_karras_sigmas": True}),
    "euler_a": Sampler("EulerAncestralDiscreteScheduler", "Euler a"),
    "heun": Sampler("HeunDiscreteScheduler", "Heun"),
    "lcm": Sampler("LCMScheduler", "LCM"),
    "pndm": Sampler("PNDMScheduler", "PLMS", options={"skip_prk_steps": True}),
    "unipc": Sampler("UniPCMultistepScheduler", "UniPC"),
}


def name_of(scheduler: Any) -> str | None:
    """Return our name of a diffusers scheduler as it is configured; None where it has none."""
    for name, sampler in SAMPLERS.items():
        own = scheduler.config
        if type(scheduler).__name__ == sampler.cls and all(own.get(k) == v for k, v in sampler.options.items()):
            return name
    return None


def scheduler_like(model_scheduler: Any, name: str | None) -> Any:
    """Return a fresh scheduler of that name with the noise schedule of the model's own; None renews its own.

    Raises:
        InputError: no scheduler has that name; the sentence lists those that there are.
    """
    import diffusers

    if name is not None and name not in SAMPLERS:
        raise InputError(f"there is no scheduler {name!r}; take one of {', '.join(SAMPLERS)}")
    with without_numpy_warning():
        if name is None:
            return type(model_scheduler).from_config(model_scheduler.config)
        sampler = SAMPLERS[name]
        return getattr(diffusers, sampler.cls).from_config(model_scheduler.config, **sampler.options)


@contextmanager
def without_numpy_warning() -> Iterator[None]:
    """Silence what NumPy 2 says of the schedulers' own conversions of tensors; the values are right."""
    said = r"__array__ implementation doesn't accept a copy|__array_wrap__ must accept context"
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", said, DeprecationWarning)
        yield
