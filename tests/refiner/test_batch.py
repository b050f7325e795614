"""Large catalogues described in batches: nothing lost, nothing sent twice, whatever ends a run or comes back."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from batch_server import SECRET, Mill, batch_server, chat, described, line
from PIL import Image
from shelf import Given, adapter

from velatura.db import Store, open_store
from velatura.errors import CatalogueError, InputError, LanguageModelError
from velatura.llm import LanguageModel
from velatura.records import AdapterRecord, RefinedAdapter, Usage
from velatura.refiner.batch import BatchReport, collect, submit
from velatura.refiner.batch_files import write_files
from velatura.refiner.batch_ledger import BatchLedger
from velatura.refiner.shown import ShownPictures
from velatura.refiner.vlm import VlmDescriber


@pytest.fixture
def mill(monkeypatch: pytest.MonkeyPatch) -> Iterator[Mill]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    with batch_server() as found:
        yield found


@dataclass
class Desk:
    """A catalogue, who describes it, and the file that remembers."""

    store: Store
    describer: VlmDescriber
    ledger: Path

    def submit(self, **options: Any) -> BatchReport:
        return submit(self.store, self.describer, self.ledger, **options)

    def collect(self) -> BatchReport:
        return collect(self.store, self.describer, self.ledger)

    def stale(self) -> list[int]:
        return self.store.stale_refinements(self.describer.name)

    def offer(self, *records: AdapterRecord) -> None:
        self.store.sync(Given(records))


@pytest.fixture
def desk(mill: Mill, tmp_path: Path) -> Iterator[Desk]:
    model = LanguageModel("eye", url=mill.url, retries=0)
    with open_store(tmp_path / "catalogue.db") as store:
        store.sync(Given([adapter(f"fox {number}", triggers=(("foxy",),)) for number in range(5)]))
        yield Desk(store, VlmDescriber(model, ShownPictures()), tmp_path / "batches.json")


def fine(custom: str) -> dict[str, Any]:
    return chat(described())


def test_everything_is_sent_once_and_described_when_it_is_back(mill: Mill, desk: Desk) -> None:
    report = desk.submit()
    assert (report.submitted, report.batches, report.under_way, report.notes) == (5, 1, 5, ())
    first = json.loads(next(iter(mill.files.values())).splitlines()[0])
    assert (first["method"], first["url"]) == ("POST", "/v1/chat/completions")
    assert first["body"] == desk.describer.body(desk.store.adapter(1))
    assert desk.collect() == BatchReport(under_way=5)
    mill.finish(fine)
    report = desk.collect()
    assert (report.described, report.batches, report.under_way) == (5, 1, 0)
    assert report.usage == Usage(calls=5, read=3500, cached=2560, written=100)
    assert desk.stale() == []
    refined = desk.store.adapter(3).refinement
    assert (refined.description, refined.category, refined.writer) == ("It draws a fox.", "animal", "vlm 1 eye")
    assert desk.submit().submitted == 0
    assert len(mill.asked()) == 5


def test_what_is_under_way_is_not_sent_again(mill: Mill, desk: Desk) -> None:
    assert desk.submit(limit=2).submitted == 2
    assert desk.submit().submitted == 3
    assert desk.submit().submitted == 0
    assert len(mill.asked()) == len(set(mill.asked())) == 5


def test_adapters_that_say_the_same_are_asked_once(mill: Mill, desk: Desk) -> None:
    desk.offer(*(adapter(f"copy {number}", title="Copy") for number in range(4)))
    assert desk.submit().submitted == 1
    mill.finish(fine)
    assert desk.collect().described == 4
    desk.offer(*(adapter(f"copy {number}", title="Copy") for number in range(6)))
    report = desk.submit()
    assert (report.submitted, report.described) == (0, 2)
    assert desk.stale() == []


def test_pictures_go_along(mill: Mill, desk: Desk, tmp_path: Path) -> None:
    Image.new("RGB", (900, 600), "red").save(tmp_path / "fox.png")
    desk.offer(adapter("seen", path=str(tmp_path / "fox.safetensors"), previews=("fox.png",)))
    desk.submit()
    content = json.loads(next(iter(mill.files.values())))["body"]["messages"][1]["content"]
    assert content[1]["image_url"]["url"].startswith("data:image/jpeg;base64,")


def test_files_keep_the_limits_of_lines_and_bytes(mill: Mill, desk: Desk, tmp_path: Path) -> None:
    assert desk.submit(lines=2).batches == 3
    assert [len(content.splitlines()) for content in mill.files.values()] == [2, 2, 1]
    questions = [(f"{number:032}", {"text": "x" * length}) for number, length in enumerate((10, 500, 10, 9, 200))]
    (tmp_path / "files").mkdir()
    files = list(write_files(questions, tmp_path / "files", size=320))
    assert [len(file.origins) for file in files] == [2, 1, 1] or [len(file.origins) for file in files] == [2, 2]
    assert [origin for file in files for origin in file.too_long] == [f"{1:032}"]
    for file in files:
        assert file.size == file.path.stat().st_size <= 320
        assert [json.loads(text)["custom_id"] for text in file.path.read_bytes().splitlines()] == file.origins


def test_question_too_long_for_any_file_is_told(mill: Mill, desk: Desk) -> None:
    report = desk.submit(size=10)
    assert (report.submitted, len(report.notes)) == (0, 5)
    assert "adapter 1 is too long" in report.notes[0]
    assert not mill.batches


# ---------------------------------------------------------------- what comes back


def test_answers_of_every_kind(mill: Mill, desk: Desk) -> None:
    desk.submit()
    customs = mill.asked()
    answers: dict[str, Any] = dict(
        zip(
            customs,
            [
                chat(described(category="fox")), chat(None, refusal="I will not"), chat("no JSON"), 400,
                chat(described(triggers=[1, 9], weight=9)),
            ],
            strict=True,
        )
    )  # fmt: skip
    mill.finish(answers.get)
    report = desk.collect()
    assert (report.described, report.failed, report.refused, report.unanswered) == (1, 3, 1, 0)
    failures = {number: (why, is_refusal) for number, why, is_refusal in desk.store.unrefined_failures("vlm 1 eye")}
    assert '"category" must be one of' in failures[1][0]
    assert failures[2] == ("eye refused: I will not", True)
    assert "no whole JSON object" in failures[3][0]
    assert "the server refuses the question: no sk-" in failures[4][0]
    assert desk.store.adapter(5).refinement.triggers == (("foxy",),)
    assert desk.store.adapter(5).refinement.weight is None
    assert desk.submit().submitted == 0
    assert desk.submit(retry=True).submitted == 4
    mill.finish(fine)
    assert desk.collect().described == 4
    assert desk.store.unrefined_failures("vlm 1 eye") == []


@pytest.mark.parametrize("status", ["expired", "cancelled"])
def test_expired_batch_gives_what_it_has_and_the_rest_is_sent_again(mill: Mill, desk: Desk, status: str) -> None:
    desk.submit()
    customs = mill.asked()
    mill.finish(lambda custom: None if custom in customs[2:] else chat(described()), status)
    report = desk.collect()
    assert (report.described, report.unanswered, report.failed) == (2, 3, 0)
    assert desk.submit().submitted == 3


def test_failing_servers_and_missing_lines_are_no_answers(mill: Mill, desk: Desk) -> None:
    desk.submit()
    kinds = iter([500, 429, "left out", 503])
    mill.finish(lambda custom: next(kinds, chat(described())))
    report = desk.collect()
    assert (report.described, report.unanswered, report.failed) == (1, 4, 0)
    assert desk.submit().submitted == 4


def test_batch_that_the_server_finds_faulty_is_told_and_may_be_sent_again(mill: Mill, desk: Desk) -> None:
    desk.submit()
    told = {"object": "list", "data": [{"code": "token_limit_exceeded", "message": "Enqueued token limit reached"}]}
    mill.batches["batch-0"].update(status="failed", errors=told)
    report = desk.collect()
    assert report.notes == ("batch batch-0: Enqueued token limit reached",)
    assert (report.unanswered, report.under_way) == (5, 0)
    assert desk.submit().submitted == 5


def test_lines_of_strangers_and_nonsense_are_passed_over(mill: Mill, desk: Desk) -> None:
    desk.submit()
    mill.finish(fine)
    good = mill.files["output-batch-0"]
    junk: list[Any] = [
        line("f" * 32, chat(described())), line("", chat(described())), {"custom_id": None}, {"custom_id": {"a": 1}},
        {}, [], "text", None, line(mill.asked()[0], "no object"), {"custom_id": mill.asked()[1], "response": []},
    ]  # fmt: skip
    raw = b"\n".join(json.dumps(row).encode() for row in junk) + b'\n{"custom_id": \n\xff\xfe\n' + b"[" * 50_000 + b"\n"
    mill.files["output-batch-0"] = raw + good + good
    report = desk.collect()
    assert (report.described, report.failed, report.unanswered) == (5, 0, 0)
    assert report.unknown == 4


def test_answer_on_an_adapter_that_has_changed_is_not_taken(mill: Mill, desk: Desk) -> None:
    desk.submit()
    desk.offer(adapter("fox 0", title="Owl"), *(adapter(f"fox {number}", triggers=(("foxy",),)) for number in (1, 2)))
    mill.finish(fine)
    report = desk.collect()
    assert (report.described, report.unknown) == (4, 1)
    assert desk.stale() == [1]
    assert desk.store.adapter(1).refinement.writer is None
    assert desk.submit().submitted == 1


def test_answers_that_the_server_has_thrown_away_are_told(mill: Mill, desk: Desk) -> None:
    desk.submit()
    mill.finish(fine)
    del mill.files["output-batch-0"]
    report = desk.collect()
    assert (report.unanswered, report.described) == (5, 0)
    assert "does not have the file" in report.notes[0]


def test_batch_that_the_server_does_not_know_stays_and_is_told(mill: Mill, desk: Desk) -> None:
    desk.submit()
    kept = dict(mill.batches)
    mill.batches.clear()
    report = desk.collect()
    assert report.under_way == 5
    assert re.search(r"does not know the batch batch-0.*batches\.json", report.notes[0])
    mill.batches.update(kept)
    mill.finish(fine)
    assert desk.collect().described == 5


def test_batches_of_another_describer_are_left_alone(mill: Mill, desk: Desk) -> None:
    desk.submit()
    mill.finish(fine)
    other = VlmDescriber(LanguageModel("ear", url=mill.url), ShownPictures())
    assert collect(desk.store, other, desk.ledger) == BatchReport()
    assert submit(desk.store, other, desk.ledger).submitted == 5
    assert desk.collect().described == 5


# ---------------------------------------------------------------- killed, and again


class Killed(BaseException):
    """Ends a run where nothing can be caught."""


def kill_at(monkeypatch: pytest.MonkeyPatch, name: str, *, before: bool, of: Any) -> None:
    real = getattr(of, name)

    def killed(*given: Any, **options: Any) -> Any:
        if not before:
            real(*given, **options)
        raise Killed

    monkeypatch.setattr(of, name, killed)


SUBMIT_KILLS = [("plan", True), ("plan", False), ("sent", True), ("sent", False)]


@pytest.mark.parametrize(("step", "before"), SUBMIT_KILLS)
def test_killed_submission_goes_on_and_sends_nothing_twice(
    mill: Mill, desk: Desk, monkeypatch: pytest.MonkeyPatch, step: str, before: bool
) -> None:
    with monkeypatch.context() as patched:
        kill_at(patched, step, before=before, of=BatchLedger)
        with pytest.raises(Killed):
            desk.submit(lines=2)
    desk.submit(lines=2)
    mill.finish(fine)
    assert desk.collect().described == 5
    assert sorted(mill.asked()) == sorted(set(mill.asked()))
    assert len(mill.asked()) == 5


def test_answer_to_the_sending_that_is_lost_makes_no_second_batch(mill: Mill, desk: Desk) -> None:
    real = mill.reply

    def lost(method: str, path: str, body: bytes, kind: str) -> tuple[int, Any]:
        status, answer = real(method, path, body, kind)
        return (500, {"error": {"message": "lost"}}) if (method, path) == ("POST", "batches") else (status, answer)

    mill.reply = lost  # type: ignore[method-assign]
    with pytest.raises(LanguageModelError, match="lost"):
        desk.submit()
    mill.reply = real  # type: ignore[method-assign]
    report = desk.submit()
    assert (report.submitted, report.under_way, len(mill.batches)) == (0, 5, 1)


COLLECT_KILLS = [
    (Store, "put_replies", True), (Store, "put_replies", False), (Store, "put_refinements", True),
    (Store, "put_refinements", False), (BatchLedger, "drop", True), (BatchLedger, "drop", False),
]  # fmt: skip


@pytest.mark.parametrize(("of", "step", "before"), COLLECT_KILLS)
def test_killed_collection_goes_on(
    mill: Mill, desk: Desk, monkeypatch: pytest.MonkeyPatch, of: Any, step: str, before: bool
) -> None:
    desk.submit()
    mill.finish(fine)
    with monkeypatch.context() as patched:
        kill_at(patched, step, before=before, of=of)
        with pytest.raises(Killed):
            desk.collect()
    desk.collect()
    assert desk.submit().submitted == 0
    assert desk.stale() == []
    assert len(mill.asked()) == 5


def test_upload_that_fails_is_sent_again_later(mill: Mill, desk: Desk) -> None:
    mill.broken["POST /files"] = (500, f"full, {SECRET}")
    with pytest.raises(LanguageModelError) as caught:
        desk.submit()
    assert SECRET not in str(caught.value)
    del mill.broken["POST /files"]
    assert desk.submit().submitted == 5


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (401, InputError),
        (403, InputError),
        (404, LanguageModelError),
        (400, LanguageModelError),
        (413, LanguageModelError),
    ],
)
def test_server_without_batches_is_one_sentence(mill: Mill, desk: Desk, status: int, kind: type[Exception]) -> None:
    mill.broken["POST /batches"] = (status, "not here")
    with pytest.raises(kind, match=r"127\.0\.0\.1 .*not here"):
        desk.submit()
    assert desk.store.replies("vlm 1 eye", ["a"]) == {}


def test_server_that_is_gone_is_one_sentence(desk: Desk) -> None:
    model = LanguageModel("eye", url="http://127.0.0.1:9/v1", retries=0)
    with pytest.raises(LanguageModelError, match=r"127\.0\.0\.1 does not answer"):
        submit(desk.store, VlmDescriber(model), desk.ledger)


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"null", b"\xff", b'{"version": 9}', b'{"version": 1, "serial": 1, "batches": [{}]}',
     b'{"version": 1, "serial": "x", "batches": []}', b'{"version": 1, "serial": 1, "batches": {"a": 1}}',
     b"[" * 100_000],
)  # fmt: skip
def test_damaged_ledger_is_never_overwritten(mill: Mill, desk: Desk, content: bytes) -> None:
    desk.ledger.write_bytes(content)
    with pytest.raises(CatalogueError, match=r"batches\.json"):
        desk.submit()
    assert desk.ledger.read_bytes() == content
    assert not mill.calls


def test_ledger_holds_no_key_and_no_card(desk: Desk) -> None:
    desk.submit()
    text = desk.ledger.read_text()
    assert SECRET not in text
    assert "foxy" not in text


def test_hostile_card_reaches_no_other_line(mill: Mill, desk: Desk) -> None:
    hostile = 'x"}}\n{"custom_id": "evil"}\n\u2028\u0085\ud800'
    desk.offer(adapter("a", description=hostile), adapter("b", title="Fox"))
    desk.submit()
    rows = [json.loads(text) for text in next(iter(mill.files.values())).split(b"\n") if text]
    known = {desk.describer.origin(desk.store.adapter(number)) for number in desk.stale()}
    assert {row["custom_id"] for row in rows} == known
    assert len(rows) == 2


def test_adapter_is_kept_apart_from_its_neighbours(mill: Mill, desk: Desk) -> None:
    desk.submit()
    told = {custom: chat(described(description=f"It draws number {n}.")) for n, custom in enumerate(mill.asked(), 1)}
    mill.finish(told.get)
    desk.collect()
    adapters: list[RefinedAdapter] = desk.store.adapters([1, 2, 3, 4, 5])
    assert [one.refinement.description for one in adapters] == [f"It draws number {n}." for n in range(1, 6)]
