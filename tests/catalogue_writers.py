"""Made-up things written into a catalogue: by processes of their own, several at once, or killed on the way."""

from __future__ import annotations

import multiprocessing
import os
import random
import runpy
import signal
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, event

from velatura.db import Store, open_store
from velatura.db.refinements import Reply
from velatura.errors import InputError
from velatura.records import Example, Filter, Refinement, Rejection

_PROCESSES = multiprocessing.get_context("forkserver")
# Forked from a process that has imported all: where the processor is busy, that is what takes most of the time.
_PROCESSES.set_forkserver_preload(
    [
        "pytest",
        "velatura.db",
        "alembic.command",
        "sqlalchemy.dialects.sqlite",
        "sqlalchemy.dialects.postgresql",
        "psycopg",
    ]
)
_SECONDS = 120

shared = runpy.run_path(str(Path(__file__).parent / "db" / "conftest.py"))


def at_once(work: Callable[..., None], *given: tuple[object, ...]) -> list[int | None]:
    """Have each of some arguments worked on by a process of its own; return the exit codes, None for one that hangs."""
    processes = [_PROCESSES.Process(target=work, args=arguments) for arguments in given]
    for process in processes:
        process.start()
    for process in processes:
        process.join(_SECONDS)
    codes = [process.exitcode for process in processes]
    for process in processes:
        process.kill()
        process.join()
        process.close()
    return codes


def sync(target: str | Path, scope: str, age: int, files: int) -> None:
    """Index a folder; at age 1 some of its files are renamed, changed, broken, gone or new."""
    source = shared["FakeSource"](_offers(age, files), scope=scope)
    with open_store(target) as store:
        store.sync(source, batch=20)


def sync_until_killed(statement: int, *given: Any) -> None:
    """Do the same, and be killed at a statement of it, counted from 1."""
    counted = count(1)

    @event.listens_for(Engine, "before_cursor_execute")
    def die(*_: object) -> None:
        if next(counted) == statement:
            os.kill(os.getpid(), signal.SIGKILL)

    sync(*given)


def write_everything(target: str | Path, name: str) -> None:
    """Write all that can be written, as others do at the same time."""
    with open_store(target) as store:
        write(store, name)


def write(store: Store, name: str) -> None:
    """Index a folder of one's own and one that others index, and describe and embed all that is there."""
    make, source = shared["make_file"], shared["FakeSource"]
    told = Rejection(source="folder", locator="/shared/locked", reason="it cannot be listed")
    broken = shared["make_entry"]("broken", InputError("it is cut short"))
    common = [make(f"shared{number}", f"F{number}", triggers=(("red fox",),)) for number in range(4)]
    store.sync(source([*common, broken, told], scope="/shared"), batch=3)
    store.sync(source([make(f"{name}{number}") for number in range(3)], scope=f"/{name}"), batch=3)
    for adapter in store.adapters(store.select(Filter(installed=True))):
        key = adapter.record.key
        if key.startswith(("shared", name)):
            said = Refinement(description=f"words about {key}", writer="all")
            store.put_refinements([(adapter.id, said, f"o-{key}")])
            store.put_replies("all", [Reply(origin=f"o-{key}", refinement=said)])
            store.set_passages([(adapter.id, [("card", f"d-{key}"), ("card", "d-common")])], "1")
            store.put_vectors("m", "r", {f"d-{key}": [1.0, 2.0], "d-common": [3.0, 4.0]})


def _offers(age: int, files: int) -> list[Any]:
    chance = random.Random(7)
    offers = []
    for number in range(files):
        fate = chance.random() if age else 1.0
        words = " ".join(chance.choice(("fox", "ink", "snow", "neon", "moss")) for _ in range(40))
        name = f"{'renamed' if fate < 0.2 else 'file'}{number}.safetensors"
        stamp, fields = "0", {"fingerprint": f"F{number // 3}", "examples": (Example(prompt=words),), "tags": (words,)}
        if 0.2 <= fate < 0.3:
            continue
        if 0.3 <= fate < 0.5:
            stamp, fields = "1", fields | {"title": f"Changed {number}"}
        if 0.5 <= fate < 0.6:
            offers.append(shared["make_entry"](name, InputError(f"file {number} is cut short"), stamp="1"))
            continue
        offers.append(shared["make_entry"](name, shared["make_record"](name, **fields), stamp=stamp))
    for number in range(files, files + age * files // 4):
        name = f"new{number}.safetensors"
        offers.append(shared["make_entry"](name, shared["make_record"](name, fingerprint=f"N{number}")))
    return offers
