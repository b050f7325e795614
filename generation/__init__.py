"""Painting: adapters laid on the weights of a diffusion model, images drawn, their story kept in the PNG.

A backend is one class and one row of `BACKENDS`; nothing heavy is imported before one is opened.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any

from ..errors import InputError, MissingDependency, VelaturaError
from .metadata import parameters_text
from .story import image_name, read_story, request_of, save_png

if TYPE_CHECKING:
    from ..protocols import Backend

__all__ = [
    "BACKENDS",
    "REMOTE",
    "PaintingWarning",
    "backend_for",
    "image_name",
    "open_backend",
    "parameters_text",
    "read_story",
    "request_of",
    "save_png",
]

BACKENDS = {
    "sd": ".sd:StableDiffusionBackend",
    "sdxl": ".sdxl:StableDiffusionXLBackend",
    "sdxl-turbo": ".turbo:SdxlTurboBackend",
    "sdxs": ".sdxs:SdxsBackend",
    "demofusion": ".demofusion.backend:DemoFusionBackend",
    "fusion": ".fusion:FusionBackend",
    "flux": ".flux:FluxBackend",
    "a1111": ".a1111:A1111Backend",
    "comfyui": ".comfyui:ComfyUIBackend",
}
"""Each backend's name, and the module and class that paint for it."""
REMOTE = ("a1111", "comfyui")
"""Those that paint in another program, which holds the models; nothing heavy is loaded for them here."""


class PaintingWarning(UserWarning):
    """A picture was painted, and is hardly what was wanted; one sentence."""


def open_backend(name: str | None, model: str, **options: Any) -> Backend:
    """Open a backend on a checkpoint.

    Args:
        name: A name of `BACKENDS`; None takes what paints with the checkpoint.
        model: A name of `known`, a diffusers folder, a single-file checkpoint, or a hub id; for a remote backend the
            checkpoint's name there.
        **options: The backend's own, such as `device`; `dtype` also by its name.

    Raises:
        InputError: there is no such backend, or the checkpoint cannot be used.
        MissingDependency: the extra `generate` is not installed.
        VelaturaError: it is installed and broken.
    """
    if name is not None and name not in BACKENDS:
        raise InputError(f"there is no backend {name!r}; take one of {', '.join(BACKENDS)}")
    if name in REMOTE:
        remote: Backend = _class_of(name)(model, **options)
        return remote
    with _told():
        if isinstance(options.get("dtype"), str):
            options["dtype"] = getattr(import_module("torch"), options["dtype"])
        name = name or backend_for(model, local_files_only=bool(options.get("local_files_only")))
        found = _class_of(name)
    backend: Backend = found(model, **options)
    return backend


def backend_for(model: str, *, local_files_only: bool = False) -> str:
    """Return the name of the backend that paints with a checkpoint.

    Raises:
        InputError: the checkpoint is not there, or no backend paints with it.
        MissingDependency: the extra `generate` is not installed.
        VelaturaError: it is installed and broken.
    """
    with _told():
        kind: str = import_module(".kinds", __name__).kind_of(model, local_files_only=local_files_only)
    return kind


@contextmanager
def _told() -> Iterator[None]:
    """Say what is not installed, or broken, where the libraries that paint are loaded."""
    try:
        with import_module(".checkpoint", __name__).quiet():
            # These load late, and it is then that a broken neighbour (torchvision) shows.
            _ = import_module("diffusers").StableDiffusionPipeline, import_module("transformers").CLIPTextModel
        yield
    except ModuleNotFoundError as error:
        raise MissingDependency(error.name or "diffusers", extra="generate") from None
    except (ImportError, RuntimeError) as error:
        line = (str(error).strip().splitlines() or [type(error).__name__])[-1]
        raise VelaturaError(f"diffusers is installed and cannot be imported; try `velatura doctor`: {line}") from error


def _class_of(name: str) -> Any:
    module, _, cls = BACKENDS[name].partition(":")
    return getattr(import_module(module, __name__), cls)
