"""A hundred kills, spread over index, refine, embed, run and eval: what a repeat leaves against an undisturbed run.

    python benchmarks/faults/kills.py [--kills 20] [--seed 0] [--stages index refine ...] [--json]

Each run is the command line's own, in a process forked from one that has imported everything, and ended by SIGKILL at a
random moment of the time that an undisturbed run takes; every third is killed once more while it is repeated. Then it
is repeated to its end. Compared are the rows of every table, the bytes of every picture, manifests, kept features and
reports; `tests/stages.py` says what is left out, because it is drawn at random or tells a time. Of what a kill left
unfinished, nothing may stay.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))
from chat_server import Script, chat_server
from forked import forge
from stages import NAMES, Shot, Way, Workshop, answer


def main() -> None:
    """Run the benchmark; exits with 1 where anything differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20, help="of each stage")
    parser.add_argument("--stages", nargs="+", choices=NAMES, default=NAMES)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--adapters", type=int, default=200)
    parser.add_argument("--pictures", type=int, default=2, help="of each prompt")
    parser.add_argument("--nice", type=int, default=10)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    chance, began = random.Random(given.seed), time.perf_counter()
    told: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder, chat_server(answer) as script, forge(nice=given.nice) as forged:
        shop = Workshop(Path(folder), forged, llm=script.url, size=given.adapters, pictures=given.pictures)
        ways = shop.ways(given.stages)
        for stage in given.stages:
            told[stage] = measure(shop, ways[stage], given.kills, chance, script)
            print(json.dumps({stage: told[stage]}), file=sys.stderr, flush=True)
    kills = sum(stage["kills"] for stage in told.values())
    print(f"{kills} kills in {time.perf_counter() - began:.0f} s", file=sys.stderr)
    if given.json:
        print(json.dumps(told))
    sys.exit(any(stage["differing"] or stage["unsound"] or stage["left_over"] for stage in told.values()))


def measure(shop: Workshop, ways: list[Way], kills: int, chance: random.Random, script: Script) -> dict[str, Any]:
    """Kill a stage so often, in turn in each of its ways, and tell what came of it."""
    compared, seconds, calls = {}, {}, {}
    for way in ways:
        before = len(script.asked)
        state, seconds[way.name] = shop.whole(way)
        compared[way.name], calls[way.name] = len(state), len(script.asked) - before
    shots: list[Shot] = []
    more = 0
    while sum(len(shot.moments) for shot in shots) < kills:
        way = ways[len(shots) % len(ways)]
        length = seconds[way.name]
        moments = [chance.uniform(0, length)]
        if len(shots) % 3 == 2:
            moments.append(chance.uniform(0, length - moments[0]))
        before = len(script.asked)
        shots.append(shop.shoot(way, moments))
        more += len(script.asked) - before - calls[way.name]
    return {
        "seconds": {name: round(value, 1) for name, value in seconds.items()},
        "kills": sum(len(shot.moments) for shot in shots),
        "repeats_killed": sum(len(shot.moments) > 1 for shot in shots),
        "compared": compared,
        "calls": sum(calls.values()),
        "calls_made_again": more,
        "differing": dict(Counter(name for shot in shots for name in shot.differing)),
        "unsound": sorted({name for shot in shots for name in shot.unsound}),
        "unfinished_when_killed": sum(bool(shot.kept) for shot in shots),
        "left_over": sorted({name for shot in shots for name in shot.left_over}),
        "failures": sorted({shot.failure for shot in shots if shot.failure}),
    }


if __name__ == "__main__":
    main()
