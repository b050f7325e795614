"""What A1111's clients list: the checkpoint, the adapters within the gates, samplers, and what there is none of."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from fastapi import APIRouter, Request
from starlette.responses import Response

from ...generation.file_names import bare, bare_file
from ..json_answer import Json
from ..studio import studio_of
from . import samplers as sdapi_samplers

if TYPE_CHECKING:
    from ..studio import Studio

router = APIRouter()

_NONE: Final[dict[str, Any]] = {
    "sd-vae": [],
    "sd-modules": [],
    "hypernetworks": [],
    "face-restorers": [],
    "realesrgan-models": [],
    "prompt-styles": [],
    "latent-upscale-modes": [],
    "embeddings": {"loaded": {}, "skipped": {}},
    "scripts": {"txt2img": [], "img2img": []},
    "script-info": [],
    "extensions": [],
    "cmd-flags": {"api": True, "nowebui": False},
}
"""What there is none of here, by path."""


def checkpoint(studio: Studio) -> str | None:
    """Return what the checkpoint is called; None without one."""
    return None if studio.settings.model is None else bare(studio.settings.model)


@router.get("/sd-models", summary="The checkpoint")
def models(request: Request) -> Response:
    """Return the one checkpoint that this server paints with."""
    name = checkpoint(studio_of(request))
    if name is None:
        return Json([])
    plain = name.removesuffix(".safetensors")
    told = {"title": name, "model_name": plain, "hash": None, "sha256": None, "filename": name, "config": None}
    return Json([told])


@router.get("/loras", summary="Adapters that a prompt can name")
def loras(request: Request) -> Response:
    """Return the adapters on this machine that the gates let through and that fit the checkpoint."""
    studio = studio_of(request)
    store = studio.velatura.store
    found = []
    for adapter in store.adapters(store.select(studio.filter(studio.for_painting()))):
        record = adapter.record
        file = bare_file(record.path or record.file_name or record.key)
        stem = file.removesuffix(".safetensors")
        metadata: dict[str, Any] = {"velatura_id": adapter.id, "family": record.family}
        if record.hashes.sha256:
            metadata["sshs_model_hash"] = record.hashes.sha256
        found.append({"name": stem, "alias": record.title, "path": file, "metadata": metadata})
    return Json(found)


@router.get("/samplers", summary="Samplers")
def samplers() -> Response:
    """Return A1111's names of the schedulers that there are."""
    return Json(sdapi_samplers.samplers())


@router.get("/schedulers", summary="Schedule types")
def schedulers() -> Response:
    """Return A1111's names of the schedules that samplers are combined with."""
    return Json(sdapi_samplers.schedulers())


@router.get("/upscalers", summary="Ways to enlarge a picture")
def upscalers() -> Response:
    """Return what `extra-single-image` enlarges with."""
    keys = {"model_name": None, "model_path": None, "model_url": None, "scale": 4}
    return Json([{"name": name, **keys} for name in ("None", "Lanczos", "Nearest")])


@router.get("/memory", summary="Memory")
def memory() -> Response:
    """Return the bytes of this machine's memory and of the GPU's, where there is one."""
    return Json({"ram": _ram(), "cuda": _cuda()})


@router.post("/refresh-checkpoints", summary="Nothing: there is one checkpoint")
@router.post("/refresh-loras", summary="Nothing: the catalogue is read anew each time")
def refresh() -> Response:
    """Do nothing; a client's lists are always fresh."""
    return Json(None)


def _ram() -> dict[str, Any]:
    try:
        page = os.sysconf("SC_PAGE_SIZE")
        total, free = page * os.sysconf("SC_PHYS_PAGES"), page * os.sysconf("SC_AVPHYS_PAGES")
        used = page * int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except (OSError, ValueError, AttributeError):
        return {"error": "unavailable"}
    return {"free": free, "used": used, "total": total}


def _cuda() -> dict[str, Any]:
    with contextlib.suppress(ImportError, RuntimeError):
        import torch

        if torch.cuda.is_available():
            free, total = torch.cuda.mem_get_info()
            return {"system": {"free": free, "used": total - free, "total": total}}
    return {"error": "unavailable"}


def _always(told: Any) -> Callable[[], Response]:
    def nothing() -> Response:
        return Json(told)

    return nothing


for _path, _told in _NONE.items():
    router.add_api_route(f"/{_path}", _always(_told), methods=["GET"], summary="There is none here")
