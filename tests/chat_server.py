"""A stand-in for a language model's server: it answers by a script, one answer a call, and keeps what it was told."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Script:
    """What the server answers: (status, JSON or bytes) each; the last is repeated."""

    answers: list[tuple[int, Any]]
    asked: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)
    url: str = ""


def said(text: str | None, **fields: Any) -> tuple[int, Any]:
    """A whole answer with this text."""
    message = {"role": "assistant", "content": text, **fields}
    return 200, {
        "id": "1", "object": "chat.completion", "created": 0, "model": "stand-in",
        "choices": [{"index": 0, "finish_reason": "stop", "message": message}],
        "usage": {
            "prompt_tokens": 700, "completion_tokens": 20, "total_tokens": 720,
            "prompt_tokens_details": {"cached_tokens": 512},
        },
    }  # fmt: skip


def refused(status: int, message: str) -> tuple[int, Any]:
    """An error."""
    return status, {"error": {"message": message, "type": "invalid_request_error"}}


@contextmanager
def chat_server(*answers: tuple[int, Any]) -> Iterator[Script]:
    """Serve a script on this machine."""
    script = Script(list(answers))

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            script.asked.append(json.loads(body))
            script.keys.append(self.headers.get("Authorization"))
            status, answer = script.answers[min(len(script.asked), len(script.answers)) - 1]
            payload = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "text/html" if isinstance(answer, bytes) else "application/json")
            self.send_header("Content-Length", str(len(payload)))
            self.send_header("retry-after-ms", "1")
            self.end_headers()
            self.wfile.write(payload)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    script.url = f"http://127.0.0.1:{server.server_port}/v1"
    try:
        yield script
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
