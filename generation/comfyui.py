"""The backend `comfyui`: ComfyUI paints, through its HTTP API.

A graph is queued, and its history asked for until it is there. The API tells nothing of single steps (its web socket
does), so that progress is told picture by picture, and there are no previews. Pictures that are painted from go into
ComfyUI's folder of temporary files, and so does what is painted.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Final

from ..errors import BackendError, Cancelled, InputError
from ..records import GenerationRequest
from .remote.backend import Painted, RemoteBackend
from .remote.comfyui_graph import Uploaded, graph_of
from .remote.look import Look
from .remote.names import File, header_hashes
from .remote.pictures import map_of, picture_of, png, start_of
from .remote.plan import Plan, Stock
from .remote.server import Refused, Server, TimedOut, reason
from .schedulers import SAMPLERS

if TYPE_CHECKING:
    import requests
    from PIL.Image import Image

_CLIENT: Final = "velatura"
_SHORTEST, _LONGEST = 0.1, 1.0
"""Seconds between two questions whether a picture is there, of the first and of later ones."""
_CHOICES: Final = {
    "checkpoint": ("CheckpointLoaderSimple", "ckpt_name"),
    "adapter": ("LoraLoader", "lora_name"),
    "ControlNet": ("ControlNetLoader", "control_net_name"),
}
"""The node whose input lists what the server has."""
_FOLDERS: Final = {
    "checkpoint": "checkpoints",
    "adapter": "loras",
    "ControlNet": "controlnet",
    "embedding": "embeddings",
}
"""Within `models`."""


class ComfyUIBackend(RemoteBackend):
    """Paints through a running ComfyUI.

    Where something before the server wants a user and a password, `VELATURA_COMFYUI_AUTH` holds `user:password`.

    Args:
        model: The checkpoint's file there, with or without folders and ending.
        url: The server's address.
        timeout: Seconds that one picture may take, the wait in the server's queue included.
        session: What asks; None opens a `requests.Session`.

    Raises:
        InputError: the address or the time cannot be one.
    """

    name = "comfyui"
    strongest_control: ClassVar[float] = 10.0
    most_clip_skip: ClassVar[int] = 22

    def __init__(
        self,
        model: str,
        *,
        url: str = "http://127.0.0.1:8188",
        timeout: float = 600.0,
        session: requests.Session | None = None,
    ) -> None:
        absent = "look whether the address is ComfyUI's, and whether it is new enough"
        server = Server("ComfyUI", url, secret="VELATURA_COMFYUI_AUTH", absent=absent, session=session)  # noqa: S106
        super().__init__(model, server=server, timeout=timeout)

    def _files(self, what: str) -> list[File]:
        if what == "embedding":
            listed = self._server.get("/embeddings")
            names = [name for name in listed if isinstance(name, str)] if isinstance(listed, list) else []
        else:
            names = self._choices(*_CHOICES[what])
        return [File(name, name) for name in names]

    def _remedy(self, what: str) -> str:
        return f"put the file into models/{_FOLDERS[what]} there"

    def _with_digests(self, what: str, file: File) -> File:
        if what not in ("adapter", "checkpoint"):
            return file
        try:
            header = self._server.get(f"/view_metadata/{_FOLDERS[what]}", filename=file.name)
        except BackendError:
            return file  # it has none, or the server is too old to tell
        return replace(file, hashes=header_hashes(header))

    def _refuse(self, request: GenerationRequest, family: str) -> None:
        if request.freeu is not None and not all(0 <= number <= 10 for number in request.freeu):
            raise InputError(f"FreeU takes four numbers from 0 to 10, not {', '.join(map(str, request.freeu))}")

    def _sampler(self, scheduler: str, stock: Stock) -> tuple[str, str]:
        samplers, schedules = stock.told("samplers", self._samplers)
        names = SAMPLERS[scheduler].comfyui
        if names is not None and names[0] in samplers and names[1] in schedules:
            return names
        there = [
            ours
            for ours, one in SAMPLERS.items()
            if one.comfyui is not None and one.comfyui[0] in samplers and one.comfyui[1] in schedules
        ]
        raise InputError(f"ComfyUI has no scheduler {scheduler}; of ours it has {', '.join(there) or 'none'}")

    def _samplers(self) -> tuple[list[str], list[str]]:
        return self._choices("KSampler", "sampler_name"), self._choices("KSampler", "scheduler")

    def _choices(self, kind: str, name: str) -> list[str]:
        """Return what can be chosen for an input of a node."""
        info = self._server.get(f"/object_info/{kind}")
        try:
            spec = info[kind]["input"]["required"][name]
            # Of old the list itself, since 2025 a word and the list among the options.
            choices = spec[0] if isinstance(spec[0], list) else spec[1]["options"]
            return [choice for choice in choices if isinstance(choice, str)]
        except (KeyError, IndexError, TypeError):
            raise BackendError(f"ComfyUI at {self._server.url} does not tell what {kind} can load; update it") from None

    # ---------------------------------------------------------------- painting

    def _paint(self, plan: Plan, seed: int, look: Look) -> Painted:
        graph = graph_of(plan, seed, self._uploaded(plan), family=self._family(plan.checkpoint))
        ends = time.monotonic() + self._timeout
        name = self._queue(graph)
        try:
            done = self._awaited(name, ends, look)
        except BaseException:
            self._stop(name)
            raise
        return Painted(picture=picture_of(self._fetched(done), self._server.title), seed=seed)

    def _uploaded(self, plan: Plan) -> Uploaded:
        maps = tuple(self._upload(map_of(control, plan.size)) for control, _ in plan.controls)
        if plan.request.start is None:
            return Uploaded(maps=maps)
        picture, mask = start_of(plan.request.start, plan.size)
        return Uploaded(start=self._upload(picture), mask=self._upload(mask) if mask else "", maps=maps)

    def _upload(self, picture: Image) -> str:
        """Send a picture, and return what the server's nodes call it."""
        content = png(picture)
        name = f"{hashlib.sha256(content).hexdigest()}.png"
        fields = {"type": "temp", "subfolder": _CLIENT, "overwrite": "true"}
        reply = self._server.send("/upload/image", name, content, **fields)
        match reply:
            case {"name": str(kept), "subfolder": str(folder), "type": str(place)}:
                return f"{folder}/{kept} [{place}]" if folder else f"{kept} [{place}]"
        raise BackendError("ComfyUI did not say what it calls a picture that it was sent; update it")

    def _queue(self, graph: Mapping[str, Any]) -> str:
        """Queue a graph, and return the name that the server gives the picture."""
        try:
            reply = self._server.post("/prompt", {"prompt": graph, "client_id": _CLIENT})
        except Refused as refused:
            said = self._server.safe("; ".join(_node_errors(refused.reply, graph)))
            if not said:
                raise
            raise Refused(f"ComfyUI refuses the picture: {said}", said=said, reply=refused.reply) from None
        name = reply.get("prompt_id") if isinstance(reply, Mapping) else None
        if not isinstance(name, str) or not name.replace("-", "").isalnum():
            raise BackendError("ComfyUI did not say what it calls the picture that it was asked for; update it")
        return name

    def _awaited(self, name: str, ends: float, look: Look) -> Mapping[str, Any]:
        """Return the history of a picture as soon as there is one."""
        pause = _SHORTEST
        while True:
            if look.stopped:
                raise Cancelled("stopped")
            done = self._history(name)
            if done is None and not self._waits(name):
                # It may have been finished between the two questions.
                done = self._history(name)
                if done is None:
                    raise BackendError("ComfyUI lost the picture: it was taken off its queue, or ComfyUI was restarted")
            if done is not None:
                return done
            if time.monotonic() > ends:
                raise TimedOut(f"ComfyUI at {self._server.url} painted no picture in {self._timeout:g} s")
            time.sleep(pause)
            pause = min(_LONGEST, pause * 1.5)

    def _history(self, name: str) -> Mapping[str, Any] | None:
        told = self._server.get(f"/history/{name}")
        done = told.get(name) if isinstance(told, Mapping) else None
        return done if isinstance(done, Mapping) else None

    def _waits(self, name: str) -> bool:
        """Whether the server is at a picture, or will be."""
        return name in self._queued("queue_running") or name in self._queued("queue_pending")

    def _queued(self, key: str) -> list[object]:
        told = self._server.get("/queue")
        listed = told.get(key) if isinstance(told, Mapping) else None
        return [item[1] for item in listed or () if isinstance(item, list) and len(item) > 1]

    def _stop(self, name: str) -> None:
        """Take a picture off the queue, and interrupt the server if it is at it."""
        try:
            self._server.post("/queue", {"delete": [name]})
            # Before 2025 whatever runs is interrupted, whosever it is.
            if name in self._queued("queue_running"):
                self._server.post("/interrupt", {"prompt_id": name})
        except BackendError:
            return

    def _fetched(self, done: Mapping[str, Any]) -> bytes:
        """Return the bytes of a finished picture.

        Raises:
            BackendError: it failed, or was interrupted.
        """
        status = done.get("status")
        for kind, told in _messages(status):
            if kind == "execution_error":
                node, said = told.get("node_type"), self._server.safe(reason(told))
                told_kind = str(told.get("exception_type") or "")
                where = f" in the node {self._server.safe(node)}" if isinstance(node, str) else ""
                raise Refused(f"ComfyUI fails{where}: {said}", said=f"{told_kind}: {said}", reply=told)
            if kind == "execution_interrupted":
                raise BackendError("the picture was interrupted on ComfyUI")
        outputs = done.get("outputs")
        for output in outputs.values() if isinstance(outputs, Mapping) else ():
            images = output.get("images") if isinstance(output, Mapping) else None
            for image in images if isinstance(images, list) else ():
                match image:
                    case {"filename": str(file), "subfolder": str(folder), "type": str(place)}:
                        return self._server.fetch("/view", filename=file, subfolder=folder, type=place)
        raise BackendError("ComfyUI painted nothing: its history holds no picture")


def _messages(status: Any) -> Iterator[tuple[str, Mapping[str, Any]]]:
    listed = status.get("messages") if isinstance(status, Mapping) else None
    for message in listed if isinstance(listed, list) else ():
        match message:
            case [str(kind), dict(told)]:
                yield kind, told


def _node_errors(reply: Any, graph: Mapping[str, Any]) -> Iterator[str]:
    """Say what is wrong with each node of a graph."""
    told = reply.get("node_errors") if isinstance(reply, Mapping) else None
    for name, node in told.items() if isinstance(told, Mapping) else ():
        errors = node.get("errors") if isinstance(node, Mapping) else None
        kind = graph[name]["class_type"] if name in graph else name
        for error in errors if isinstance(errors, list) else ():
            match error:
                case {"message": str(message), "details": str(details)}:
                    yield f"{kind}: {message} ({details})" if details else f"{kind}: {message}"
