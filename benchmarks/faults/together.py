"""Two processes that do the same at the same moment, a catalogue that is locked, and a clock that was put back.

    python benchmarks/faults/together.py [--times 3] [--stages index refine ...] [--json]

Each stage is done by two processes at once, in one folder and one catalogue. Both must end well, or one of them with a
sentence that says that another is at it; what is left must be what one alone leaves. Then every file is dated a day
ahead, as it is when a clock was put back since, and a day and more back, and each stage is done again: nothing may
differ. Last, another process keeps the catalogue locked for longer than a writer waits: looking must go on, and writing
must say in one sentence why it cannot.
"""

from __future__ import annotations

import argparse
import json
import os
import sqlite3
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))
from chat_server import Script, chat_server
from disk import READING, is_sentence, said
from forked import forge
from stages import NAMES, Way, Workshop, answer, left_over, unsound

DAY = 86_400
LATER = "catalogue.db: scope"
"""The table that tells which adapters came before a run was finished: with two, some of the other's."""


def main() -> None:
    """Run the benchmark; exits with 1 where anything is not as it should be."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=3, help="that two processes do each stage")
    parser.add_argument("--stages", nargs="+", choices=NAMES, default=NAMES)
    parser.add_argument("--adapters", type=int, default=100)
    parser.add_argument("--nice", type=int, default=10)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    told: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder, chat_server(answer) as script, forge(nice=given.nice) as forged:
        shop = Workshop(Path(folder), forged, llm=script.url, size=given.adapters)
        ways = shop.ways(given.stages)
        for way in (way for found in ways.values() for way in found):
            told += [*both(shop, way, given.times, script), *redated(shop, way)]
            print(json.dumps(told[-given.times - 2 :]), file=sys.stderr, flush=True)
        told.append(locked(shop, next(way for found in ways.values() for way in found)))
    bad = [one for one in told if not one["good"]]
    print(json.dumps({"tried": len(told), "bad": bad, "all": told}))
    sys.exit(bool(bad))


def both(shop: Workshop, way: Way, times: int, script: Script) -> list[dict[str, Any]]:
    """Do a stage in two processes at once; where one was sent away, nothing more is done."""
    before = len(script.asked)
    (whole, _), told = shop.whole(way), []
    calls = len(script.asked) - before
    for _ in range(times):
        shop.lay_out(way)
        before = len(script.asked)
        ends = shop.forge.together([way.commands] * 2, home=shop.home, **shop.environment)
        first = next((end for end in ends if not end.code), ends[0])
        state = shop.state(way, first)
        differing = {name for name in state.keys() | whole.keys() if state.get(name) != whole.get(name)}
        one = {
            "stage": way.name, "codes": sorted(end.code for end in ends),
            "said": [said(end) for end in ends if end.code],
            "differing": sorted(differing - {LATER}),
            "unsound": unsound(shop.home), "left_over": left_over(shop.home),
            "calls": [calls, len(script.asked) - before],
        }  # fmt: skip
        one["good"] = (
            one["codes"] in ([0, 0], [0, 1]) and all(map(is_sentence, ends))
            and not one["differing"] and not one["unsound"] and not one["left_over"]
        )  # fmt: skip
        told.append(one)
    return told


def redated(shop: Workshop, way: Way) -> list[dict[str, Any]]:
    """Do a stage, and once more, where every file is of tomorrow, and where every file is of the day before."""
    (whole, _), told = shop.whole(way), []
    for shift in (DAY, -2 * DAY):
        shop.lay_out(way)
        for path in shop.home.rglob("*"):
            if "loras" not in path.parts:  # their times are what tells whether they have changed
                os.utime(path, (time.time() + shift,) * 2)
        shop.do(way)
        last = shop.do(way)
        state = shop.state(way, last)
        differing = sorted(name for name in state.keys() | whole.keys() if state.get(name) != whole.get(name))
        good = not last.code and not differing
        told.append({"stage": way.name, "dated": shift, "code": last.code, "differing": differing, "good": good})
    return told


def locked(shop: Workshop, way: Way) -> dict[str, Any]:
    """Have another hold the catalogue's lock while it is looked at and written to."""
    shop.lay_out(way)
    with closing(sqlite3.connect(shop.home / "catalogue.db", isolation_level=None)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        looks = [shop.forge.run(command, home=shop.home, **shop.environment) for command in READING]
        ended = shop.do(way)
        holder.execute("ROLLBACK")
    after = shop.do(way)
    return {
        "stage": way.name, "locked": True, "looked": [look.code for look in looks], "code": ended.code,
        "said": said(ended), "waited": round(ended.seconds), "after": after.code,
        "good": not any(look.code for look in looks) and ended.code == 1 and is_sentence(ended) and not after.code,
    }  # fmt: skip


if __name__ == "__main__":
    main()
