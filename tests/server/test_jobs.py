"""Jobs: whose turn it is, how they end, and what is left of them."""

from __future__ import annotations

import gc
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import pytest
from run_painter import Painter, asked

from velatura.errors import InputError
from velatura.protocols import Watch
from velatura.records import AdapterRecord, Choice, Example, GeneratedImage, GenerationRequest
from velatura.server.jobs import Job, Jobs, QueueFull, View
from velatura.server.pictures import PictureShelf


class Gate:
    """Holds a painter until a test lets it go on, once for each job."""

    def __init__(self, painter: Painter | None = None) -> None:
        self.painter = painter or Painter()
        self.begun: list[str] = []
        self._open = threading.Semaphore(0)
        self.closed: list[str] = []

    def let(self, count: int = 1) -> None:
        self._open.release(count)

    def __call__(self, requests: Sequence[GenerationRequest], watch: Watch) -> Iterator[tuple[int, GeneratedImage]]:
        prompt = requests[0].composition.prompt
        self.begun.append(prompt)
        try:
            while not self._open.acquire(timeout=0.01):
                if watch.stopped is not None and watch.stopped():
                    break
            yield from self.painter.generate_each(requests, watch=watch)
        finally:
            self.closed.append(prompt)


@contextmanager
def jobs_of(*painters: Callable[..., Iterator], **options: int) -> Iterator[Jobs]:
    shelf = PictureShelf(1 << 20)
    jobs = Jobs(painters, shelf.keep, **({"most": 100} | options))
    try:
        yield jobs
    finally:
        jobs.close()
        assert not any(thread.is_alive() for thread in jobs._threads)


def until(what: Callable[[], bool], seconds: float = 5.0) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.002)


def submit(jobs: Jobs, client: str, prompt: str, count: int = 1) -> Job:
    return jobs.submit(client, [asked(prompt, seed=seed) for seed in range(count)])


def test_clients_take_turns_and_each_is_told_how_many_come_before_it() -> None:
    gate = Gate()
    with jobs_of(gate) as jobs:
        first = submit(jobs, "ann", "a0")
        until(lambda: first.state == "painting")
        mine = [submit(jobs, "ann", f"a{number}") for number in range(1, 4)]
        others = [submit(jobs, "bob", f"b{number}") for number in range(2)]
        last = submit(jobs, "cho", "c0")
        line = [*mine, *others, last]
        # a1 b0 c0 a2 b1 a3
        assert {job.requests[0].composition.prompt: jobs.ahead(job) for job in line} == {
            "a1": 0, "b0": 1, "c0": 2, "a2": 3, "b1": 4, "a3": 5,
        }  # fmt: skip
        assert jobs.ahead(first) == 0
        assert jobs.waiting == 6
        gate.let(7)
        assert all(job.wait(5) for job in line)
        assert gate.begun == ["a0", "a1", "b0", "c0", "a2", "b1", "a3"]
        assert jobs.waiting == 0
        assert jobs.counts == {"done": 7, "failed": 0, "cancelled": 0}


def test_ahead_counts_what_is_really_painted_before() -> None:
    """The order in which everything is painted is the order that `ahead` told, whoever asked for how much."""
    gate = Gate()
    with jobs_of(gate) as jobs:
        submit(jobs, "first", "first")
        until(lambda: gate.begun == ["first"])
        counts = {"ann": 5, "bob": 1, "cho": 3, "dan": 2}
        line = [submit(jobs, client, f"{client}{n}") for client, count in counts.items() for n in range(count)]
        told = sorted(line, key=jobs.ahead)
        assert [jobs.ahead(job) for job in told] == list(range(len(line)))
        gate.let(1 + len(line))
        assert all(job.wait(5) for job in line)
        assert gate.begun[1:] == [job.requests[0].composition.prompt for job in told]


def test_a_job_tells_its_pictures_its_progress_and_its_previews_as_they_come() -> None:
    heard: list[tuple[str, float, int]] = []
    gate = Gate()
    with jobs_of(gate) as jobs:
        job = submit(jobs, "ann", "a fox", 3)
        with job.heard(lambda: heard.append((job.state, job.progress, len(job.made)))):
            gate.let(3)
            assert job.wait(5)
        assert heard[-1] == ("done", 1.0, 3)
        assert [made for _, _, made in heard] == sorted(made for _, _, made in heard)
        assert {(made.place, made.seed) for made in job.made} == {(0, 0), (1, 1), (2, 2)}
        assert job.preview is None
        assert (job.started_at or 0) <= (job.ended_at or 0)
        assert jobs.pictures == 3
        told = len(heard)
        job.tell()
        assert len(heard) == told, "nobody listens any more"


def test_clients_take_turns_picture_by_picture() -> None:
    """Whoever asks for one picture waits for one of another's, and not for all of them."""
    gate = Gate()
    with jobs_of(gate) as jobs:
        many = submit(jobs, "ann", "many", 4)
        until(lambda: many.state == "painting")
        one, later = submit(jobs, "bob", "one"), submit(jobs, "ann", "later")
        gate.let(6)
        assert later.wait(5)
        assert (many.state, one.state) == ("done", "done")
        assert gate.begun == ["many", "one", "many", "many", "many", "later"]
        assert [made.place for made in many.made] == [0, 1, 2, 3]


def test_a_job_between_two_of_its_turns_can_be_cancelled() -> None:
    gate = Gate()
    with jobs_of(gate) as jobs:
        many = submit(jobs, "ann", "many", 4)
        other = submit(jobs, "bob", "other", 2)
        gate.let()
        until(lambda: other.state == "painting")
        assert jobs.waiting == 0, "it has begun"
        jobs.cancel(many)
        assert (many.state, len(many.made)) == ("cancelled", 1)
        gate.let(2)
        assert other.wait(5)
        assert other.state == "done"
        assert gate.begun == ["many", "other", "other"]


def test_a_painter_that_gives_too_little_fails_the_job() -> None:
    def nothing(requests: Sequence[GenerationRequest], watch: Watch) -> Iterator[tuple[int, GeneratedImage]]:
        yield from ()

    with jobs_of(nothing) as jobs:
        job = submit(jobs, "ann", "a fox")
        assert job.wait(5)
        assert (job.state, str(job.error)) == ("failed", "fewer pictures were painted than were asked for")


def test_cancelling_a_job_in_line_ends_it_at_once_and_leaves_no_gap() -> None:
    gate = Gate()
    with jobs_of(gate) as jobs:
        painted = submit(jobs, "ann", "a0")
        until(lambda: painted.state == "painting")
        gone, stays = submit(jobs, "ann", "a1"), submit(jobs, "ann", "a2")
        jobs.cancel(gone)
        assert gone.state == "cancelled"
        assert gone.wait(0)
        assert jobs.ahead(stays) == 0
        jobs.cancel(gone)
        assert jobs.counts["cancelled"] == 1, "a job ends once"
        gate.let(2)
        assert stays.wait(5)
        assert gate.begun == ["a0", "a2"]


def test_cancelling_a_job_at_work_keeps_what_was_painted() -> None:
    gate = Gate(Painter(delay=0.02))
    with jobs_of(gate) as jobs:
        job = submit(jobs, "ann", "a fox", 100)
        gate.let(100)
        until(lambda: len(job.made) >= 2)
        jobs.cancel(job)
        assert job.wait(5)
        assert job.state == "cancelled"
        assert 2 <= len(job.made) < 100
        assert 0 < job.progress < 1
        assert job.error is None
        following = submit(jobs, "bob", "next")
        assert following.wait(5)
        assert following.state == "done"


def test_a_painter_that_fails_fails_its_job_alone() -> None:
    def broken(requests: Sequence[GenerationRequest], watch: Watch) -> Iterator[tuple[int, GeneratedImage]]:
        match requests[0].composition.prompt:
            case "told":
                raise InputError("the size must be a multiple of 8")
            case "not told":
                raise ZeroDivisionError("/home/ada/secret")
        yield from Painter().generate_each(requests, watch=watch)

    with jobs_of(broken) as jobs:
        told, untold, good = (submit(jobs, "ann", prompt) for prompt in ("told", "not told", "good"))
        assert good.wait(5)
        assert (told.state, untold.state, good.state) == ("failed", "failed", "done")
        assert str(told.error) == "the size must be a multiple of 8"
        assert "ZeroDivisionError" in str(untold.error)
        assert "secret" not in str(untold.error), "what went wrong in a way of its own is for the log"
        assert jobs.counts == {"done": 1, "failed": 2, "cancelled": 0}


def test_a_failed_job_holds_nothing_of_its_painter() -> None:
    class Tensor:
        pass

    held: list[weakref.ref[Tensor]] = []

    def broken(requests: Sequence[GenerationRequest], watch: Watch) -> Iterator[tuple[int, GeneratedImage]]:
        tensor = Tensor()
        held.append(weakref.ref(tensor))
        try:
            raise ValueError("within")
        except ValueError as error:
            raise InputError("it does not fit") from error
        yield  # a generator, as painters are

    with jobs_of(broken) as jobs:
        job = submit(jobs, "ann", "a fox")
        assert job.wait(5)
        assert job.state == "failed"
        until(lambda: gc.collect() >= 0 and held[0]() is None)


def test_a_full_queue_refuses_and_has_room_again() -> None:
    gate = Gate()
    with jobs_of(gate, most=2) as jobs:
        first = submit(jobs, "ann", "a0")
        until(lambda: first.state == "painting")
        waiting = [submit(jobs, "ann", "a1"), submit(jobs, "bob", "b0")]
        with pytest.raises(QueueFull, match="2 jobs are waiting already"):
            submit(jobs, "cho", "c0")
        jobs.cancel(waiting[0])
        assert submit(jobs, "cho", "c0").state == "waiting"


def test_jobs_between_two_of_their_turns_count_in_a_full_queue() -> None:
    """Else whoever gives itself ever new names would have ever more jobs begun."""
    gate = Gate()
    with jobs_of(gate, most=2) as jobs:
        begun = [submit(jobs, client, client, 3) for client in ("ann", "bob")]
        gate.let(2)
        until(lambda: gate.begun == ["ann", "bob", "ann"])
        assert jobs.waiting == 0
        submit(jobs, "cho", "cho")
        with pytest.raises(QueueFull, match="2 jobs are waiting already"):
            submit(jobs, "dan", "dan")
        assert [job.state for job in begun] == ["painting", "painting"]


def test_a_preview_goes_when_its_picture_is_there() -> None:
    gate = Gate()
    seen: list[tuple[int, int | None]] = []
    with jobs_of(gate) as jobs:
        job = submit(jobs, "ann", "a fox", 2)
        with job.heard(lambda: seen.append((len(job.made), job.preview and job.preview[0]))):
            gate.let(2)
            assert job.wait(5)
    assert {(0, 0), (1, None), (1, 1), (2, None)} <= set(seen)
    assert (1, 0) not in seen, "the first picture's preview beside the picture itself"


def test_closing_cancels_everything_and_takes_nothing_more() -> None:
    gate = Gate()
    with jobs_of(gate) as jobs:
        all_of_them = [submit(jobs, client, f"{client}{n}") for client in ("ann", "bob") for n in range(3)]
        until(lambda: len(gate.begun) == 1)
        jobs.close()
        assert {job.state for job in all_of_them} == {"cancelled"}
        assert gate.closed == gate.begun == ["ann0"], "the painter was told to stop, and what it held was let go"
        with pytest.raises(QueueFull, match="closing"):
            submit(jobs, "ann", "late")


def test_each_painter_paints_its_own_job_at_the_same_time() -> None:
    gates = Gate(), Gate()
    with jobs_of(*gates) as jobs:
        both = [submit(jobs, "ann", "a0"), submit(jobs, "ann", "a1")]
        until(lambda: all(job.state == "painting" for job in both))
        assert sorted(gates[0].begun + gates[1].begun) == ["a0", "a1"]
        assert set(jobs.at_work) == set(both)
        for gate in gates:
            gate.let()
        assert all(job.wait(5) for job in both)


def test_many_threads_may_ask_look_and_cancel_at_once() -> None:
    with jobs_of(lambda requests, watch: Painter().generate_each(requests, watch=watch), most=10_000) as jobs:
        failures: list[BaseException] = []

        def hammer(client: str) -> None:
            try:
                for number in range(60):
                    job = submit(jobs, client, f"{client}{number}")
                    assert jobs.ahead(job) >= 0
                    assert jobs.waiting >= 0
                    assert len(jobs.all(client)) <= number + 1
                    if number % 3 == 0:
                        jobs.cancel(job)
            except BaseException as error:  # told to the test's own thread
                failures.append(error)

        threads = [threading.Thread(target=hammer, args=(f"c{number}",)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failures
        assert all(job.wait(10) for job in jobs.all())
        assert sum(jobs.counts.values()) == 360
        assert jobs.counts["failed"] == 0


def jobs_alive() -> int:
    gc.collect()
    return sum(type(thing) is Job for thing in gc.get_objects())


def test_memory_stays_flat_over_many_jobs() -> None:
    """A thousand ended jobs are remembered, in brief; older ones are forgotten with all that they held."""
    record = AdapterRecord(
        source="folder", key="/loras/fox.safetensors", title="Fox", path="/loras/fox.safetensors",
        description="a long story " * 100, examples=(Example(prompt="a fox"),) * 50,
    )  # fmt: skip
    choice = Choice(adapter=record, weight=0.8, span="fox")
    request = asked("a fox", seed=1)
    request = replace(request, composition=replace(request.composition, choices=(choice,)))

    def nothing(requests: Sequence[GenerationRequest], watch: Watch) -> Iterator[tuple[int, GeneratedImage]]:
        yield from ()

    views = [View(place=0, label="with", panel="p")]
    before = jobs_alive()
    with jobs_of(nothing, most=10_000) as jobs:
        first = jobs.submit("ann", [request], views=views, composition=request.composition)
        assert first.wait(5)
        brief = first.asked.choices[0].adapter
        assert (brief.title, brief.key, brief.path) == (record.title, record.key, record.path)
        assert brief.description is None
        assert brief.examples == ()
        assert first.requests[0].composition.choices[0].adapter is brief, "told once"
        number = first.id
        del first, brief
        for _ in range(1100):
            last = jobs.submit("ann", [request])
        assert last.wait(20)
        jobs.submit("ann", [request]).wait(5)
        assert jobs.get(number) is None
        assert len(jobs.all()) <= 1002
        assert jobs_alive() - before <= 1002 + 1
