"""What every index of passages promises, in files and in Milvus; and what Milvus can do to it."""

from __future__ import annotations

import base64
import fcntl
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from copy import copy
from pathlib import Path
from threading import Event

import numpy as np
import pytest
from milvus_server import MilvusServer
from shelf import BagEmbedder, Given, adapter
from sqlalchemy import delete

from velatura import Velatura
from velatura.db import Store, open_store
from velatura.db.schema import meta
from velatura.errors import CatalogueError, InputError, MissingDependency
from velatura.playground.library import weights_folder
from velatura.protocols import NearestPassages
from velatura.records import Filter
from velatura.retriever import milvus_collection, milvus_index
from velatura.retriever.milvus_client import Milvus
from velatura.retriever.milvus_index import MilvusIndex
from velatura.retriever.passages import open_index
from velatura.settings import default_settings

DIMENSION = 16
QUERY = "a query"


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
        number: [("card", f"c{number}{text}"), *(("prompt", f"p{number}.{at}{text}") for at in range(prompts))]
        for number in numbers
    }
    texts = [digest for passages in named.values() for _, digest in passages]
    store.put_vectors("m", "r", {digest: vector(digest) for digest in texts})
    store.set_passages(list(named.items()), "1")


def offer(store: Store, numbers: Sequence[int]) -> None:
    """These are there, and what else there was is missing."""
    store.sync(Given([adapter(f"{number}") for number in numbers]))


class Truth:
    """Compares with every passage of the catalogue."""

    def __init__(self, store: Store) -> None:
        self.passages, self.adapters, self.fields = store.vector_rows("m", "r")
        self.cosines = store.load_vectors("m", "r") @ vector(QUERY)

    def best(self, field: str, k: int, allowed: Sequence[int] | None) -> dict[int, float]:
        may = (self.fields == field) & (True if allowed is None else np.isin(self.adapters, allowed))
        found: dict[int, float] = {}
        for at in sorted(np.flatnonzero(may), key=lambda at: -float(self.cosines[at]))[:k]:
            found.setdefault(int(self.adapters[at]), float(self.cosines[at]))
        return found


def check(index: NearestPassages, store: Store) -> None:
    """The index answers as the catalogue's vectors do, in the same order, whatever the filter leaves."""
    truth = Truth(store)
    assert index.passages.tolist() == truth.passages.tolist()
    assert index.adapters.tolist() == truth.adapters.tolist()
    assert len(index) == len(truth.passages)
    farthest = list(truth.best("card", 1000, None))[-3:]
    for field in ("card", "prompt"):
        for allowed in (None, range(0, 100, 3), [n for n in range(100) if n % 7], sorted(farthest), []):
            numbers = None if allowed is None else np.array(allowed, np.int64)
            found, true = index.best(vector(QUERY), field, 15, numbers), truth.best(field, 15, allowed)
            assert list(found) == list(true)
            assert found == pytest.approx(true, abs=1e-3)


@pytest.fixture(scope="module")
def lite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Milvus]:
    milvus = Milvus(str(tmp_path_factory.mktemp("lite") / "deep" / "milvus.db"))
    yield milvus
    milvus.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MilvusServer]:
    server = MilvusServer(tmp_path_factory.mktemp("server"))
    yield server
    server.close()


@pytest.fixture(scope="module")
def served(server: MilvusServer) -> Iterator[Milvus]:
    milvus = Milvus(server.url)
    yield milvus
    milvus.close()


def unname(store: Store) -> None:
    with store._database.writing() as connection:
        connection.execute(delete(meta).where(meta.c.name == "catalogue"))


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("filled") / "c.db"
    with open_store(path) as store:
        offer(store, range(1, 31))
        put(store, range(1, 26))
    return path


@pytest.fixture
def store(filled: Path, tmp_path: Path) -> Iterator[Store]:
    """A catalogue of its own; a copy would have the name of the other."""
    with open_store(shutil.copy(filled, tmp_path / "c.db")) as store:
        unname(store)
        yield store


Opened = Callable[[Store], NearestPassages]


@pytest.fixture(params=["faiss", "lite"])
def opened(request: pytest.FixtureRequest) -> Opened:
    milvus = None if request.param == "faiss" else request.getfixturevalue(request.param)
    return lambda store: open_index(store, Encoder(), store.path.with_name("c.faiss"), milvus)


BY_URL = pytest.mark.parametrize("opened", ["faiss", "lite", "served"], indirect=True)


@BY_URL
def test_nearest_are_found_and_a_filter_is_exact(store: Store, opened: Opened) -> None:
    check(opened(store), store)
    check(opened(store), store)


def test_fewer_than_asked_for_and_none(store: Store, opened: Opened) -> None:
    index = opened(store)
    assert len(index.best(vector(QUERY), "card", 10_000)) == 25
    assert list(index.best(vector(QUERY), "card", 10, np.array([3, 4, 999]))) in ([3, 4], [4, 3])
    assert index.best(vector(QUERY), "image", 10) == {}
    assert index.best(vector(QUERY), "card", 0) == {}
    assert index.best(vector(QUERY), 'card" or id > 0 or field == "', 10) == {}


@BY_URL
def test_rows_that_come_change_go_and_return(store: Store, opened: Opened) -> None:
    index = opened(store)
    put(store, [26, 27])
    assert index.refresh()
    assert not index.refresh()
    check(index, store)
    put(store, [7], prompts=1, text=" anew")
    put(store, [9], prompts=0)
    index.refresh()
    check(index, store)
    offer(store, [n for n in range(1, 31) if n not in (3, 25)])
    index.refresh()
    check(index, store)
    check(opened(store), store)
    put(store, [28])
    offer(store, range(1, 31))
    check(opened(store), store)
    index.refresh()
    check(index, store)


def test_vectors_that_come_after_their_passages(store: Store, opened: Opened) -> None:
    store.set_passages([(26, [("card", "late")]), (27, [("card", "soon")])], "1")
    store.put_vectors("m", "r", {"soon": vector("soon")})
    index = opened(store)
    check(index, store)
    store.put_vectors("m", "r", {"late": vector("late")})
    index.refresh()
    check(index, store)


def test_empty_catalogue_fills(tmp_path: Path, opened: Opened) -> None:
    with open_store(tmp_path / "empty.db") as store:
        index = opened(store)
        assert len(index) == 0
        assert index.best(vector(QUERY), "card", 5) == {}
        offer(store, [1])
        put(store, [1])
        assert index.refresh()
        check(index, store)
        offer(store, [])
        index.refresh()
        assert index.best(vector(QUERY), "card", 5) == {}


def test_copy_goes_on_as_it_was(store: Store, opened: Opened) -> None:
    index = opened(store)
    before = index.best(vector(QUERY), "card", 100)
    later = copy(index)
    put(store, [26], text=QUERY)
    offer(store, [n for n in range(1, 31) if n != 30])
    assert later.refresh()
    assert index.best(vector(QUERY), "card", 100) == pytest.approx(before, abs=1e-5)
    check(later, store)


def test_array_filled_anew_is_another_filter(store: Store, opened: Opened) -> None:
    index, allowed = opened(store), np.arange(1, 11)
    assert set(index.best(vector(QUERY), "card", 100, allowed)) == set(range(1, 11))
    allowed += 10
    assert set(index.best(vector(QUERY), "card", 100, allowed)) == set(range(11, 21))


def test_equal_ones_come_in_one_order(store: Store, opened: Opened) -> None:
    store.set_passages([(number, [("card", "c1")]) for number in range(26, 31)], "1")
    index = opened(store)
    first = index.best(vector("c1"), "card", 6)
    assert set(first) == {1, *range(26, 31)}
    assert list(opened(store).best(vector("c1"), "card", 6, np.arange(100))) == list(first)


def test_models_and_catalogues_are_kept_apart(store: Store, tmp_path: Path, opened: Opened) -> None:
    index, other = opened(store), Encoder()
    other.revision = "2"
    milvus = getattr(index, "_milvus", None)
    assert len(open_index(store, other, tmp_path / "o.faiss", milvus)) == 0
    with open_store(tmp_path / "another" / "c.db") as another:
        offer(another, range(1, 6))
        put(another, range(1, 6), text=" elsewhere")
        check(open_index(another, Encoder(), tmp_path / "a.faiss", milvus), another)
    check(index, store)


def test_older_copy_put_back(store: Store, tmp_path: Path, opened: Opened) -> None:
    opened(store)
    shutil.copy(store.path, tmp_path / "old.db")
    put(store, range(26, 31))
    check(opened(store), store)
    with open_store(tmp_path / "old.db") as old:
        put(old, range(26, 31), text=" of another life")
        put(old, range(1, 26), text=" of another life")
        check(opened(old), old)


# -------------------------------------------------------------------- what Milvus can do


def held(index: MilvusIndex) -> list[int]:
    assert index._collection is not None
    return index._collection.passages().tolist()


def test_whatever_milvus_holds_takes_no_place(store: Store, lite: Milvus) -> None:
    """Passages of other adapters, and unknown ones under an allowed number, all nearer than any that there are."""
    index = MilvusIndex(store, Encoder(), lite)
    foreign = np.arange(10_000, 10_300)
    fields, near = np.full(300, "card"), np.tile(vector(QUERY), (300, 1))
    index._collection.write(foreign, np.where(foreign % 2, 1, 5_000), fields, near)
    check(index, store)
    put(store, [26])
    index.refresh()
    assert held(index) == index.passages.tolist()


def test_what_was_deleted_or_dropped_is_written_anew(store: Store, lite: Milvus) -> None:
    index = MilvusIndex(store, Encoder(), lite)
    index._collection.delete(index.passages[:20])
    assert len(index.best(vector(QUERY), "card", 25)) == 25, "it finds fewer than there are, and looks"
    assert held(index) == index.passages.tolist()
    index._collection.delete(index.passages[:20])
    check(MilvusIndex(store, Encoder(), lite), store)
    lite.client.drop_collection(index._collection._name)
    check(index, store)
    assert held(index) == index.passages.tolist()


@pytest.mark.parametrize("note", [{}, {"last": 10**30, "texts": {}}, {"state": 1, "last": 1, "ground": 7, "texts": 1}])
def test_note_that_is_none_is_not_believed(store: Store, lite: Milvus, note: dict) -> None:
    index = MilvusIndex(store, Encoder(), lite)
    index._collection.write_note(note)
    check(MilvusIndex(store, Encoder(), lite), store)


def test_killed_writer_is_made_good(store: Store, lite: Milvus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(milvus_collection, "_WRITTEN", 10)
    upsert, calls = milvus_collection.Collection._upsert, []

    def killed(self: milvus_collection.Collection, entities: list) -> None:
        calls.append(len(entities))
        if len(calls) in (4, 8):
            raise KeyboardInterrupt
        upsert(self, entities)

    monkeypatch.setattr(milvus_collection.Collection, "_upsert", killed)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            MilvusIndex(store, Encoder(), lite)
    index = MilvusIndex(store, Encoder(), lite)
    check(index, store)
    assert held(index) == index.passages.tolist()
    assert sum(calls) < 1.7 * len(index), "what was written is not written again"


def test_refresh_that_failed_is_not_taken_for_done(store: Store, lite: Milvus, monkeypatch: pytest.MonkeyPatch) -> None:
    index = MilvusIndex(store, Encoder(), lite)
    put(store, [26])
    with monkeypatch.context() as patched:
        patched.setattr(milvus_collection.Collection, "write", lambda *asked: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            index.refresh()
    assert index.refresh()
    check(index, store)


def test_two_that_keep_step_at_once(store: Store, lite: Milvus, monkeypatch: pytest.MonkeyPatch) -> None:
    """One is about to delete what was missing, when it returns and another writes it."""
    slow, quick = MilvusIndex(store, Encoder(), lite), MilvusIndex(store, Encoder(), Milvus(lite._address))
    offer(store, range(1, 26, 2))
    done = MilvusIndex._done

    def interrupted(self: MilvusIndex, work: object) -> bool:
        monkeypatch.setattr(MilvusIndex, "_done", done)
        offer(store, range(1, 31))
        put(store, [26])
        quick.refresh()
        return done(self, work)

    monkeypatch.setattr(MilvusIndex, "_done", interrupted)
    slow.refresh()
    for index in (slow, quick, MilvusIndex(store, Encoder(), lite)):
        check(index, store)
        assert held(index) == index.passages.tolist()


def test_filter_is_pushed_down_by_the_shorter_list(
    store: Store, server: MilvusServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VELATURA_MILVUS_TOKEN", "root:s3cret")
    milvus = Milvus(server.url)
    index = MilvusIndex(store, Encoder(), milvus)
    server.asked.filters.clear()
    for allowed in (None, np.arange(1, 10), np.arange(1, 20), np.arange(100)):
        index.best(vector(QUERY), "card", 5, allowed)
    milvus.close()
    card = 'field == "card"'
    assert server.asked.filters == [
        card, f"{card} and adapter in {{adapters}}", f"{card} and adapter not in {{adapters}}", card
    ]  # fmt: skip
    assert base64.b64encode(b"root:s3cret").decode() in server.asked.tokens


def test_second_process_of_milvus_lite_gets_a_sentence(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "m.db").mkdir()
    with (tmp_path / "m.db" / "LOCK").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(CatalogueError, match=r"m\.db.* open in another process.*VELATURA_MILVUS$"):
            _ = Milvus(str(tmp_path / "m.db")).client
    assert capfd.readouterr().err == ""


def test_server_that_is_away_gets_a_sentence(store: Store, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(
        CatalogueError, match=r"^Milvus at http://127\.0\.0\.1:9 cannot be reached .*set VELATURA_INDEX"
    ):
        MilvusIndex(store, Encoder(), Milvus("http://127.0.0.1:9"))
    server = MilvusServer(tmp_path / "gone")
    milvus = Milvus(server.url)
    index = MilvusIndex(store, Encoder(), milvus)
    server.close()
    with pytest.raises(CatalogueError, match=r"^Milvus at http://127\S+ failed: "):
        index.best(vector(QUERY), "card", 5)
    milvus.close()
    assert capfd.readouterr().err == ""


def test_server_that_hangs_is_given_up(
    store: Store, server: MilvusServer, served: Milvus, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = MilvusIndex(store, Encoder(), served)
    monkeypatch.setattr(milvus_collection, "ANSWERING", 1)
    answer, answering = server.asked._get_collection, Event()

    def hang(*asked: object) -> object:
        answering.wait(20)
        return answer(*asked)

    monkeypatch.setattr(server.asked, "_get_collection", hang)
    with pytest.raises(CatalogueError, match=r"^Milvus at http://127\S+ failed: Deadline Exceeded$"):
        index.best(vector(QUERY), "card", 5)
    answering.set()
    monkeypatch.undo()
    check(index, store)


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("milvus", "ends in .db"),
        ("ftp://host:1", "HOST:PORT"),
        ("http://", "HOST:PORT"),
        ("http://host:99999999", "HOST:PORT"),
        ("http://root:s3cret@host:19530", "set VELATURA_MILVUS_TOKEN"),
        ("http://host:19530?token=s3cret", "HOST:PORT"),
    ],
)
def test_address_that_is_none(address: str, why: str) -> None:
    with pytest.raises(InputError, match=why) as told:
        Milvus(address)
    assert "s3cret" not in str(told.value)


def test_path_of_a_file_is_refused(store: Store) -> None:
    with pytest.raises(InputError, match="is a file"):
        Milvus(str(store.path))


def test_missing_package_says_how_it_is_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pymilvus", None)
    with pytest.raises(MissingDependency, match=r"velatura\[milvus\]"):
        _ = Milvus(str(tmp_path / "m.db")).client
    with pytest.raises(InputError, match="set VELATURA_MILVUS"):
        _ = Velatura(default_settings(index="milvus"))._milvus


def test_read_only_catalogue_is_searched_once_it_has_a_name(store: Store, lite: Milvus) -> None:
    with open_store(store.path, read_only=True) as reader:
        with pytest.raises(CatalogueError, match="no name yet"):
            MilvusIndex(reader, Encoder(), lite)
        MilvusIndex(store, Encoder(), lite)
        check(MilvusIndex(reader, Encoder(), lite), store)


def test_whole_search_is_the_same_in_both(tmp_path: Path) -> None:
    settings = {"db": str(tmp_path / "c.db"), "milvus": str(tmp_path / "milvus.db")}
    asked = [
        (prompt, filter)
        for prompt in ("a fox in the snow", "line art of a cat", "watercolour, duck", "night city, neon")
        for filter in (Filter(), Filter(kinds=("lora",)), Filter(blocked=(1, 2, 3)))
    ]
    told = []
    for index in ("faiss", "milvus"):
        with Velatura(default_settings(index=index, **settings)) as velatura:
            velatura.__dict__["embedder"] = BagEmbedder()
            velatura.index(weights_folder() / "loras", kind="folder")
            velatura.embed()
            found = [velatura.search(prompt, filter=filter) for prompt, filter in asked]
            found.append(velatura.similar(1))
            told.append([[(one.adapter.id, one.score) for one in candidates] for candidates in found])
    assert any(len(candidates) > 3 for candidates in told[0])
    for one, other in zip(*told, strict=True):
        assert dict(one) == pytest.approx(dict(other), abs=1e-3)
        clear = [number for number, score in one if sum(abs(score - near) < 2e-3 for _, near in one) == 1]
        assert [number for number, _ in other if number in clear] == clear
    assert milvus_index.MOST == 16_384
