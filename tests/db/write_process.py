"""Run by tests in a process of its own: writes all that can be written into a catalogue, with others at the same time.

python write_process.py CATALOGUE NAME
"""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

from velatura.db import Store, open_store
from velatura.db.refinements import Reply
from velatura.errors import InputError
from velatura.records import Filter, Refinement, Rejection

sys.path.insert(0, str(Path(__file__).parents[1]))
shared = runpy.run_path(str(Path(__file__).with_name("conftest.py")))


def work(store: Store, name: str) -> None:
    """Index a folder of one's own and one that others index, and describe and embed all that is there."""
    make, source = shared["make_file"], shared["FakeSource"]
    told = Rejection(source="folder", locator="/shared/locked", reason="it cannot be listed")
    broken = shared["make_entry"]("broken", InputError("it is cut short"))
    common = [make(f"shared{number}", f"F{number}", triggers=(("red fox",),)) for number in range(8)]
    store.sync(source([*common, broken, told], scope="/shared"), batch=7)
    store.sync(source([make(f"{name}{number}") for number in range(8)], scope=f"/{name}"), batch=7)
    for adapter in store.adapters(store.select(Filter(installed=True))):
        key = adapter.record.key
        if key.startswith(("shared", name)):
            said = Refinement(description=f"words about {key}", writer="all")
            store.put_refinements([(adapter.id, said, f"o-{key}")])
            store.put_replies("all", [Reply(origin=f"o-{key}", refinement=said)])
            store.set_passages([(adapter.id, [("card", f"d-{key}"), ("card", "d-common")])], "1")
            store.put_vectors("m", "r", {f"d-{key}": [1.0, 2.0], "d-common": [3.0, 4.0]})


if __name__ == "__main__":
    with open_store(sys.argv[1]) as opened:
        work(opened, sys.argv[2])
