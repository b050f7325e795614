"""The application: every way in, the guard before them, and what opens and closes with the server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from fastapi import FastAPI

from .. import __version__
from . import failures, health, page
from .a1111 import api as sdapi
from .answers import Answers
from .guard import METRICS, OPEN, Guard, is_loopback, names_of
from .metrics import Measured, Metrics
from .openai import api as openai_api
from .own import api as own_api
from .own.thumbnails import Thumbnails
from .studio import Studio
from .threads import open_threads

if TYPE_CHECKING:
    from ..pipeline import Velatura

_DESCRIPTION = """Finds, weighs and lays on the right LoRA adapters for a prompt, says why, and paints.

`/search`, `/compose`, `/generate` and the others of the first group are Velatura's own. `/v1` is for OpenAI's clients,
`/sdapi/v1` for those of A1111's web UI."""


def make(velatura: Velatura, *, token: str | None = None) -> FastAPI:
    """Return the application; see `create_app`."""

    @asynccontextmanager
    async def life(app: FastAPI) -> AsyncIterator[None]:
        app.state.studio = studio = Studio(velatura)
        app.state.answers, app.state.thumbnails = Answers(studio), Thumbnails()
        app.state.threads = open_threads()
        metrics.watch(studio)
        try:
            yield
        finally:
            studio.close()

    app = FastAPI(title="Velatura", version=__version__, description=_DESCRIPTION, lifespan=life)
    app.state.token = token
    app.state.metrics = metrics = Metrics()
    settings = velatura.settings
    hosts = names_of(settings.host, settings.public_hosts)
    failures.install(app)
    for part in (own_api, openai_api, sdapi, health, page):
        app.include_router(part.router)
    open_paths = OPEN | {METRICS} if is_loopback(settings.host) else OPEN
    largest = settings.largest_body << 20
    app.add_middleware(Guard, token=token, hosts=hosts, largest=largest, open_paths=open_paths)
    app.add_middleware(Measured, metrics=metrics)  # outermost: what the guard refuses is counted too
    return app
