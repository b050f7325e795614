"""The command that serves: the page, the HTTP interfaces, and the painters behind them."""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import threading
import time
import webbrowser
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from ..errors import InputError, MissingDependency, VelaturaError
from .choosing import Composer
from .options import Db, PictureModel, handed, open_velatura, print_json, refuse_missing
from .paint_options import Flags, make_flags

if TYPE_CHECKING:
    from fastapi import FastAPI

    from ..server.stopping import Server
    from ..server.studio import Studio
    from ..settings import Settings

TOKEN: Final = "VELATURA_TOKEN"  # noqa: S105 - the variable's name
_SHORTEST: Final = 16
"""Characters of a token: shorter ones are guessed."""
_STILL: Final = 5
"""Seconds that requests have to be answered when the server has stopped painting."""


@handed("flags", make_flags, before="composer")
def serve(
    host: Annotated[
        str | None, typer.Option(help="The address to listen on; any but this machine's own needs a token.")
    ] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65_535, help="The port; 0 takes a free one.")] = None,
    watch: Annotated[
        list[Path] | None,
        typer.Option(metavar="FOLDER", help="Index this folder as files appear in it. May be repeated."),
    ] = None,
    worker: Annotated[
        list[str] | None,
        typer.Option(
            metavar="DEVICE", help="Paint on this device, such as cuda:1; one model is loaded on each. May be repeated."
        ),
    ] = None,
    composer: Composer = None,
    picture_model: PictureModel = None,
    open_page: Annotated[bool, typer.Option("--open", help="Show the page in the browser.")] = False,
    db: Db = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the address as JSON.")] = False,
    *,
    flags: Flags,
) -> None:
    """Serve the page, and the HTTP interfaces for programs, until stopped. VELATURA_TOKEN is the token it asks for."""
    try:
        import uvicorn
    except ModuleNotFoundError:
        raise MissingDependency("uvicorn", extra="server") from None
    from ..server import create_app
    from ..server.stopping import Server

    given = {"host": host, "port": port, "composer": composer, "picture_model": picture_model, "db": db}
    devices = tuple(worker) if worker else None
    with open_velatura(read_only=True, resident=True, devices=devices, **given, **flags()) as velatura:
        settings = velatura.settings
        refuse_missing(settings.db)
        token = read_token(settings.host)
        listening = listen(settings.host, settings.port)
        app = create_app(velatura, token=token)
        config = uvicorn.Config(
            app, log_config=None, access_log=False, timeout_graceful_shutdown=_STILL, server_header=False
        )
        server = Server(app, config)
        url = address(listening)
        with contextlib.ExitStack() as open_things:
            open_things.callback(listening.close)
            if watch:
                open_things.enter_context(_watching(settings, watch))
            threading.Thread(target=_announce, args=(server, app, url, as_json, open_page), daemon=True).start()
            try:
                server.run(sockets=[listening])
            except KeyboardInterrupt:  # uvicorn has ended everything before it passes the interrupt on
                typer.echo("stopped", err=True)


def read_token(host: str) -> str | None:
    """Return the token of the environment; None where there is none and only this machine can ask.

    Raises:
        InputError: others can ask, and there is none; or it is too short.
    """
    from ..server.guard import is_loopback

    token = os.environ.get(TOKEN) or None
    if token is not None and (len(token) < _SHORTEST or not token.isascii() or token != token.strip()):
        raise InputError(
            f"{TOKEN} must be at least {_SHORTEST} characters of ASCII, such as {secrets.token_urlsafe(24)}"
        )
    if token is None and not is_loopback(host):
        such = secrets.token_urlsafe(24)
        raise InputError(f"whoever reaches {host} could use this server; set {TOKEN} first, for instance to {such}")
    return token


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens.

    Raises:
        InputError: the address or the port cannot be had.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        listening = socket.socket(found[0], socket.SOCK_STREAM)
    except OSError as error:
        raise InputError(f"{host} is no address of this machine: {error.strerror or error}") from None
    try:
        if os.name == "posix":  # elsewhere it would let two servers share a port
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(found[4])
        listening.listen(1024)
    except OSError as error:
        listening.close()
        raise InputError(f"{host}:{port} cannot be listened on ({error.strerror}); give another --port") from None
    return listening


def address(listening: socket.socket) -> str:
    """Return the URL of what a socket serves, as this machine's browser opens it."""
    host, port = listening.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - told, not bound
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


@contextlib.contextmanager
def _watching(settings: Settings, folders: list[Path]) -> Iterator[None]:
    """Index folders in the background while the block runs; what is found there is told on stderr."""
    from ..pipeline import Velatura
    from ..watcher import Look, Watcher

    def tell(look: Look) -> None:
        for sentence in look.trouble:
            typer.echo(f"note: {sentence}", err=True)
        if look.changed:
            typer.echo(f"the catalogue has changed: {len(look.read)} files read, {len(look.gone)} gone", err=True)

    stopped = threading.Event()
    with Velatura(settings) as writing:
        watcher = Watcher(writing, folders, pictures=settings.picture_model is not None)
        thread = threading.Thread(target=watcher.run, args=(tell,), kwargs={"stopped": stopped}, daemon=True)
        thread.start()
        try:
            yield
        finally:
            stopped.set()
            thread.join(_STILL)


def _announce(server: Server, app: FastAPI, url: str, as_json: bool, open_page: bool) -> None:
    """Tell the address once the server answers, then load what the first request would wait for."""
    while not server.started:
        if server.should_exit:
            return
        time.sleep(0.01)
    if as_json:
        print_json({"url": url})
    else:
        typer.echo(url)
    if open_page:
        webbrowser.open(url)
    warm(app.state.studio)


def warm(studio: Studio) -> None:
    """Load the models and indexes, so that nobody waits for them; what cannot be loaded is told."""
    with contextlib.suppress(VelaturaError):  # an empty catalogue is told to whoever searches
        studio.search("a warm-up")
    if studio.settings.model is None:
        typer.echo("note: no checkpoint is named, so nothing can be painted here; give --model", err=True)
        return
    try:
        typer.echo(f"ready to paint with {studio.backend.name}", err=True)
    except VelaturaError as error:
        typer.echo(f"note: nothing can be painted: {error}", err=True)
