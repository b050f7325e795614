"""The backend `a1111`: AUTOMATIC1111's web UI, Forge, and what else speaks their API (`/sdapi/v1`), paints.

Adapters are tags in the prompt there. A tag that names nothing known is passed over in silence, so names are taken
from the server's own list, and what it says of the picture afterwards is read: the checkpoint, the adapters, the seed.
Settings of the server are overridden for each picture alone.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Final

from ..errors import BackendError, Cancelled, InputError
from ..records import GenerationRequest, Hashes
from ..syntax import decimal
from .remote.backend import Painted, RemoteBackend
from .remote.look import Look
from .remote.names import File, digest, header_hashes, stem_of
from .remote.pictures import base64_png, map_of, picture_in, start_of
from .remote.plan import Plan, Stock, warn
from .remote.server import Call, NotOffered, Server, TimedOut
from .remote.words import clean, spoken, with_tokens
from .schedulers import SAMPLERS

if TYPE_CHECKING:
    import requests

_BREAKS: Final = re.compile(r"[<>:=#\x00-\x1f\x7f]")
"""What ends a tag, a name in a tag, or the line that is read (`#` begins a comment)."""
_SHARED_SKIP: Final = ("sd1", "unknown")
"""Families of which clip skip means the same there as here."""
_PAUSE = 0.5
"""Seconds between two looks at the progress."""
_PATIENCE = 20.0
"""Seconds in which an interruption must have shown."""
_FOLDERS: Final = {
    "checkpoint": "models/Stable-diffusion",
    "adapter": "models/Lora",
    "ControlNet": "models/ControlNet",
    "embedding": "embeddings",
}


class A1111Backend(RemoteBackend):
    """Paints through AUTOMATIC1111's web UI or Forge, started with `--api`.

    Where the server wants a user and a password (`--api-auth`), `VELATURA_A1111_AUTH` holds `user:password`. To stop
    a picture interrupts whatever the server is at: its API knows no other way.

    Args:
        model: The checkpoint there: its file's name, its title, or the first ten digits of its SHA-256.
        url: The server's address.
        timeout: Seconds that one picture may take, the wait in the server's queue included.
        session: What asks; None opens a `requests.Session`.

    Raises:
        InputError: the address or the time cannot be one.
    """

    name = "a1111"
    strongest_control: ClassVar[float] = 2.0
    most_clip_skip: ClassVar[int] = 11

    def __init__(
        self,
        model: str,
        *,
        url: str = "http://127.0.0.1:7860",
        timeout: float = 600.0,
        session: requests.Session | None = None,
    ) -> None:
        absent = "start it with --api"
        server = Server("A1111", url, secret="VELATURA_A1111_AUTH", absent=absent, session=session)  # noqa: S106
        super().__init__(model, server=server, timeout=timeout)

    def _files(self, what: str) -> list[File]:
        if what == "checkpoint":
            return [
                File(
                    str(one["title"]),
                    str(one.get("filename") or one["title"]),
                    Hashes(sha256=digest(one.get("sha256"), 64), autov2=digest(one.get("hash"), 10)),
                )
                for one in _objects(self._server.get("/sdapi/v1/sd-models"))
                if isinstance(one.get("title"), str)
            ]
        if what == "adapter":
            return [
                File(one["name"], str(one.get("path") or one["name"]), header_hashes(one.get("metadata")))
                for one in _objects(self._server.get("/sdapi/v1/loras"))
                if isinstance(one.get("name"), str)
            ]
        if what == "ControlNet":
            try:
                listed = self._server.get("/controlnet/model_list")
            except NotOffered:
                raise InputError(
                    "A1111 has no ControlNet; install the extension sd-webui-controlnet there, or leave the control out"
                ) from None
            names = listed.get("model_list") if isinstance(listed, Mapping) else None
            return [File(name, name) for name in names or () if isinstance(name, str)]
        listed = self._server.get("/sdapi/v1/embeddings")
        groups = [listed.get(key) for key in ("loaded", "skipped")] if isinstance(listed, Mapping) else []
        return [File(str(name), str(name)) for group in groups if isinstance(group, Mapping) for name in group]

    def _remedy(self, what: str) -> str:
        return f"put the file into {_FOLDERS[what]} there, and refresh the list"

    def _refuse(self, request: GenerationRequest, family: str) -> None:
        if request.freeu is not None:
            raise InputError("the backend a1111 has no FreeU; leave it out, or take the backend sd, sdxl or comfyui")
        if request.clip_skip and family not in _SHARED_SKIP:
            raise InputError(
                f"clip_skip means another thing to each program for {family} checkpoints; leave it at 0 on A1111"
            )

    def _sampler(self, scheduler: str, stock: Stock) -> tuple[str, str]:
        """Return the server's name, and since 1.9, where the schedule has a field of its own, the schedule's."""
        sampler = SAMPLERS[scheduler]
        offered = stock.told("samplers", self._samplers)
        schedules = stock.told("schedules", self._schedules)
        if schedules is None:
            title = f"{sampler.title} {sampler.schedule}" if sampler.schedule else sampler.title
            if title in offered:
                return title, ""
        else:
            # Left to itself, the server takes the schedule that it thinks best for the sampler.
            schedule = sampler.schedule or ("Uniform" if offered.get(sampler.title) else "Automatic")
            if sampler.title in offered and schedule in schedules:
                return sampler.title, schedule
        there = ", ".join(ours for ours, one in SAMPLERS.items() if one.title in offered and not one.schedule)
        raise InputError(f"A1111 has no scheduler {scheduler} ({sampler.title}); of ours it has {there or 'none'}")

    def _samplers(self) -> dict[str, bool]:
        """Return the server's samplers, and whether each brings a schedule of its own."""
        return {
            one["name"]: isinstance(options := one.get("options"), Mapping) and bool(options.get("scheduler"))
            for one in _objects(self._server.get("/sdapi/v1/samplers"))
            if isinstance(one.get("name"), str)
        }

    def _schedules(self) -> set[str] | None:
        """Return the server's schedules; None where it is older than they are."""
        try:
            listed = _objects(self._server.get("/sdapi/v1/schedulers"))
        except NotOffered:
            return None
        return {str(one.get("label")) for one in listed}

    def _adapters(
        self, request: GenerationRequest, family: str, stock: Stock, doubts: list[str]
    ) -> tuple[tuple[File, float], ...]:
        adapters = super()._adapters(request, family, stock, doubts)
        for file, _ in adapters:
            if bad := _BREAKS.search(file.name):
                raise InputError(
                    f"{bad[0]!r} in the name of the adapter {file.name!r} ends a tag; rename the file on A1111"
                )
        return adapters

    # ---------------------------------------------------------------- painting

    def _paint(self, plan: Plan, seed: int, look: Look) -> Painted:
        body = self._body(plan, seed)
        path = "/sdapi/v1/img2img" if plan.request.start else "/sdapi/v1/txt2img"
        call = Call(lambda: self._server.post(path, body, wait=self._timeout))
        try:
            while not call.over(_PAUSE):
                if look.stopped:
                    raise Cancelled("stopped")
                if look.asked:
                    self._follow(look)
        except BaseException:
            self._interrupt(call)
            raise
        try:
            return self._received(plan, seed, call.answer())
        except TimedOut:
            self._server.post("/sdapi/v1/interrupt", {})  # nobody waits for it any more
            raise

    def _follow(self, look: Look) -> None:
        """Tell how far the server is. A question that it does not answer changes nothing."""
        try:
            said = self._server.get("/sdapi/v1/progress", skip_current_image="true")
            state = said["state"]
            step, steps = state["sampling_step"], state["sampling_steps"]
            if state["job_count"] <= 0 or not 0 <= step <= steps:
                return
            look.made(said["progress"])
            if look.wants_preview(step) and step < steps:
                shown = self._server.get("/sdapi/v1/progress", skip_current_image="false")["current_image"]
                if shown is not None:
                    look.show(step, picture_in(shown, self._server.title))
        except (BackendError, KeyError, TypeError):
            return

    def _interrupt(self, call: Call[Any]) -> None:
        """Interrupt the server; again and again, for what has not begun yet is deaf to it."""
        ends = time.monotonic() + _PATIENCE
        while not call.over(0) and time.monotonic() < ends:
            try:
                self._server.post("/sdapi/v1/interrupt", {})
            except BackendError:
                return
            call.over(_PAUSE)

    def _received(self, plan: Plan, seed: int, reply: Any) -> Painted:
        images = reply.get("images") if isinstance(reply, Mapping) else None
        if not isinstance(images, list) or not images:
            raise BackendError("A1111 painted nothing: its answer holds no picture")
        picture = picture_in(images[0], self._server.title)
        info = _info(reply.get("info"))
        texts = info.get("infotexts")
        if isinstance(texts, list) and texts and isinstance(texts[0], str):
            picture.info["parameters"] = texts[0]
        told = digest(info.get("sd_model_hash"), 10)
        for doubt in _doubts(plan, info, told):
            warn(doubt)
        used = info.get("seed")
        known = plan.checkpoint.hashes
        return Painted(
            picture=picture,
            seed=used if type(used) is int and 0 <= used < 2**64 else seed,
            model_hash=told or known.autov2 or (known.sha256 and known.sha256[:10]),
        )

    # ---------------------------------------------------------------- what is asked

    def _body(self, plan: Plan, seed: int) -> dict[str, Any]:
        request = plan.request
        width, height = plan.size
        settings: dict[str, Any] = {
            "sd_model_checkpoint": plan.checkpoint.name,
            "CLIP_stop_at_last_layers": request.clip_skip + 1,
        }
        body: dict[str, Any] = {
            "prompt": _prompt(plan),
            "negative_prompt": with_tokens(clean(request.negative), plan.tokens, str),
            "seed": seed,
            "steps": plan.steps,
            "cfg_scale": plan.guidance,
            "width": width,
            "height": height,
            "sampler_name": plan.sampler[0],
            "batch_size": 1,
            "n_iter": 1,
            "send_images": True,
            "save_images": False,
            "override_settings": settings,
            "override_settings_restore_afterwards": True,
        }
        if plan.sampler[1]:
            body["scheduler"] = plan.sampler[1]
        if request.start is not None:
            picture, mask = start_of(request.start, plan.size)
            settings["img2img_fix_steps"] = False
            body |= {
                "init_images": [base64_png(picture)],
                "denoising_strength": request.start.share,
                "resize_mode": 0,
                "initial_noise_multiplier": 1.0,
            }
            if mask is not None:
                body |= {"mask": base64_png(mask), "mask_blur": 0, "inpainting_fill": 1, "inpaint_full_res": False}
        if plan.controls:
            body["alwayson_scripts"] = {"ControlNet": {"args": list(_units(plan))}}
        return body


def _prompt(plan: Plan) -> str:
    """Return the prompt with a tag for each adapter."""
    words = with_tokens(spoken(plan.request, "()[]"), plan.tokens, str)
    tags = "".join(f"<lora:{file.name}:{decimal(weight)}>" for file, weight in plan.adapters)
    # Behind a `#` the rest of a line is a comment.
    return ("\n" if "#" in words else " ").join(part for part in (words, tags) if part)


def _units(plan: Plan) -> Iterator[dict[str, Any]]:
    for control, file in plan.controls:
        yield {
            "enabled": True,
            "module": "none",
            "model": file.name,
            "image": base64_png(map_of(control, plan.size)),
            "weight": control.weight,
            "guidance_start": control.begin,
            "guidance_end": control.end,
            "resize_mode": "Just Resize",
            "control_mode": "Balanced",
            "save_detected_map": False,
        }


def _doubts(plan: Plan, info: Mapping[str, Any], told: str | None) -> Iterator[str]:
    """Say where the server did another thing than it was asked: it passes over what it cannot load."""
    name, known = info.get("sd_model_name"), plan.checkpoint.hashes.autov2
    another = told != known if told and known else isinstance(name, str) and _other(name, plan.checkpoint)
    if another:
        yield f"A1111 painted with the checkpoint {str(name or told)!r}, not with {plan.checkpoint.name!r}"
    extra = info.get("extra_generation_params")
    listed = extra.get("Lora hashes") if isinstance(extra, Mapping) else None
    if isinstance(listed, str):
        worn = {part.partition(":")[0].strip() for part in listed.split(",")}
        missing = [file.name for file, weight in plan.adapters if weight and file.name.replace(",", "") not in worn]
        if missing:
            yield f"A1111 could not lay on {', '.join(missing)}; its own log tells why"


def _other(name: str, checkpoint: File) -> bool:
    return stem_of(name).casefold() not in (checkpoint.stem.casefold(), stem_of(checkpoint.name).casefold())


def _info(text: object) -> dict[str, Any]:
    """Return what the server says of a picture: JSON in a text; nothing where it is none."""
    try:
        info = json.loads(text) if isinstance(text, str) else None
    except (ValueError, RecursionError):
        return {}
    return info if isinstance(info, dict) else {}


def _objects(value: Any) -> list[dict[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []
