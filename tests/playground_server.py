"""The playground, served: a real server on a free port, whose model paints 32x32 pictures in a moment."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from zlib import crc32

import numpy as np
import uvicorn

from velatura.pipeline import Velatura
from velatura.playground.library import find_weights
from velatura.server import create_app
from velatura.server.studio import Studio
from velatura.settings import default_settings
from velatura.words import words


class HashedWords:
    """Embeds a text as the words that it holds, which takes no time."""

    model, revision = "hashed words", "1"

    def embed(self, texts: list[str]) -> np.ndarray:
        rows = np.full((len(texts), 256), 1e-3, np.float32)
        for row, text in zip(rows, texts, strict=True):
            for word in words(text):
                row[crc32(word.encode()) % 256] += 1
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@dataclass(frozen=True)
class Served:
    """A server that is running."""

    url: str
    """Without a slash at the end."""
    studio: Studio

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])


class Serve(Protocol):
    """Starts a server on the playground, or returns the one that runs with these settings already."""

    def __call__(self, *, token: str | None = None, **settings: object) -> Served: ...


@contextmanager
def opened(folder: Path, **settings: object) -> Iterator[Velatura]:
    """Open the playground's catalogue, with the playground's model."""
    given = {"db": str(folder / "catalogue.db"), "model": str(find_weights() / "base"), "device": "cpu", **settings}
    with Velatura(default_settings(**given)) as velatura:
        velatura.__dict__["embedder"] = HashedWords()
        yield velatura


@contextmanager
def serving(folder: Path, *, token: str | None = None, **settings: object) -> Iterator[Served]:
    """Run a server while the block runs."""
    with opened(folder, **settings) as velatura:
        app = create_app(velatura, token=token)
        server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning", timeout_graceful_shutdown=2))
        thread = threading.Thread(target=server.run, name="server", daemon=True)
        thread.start()
        end = time.monotonic() + 30
        while not server.started:
            assert thread.is_alive(), "the server did not start"
            assert time.monotonic() < end, "the server is slow to start"
            time.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        try:
            yield Served(f"http://127.0.0.1:{port}", app.state.studio)
        finally:
            server.should_exit = True
            thread.join(30)
