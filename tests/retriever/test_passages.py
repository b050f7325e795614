"""The index beside a catalogue: always that of its present state, cheaply, whoever changed it."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from shelf import Given, adapter

from velatura.db import Store, open_store
from velatura.retriever import faiss_index, growth, segment
from velatura.retriever.passages import PassageIndex
from velatura.retriever.segment import Segment, read_note

DIMENSION = 16


class Encoder:
    """Only its name is asked for."""

    model = "m"
    revision = "r"

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        raise AssertionError("an index embeds nothing")


def vector(text: str) -> np.ndarray:
    made = np.random.default_rng(list(text.encode())).standard_normal(DIMENSION).astype(np.float32)
    return made / np.linalg.norm(made)


def put(store: Store, numbers: Sequence[int], prompts: int = 2, text: str = "") -> None:
    """Give adapters a card and prompts, with their vectors."""
    named = {
        number: [("card", f"c{number}{text}"), *(("prompt", f"p{number}.{place}{text}") for place in range(prompts))]
        for number in numbers
    }
    texts = [digest for passages in named.values() for _, digest in passages]
    store.put_vectors("m", "r", {digest: vector(digest) for digest in texts})
    store.set_passages(list(named.items()), "1")


def expected(store: Store, query: np.ndarray, field: str, k: int, allowed: Sequence[int] | None) -> dict[int, float]:
    _, adapters, fields = store.vector_rows("m", "r")
    vectors = store.load_vectors("m", "r")
    found: dict[int, float] = {}
    chosen = [at for at, name in enumerate(fields) if name == field and (allowed is None or adapters[at] in allowed)]
    for at in sorted(chosen, key=lambda at: -float(vectors[at] @ query))[:k]:
        found.setdefault(int(adapters[at]), float(vectors[at] @ query))
    return found


def check(index: PassageIndex, store: Store) -> None:
    """The index answers as the catalogue's vectors do."""
    passages, adapters, _ = store.vector_rows("m", "r")
    assert len(index) == len(passages)
    assert index.passages.tolist() == passages.tolist()
    assert index.adapters.tolist() == adapters.tolist()
    for field in ("card", "prompt"):
        for allowed in (None, np.arange(0, 1000, 3), np.array([2, 5]), np.empty(0, dtype=np.int64)):
            query = vector("a query")
            found = index.best(query, field, 25, allowed)
            true = expected(store, query, field, 25, None if allowed is None else allowed.tolist())
            assert set(found) == set(true)
            assert found == pytest.approx(true, abs=2e-3)


@pytest.fixture(params=["flat", "coded"], autouse=True)
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "coded":
        monkeypatch.setattr(faiss_index, "FLAT_LIMIT", 30)
        monkeypatch.setattr(faiss_index, "FEW", 0)
    monkeypatch.setattr(growth, "RECENT", (40, 16))
    return str(request.param)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(tmp_path / "c.db") as store:
        store.sync(Given([adapter(f"{number}") for number in range(1, 121)]))
        put(store, range(1, 101))
        yield store


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "c.faiss"


def recent(path: Path) -> Path:
    return path.with_name(f"{path.name}.recent")


def test_index_answers_as_the_catalogue(store: Store, path: Path) -> None:
    check(PassageIndex(store, Encoder(), None), store)
    check(PassageIndex(store, Encoder(), path), store)
    check(PassageIndex(store, Encoder(), path), store)


def test_empty_catalogue_has_an_empty_index(tmp_path: Path, path: Path) -> None:
    with open_store(tmp_path / "empty.db") as store:
        index = PassageIndex(store, Encoder(), path)
        assert len(index) == 0
        assert index.best(vector("x"), "card", 5) == {}
        store.sync(Given([adapter("1")]))
        put(store, [1])
        assert index.refresh()
        check(index, store)


def test_up_to_date_index_is_not_touched(store: Store, path: Path) -> None:
    index = PassageIndex(store, Encoder(), path)
    made = path.stat().st_mtime_ns
    assert not index.refresh()
    assert PassageIndex(store, Encoder(), path).refresh() is False
    assert path.stat().st_mtime_ns == made


def test_new_passages_leave_the_base_as_it_is(store: Store, path: Path) -> None:
    index = PassageIndex(store, Encoder(), path)
    made = path.stat().st_mtime_ns
    for number in (101, 102):
        put(store, [number])
        assert index.refresh()
        check(index, store)
        check(PassageIndex(store, Encoder(), path), store)
    assert path.stat().st_mtime_ns == made
    assert recent(path).exists()


def test_many_new_passages_become_part_of_the_base(store: Store, path: Path) -> None:
    index = PassageIndex(store, Encoder(), path)
    made = path.stat().st_mtime_ns
    put(store, [101])
    index.refresh()
    put(store, range(102, 121))
    index.refresh()
    assert path.stat().st_mtime_ns != made
    assert not recent(path).exists()
    check(index, store)
    check(PassageIndex(store, Encoder(), path), store)


def test_changed_and_gone_passages(store: Store, path: Path) -> None:
    index = PassageIndex(store, Encoder(), path)
    made = path.stat().st_mtime_ns
    put(store, [7], prompts=1, text=" anew")
    put(store, [9], prompts=0)
    index.refresh()
    check(index, store)
    check(PassageIndex(store, Encoder(), path), store)
    assert path.stat().st_mtime_ns == made


def test_missing_adapters_leave_and_return(store: Store, path: Path) -> None:
    index = PassageIndex(store, Encoder(), path)
    store.sync(Given([adapter(f"{number}") for number in range(1, 121) if number not in (3, 50)]))
    index.refresh()
    check(index, store)
    assert 3 not in index.best(vector("c3"), "card", 1)
    put(store, [101])
    index.refresh()
    check(index, store)
    store.sync(Given([adapter(f"{number}") for number in range(1, 121)]))
    check(PassageIndex(store, Encoder(), path), store)
    index.refresh()
    check(index, store)
    assert 3 in index.best(vector("c3"), "card", 1)


def test_base_is_made_anew_when_much_of_it_is_gone(store: Store, path: Path) -> None:
    index = PassageIndex(store, Encoder(), path)
    made = path.stat().st_mtime_ns
    store.sync(Given([adapter(f"{number}") for number in range(60, 121)]))
    index.refresh()
    assert path.stat().st_mtime_ns != made
    check(index, store)
    note = Segment.load(path)
    assert note is not None
    assert len(note) == len(index)


def test_vectors_that_come_after_their_passages(store: Store, path: Path) -> None:
    store.set_passages([(101, [("card", "late")]), (102, [("card", "soon")])], "1")
    store.put_vectors("m", "r", {"soon": vector("soon")})
    index = PassageIndex(store, Encoder(), path)
    check(index, store)
    store.put_vectors("m", "r", {"late": vector("late")})
    index.refresh()
    check(index, store)
    assert 101 in index.best(vector("late"), "card", 1)


def test_catalogue_put_back_from_a_copy(tmp_path: Path, path: Path) -> None:
    with open_store(tmp_path / "a.db") as first, open_store(tmp_path / "b.db") as second:
        for store, text in ((first, ""), (second, " of another life")):
            store.sync(Given([adapter(f"{number}") for number in range(1, 21)]))
            put(store, range(1, 11))
            put(store, range(11, 21), text=text)
        check(PassageIndex(first, Encoder(), path), first)
        check(PassageIndex(second, Encoder(), path), second)


def test_another_model_has_its_own_index(store: Store, path: Path) -> None:
    PassageIndex(store, Encoder(), path)
    other = Encoder()
    other.revision = "2"
    assert len(PassageIndex(store, other, path)) == 0
    check(PassageIndex(store, Encoder(), path), store)


def test_filters_do_not_leak_into_each_other(store: Store) -> None:
    index = PassageIndex(store, Encoder(), None)
    allowed = np.arange(1, 50)
    query = vector("a query")
    first = index.best(query, "card", 100, allowed)
    assert set(first) == set(range(1, 50))
    allowed += 50
    assert set(index.best(query, "card", 100, allowed)) == set(range(51, 100)), "one array, filled anew"
    for start in range(1, 20):
        assert set(index.best(query, "card", 100, np.arange(start, 50))) == set(range(start, 50))
    assert set(index.best(query, "card", 100)) == set(range(1, 101))
    assert index.best(query, "card", 100, np.arange(1, 50)) == first


def test_remembered_filter_lets_new_adapters_in(store: Store) -> None:
    index = PassageIndex(store, Encoder(), None)
    allowed = np.arange(1, 121)
    index.best(vector("c110"), "card", 5, allowed)
    put(store, [110])
    index.refresh()
    assert 110 in index.best(vector("c110"), "card", 1, allowed)


def damage(path: Path) -> None:
    path.write_bytes(b"")


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-200])


@pytest.mark.parametrize("harm", [damage, cut])
@pytest.mark.parametrize("which", ["base", "recent"])
def test_damaged_file_is_only_a_lost_copy(store: Store, path: Path, harm, which: str) -> None:
    PassageIndex(store, Encoder(), path)
    put(store, [101])
    PassageIndex(store, Encoder(), path)
    harm(path if which == "base" else recent(path))
    check(PassageIndex(store, Encoder(), path), store)
    check(PassageIndex(store, Encoder(), path), store)


@pytest.mark.parametrize("content", [b"", b"x", b"VEL2", b"\xff" * 8 + b"VEL2", b"[1]\x03" + b"\0" * 7 + b"VEL2"])
def test_file_that_is_no_index_has_no_note(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "c.faiss"
    path.write_bytes(content)
    assert read_note(path) is None
    assert Segment.load(path) is None
    assert read_note(tmp_path / "none") is None


@pytest.mark.parametrize(
    "note",
    [
        b"{}",
        b'{"places": 1}',
        b'{"places": null, "gone": null}',
        b'{"places": {}, "gone": []}',
        b'{"places": {"card": [[0, 8]]}, "gone": [[0, 0]]}',
        b'{"places": {"card": [[0, 8], [0, 8], [0, 800000]]}, "gone": [[0, 0]]}',
    ],
)
def test_note_that_lies_makes_no_segment(tmp_path: Path, note: bytes) -> None:
    path = tmp_path / "c.faiss"
    path.write_bytes(b"\0" * 64 + note + segment._TRAILER.pack(len(note), b"VEL2"))
    assert Segment.load(path) is None


def test_index_lives_in_memory_where_nothing_can_be_written(store: Store, tmp_path: Path) -> None:
    index = PassageIndex(store, Encoder(), tmp_path / "none" / "c.faiss")
    check(index, store)
    put(store, [101])
    index.refresh()
    check(index, store)


OTHER_PROCESS = textwrap.dedent(
    """
    import sys
    sys.path[:0] = [{tests!r}]
    import numpy as np
    import importlib.util
    spec = importlib.util.spec_from_file_location("these", {here!r})
    these = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(these)
    these.growth.RECENT = (40, 16)
    with these.open_store({db!r}) as store:
        for number in range(101, 121):
            these.put(store, [number])
            index = these.PassageIndex(store, these.Encoder(), these.Path({path!r}))
            print(number, flush=True)
    """
)


def test_rows_of_another_process_are_seen(store: Store, path: Path) -> None:
    """Two readers search and refresh while a third process embeds, and replaces the files several times."""
    readers = [PassageIndex(store, Encoder(), path), PassageIndex(store, Encoder(), path)]
    here = Path(__file__)
    program = OTHER_PROCESS.format(tests=str(here.parents[1]), here=str(here), db=str(store.path), path=str(path))
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        for line in writer.stdout:
            readers[0].refresh()
            assert int(line) in readers[0].best(vector(f"c{int(line)}"), "card", 1)
            assert len(readers[1].best(vector("a query"), "card", 500)) == 100, "unchanged until it is refreshed"
    assert writer.returncode == 0
    assert readers[1].refresh()
    for index in (*readers, PassageIndex(store, Encoder(), path)):
        index.refresh()
        check(index, store)
    assert not list(path.parent.glob("*.part"))


def test_file_with_a_flipped_bit_is_made_anew(store: Store, tmp_path: Path) -> None:
    """Not only what is cut off: a wrong number would find the wrong adapters, and tell nobody."""
    path = tmp_path / "bits.faiss"
    PassageIndex(store, Encoder(), path)
    whole = path.read_bytes()
    for place in range(0, len(whole) // 2, max(1, len(whole) // 20)):
        damaged = bytearray(whole)
        damaged[place] ^= 0x10
        path.write_bytes(damaged)
        check(PassageIndex(store, Encoder(), path), store)
        assert path.read_bytes() != bytes(damaged)
