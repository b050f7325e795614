"""What every test may ask for."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

import velatura

ROOT = Path(__file__).resolve().parent.parent

# A shell has what it runs in the background ignore interrupts, and so would the commands that tests interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Workers share the cores already: threads of theirs would only wait for each other. Read when torch and numpy load.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

WHEEL = os.environ.get("VELATURA_WHEEL")
if WHEEL and not Path(velatura.__file__).resolve().is_relative_to(Path(WHEEL).resolve()):
    raise RuntimeError(f"the tests are to run against the wheel in {WHEEL}, and found {velatura.__file__}")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real data beside the repository (or named by VELATURA_REAL_DATA)."""
    folder = Path(os.environ.get("VELATURA_REAL_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real data: {folder} is not there")
    return folder


@pytest.fixture(autouse=True)
def _own_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep every test away from the person's own catalogue, settings and network."""
    home = tmp_path_factory.mktemp("home")
    for name in list(os.environ):
        if name.startswith("VELATURA_") and name != "VELATURA_REAL_DATA":
            monkeypatch.delenv(name)
    monkeypatch.setenv("VELATURA_HOME", str(home))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for secret in ("CIVITAI_API_TOKEN", "OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(secret, raising=False)


@pytest.fixture(scope="session", autouse=True)
def _new_catalogues(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Make new catalogues as copies of one that took every step of the schema, in a twentieth of the time.

    `every_step` has the catalogues of a test take the steps themselves.
    """
    from velatura.db import connect, store
    from velatura.errors import CatalogueError

    folder = tmp_path_factory.mktemp("empty")
    empty, copy = folder / "catalogue.db", folder / "copy.db"
    opened = store.open_database

    def copied(target: str | Path, *, read_only: bool = False) -> connect.Database:
        with suppress(CatalogueError, OSError):  # then the catalogue's own code says what is wrong
            path = connect.file_of(target)
            if path is not None and not read_only and path.parent.is_dir() and not path.exists():
                if not empty.exists():
                    opened(empty).close()
                shutil.copyfile(empty, copy)
                copy.rename(path)
        return opened(target, read_only=read_only)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "open_database", copied)
        yield


@pytest.fixture(scope="session")
def _postgres_catalogues() -> Iterator[Callable[[int], str]]:
    """Databases on the server that `postgres_server` names, by their place; each is made once."""
    import postgres_server

    made: list[str] = []
    with ExitStack() as stack:

        def at(place: int) -> str:
            while len(made) <= place:
                made.append(stack.enter_context(postgres_server.database()))
            return made[place]

        yield at


@pytest.fixture
def another_postgres(_postgres_catalogues: Callable[[int], str]) -> Iterator[Callable[[], str]]:
    """Give the URL of one more new catalogue on PostgreSQL."""
    import postgres_server

    lent: list[str] = []

    def lend() -> str:
        lent.append(_postgres_catalogues(len(lent)))
        return lent[-1]

    yield lend
    for url in lent:
        postgres_server.clear(url)


@pytest.fixture
def every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have new catalogues take every step of the schema, as they do for a person."""
    from velatura.db import connect, store

    monkeypatch.setattr(store, "open_database", connect.open_database)
