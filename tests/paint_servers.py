"""Stand-ins for A1111 and ComfyUI over real HTTP: they paint nothing, and answer as those do that paint.

Every route is a function of what was asked, and can be replaced by an answer of a test's own: (status, JSON or bytes),
a `Sent` where headers, delays or a cut line matter, or another function. The picture for a seed is `pixels(seed)`.
"""

from __future__ import annotations

import base64
import io
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from email.parser import BytesParser
from email.policy import HTTP
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from PIL import Image
from PIL.PngImagePlugin import PngInfo


@dataclass(frozen=True)
class Asked:
    """One question."""

    method: str
    path: str
    query: dict[str, str]
    body: Any
    """The JSON, or of a form its fields, a file as (name, bytes)."""
    headers: Mapping[str, str]


@dataclass(frozen=True)
class Sent:
    """An answer and how it is sent."""

    status: int
    content: Any = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    delay: float = 0.0
    """Seconds before the first byte; ended early when the server stops."""
    cut: int | None = None
    """The line is closed after so many bytes of the content."""
    dribble: float = 0.0
    """Seconds between one byte of the content and the next."""


Answer = tuple[int, Any] | Sent | Callable[[Asked], Any]


class PaintServer:
    """What a stand-in was asked, and what it answers."""

    def __init__(self) -> None:
        self.url = ""
        self.routes: dict[tuple[str, str], Answer] = {}
        self.asked: list[Asked] = []
        self.stopped = threading.Event()
        self.lock = threading.Lock()

    def to(self, path: str) -> list[Asked]:
        """What was asked at a path."""
        with self.lock:
            return [one for one in self.asked if one.path == path]

    def answer(self, asked: Asked) -> Sent:
        with self.lock:
            self.asked.append(asked)
        path = asked.path
        while (asked.method, path) not in self.routes and path.count("/") > 1:
            path = path.rpartition("/")[0]
        answer: Any = self.routes.get((asked.method, path), (404, {"detail": "Not Found"}))
        while callable(answer):
            answer = answer(asked)
        return answer if isinstance(answer, Sent) else Sent(*answer)


def pixels(seed: int, size: tuple[int, int] = (64, 64)) -> Image.Image:
    """The picture that a stand-in paints for a seed."""
    return Image.new("RGB", size, (seed % 256, seed // 256 % 256, 77))


def png_bytes(picture: Image.Image, **texts: str) -> bytes:
    info = PngInfo()
    for name, text in texts.items():
        info.add_text(name, text)
    stream = io.BytesIO()
    picture.save(stream, format="PNG", pnginfo=info)
    return stream.getvalue()


def picture_from(text: str) -> Image.Image:
    """The picture in a base64 text that a stand-in was sent."""
    return Image.open(io.BytesIO(base64.b64decode(text)))


# -------------------------------------------------------------------- A1111

CHECKPOINTS = [
    {"title": "sd15/dream.safetensors [879db523c3]", "model_name": "sd15_dream", "hash": "879db523c3",
     "sha256": "879db523c3" + "0" * 54, "filename": "/srv/models/sd15/dream.safetensors", "config": None},
    {"title": "noob-xl.safetensors", "model_name": "noob-xl", "hash": None, "sha256": None,
     "filename": "C:\\models\\noob-xl.safetensors", "config": None},
]  # fmt: skip
FOXY_TENSORS = "aa11bb22cc33" + "d" * 52
LORAS = [
    {"name": "Foxy", "alias": "fox style", "path": "/srv/Lora/Foxy.safetensors",
     "metadata": {"ss_output_name": "fox style", "sshs_model_hash": FOXY_TENSORS}},
    {"name": "ink-wash_v2", "alias": "ink", "path": "/srv/Lora/art/ink-wash_v2.safetensors", "metadata": {}},
    {"name": "a<b", "alias": "a<b", "path": "/srv/Lora/a<b.safetensors", "metadata": {}},
]  # fmt: skip
SAMPLERS = [
    {"name": "DPM++ 2M", "aliases": ["k_dpmpp_2m"], "options": {"scheduler": "karras"}},
    {"name": "Euler", "aliases": ["k_euler"], "options": {}},
    {"name": "Euler a", "aliases": ["k_euler_a"], "options": {"uses_ensd": "True"}},
]
SCHEDULES = [
    {"name": name.lower(), "label": name, "aliases": None, "default_rho": -1, "need_inner_model": False}
    for name in ("Automatic", "Uniform", "Karras", "SGM Uniform")
]


class A1111Server(PaintServer):
    """A stand-in for A1111; `seconds` is how long a picture takes."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds = 0.0
        self.interrupted = threading.Event()
        self.info: dict[str, Any] = {}
        self.progress: dict[str, Any] = {
            "progress": 0.5, "eta_relative": 1.0, "current_image": None, "textinfo": None,
            "state": {"job_count": 1, "job_no": 0, "sampling_step": 10, "sampling_steps": 20, "interrupted": False},
        }  # fmt: skip
        self.routes = {
            ("GET", "/sdapi/v1/sd-models"): (200, CHECKPOINTS),
            ("GET", "/sdapi/v1/loras"): (200, LORAS),
            ("GET", "/sdapi/v1/samplers"): (200, SAMPLERS),
            ("GET", "/sdapi/v1/schedulers"): (200, SCHEDULES),
            ("GET", "/sdapi/v1/embeddings"): (200, {"loaded": {"badhands": {}}, "skipped": {"Neg-XL": {}}}),
            ("GET", "/sdapi/v1/progress"): lambda asked: (200, self.progress),
            ("GET", "/controlnet/model_list"): (200, {"model_list": ["control_v11p_sd15_canny [d14c016b]"]}),
            ("POST", "/sdapi/v1/interrupt"): self._interrupt,
            ("POST", "/sdapi/v1/txt2img"): self._paint,
            ("POST", "/sdapi/v1/img2img"): self._paint,
        }

    def _interrupt(self, asked: Asked) -> tuple[int, Any]:
        self.interrupted.set()
        return 200, {}

    def _paint(self, asked: Asked) -> tuple[int, Any]:
        self.interrupted.wait(self.seconds)
        body = asked.body
        names = [tag.partition(":")[0] for tag in body["prompt"].split("<lora:")[1:]]
        text = f"{body['prompt']}\nSteps: {body['steps']}, Seed: {body['seed']}"
        info = {
            "seed": body["seed"], "sd_model_name": "dream", "sd_model_hash": "879db523c3", "infotexts": [text],
            "extra_generation_params": {"Lora hashes": ", ".join(f"{name}: 0123456789ab" for name in names)},
            **self.info,
        }  # fmt: skip
        picture = png_bytes(pixels(body["seed"], (body["width"], body["height"])), parameters=text)
        return 200, {
            "images": [base64.b64encode(picture).decode()], "parameters": {}, "info": json.dumps(info),
        }  # fmt: skip


# -------------------------------------------------------------------- ComfyUI

COMFY_FILES = {
    "CheckpointLoaderSimple": {"ckpt_name": ["sd15/dream.safetensors", "noob-xl.safetensors"]},
    "LoraLoader": {"lora_name": ["art/ink-wash_v2.safetensors", "old/Foxy.safetensors", "new\\Foxy.safetensors"]},
    "ControlNetLoader": {"control_net_name": ["control_v11p_sd15_canny.pth"]},
    "KSampler": {
        "sampler_name": ["euler", "euler_ancestral", "dpmpp_2m", "ddim", "lcm"],
        "scheduler": ["normal", "karras", "sgm_uniform", "ddim_uniform"],
    },
}


class ComfyUIServer(PaintServer):
    """A stand-in for ComfyUI; a picture is there after it was asked for `polls` times."""

    def __init__(self) -> None:
        super().__init__()
        self.polls = 1
        self.running: list[str] = []
        self.pending: list[str] = []
        self.history: dict[str, Any] = {}
        self.queued: dict[str, Any] = {}
        self.temporary: dict[str, bytes] = {}
        self.headers: dict[str, Any] = {"new\\Foxy.safetensors": {"sshs_model_hash": FOXY_TENSORS}}
        self.routes = {
            ("GET", "/object_info"): self._info,
            ("GET", "/embeddings"): (200, ["neg/badhands"]),
            ("GET", "/view_metadata"): self._header,
            ("POST", "/prompt"): self._queue,
            ("GET", "/queue"): lambda asked: (200, {
                "queue_running": [[0, name, {}, {}, []] for name in self.running],
                "queue_pending": [[1, name, {}, {}, []] for name in self.pending],
            }),
            ("POST", "/queue"): self._delete,
            ("GET", "/history"): self._history,
            ("GET", "/view"): self._view,
            ("POST", "/upload/image"): self._upload,
            ("POST", "/interrupt"): self._interrupt,
        }  # fmt: skip

    def _info(self, asked: Asked) -> tuple[int, Any]:
        kind = asked.path.rpartition("/")[2]
        if kind not in COMFY_FILES:
            return 200, {}
        inputs = {name: [choices, {}] for name, choices in COMFY_FILES[kind].items()}
        return 200, {kind: {"input": {"required": inputs}, "name": kind}}

    def _header(self, asked: Asked) -> Any:
        header = self.headers.get(asked.query["filename"])
        return (404, b"") if header is None else (200, header)

    def _queue(self, asked: Asked) -> tuple[int, Any]:
        graph = asked.body["prompt"]
        errors: dict[str, Any] = {}
        for name, node in graph.items():
            for key, choices in COMFY_FILES.get(node["class_type"], {}).items():
                if node["inputs"][key] not in choices:
                    details = f"{key}: {node['inputs'][key]!r} not in {choices}"
                    told = {"type": "value_not_in_list", "message": "Value not in list", "details": details}
                    errors[name] = {"errors": [told], "dependent_outputs": ["9"], "class_type": node["class_type"]}
        if errors:
            error = {"type": "prompt_outputs_failed_validation", "message": "Prompt outputs failed validation"}
            return 400, {"error": error, "node_errors": errors}
        name = f"5d0e-{len(self.queued)}"
        self.queued[name] = graph
        self.running.append(name)
        return 200, {"prompt_id": name, "number": len(self.queued), "node_errors": {}}

    def _history(self, asked: Asked) -> tuple[int, Any]:
        name = asked.path.rpartition("/")[2]
        if name in self.running and len(self.to(asked.path)) >= self.polls:
            self.running.remove(name)
            graph = self.queued[name]
            seeds = [node["inputs"].get("seed", node["inputs"].get("noise_seed")) for node in graph.values()]
            seed = next(seed for seed in seeds if seed is not None)
            sizes = [node["inputs"] for node in graph.values() if "width" in node["inputs"]]
            size = (sizes[0]["width"], sizes[0]["height"]) if sizes else self._size_of_start(graph)
            self.temporary[f"made_{name}.png"] = png_bytes(pixels(seed, size), prompt=json.dumps(graph))
            image = {"filename": f"made_{name}.png", "subfolder": "", "type": "temp"}
            self.history[name] = {
                "prompt": [], "outputs": {str(len(graph)): {"images": [image]}},
                "status": {"status_str": "success", "completed": True, "messages": [["execution_start", {}]]},
            }  # fmt: skip
        return 200, {name: self.history[name]} if name in self.history else {}

    def _size_of_start(self, graph: dict[str, Any]) -> tuple[int, int]:
        encoded = next(node["inputs"]["pixels"][0] for node in graph.values() if node["class_type"] == "VAEEncode")
        name = graph[encoded]["inputs"]["image"].removesuffix(" [temp]")
        return Image.open(io.BytesIO(self.temporary[name])).size

    def fail(self, *messages: Any) -> None:
        """Let every picture end with these messages."""

        def history(asked: Asked) -> tuple[int, Any]:
            name = asked.path.rpartition("/")[2]
            self.running.clear()
            status = {"status_str": "error", "completed": False, "messages": list(messages)}
            return 200, {name: {"prompt": [], "outputs": {}, "status": status}}

        self.routes["GET", "/history"] = history

    def _view(self, asked: Asked) -> Any:
        assert asked.query["type"] == "temp"
        folder = asked.query.get("subfolder", "")
        return 200, self.temporary[f"{folder}/{asked.query['filename']}" if folder else asked.query["filename"]]

    def _upload(self, asked: Asked) -> tuple[int, Any]:
        name, content = asked.body["image"]
        self.temporary[f"{asked.body['subfolder']}/{name}"] = content
        return 200, {"name": name, "subfolder": asked.body["subfolder"], "type": asked.body["type"]}

    def _delete(self, asked: Asked) -> tuple[int, Any]:
        self.pending = [name for name in self.pending if name not in asked.body["delete"]]
        return 200, b""

    def _interrupt(self, asked: Asked) -> tuple[int, Any]:
        self.running.clear()
        return 200, b""


# -------------------------------------------------------------------- HTTP


def _handler(server: PaintServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            self._answer(None)

        def do_POST(self) -> None:
            content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            kind = self.headers.get("Content-Type", "")
            self._answer(_form(kind, content) if kind.startswith("multipart/") else json.loads(content or b"null"))

        def _answer(self, body: Any) -> None:
            place = urlsplit(self.path)
            query = {name: values[0] for name, values in parse_qs(place.query, keep_blank_values=True).items()}
            asked = Asked(self.command, unquote(place.path), query, body, dict(self.headers))
            sent = server.answer(asked)
            if sent.delay:
                server.stopped.wait(sent.delay)
            raw = isinstance(sent.content, bytes)
            content = sent.content if raw else json.dumps(sent.content).encode()
            self.send_response(sent.status)
            kind = "text/html" if raw else "application/json"
            for name, value in {"Content-Type": kind, "Content-Length": len(content), **sent.headers}.items():
                self.send_header(name, str(value))
            self.end_headers()
            self._write(content[: sent.cut], sent.dribble)
            self.close_connection |= sent.cut is not None or server.stopped.is_set()

        def _write(self, content: bytes, dribble: float) -> None:
            if not dribble:
                self.wfile.write(content)
                return
            for place in range(len(content)):
                if server.stopped.wait(dribble):
                    return
                self.wfile.write(content[place : place + 1])

        def log_message(self, *_: Any) -> None:
            pass

    return Handler


def _form(kind: str, content: bytes) -> dict[str, Any]:
    message = BytesParser(policy=HTTP).parsebytes(f"Content-Type: {kind}\r\n\r\n".encode() + content)
    fields: dict[str, Any] = {}
    for part in message.iter_parts():
        name = part.get_param("name", header="content-disposition")
        value = part.get_payload(decode=True)
        fields[name] = (part.get_filename(), value) if part.get_filename() else value.decode()
    return fields


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, *_: Any) -> None:
        """Whoever asked may have gone."""


@contextmanager
def serving(server: PaintServer) -> Iterator[None]:
    """Serve a stand-in on this machine."""
    http = _Server(("127.0.0.1", 0), _handler(server))
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    server.url = f"http://127.0.0.1:{http.server_port}"
    try:
        yield
    finally:
        server.stopped.set()
        http.shutdown()
        thread.join(5)
        with suppress(OSError):
            http.server_close()


def wait_for(happened: Callable[[], bool], seconds: float = 5.0) -> bool:
    """Whether something happens in time."""
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        if happened():
            return True
        time.sleep(0.005)
    return happened()
