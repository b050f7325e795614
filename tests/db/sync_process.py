"""Run by tests in a process of its own: synchronises a made-up folder into a catalogue.

    python sync_process.py CATALOGUE SCOPE AGE COUNT

Age 0 is the folder at first; at age 1 some of its files are renamed, changed, broken, gone or new.
"""

from __future__ import annotations

import random
import runpy
import sys
from pathlib import Path
from typing import Any

from velatura.db import open_store
from velatura.errors import InputError
from velatura.records import Example

sys.path.insert(0, str(Path(__file__).parents[1]))
shared = runpy.run_path(str(Path(__file__).with_name("conftest.py")))


def make_offers(age: int, count: int) -> list[Any]:
    chance = random.Random(7)
    offers = []
    for number in range(count):
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
    for number in range(count, count + age * count // 4):
        name = f"new{number}.safetensors"
        offers.append(shared["make_entry"](name, shared["make_record"](name, fingerprint=f"N{number}")))
    return offers


if __name__ == "__main__":
    catalogue, scope, age, count = sys.argv[1:]
    source = shared["FakeSource"](make_offers(int(age), int(count)), scope=scope)
    with open_store(catalogue) as store:
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        sys.stdout.write(f"{store.sync(source, batch=20)}\n")
