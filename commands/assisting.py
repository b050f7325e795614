"""The command that serves language models: search, choice and painting as tools of the Model Context Protocol."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from ..errors import MissingDependency
from .choosing import Composer
from .options import Db, handed, open_velatura, print_json, read_settings, refuse_missing
from .paint_options import Flags, make_flags
from .serving import address, listen, read_token

if TYPE_CHECKING:
    from mcp.server.lowlevel import Server

    from ..server.mcp.server import Desk
    from ..server.studio import Studio
    from ..settings import Settings

_HOST: Final = "127.0.0.1"
_PORT: Final = 7871
_STILL: Final = 5
"""Seconds that requests have to end when the server does."""


@handed("flags", make_flags, before="composer")
def mcp(
    http: Annotated[
        bool,
        typer.Option("--http", help="Serve over HTTP, for programs of this machine, in place of stdin and stdout."),
    ] = False,
    port: Annotated[int, typer.Option(min=0, max=65_535, help="With --http: the port; 0 takes a free one.")] = _PORT,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FOLDER", help="Also write each painted picture into this folder."),
    ] = None,
    composer: Composer = None,
    db: Db = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Serve nothing; print what a client's settings need to start this server.")
    ] = False,
    *,
    flags: Flags,
) -> None:
    """Serve language models: four tools of the Model Context Protocol. The client starts this; see docs/mcp.md."""
    given = {"composer": composer, "db": db, **flags()}
    settings = read_settings(**given)
    refuse_missing(settings.db)
    folder = None if output is None else output.expanduser().absolute()
    if as_json:
        print_json({"mcpServers": {"velatura": _started_by_a_client(settings, given, folder)}})
        return
    try:
        from ..server.mcp.server import make, serve_stdio
    except ModuleNotFoundError as error:
        raise MissingDependency(error.name or "mcp", extra="mcp") from None

    with contextlib.ExitStack() as opened:

        def open_studio() -> Studio:
            from ..server.studio import Studio

            return Studio(opened.enter_context(open_velatura(read_only=True, resident=True, **given)))

        server = make(open_studio, folder=folder)
        if http:
            _serve_http(server, settings, port)
        else:
            serve_stdio(server)


def _serve_http(server: Server[Desk], settings: Settings, port: int) -> None:
    try:
        import uvicorn

        from ..server.mcp.http import PATH, application
    except ModuleNotFoundError as error:
        raise MissingDependency(error.name or "uvicorn", extra="server") from None
    token = read_token(_HOST)
    with listen(_HOST, port) as listening:
        app = application(server, host=_HOST, token=token, largest=settings.largest_body << 20)
        config = uvicorn.Config(
            app, log_config=None, access_log=False, timeout_graceful_shutdown=_STILL, server_header=False
        )
        typer.echo(address(listening) + PATH)
        try:
            uvicorn.Server(config).run(sockets=[listening])
        except KeyboardInterrupt:  # uvicorn has ended everything before it passes the interrupt on
            typer.echo("stopped", err=True)


def _started_by_a_client(settings: Settings, given: dict[str, Any], folder: Path | None) -> dict[str, Any]:
    """Return the command as a client keeps it, which starts it in another folder: paths are whole."""
    named = {**given, "model": settings.model and _whole(settings.model), "output": folder}
    if "://" not in settings.db:  # a server's address may hold a password, and the settings tell it again
        named["db"] = _whole(settings.db)
    arguments = ["-m", "velatura", "mcp"]
    for name, value in named.items():
        if value is True:
            arguments.append(f"--{name}")
        elif value is not None:
            arguments += [f"--{name}", str(value)]
    home = os.environ.get("VELATURA_HOME")
    env = {"env": {"VELATURA_HOME": str(Path(home).expanduser().absolute())}} if home else {}
    return {"command": sys.executable, "args": arguments, **env}


def _whole(named: str) -> str:
    """Return a path whole where it is one; a URL and a model's name stay as they are."""
    path = Path(named).expanduser()
    return str(path.absolute()) if path.exists() else named
