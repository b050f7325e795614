"""A disk that is full amid each stage, and one that is read-only: what is told, and what a repeat leaves.

    sudo python benchmarks/faults/disk.py [--shares 0.05 0.2 0.4 0.6 0.8 0.95] [--stages index refine ...] [--json]

All lies on a tmpfs of its own, which takes root on Linux; without, nothing is done, and the reason is told. Before each
run the tmpfs is made so small that it has room for a share of what the stage writes. What the command then says must
be one sentence, nothing half-written may have a name of its own, and after room was made, the same command must leave
what an undisturbed run leaves. Then every stage is tried in the folder mounted read-only, where looking must go on.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))
from chat_server import chat_server
from forked import Ended, forge
from stages import NAMES, Way, Workshop, answer, left_over, unsound

ROOM = 512 << 20
READING = (("stats", "--json"), ("search", "a red fox", "--json"), ("compose", "a red fox", "--json"))


def main() -> None:
    """Run the benchmark; exits with 1 where anything is not as it should be."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shares", type=float, nargs="+", default=[0.05, 0.2, 0.4, 0.6, 0.8, 0.95])
    parser.add_argument("--stages", nargs="+", choices=NAMES, default=NAMES)
    parser.add_argument("--adapters", type=int, default=100)
    parser.add_argument("--nice", type=int, default=10)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    told: list[dict[str, Any]] = []
    with (
        tempfile.TemporaryDirectory() as folder,
        disk(Path(folder)),
        chat_server(answer) as script,
        forge(nice=given.nice) as forged,
    ):
        shop = Workshop(Path(folder), forged, llm=script.url, size=given.adapters)
        for ways in shop.ways(given.stages).values():
            for way in ways:
                told += fill(shop, way, given.shares)
                told.append(forbid(shop, way))
                print(json.dumps(told[-len(given.shares) - 1 :]), file=sys.stderr, flush=True)
    bad = [one for one in told if not one["good"]]
    print(json.dumps({"tried": len(told), "stopped": sum(one["code"] == 1 for one in told), "bad": bad, "all": told}))
    sys.exit(bool(bad))


@contextmanager
def disk(folder: Path) -> Iterator[None]:
    """Put a tmpfs there."""
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={ROOM}", "tmpfs", str(folder)], capture_output=True, text=True
    )
    if done.returncode:
        raise SystemExit(f"skipped: no file system can be mounted here ({done.stderr.strip()})")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def remount(folder: Path, how: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{how}", str(folder)], check=True)


def used(folder: Path) -> int:
    """Return the bytes that a tmpfs holds, whole pages."""
    told = subprocess.run(["df", "-B1", "--output=used", str(folder)], check=True, capture_output=True, text=True)
    return int(told.stdout.split()[-1])


def fill(shop: Workshop, way: Way, shares: list[float]) -> list[dict[str, Any]]:
    """Do a stage with room for these shares of what it writes, then with enough, and tell what came of each."""
    shop.lay_out(way)
    before = used(shop.folder)
    ended = shop.do(way)
    if ended.code:
        raise SystemExit(f"{way.name} ended with {ended.code}: {ended.stderr}")
    whole, written = shop.state(way, ended), used(shop.folder) - before
    told = []
    for share in shares:
        shop.lay_out(way)
        remount(shop.folder, f"size={used(shop.folder) + int(share * written)}")
        ended = shop.do(way)
        remount(shop.folder, f"size={ROOM}")
        damaged = unsound(shop.home)  # with room, as looking into a catalogue takes some
        last = shop.do(way)
        state = shop.state(way, last)
        one = {
            "stage": way.name, "room": share, "code": ended.code, "said": said(ended), "unsound": damaged,
            "differing": sorted(name for name in state.keys() | whole.keys() if state.get(name) != whole.get(name)),
            "left_over": left_over(shop.home),
        }  # fmt: skip
        one["good"] = (
            one["code"] in (0, 1) and is_sentence(ended) and not last.code
            and not one["unsound"] and not one["differing"] and not one["left_over"]
        )  # fmt: skip
        told.append(one)
    return told


def forbid(shop: Workshop, way: Way) -> dict[str, Any]:
    """Do a stage where nothing may be written, look at what is there, and tell what came of it."""
    shop.lay_out(way)
    is_there = (shop.home / "catalogue.db").exists()
    remount(shop.folder, "ro")
    ended = shop.do(way)
    looks = [shop.forge.run(command, home=shop.home, **shop.environment) for command in READING] if is_there else []
    remount(shop.folder, "rw")
    return {
        "stage": way.name, "room": "read-only", "code": ended.code, "said": said(ended),
        "looked": [look.code for look in looks],
        "good": ended.code == 1 and is_sentence(ended) and not any(look.code for look in looks),
    }  # fmt: skip


def said(ended: Ended) -> str:
    """Return the error."""
    return " ".join(line for line in ended.stderr.splitlines() if line.startswith("error:") or "Traceback" in line)


def is_sentence(ended: Ended) -> bool:
    """Whether a command went well, or said in one line why not."""
    return "Traceback" not in ended.stderr and (ended.code == 0 or ended.stderr.count("error:") == 1)


if __name__ == "__main__":
    main()
