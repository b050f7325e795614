"""Each stage killed, on a full and on a read-only disk, and done by two at once: `benchmarks/faults`, in small."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from chat_server import chat_server
from forked import PAINTING, Ended, forge
from stages import PROMPTS, Way, Workshop, answer, left_over, unsound

ROOM = 256 << 20
LATER = "catalogue.db: scope"
"""The table that tells which adapters came before a run was finished: with two, some of the other's."""
STAGES = ("index", "refine", "embed", "run")


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path | None]:
    """A file system of its own; None where none may be mounted."""
    folder = tmp_path_factory.mktemp("disk")
    command = ["mount", "-t", "tmpfs", "-o", f"size={ROOM}", "tmpfs", str(folder)]
    try:
        mounted = not subprocess.run(command, check=False, capture_output=True).returncode
    except FileNotFoundError:
        mounted = False
    yield folder if mounted else None
    if mounted:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture(scope="module")
def shop(disk: Path | None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workshop]:
    folder = disk or tmp_path_factory.mktemp("shop")
    with chat_server(answer) as script, forge(PAINTING) as forged:
        yield Workshop(folder, forged, llm=script.url, size=6, prompts=PROMPTS[:1])


@pytest.fixture(scope="module")
def ways(shop: Workshop) -> dict[str, Way]:
    return {name: found[-1] for name, found in shop.ways(STAGES).items()}


@pytest.mark.parametrize("name", STAGES)
def test_killed_and_killed_again_it_ends_as_if_nothing_had_been(name, shop, ways):
    _, seconds = shop.whole(ways[name])
    shot = shop.shoot(ways[name], [0.55 * seconds, 0.35 * seconds])
    assert not shot.failure
    assert (shot.differing, shot.unsound, shot.left_over) == ([], [], [])


@pytest.mark.parametrize(("name", "room"), [("index", 64 << 10), ("run", 4 << 10)])
def test_full_disk_is_one_sentence_and_room_completes_it(name, room, shop, ways, disk):
    if disk is None:
        pytest.skip("no file system can be mounted here")
    shop.whole(ways[name])
    shop.lay_out(ways[name])
    _remount(disk, f"size={_used(disk) + room}")
    try:
        ended = shop.do(ways[name])
    finally:
        _remount(disk, f"size={ROOM}")
    assert _is_sentence(ended), ended.stderr
    assert "is full" in ended.stderr or "No space left on device" in ended.stderr
    assert unsound(shop.home) == []
    again = shop.do(ways[name])
    assert (again.code, left_over(shop.home)) == (0, [])
    assert shop.state(ways[name], again) == shop.whole(ways[name])[0]


@pytest.mark.parametrize("name", ["index", "run"])
def test_read_only_folder_is_one_sentence_and_can_be_searched(name, shop, ways, disk):
    if disk is None:
        pytest.skip("no file system can be mounted here")
    shop.lay_out(ways[name])
    _remount(disk, "ro")
    try:
        ended = shop.do(ways[name])
        found = shop.forge.run(("search", PROMPTS[0], "--json"), home=shop.home) if name == "run" else None
    finally:
        _remount(disk, "rw")
    assert _is_sentence(ended), ended.stderr
    assert found is None or found.code == 0


def test_two_that_index_at_once_leave_what_one_leaves(shop, ways):
    way = ways["index"]
    alone, _ = shop.whole(way)
    shop.lay_out(way)
    ends = shop.forge.together([way.commands] * 2, home=shop.home, **shop.environment)
    assert [end.code for end in ends] == [0, 0]
    state = shop.state(way, ends[0])
    assert {one for one in alone if state.get(one) != alone[one]} <= {LATER}
    assert state.keys() == alone.keys()
    assert left_over(shop.home) == []


def _is_sentence(ended: Ended) -> bool:
    return ended.code == 1 and "Traceback" not in ended.stderr and ended.stderr.count("error:") == 1


def _remount(folder: Path, how: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{how}", str(folder)], check=True)


def _used(folder: Path) -> int:
    told = subprocess.run(["df", "-B1", "--output=used", str(folder)], check=True, capture_output=True, text=True)
    return int(told.stdout.split()[-1])
