"""What engines do on this side: batches are cut, handed out and kept as they would be here, whoever does them."""

from __future__ import annotations

import pickle
import socket
import sys
import tempfile
import warnings
from collections import deque
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from shelf import BagEmbedder, Given, adapter
from tiny_networks import Counting, noise
from typer import BadParameter

import velatura.refiner.embed as embedding
from velatura.commands.options import engine_flags, open_velatura
from velatura.db import open_store
from velatura.engines.cluster import Cluster, _folder_for_sockets
from velatura.engines.jobs import Job, Queue
from velatura.engines.painting import EngineBackend, PaintRecipe
from velatura.engines.recipes import Describing, travelling
from velatura.engines.worker import Done, Fault, Worker, fault_of
from velatura.errors import (
    EngineError,
    IncompatibleAdapter,
    InputError,
    LanguageModelRefusal,
    MissingDependency,
    VelaturaError,
)
from velatura.eval.cache import FeatureCache
from velatura.eval.extract import extract
from velatura.generation.story import png_bytes
from velatura.painting import Painting
from velatura.playground.library import weights_folder
from velatura.protocols import Describer
from velatura.records import AdapterRecord, Choice, Composition, GeneratedImage, GenerationRequest, Usage
from velatura.settings import default_settings

WEIGHTS = weights_folder()


# ---------------------------------------------------------------------------------- who is given what


def jobs(*keys: Hashable) -> Queue:
    queue = Queue()
    for place, key in enumerate(keys):
        queue.add(Job(place, None, "asker", key))
    return queue


def test_workers_keep_to_the_adapters_that_they_have_on() -> None:
    queue = jobs(*"abcd" * 6)
    laid: dict[str, Hashable] = {"first": None, "second": None}
    swaps = done = 0
    while len(queue):
        for worker in laid:
            held = {other for name, other in laid.items() if name != worker}
            job = queue.take(laid[worker], held, idle=True)
            if job is not None:
                swaps += job.key != laid[worker]
                done += 1
                laid[worker] = job.key
    assert (done, swaps) == (24, 4)


def test_a_worker_with_nothing_to_do_helps_with_the_longest_row_and_one_with_work_does_not() -> None:
    queue = jobs("a", "a", "a", "b")
    assert queue.take("x", {"a", "b"}, idle=False) is None
    helped = queue.take("x", {"a", "b"}, idle=True)
    assert helped is not None
    assert (helped.key, helped.place) == ("a", 2)


def test_what_is_put_back_comes_first_and_what_is_withdrawn_not_at_all() -> None:
    queue = jobs(None, None, "a")
    queue.put_back(Job(9, None, "other", "a"))
    assert [job.place for job in queue.withdraw("asker")] == [2, 0, 1]
    assert len(queue) == 1


# ---------------------------------------------------------------------------------- errors that travel


@pytest.mark.parametrize(
    "error",
    [
        InputError("it is not there"),
        MissingDependency("openai", extra="llm"),
        LanguageModelRefusal("no", usage=Usage(calls=1, read=5)),
    ],
)
def test_an_error_travels_as_itself(error: VelaturaError) -> None:
    came = pickle.loads(pickle.dumps(fault_of(error))).error()
    assert (type(came), str(came)) == (type(error), str(error))
    assert getattr(came, "usage", None) == getattr(error, "usage", None)


def test_an_error_of_anybody_else_becomes_one_sentence_that_names_the_node() -> None:
    came = fault_of(ValueError("first\nsecond")).error()
    assert isinstance(came, EngineError)
    assert str(came) == f"the worker on the node {socket.gethostname()} failed: ValueError first"


def test_a_worker_without_a_file_or_a_key_says_so_in_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    node = socket.gethostname()
    lacking = PaintRecipe(settings=default_settings(model="x"), files=("/nowhere/base",))
    fault = Worker().open(lacking, str(tmp_path), 1)
    assert fault is not None
    assert fault.sentence.startswith(f"on the node {node}: /nowhere/base is not on the node {node}; a worker must see")
    asking = Describing(settings=default_settings(llm="eye"), kind="vlm", name="vlm 1 eye", threads=1)
    fault = Worker().open(asking, str(tmp_path), 1)
    assert fault is not None
    assert fault.sentence.startswith(f"on the node {node}: there is no key for OpenAI; set OPENAI_API_KEY")
    other = Describing(settings=default_settings(), kind="card", name="card 0", threads=1)
    fault = Worker().open(other, str(tmp_path), 1)
    assert fault is not None
    assert "and card 0 where the work is kept; install the same" in fault.sentence


def test_no_password_of_the_catalogue_travels() -> None:
    settings = default_settings(db="postgresql://me:secret@host/velatura", engine="ray", ray_address="h:1")
    assert b"secret" not in pickle.dumps(travelling(settings))
    describer: Describer = type("Card", (), {"name": "vlm 1 eye"})()
    shared = Describing.of(replace_settings(settings, llm_rate=60.0, llm_spend=3.0), describer, most=3)
    assert (shared.settings.llm_rate, shared.settings.llm_spend, shared.settings.llm_tokens) == (20.0, 1.0, None)


def replace_settings(settings: Any, **values: object) -> Any:
    return settings.model_copy(update=values)


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("127.0.0.1:1", "no Ray cluster answers at 127.0.0.1:1: Connection refused"),
        ("nowhere", "'nowhere' is no address of a Ray cluster"),
        ("host:99999999", "'host:99999999' is no address"),
        ("http://me:secret@host\x1b[2J:80", "'host[2J:80' is no address"),
    ],
)
def test_an_address_where_nothing_answers_is_told_in_one_sentence(address: str, told: str) -> None:
    pytest.importorskip("ray")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Ray's own, when it is first imported
        with pytest.raises(VelaturaError) as raised:
            Cluster(address)
    assert str(raised.value).startswith(told)
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize(
    ("threads", "nodes", "room"),
    [
        (1, [2, 2], (4, 1)),
        (8, [7, 8], (2, 7)),
        (16, [4, 4], (2, 4)),
        (16, [2, 16, 32], (3, 16)),  # a small head beside large nodes: these do not hold eight models each
        (4, [0, 0], (1, 4)),
    ],
)
def test_as_many_workers_as_find_room_with_their_threads(
    threads: int, nodes: list[int], room: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in = SimpleNamespace(
        is_initialized=lambda: True, nodes=lambda: [{"Alive": True, "Resources": {"CPU": count}} for count in nodes]
    )
    monkeypatch.setitem(sys.modules, "ray", stand_in)
    found = Cluster(None).room(threads, gpus=True)
    assert (found.count, found.processors, found.gpus) == (*room, 0)


def test_sockets_lie_in_a_folder_with_a_short_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    long = tmp_path / ("x" * 40)
    long.mkdir()
    for usual, taken in ((str(long), "/tmp"), ("/tmp/r", "/tmp/r")):
        monkeypatch.setattr(tempfile, "tempdir", usual)
        assert _folder_for_sockets() == taken


def test_an_address_of_something_else_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            line, _ = server.accept()
            with line:
                line.recv(100)
                line.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        thread = Thread(target=answer)
        thread.start()
        with pytest.raises(EngineError, match="what listens there is something else"):
            Cluster(f"127.0.0.1:{server.getsockname()[1]}")
        thread.join()


def test_without_ray_the_line_that_installs_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingDependency, match=r"ray is not installed; run: pip install 'velatura\[ray\]'"):
        Cluster(None)


def test_commands_without_an_engine_of_their_own_work_here_whatever_the_settings_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VELATURA_HOME", str(tmp_path))
    monkeypatch.setenv("VELATURA_ENGINE", "ray")
    assert open_velatura().settings.engine == "local"
    assert open_velatura(**engine_flags(None, None)).settings.engine == "ray"
    assert engine_flags(None, "h:1") == {"engine": "ray", "ray_address": "h:1"}
    with pytest.raises(BadParameter, match="the engine local has none"):
        engine_flags("local", "h:1")


# ---------------------------------------------------------------------------------- stages keep what comes


def test_vectors_that_come_in_another_order_leave_the_same_catalogue(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedding, "_CHUNK", 3)
    embedder = BagEmbedder()

    def held_back(batches: Any) -> Iterator[tuple[int, Any]]:
        waiting: deque[tuple[int, list[str]]] = deque()
        for place, texts in enumerate(batches):
            waiting.append((place, list(texts)))
            if len(waiting) == 3:
                for number, some in [waiting.pop(), waiting.pop()]:
                    yield number, embedder.embed(some)
        yield from ((number, embedder.embed(some)) for number, some in waiting)

    def done(name: str, through: Callable[..., Any] | None) -> tuple[Any, ...]:
        with open_store(tmp_path / name) as store:
            # The same words again and again: a text that is under way is not embedded twice.
            store.sync(Given([adapter(f"Fox {number}", triggers=((f"t{number % 4}",),)) for number in range(20)]))
            embedder.texts, told = 0, []
            report = embedding.embed(store, embedder, through=through, progress=lambda said: told.append(said.done))
            left = store.unembedded(embedding.VERSION, embedder.model, embedder.revision, embedding.FIELDS)
            found = [store.missing_vectors(embedder.model, embedder.revision, ["x"])]
            return embedder.texts, told, report.done, report.texts, list(left), found

    assert done("here.db", None) == done("elsewhere.db", held_back)


def test_features_that_come_in_another_order_are_kept_under_their_pictures(tmp_path: Path) -> None:
    paths = []
    for number in range(7):
        path = tmp_path / f"{number}.png"
        noise(24, 24, number).save(path)
        paths.append(path)
    here, elsewhere = FeatureCache(tmp_path / "here"), FeatureCache(tmp_path / "elsewhere")
    extractor = Counting()
    first = extract(paths, [extractor], here, batch=2)

    def backwards(batches: Any) -> Iterator[tuple[int, Any]]:
        shown = [(place, names, pictures) for place, (names, pictures) in enumerate(batches)]
        assert all(names == [extractor.name] for _, names, _ in shown)
        yield from ((place, [extractor.extract(pictures)]) for place, _, pictures in reversed(shown))

    second = extract(paths, [extractor], elsewhere, batch=2, through=backwards)
    assert first.digests == second.digests
    shas = list(first.digests.values())
    rows = [cache.get(extractor.fingerprint, shas)[0] for cache in (here, elsewhere)]
    assert np.array_equal(*rows)


# ---------------------------------------------------------------------------------- painting


@dataclass
class Here:
    """Workers that are one, in this process; what it is given and gives travels."""

    worker: Worker

    def ask(self, task: Any) -> Any:
        came = self.do(task)
        if isinstance(came, VelaturaError):
            raise came
        return came

    def do(self, task: Any) -> Any:
        came = pickle.loads(pickle.dumps(self.worker.work(pickle.loads(pickle.dumps(task)))))
        return came.value if isinstance(came, Done) else came.error()

    def calls(self) -> Here.Calls:
        return Here.Calls(self)

    class Calls:
        def __init__(self, here: Here) -> None:
            self.here, self.given = here, []

        @property
        def busy(self) -> int:
            return len(self.given)

        def give(self, place: int, task: Any, key: Hashable) -> None:
            assert key is not None
            self.given.append((place, task))

        def heard(self, _: float) -> list[tuple[int, Any]]:
            place, task = self.given.pop()  # the last comes first
            return [(place, self.here.do(task))]

        def leave(self) -> None:
            self.given.clear()


@pytest.mark.skipif(WEIGHTS is None, reason="the playground's models are not part of this installation")
def test_pictures_painted_elsewhere_are_the_same_bytes(tmp_path: Path) -> None:
    settings = default_settings(model=str(WEIGHTS / "base"), steps=2, batch=2, device="cpu")
    opened = Worker()
    assert opened.open(PaintRecipe.of(settings), str(tmp_path), 1) is None
    away: Any = EngineBackend(Here(opened))
    here = Painting(settings, lambda composition: composition).backend
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"x")

    def asked(name: str, path: Path, seed: int) -> GenerationRequest:
        record = AdapterRecord(source="folder", key=name, title=name, path=str(path), family="miniature")
        composition = Composition(prompt=f"a {name}", choices=(Choice(adapter=record, weight=0.8, span=name),))
        return GenerationRequest(composition=composition, model="", backend="", steps=2, seed=seed)

    names = ("cat", "rocket", "cat", "cat", "rocket")
    requests = [asked(name, WEIGHTS / "loras" / f"{name}.safetensors", seed) for seed, name in enumerate(names)]

    def content(painted: Iterator[tuple[int, GeneratedImage]]) -> dict[int, bytes]:
        return {place: png_bytes(image) for place, image in painted}

    assert (away.name, away.family, away.stamp) == (here.name, here.family, here.stamp)
    assert away.complete(requests[0]) == here.complete(requests[0])
    assert content(away.generate_each(requests)) == content(here.generate_each(requests))
    counted = [content(enumerate(one.generate(requests[0], 3))) for one in (away, here)]
    assert counted[0] == counted[1]
    unfit = replace(requests[0], composition=asked("x", broken, 0).composition)
    for backend in (away, here):
        with pytest.raises((InputError, IncompatibleAdapter), match="damaged"):
            list(backend.generate_each([*requests, unfit]))


def test_an_answer_that_is_no_result_is_a_fault() -> None:
    assert isinstance(Worker().work(None), Fault)
