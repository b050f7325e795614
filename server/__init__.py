"""The HTTP server: search, composition and painting for many at once, and the page in front of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import MissingDependency

if TYPE_CHECKING:
    from fastapi import FastAPI

    from ..pipeline import Velatura


def create_app(velatura: Velatura, *, token: str | None = None) -> FastAPI:
    """Return the application that serves a catalogue; it opens models and catalogue when it starts, not before.

    Args:
        velatura: The catalogue, with the settings that the server keeps to; it is the caller's to close.
        token: What a client must show; None lets everybody in.

    Raises:
        MissingDependency: the extra `server` is not installed.
    """
    try:
        from .app import make
    except ModuleNotFoundError as error:
        raise MissingDependency(error.name or "fastapi", extra="server") from None
    return make(velatura, token=token)
