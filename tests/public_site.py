"""A site on this machine that answers as a public one, so that nothing but its address is made up."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import requests

from velatura.public_http import public_session

PUBLIC = "93.184.216.34"

Route = Callable[[BaseHTTPRequestHandler], None]


@dataclass
class Site:
    """A server on this machine, which hosts of other names may lead to."""

    port: int = 0
    routes: dict[str, Route] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)
    """(host, path) of each request."""
    headers: list[dict[str, str]] = field(default_factory=list)
    names: dict[str, list[str]] = field(default_factory=lambda: {"pictures.example": [PUBLIC]})
    connected: list[str] = field(default_factory=list)
    """The addresses to which a connection was opened."""

    def resolve(self, host: str, port: int) -> Sequence[str]:
        if host not in self.names:
            raise socket.gaierror(8, "unknown")
        return self.names[host]

    def connect(self, address: str, port: int, seconds: float) -> socket.socket:
        self.connected.append(address)
        return socket.create_connection(("127.0.0.1", self.port), seconds)

    def session(self) -> requests.Session:
        """What reaches this server as any other program reaches public ones."""
        return public_session(self.resolve, self.connect)

    def safe_session(self) -> requests.Session:
        """The same, and what is asked for over TLS arrives here without: only the wire is another."""
        session = self.session()
        plain = session.get_adapter("http://")

        class Bared(requests.adapters.BaseAdapter):
            def send(self, request: requests.PreparedRequest, *_: Any, **options: Any) -> requests.Response:
                bare = request.copy()
                bare.url = str(request.url).replace("https://", "http://", 1)
                response = plain.send(bare, **options)
                response.url = str(request.url)
                return response

            def close(self) -> None:
                plain.close()

        session.mount("https://", Bared())
        return session


def give(content: bytes, kind: str | None = "image/png", status: int = 200, **headers: str) -> Route:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        if kind is not None:
            handler.send_header("Content-Type", kind)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        if "Content_Length" not in headers:
            handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content)

    return answer


def moved(to: str, status: int = 302) -> Route:
    return give(b"", None, status, Location=to)


@contextmanager
def running_site() -> Iterator[Site]:
    """Run a site until the end of the block."""
    found = Site()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found.asked.append((self.headers["Host"], self.path))
            found.headers.append(dict(self.headers))
            route = found.routes.get(self.path.partition("?")[0], give(b"", status=404))
            with suppress(OSError):
                route(self)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield found
    server.shutdown()
    thread.join()
    server.server_close()
