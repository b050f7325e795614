"""The application: every way in, the guard before them, and what opens and closes with the server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from fastapi import FastAPI

from .. import __version__
from . import failures, health, openai_api, own_api, page, sdapi
from .guard import Guard, names_of
from .studio import Studio

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
        try:
            yield
        finally:
            studio.close()

    app = FastAPI(title="Velatura", version=__version__, description=_DESCRIPTION, lifespan=life)
    app.state.token = token
    settings = velatura.settings
    hosts = names_of(settings.host, settings.public_hosts)
    failures.install(app)
    for part in (own_api, openai_api, sdapi, health, page):
        app.include_router(part.router)
    app.add_middleware(Guard, token=token, hosts=hosts, largest=settings.largest_body << 20)
    return app
