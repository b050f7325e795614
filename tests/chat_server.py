"""A stand-in for a language model's server over real HTTP/1.1: it answers by a script and keeps what it was told.

An answer is (status, JSON or bytes), a `Reply` where the server is to be slow, cut the line or send headers of its
own, or a function of what was asked that returns one of these. Answers are given one a call; the last is repeated.
"""

from __future__ import annotations

import json
import socket
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.client import responses
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from time import monotonic
from typing import Any


@dataclass(frozen=True)
class Reply:
    """An answer and how it is sent."""

    status: int
    content: Any
    headers: Mapping[str, str] = field(default_factory=lambda: {"retry-after-ms": "1"})
    delay: float = 0.0
    """Seconds before the first byte; ended early when the server stops."""
    cut: int | None = None
    """The connection is closed after so many bytes."""
    dribble: float = 0.0
    """Seconds between one byte and the next."""
    whole: int | None = None
    """With `dribble`: how many bytes go out at once before; None sends the head at once."""


Answer = tuple[int, Any] | Reply | Callable[[dict[str, Any]], Any]


@dataclass
class Script:
    """What the server answers, and what it was asked."""

    answers: list[Answer]
    asked: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    """When each call came, by `time.monotonic()`."""
    url: str = ""
    connections: int = 0
    at_once: int = 0
    """How many calls were being answered at the same time, at the most."""
    stopped: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, body: dict[str, Any], key: str | None) -> Reply:
        """Note a call, and return what it gets."""
        with self.lock:
            self.asked.append(body)
            self.keys.append(key)
            self.times.append(monotonic())
            answer = self.answers[min(len(self.asked), len(self.answers)) - 1]
        while callable(answer):
            answer = answer(body)
        return answer if isinstance(answer, Reply) else Reply(*answer)


def said(text: str | None, *, finish: str = "stop", **fields: Any) -> tuple[int, Any]:
    """A whole answer with this text."""
    message = {"role": "assistant", "content": text, **fields}
    return 200, {
        "id": "1", "object": "chat.completion", "created": 0, "model": "stand-in",
        "choices": [{"index": 0, "finish_reason": finish, "message": message}],
        "usage": {
            "prompt_tokens": 700, "completion_tokens": 20, "total_tokens": 720,
            "prompt_tokens_details": {"cached_tokens": 512},
        },
    }  # fmt: skip


def refused(status: int, message: str, code: str | None = None) -> tuple[int, Any]:
    """An error."""
    return status, {"error": {"message": message, "type": "invalid_request_error", "code": code}}


def each(key: Callable[[dict[str, Any]], object], *answers: Answer) -> Callable[[dict[str, Any]], Any]:
    """Give every kind of call the script from its beginning; `key` says of a call which kind it is."""
    calls: Counter[object] = Counter()
    lock = threading.Lock()

    def answer(body: dict[str, Any]) -> Any:
        with lock:
            calls[key(body)] += 1
            return answers[min(calls[key(body)], len(answers)) - 1]

    return answer


class _Server(ThreadingHTTPServer):
    request_queue_size = 256
    """Of 64 callers at once, none is turned away."""

    def handle_error(self, *_: Any) -> None:
        if not isinstance(sys.exception(), OSError):
            super().handle_error(*_)


def _handler(script: Script, open_sockets: set[socket.socket]) -> type[BaseHTTPRequestHandler]:
    working: set[int] = set()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def setup(self) -> None:
            super().setup()
            with script.lock:
                open_sockets.add(self.connection)
                script.connections += 1

        def finish(self) -> None:
            with script.lock:
                open_sockets.discard(self.connection)
            super().finish()

        def do_POST(self) -> None:
            length = int(self.headers["Content-Length"])
            told = self.rfile.read(length)
            if len(told) < length:  # who asked was killed
                return
            body = json.loads(told)
            with script.lock:
                working.add(threading.get_ident())
                script.at_once = max(script.at_once, len(working))
            try:
                reply = script.take(body, self.headers.get("Authorization"))
                if reply.delay:
                    script.stopped.wait(reply.delay)
                self._send(reply)
            finally:
                with script.lock:
                    working.discard(threading.get_ident())

        def _send(self, reply: Reply) -> None:
            raw = isinstance(reply.content, bytes)
            payload = reply.content if raw else json.dumps(reply.content).encode()
            headers = {
                "Content-Type": "text/html" if raw else "application/json",
                "Content-Length": str(len(payload)),
                **reply.headers,
            }
            lines = [f"HTTP/1.1 {reply.status} {responses.get(reply.status, '')}"]
            lines += [f"{name}: {value}" for name, value in headers.items()]
            head = ("\r\n".join(lines) + "\r\n\r\n").encode()
            sent = (head + payload)[: reply.cut]
            if reply.dribble:
                whole = len(head) if reply.whole is None else reply.whole
                self.wfile.write(sent[:whole])
                for place in range(whole, len(sent)):
                    if script.stopped.wait(reply.dribble):
                        break
                    self.wfile.write(sent[place : place + 1])
            else:
                self.wfile.write(sent)
            if reply.cut is not None or script.stopped.is_set():
                self.close_connection = True

        def log_message(self, *_: Any) -> None:
            pass

    return Handler


@contextmanager
def chat_server(*answers: Answer) -> Iterator[Script]:
    """Serve a script on this machine, to any number of callers at once."""
    script = Script(list(answers))
    open_sockets: set[socket.socket] = set()
    server = _Server(("127.0.0.1", 0), _handler(script, open_sockets))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    script.url = f"http://127.0.0.1:{server.server_port}/v1"
    try:
        yield script
    finally:
        script.stopped.set()
        server.shutdown()
        thread.join()
        with script.lock:
            for connection in open_sockets:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
        server.server_close()
