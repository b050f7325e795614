"""Schedulers by the names that people use, with what A1111 and ComfyUI call them.

A name is a sampler and, where it ends in one, a schedule: where between pure noise and the picture the steps lie.

- `karras` (Karras and others, 2022, eq. 5), `exponential` and `beta` (Lee and others, 2024, as A1111 has it) set the
  noise of each step by a formula, between the most and the least that the model was trained on. Where the most is pure
  noise, two thirds of the steps would lie in it, so there they are refused.
- `sgm_uniform` spaces the times evenly, from the last one that was trained on and without the first: 999, 749, 499, 249
  for four steps. That is what diffusers calls `trailing` and, to within one time of a thousand, what ComfyUI calls
  `simple`; `ddim_trailing` is the same for DDIM.
- Without one the model's own spacing stays.

The noise schedule, what the model predicts (`epsilon` or `v_prediction`) and a terminal signal-to-noise ratio of zero
(Lin and others, 2024) are the model's own under every name. Such a model has to start from pure noise, so that its
times are `trailing` wherever the name does not say otherwise.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, cast

from ..errors import InputError, MissingDependency
from .shared_settings import FILTERS, Shared

_NUMPY = r"__array__ implementation doesn't accept a copy|__array_wrap__ must accept context"
_FILTER = ("ignore", re.compile(_NUMPY, re.IGNORECASE), DeprecationWarning, None, 0)
"""What `warnings.filterwarnings` makes of it."""


@dataclass(frozen=True, slots=True)
class Sampler:
    """A scheduler class with the options that make it this sampler."""

    cls: str
    """Of diffusers, or `DPMSolver3MSDEScheduler` of ours."""
    title: str
    """A1111's name of it."""
    schedule: str | None = None
    """A1111's schedule type, where it is not the model's own."""
    options: Mapping[str, object] = field(default_factory=dict)
    comfyui: tuple[str, str] | None = None
    """ComfyUI's `sampler_name` and `scheduler`, or what is nearest there; None where it has none of its own."""
    eta: float = 0.0
    """How much noise each step adds anew, for a pipeline's `eta`; read by DDIM and TCD alone."""


_TITLES = {
    "karras": "Karras",
    "exponential": "Exponential",
    "beta": "Beta",
    "sgm_uniform": "SGM Uniform",
}
_SPACED = ("EulerDiscreteScheduler", "HeunDiscreteScheduler", "KDPM2DiscreteScheduler", "LMSDiscreteScheduler")
"""These take the ends of a formula from the times of the steps, so that all the times must lie between them."""
_TRAILING = {"timestep_spacing": "trailing"}
_FORMULA = re.compile(r"_(?:karras|exponential|beta)$")


def _sampler(cls: str, title: str, comfyui: str | None, schedule: str | None = None, **options: object) -> Sampler:
    """A sampler of a class that knows the formulas."""
    formulas = {f"use_{name}_sigmas": name == schedule for name in ("karras", "exponential", "beta")}
    if schedule == "sgm_uniform":
        options |= _TRAILING
    elif schedule is not None and cls in _SPACED:
        options["timestep_spacing"] = "linspace"
    called = None if comfyui is None else (comfyui, schedule or "normal")
    return Sampler(cls, title, _TITLES.get(schedule or ""), {**formulas, **options}, called)


def _dpm(order: int, schedule: str | None = None, *, sde: bool = False) -> Sampler:
    """DPM-Solver++ over several steps (Lu and others, 2022), of the ODE or the SDE."""
    options = {"algorithm_type": "sde-dpmsolver++" if sde else "dpmsolver++", "solver_order": order}
    name, title = f"dpmpp_{order}m{'_sde' * sde}", f"DPM++ {order}M{' SDE' * sde}"
    if order < 3:
        return _sampler("DPMSolverMultistepScheduler", title, name, schedule, **options)
    return _sampler(
        "DPMSolver3MSDEScheduler", title, name, schedule, **options, solver_type="heun", lower_order_final=False
    )


def _singlestep(schedule: str | None = None) -> Sampler:
    """The nearest that does without torchsde: a step passes through the model once, where A1111's passes twice."""
    options = {"algorithm_type": "sde-dpmsolver++", "solver_order": 2, "lower_order_final": True}
    return _sampler("DPMSolverSinglestepScheduler", "DPM++ SDE", "dpmpp_sde", schedule, **options)


_EULER, _HEUN, _LMS = _SPACED[0], _SPACED[1], _SPACED[3]
_DPM2, _DPM2_A = _SPACED[2], "KDPM2AncestralDiscreteScheduler"
_UNIPC = "UniPCMultistepScheduler"
_LCM_STEPS = 50
"""Of the teacher that LCM is distilled from: it can make no more."""

SAMPLERS: dict[str, Sampler] = {
    # Clipping is for pixels, not for latents; the class's own default would clip where the model's file is silent.
    "ddim": Sampler("DDIMScheduler", "DDIM", None, {"clip_sample": False}, ("ddim", "ddim_uniform")),
    "ddpm": Sampler("DDPMScheduler", "DDPM", None, {"clip_sample": False}, ("ddpm", "normal")),
    "deis": _sampler("DEISMultistepScheduler", "DEIS", "deis"),
    "dpmpp_2m": _dpm(2),
    "dpmpp_2m_karras": _dpm(2, "karras"),
    "dpmpp_2m_exponential": _dpm(2, "exponential"),
    "dpmpp_2m_sgm_uniform": _dpm(2, "sgm_uniform"),
    "dpmpp_2m_sde": _dpm(2, sde=True),
    "dpmpp_2m_sde_karras": _dpm(2, "karras", sde=True),
    "dpmpp_2m_sde_exponential": _dpm(2, "exponential", sde=True),
    "dpmpp_2m_sde_sgm_uniform": _dpm(2, "sgm_uniform", sde=True),
    "dpmpp_3m_sde": _dpm(3, sde=True),
    "dpmpp_3m_sde_karras": _dpm(3, "karras", sde=True),
    "dpmpp_3m_sde_exponential": _dpm(3, "exponential", sde=True),
    "dpmpp_3m_sde_sgm_uniform": _dpm(3, "sgm_uniform", sde=True),
    "dpmpp_sde": _singlestep(),
    "dpmpp_sde_karras": _singlestep("karras"),
    "euler": _sampler(_EULER, "Euler", "euler"),
    "euler_karras": _sampler(_EULER, "Euler", "euler", "karras"),
    "euler_exponential": _sampler(_EULER, "Euler", "euler", "exponential"),
    "euler_beta": _sampler(_EULER, "Euler", "euler", "beta"),
    "euler_sgm_uniform": _sampler(_EULER, "Euler", "euler", "sgm_uniform"),
    "euler_a": Sampler("EulerAncestralDiscreteScheduler", "Euler a", None, {}, ("euler_ancestral", "normal")),
    "euler_a_sgm_uniform": Sampler(
        "EulerAncestralDiscreteScheduler", "Euler a", "SGM Uniform", _TRAILING, ("euler_ancestral", "sgm_uniform")
    ),
    "heun": _sampler(_HEUN, "Heun", "heun"),
    "heun_karras": _sampler(_HEUN, "Heun", "heun", "karras"),
    "dpm2": _sampler(_DPM2, "DPM2", "dpm_2"),
    "dpm2_karras": _sampler(_DPM2, "DPM2", "dpm_2", "karras"),
    "dpm2_a": _sampler(_DPM2_A, "DPM2 a", "dpm_2_ancestral"),
    "dpm2_a_karras": _sampler(_DPM2_A, "DPM2 a", "dpm_2_ancestral", "karras", timestep_spacing="linspace"),
    "lms": _sampler(_LMS, "LMS", "lms"),
    "lms_karras": _sampler(_LMS, "LMS", "lms", "karras"),
    "pndm": Sampler("PNDMScheduler", "PLMS", None, {"skip_prk_steps": True}),
    "unipc": _sampler(_UNIPC, "UniPC", "uni_pc_bh2"),
    "unipc_karras": _sampler(_UNIPC, "UniPC", "uni_pc_bh2", "karras"),
    # For models and adapters that were distilled to need few steps.
    "ddim_trailing": Sampler(
        "DDIMScheduler", "DDIM", "SGM Uniform", {"clip_sample": False, **_TRAILING}, ("ddim", "sgm_uniform")
    ),
    "lcm": Sampler("LCMScheduler", "LCM", None, {"original_inference_steps": _LCM_STEPS}, ("lcm", "sgm_uniform")),
    "lcm_sgm_uniform": Sampler(
        "LCMScheduler", "LCM", "SGM Uniform", {"original_inference_steps": 1000}, ("lcm", "sgm_uniform")
    ),
    "tcd": Sampler("TCDScheduler", "TCD", None, {"original_inference_steps": _LCM_STEPS}, eta=0.3),
}
"""By name. Of A1111's, `DPM++ 2S a`, `DPM fast` and `DPM adaptive` are missing, which diffusers does not have."""


def name_of(scheduler: Any) -> str | None:
    """Return our name of a scheduler as it is configured, the one that says most; None where it has none."""
    cls, config = type(scheduler).__name__, scheduler.config
    names = [
        name
        for name, sampler in SAMPLERS.items()
        if cls == sampler.cls and all(config.get(option) == value for option, value in sampler.options.items())
    ]
    return max(names, key=lambda name: len(SAMPLERS[name].options), default=None)


def scheduler_like(model_scheduler: Any, name: str | None, *, steps: int | None = None) -> Any:
    """Return a fresh scheduler of that name with the noise schedule of the model's own; None renews its own.

    Args:
        model_scheduler: The model's own.
        name: A name of `SAMPLERS`.
        steps: How many steps are to be made, where that is known.

    Raises:
        InputError: no scheduler has that name, and the sentence lists those that there are; or it is not for this
            model, or makes fewer steps.
        MissingDependency: it needs scipy.
    """
    if name is not None and name not in SAMPLERS:
        raise InputError(_unknown(name))
    from .checkpoint import quiet

    # What another class has no use for is left out with a report.
    with without_numpy_warning(), quiet():
        if name is None:
            found = type(model_scheduler).from_config(model_scheduler.config)
        else:
            found = _configured(model_scheduler, name)
    most = found.config.get("original_inference_steps")
    if most is not None and (steps or 0) > most:
        raise InputError(f"the scheduler {name or 'of the model'} makes at most {most} steps, not {steps}")
    return found


def times_of(model_scheduler: Any, name: str | None, steps: int) -> list[int]:
    """Return the times at which a model is asked, of those it was trained on, in the order of the steps.

    Raises:
        InputError: as `scheduler_like`.
    """
    scheduler = scheduler_like(model_scheduler, name, steps=steps)
    with without_numpy_warning():
        scheduler.set_timesteps(steps)
    return [round(float(time)) for time in scheduler.timesteps]


def eta_of(name: str | None) -> float:
    """Return what a pipeline's `eta` is for a sampler; 0 where it has none."""
    return SAMPLERS[name].eta if name in SAMPLERS else 0.0


@contextmanager
def without_numpy_warning() -> Iterator[None]:
    """Silence what NumPy 2 says of the schedulers' own conversions of tensors; the values are right."""
    with _SILENT.held():
        with FILTERS:  # each time, so that it goes before the filters that a caller has added since
            warnings.filterwarnings("ignore", _NUMPY, DeprecationWarning)
        yield


def _remembered() -> Callable[[], None]:
    """Return what takes the filter of that warning away again, unless it is there already."""
    if _FILTER in warnings.filters:
        return lambda: None

    def undo() -> None:
        # Not the filters as they were before: others may have been added since.
        with FILTERS:
            filters = cast("list[Any]", warnings.filters)
            if _FILTER in filters:
                filters.remove(_FILTER)

    return undo


_SILENT = Shared(_remembered)


def _configured(model_scheduler: Any, name: str) -> Any:
    sampler = SAMPLERS[name]
    cls = _class(sampler.cls)
    options = {**_terminal(model_scheduler, cls, name), **sampler.options}
    try:
        return cls.from_config(model_scheduler.config, **options)
    except ImportError:
        raise MissingDependency("scipy", extra="embed") from None


def _class(name: str) -> Any:
    if name == "DPMSolver3MSDEScheduler":
        from .dpmpp_3m_sde import DPMSolver3MSDEScheduler

        return DPMSolver3MSDEScheduler
    import diffusers

    return getattr(diffusers, name)


def _terminal(model_scheduler: Any, cls: Any, name: str) -> dict[str, object]:
    """Return what keeps a terminal signal-to-noise ratio of zero in a class, also in one that knows no word for it."""
    from inspect import signature

    if not model_scheduler.config.get("rescale_betas_zero_snr"):
        return {}
    if _FORMULA.search(name):
        plain = _FORMULA.sub("", name)
        better = f"{plain}_sgm_uniform" if f"{plain}_sgm_uniform" in SAMPLERS else plain
        raise InputError(f"this model starts from pure noise, where {name} would lose most of its steps; take {better}")
    known = signature(cls.__init__).parameters
    options: dict[str, object] = dict(_TRAILING) if "timestep_spacing" in known else {}
    if "rescale_betas_zero_snr" not in known:
        alphas = 1 - model_scheduler.betas.double()
        # The last is zero, whose logarithm no solver bears; diffusers' own classes put the same in its place.
        alphas[-1] = 2**-24 / alphas[:-1].prod()
        options["trained_betas"] = (1 - alphas).tolist()
    return options


def _unknown(name: str) -> str:
    """The sentence for a name that is none; what is nearly one, or another program's, is told first."""
    spelt = _spelt(name)
    titles = {_spelt(f"{sampler.title} {sampler.schedule or ''}"): ours for ours, sampler in SAMPLERS.items()}
    titles |= {_spelt(" ".join(sampler.comfyui)): ours for ours, sampler in SAMPLERS.items() if sampler.comfyui}
    titles |= {ours: ours for ours in SAMPLERS}
    nearest = titles.get(spelt) or next(iter(get_close_matches(spelt, SAMPLERS, n=1, cutoff=0.75)), None)
    advice = f"take {nearest}, or another" if nearest else "take one"
    return f"there is no scheduler {name[:60]!r}; {advice} of {', '.join(SAMPLERS)}"


def _spelt(name: str) -> str:
    """Spell a name as ours are: `DPM++ 2M Karras` as `dpmpp_2m_karras`."""
    plain = re.sub(r"[^a-z0-9]+", "_", name[:60].lower().replace("++", "pp")).strip("_")
    plain = plain.replace("ancestral", "a").replace("uni_pc_bh2", "unipc")
    return re.sub(r"_(?:simple|trailing)$", "_sgm_uniform", plain)
