"""A stand-in for a server with files and batches, over real HTTP; a test says what becomes of them."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

SECRET = "sk-never-shown-0123456789"
TOKENS = {"prompt_tokens": 700, "completion_tokens": 20, "prompt_tokens_details": {"cached_tokens": 512}}


def described(**fields: Any) -> str:
    return json.dumps({"description": "It draws a fox.", "category": "animal", "facets": {}, "triggers": [], **fields})


def chat(text: str | None, **message: Any) -> dict[str, Any]:
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text, **message}}
    return {"id": "1", "object": "chat.completion", "choices": [choice], "usage": TOKENS}


def line(custom: str, body: Any, status: int = 200, error: Any = None) -> dict[str, Any]:
    response = None if body is None else {"status_code": status, "request_id": "r", "body": body}
    return {"id": "b", "custom_id": custom, "response": response, "error": error}


@dataclass
class Mill:
    """A server with files and batches; a test says what becomes of them."""

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    batches: dict[str, dict[str, Any]] = field(default_factory=dict)
    broken: dict[str, tuple[int, str]] = field(default_factory=dict)
    """What is answered in place of the truth, by `METHOD /path` without ids."""
    calls: list[str] = field(default_factory=list)

    def asked(self) -> list[str]:
        """Every question that a batch was made of, once for each time it is in one."""
        inputs = [self.files[batch["input_file_id"]] for batch in self.batches.values()]
        return [json.loads(text)["custom_id"] for content in inputs for text in content.splitlines()]

    def finish(self, answer: Callable[[str], Any], status: str = "completed") -> None:
        """Answer every question of every open batch; an answer that is an int or None is an error of that kind."""
        for name, batch in self.batches.items():
            if batch["status"] != "in_progress":
                continue
            good, bad = [], []
            for text in self.files[batch["input_file_id"]].splitlines():
                custom = json.loads(text)["custom_id"]
                told = answer(custom)
                if told is None:
                    bad.append(line(custom, None, error={"code": "batch_expired", "message": "too late"}))
                elif isinstance(told, int):
                    bad.append(line(custom, {"error": {"message": f"no {SECRET[:3]}", "code": "x"}}, told))
                elif isinstance(told, dict):
                    good.append(line(custom, told))
            for kind, rows in (("output", good), ("error", bad)):
                if rows:
                    self.files[f"{kind}-{name}"] = "\n".join(json.dumps(row) for row in rows).encode() + b"\n"
                    batch[f"{kind}_file_id"] = f"{kind}-{name}"
            batch["status"] = status

    def reply(self, method: str, path: str, body: bytes, kind: str) -> tuple[int, Any]:
        call = f"{method} /{path.split('/')[0]}"
        self.calls.append(call)
        if call in self.broken:
            status, message = self.broken[call]
            return status, {"error": {"message": message, "code": None}}
        if call == "POST /files":
            name = f"file-{len(self.files)}"
            boundary = kind.partition("boundary=")[2].encode()
            part = next(part for part in body.split(b"--" + boundary) if b"filename=" in part)
            self.files[name] = part.partition(b"\r\n\r\n")[2].removesuffix(b"\r\n")
            return 200, {"id": name, "object": "file", "purpose": "batch"}
        if call == "GET /files":
            content = self.files.get(path.split("/")[1])
            return (200, content) if content is not None else (404, {"error": {"message": "No such file"}})
        if call == "POST /batches":
            name = f"batch-{len(self.batches)}"
            self.batches[name] = {
                "id": name, "object": "batch", "status": "in_progress", "created_at": 0, **json.loads(body)
            }  # fmt: skip
            return 200, self.batches[name]
        if path == "batches" or path.startswith("batches?"):
            return 200, {"object": "list", "data": list(reversed(self.batches.values())), "has_more": False}
        batch = self.batches.get(path.split("/")[1])
        return (200, batch) if batch is not None else (404, {"error": {"message": "No such batch"}})


@contextmanager
def batch_server() -> Iterator[Mill]:
    """Serve files and batches on this machine."""
    found = Mill()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, answer = found.reply(
                self.command, self.path.removeprefix("/v1/"), body, self.headers.get("Content-Type", "")
            )
            payload = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(payload)))
            self.end_headers()
            self.wfile.write(payload)

        def do_GET(self) -> None:
            self.do_POST()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    found.url = f"http://127.0.0.1:{server.server_port}/v1"
    try:
        yield found
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
