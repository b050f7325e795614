"""The server itself: stopped, it ends the jobs first, so that whoever waits for one is still answered."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import uvicorn

if TYPE_CHECKING:
    import socket

    from fastapi import FastAPI


class Server(uvicorn.Server):
    """Serves an application until it is stopped.

    Args:
        app: The application; see `create_app`.
        config: How it is served.
    """

    def __init__(self, app: FastAPI, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._app = app

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End every job, then wait for the requests; uvicorn alone would wait for them until it cuts them off."""
        await asyncio.to_thread(self._app.state.studio.close)
        await super().shutdown(sockets)
