"""The server for language models over streamable HTTP, behind the same guard as every other way in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..guard import Guard, names_of

if TYPE_CHECKING:
    from mcp.server.lowlevel import Server
    from starlette.types import ASGIApp

    from .server import Desk

PATH = "/mcp"


def application(server: Server[Desk], *, host: str, token: str | None, largest: int) -> ASGIApp:
    """Return the application that serves clients of this machine.

    Args:
        server: The tools.
        host: The address that it listens on, of this machine alone.
        token: What a client must show as a bearer; None lets everybody in.
        largest: The most bytes of a request's body.
    """
    app = server.streamable_http_app(streamable_http_path=PATH, host=host)
    return Guard(app, token=token, hosts=names_of(host, ()), largest=largest, open_paths=())
