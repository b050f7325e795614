"""The playground, served: a real server on a free port, whose model paints 32x32 pictures in a moment."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import torch
from playground_server import Serve, Served, opened, serving

from velatura.playground.library import find_weights, make_library


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def playground(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the playground's library, `loras`, and a catalogue of it, `catalogue.db`."""
    folder = tmp_path_factory.mktemp("served")
    loras = make_library(find_weights() / "loras", folder)
    with opened(folder) as velatura:
        velatura.index(loras)
        velatura.embed()
        # What takes long the first time in a process is done here, where nobody waits for an answer.
        list(velatura.backend.generate(velatura.request(velatura.compose("a red rocket"), steps=1)))
    return folder


@pytest.fixture(scope="session")
def serve(playground: Path) -> Iterator[Serve]:
    running: dict[str, Served] = {}
    with ExitStack() as stack:

        def start(*, token: str | None = None, **settings: object) -> Served:
            key = repr((token, sorted(settings.items())))
            if key not in running:
                running[key] = stack.enter_context(serving(playground, token=token, **settings))
            return running[key]

        yield start


@pytest.fixture(scope="session")
def served(serve: Serve) -> Served:
    """A server that lets everybody in."""
    return serve()
