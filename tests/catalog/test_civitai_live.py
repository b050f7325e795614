"""Civitai as it behaves on bad days, played by a server on this machine."""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests

from velatura.catalog.civitai_live import CivitaiLive
from velatura.errors import SourceError, SourceUnavailable
from velatura.protocols import Entry
from velatura.records import AdapterRecord, Rejection

Answer = tuple[int, dict[str, str], bytes]


def page(number: int, **changes: Any) -> dict[str, Any]:
    file = {"id": number * 100, "name": f"a{number}.safetensors", "type": "Model", "downloadUrl": "https://x/y"}
    version = {"id": number * 10, "files": [file], "images": [{"id": 5, "url": "https://i/5.png", "nsfwLevel": 1}]}
    return {"id": number, "name": f"Adapter {number}", "type": "LORA", "modelVersions": [version], **changes}


def ok(items: list[Any], cursor: Any = None) -> Answer:
    metadata = {} if cursor is None else {"nextCursor": cursor, "nextPage": "https://elsewhere/%ZZ?cursor=wrong"}
    return 200, {"Content-Type": "application/json"}, json.dumps({"items": items, "metadata": metadata}).encode()


HTML: Answer = (200, {"Content-Type": "text/html"}, b"<!doctype html><title>Just a moment...</title>")


class Site:
    """Answers by script: one answer, or several in turn, for each cursor."""

    def __init__(self) -> None:
        self.script: dict[str | None, list[Answer]] = {}
        self.pictures: list[Answer] = []
        self.asked: list[str | None] = []
        self.queries: list[dict[str, list[str]]] = []
        self.headers: list[dict[str, str]] = []
        self.pauses: list[float] = []
        self.url = ""

    def answer(self, path: str, headers: dict[str, str]) -> Answer:
        query = parse_qs(urlsplit(path).query)
        self.queries.append(query)
        self.headers.append(headers)
        if urlsplit(path).path == "/api/v1/images":
            return self.pictures.pop(0) if len(self.pictures) > 1 else self.pictures[0]
        cursor = query.get("cursor", [None])[0]
        self.asked.append(cursor)
        answers = self.script[cursor]
        return answers.pop(0) if len(answers) > 1 else answers[0]

    def source(self, **options: Any) -> CivitaiLive:
        return CivitaiLive(
            base_url=self.url, sleep=self.pauses.append, rng=random.Random(0), timeout=0.5, **{"tries": 5, **options}
        )


@pytest.fixture
def site() -> Iterator[Site]:
    played = Site()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, headers, body = played.answer(self.path, dict(self.headers))
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            if "Content-Length" not in headers:
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
            self.close_connection = "Content-Length" in headers

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.handle_error = lambda *_: None  # type: ignore[method-assign]
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    played.url = f"http://127.0.0.1:{server.server_address[1]}"
    yield played
    server.shutdown()
    server.server_close()


def models(source: CivitaiLive) -> list[tuple[str, str | None]]:
    return [(entry.locator, entry.bookmark) for entry in source.entries() if isinstance(entry, Entry)]


def test_cursors_are_followed_as_they_come(site: Site) -> None:
    site.script = {
        None: [ok([page(1), page(2)], "2025-01-01|a&b=ü")],
        "2025-01-01|a&b=ü": [ok([page(3)], 4711)],
        "4711": [ok([page(4)])],
    }
    source = site.source()
    assert models(source) == [
        ("civitai:1", None),
        ("civitai:2", None),
        ("civitai:3", "2025-01-01|a&b=ü"),
        ("civitai:4", "4711"),
    ]
    assert (source.name, source.complete) == ("civitai", False)
    assert site.pauses == []
    assert all("page" not in query for query in site.queries)
    assert site.queries[0]["nsfw"] == ["true"]
    assert site.queries[0]["types"] == ["LORA", "LoCon", "DoRA"]


def test_an_empty_page_with_a_cursor_is_no_end(site: Site) -> None:
    site.script = {None: [ok([], "b")], "b": [ok([], "c")], "c": [ok([page(1)])]}
    assert models(site.source()) == [("civitai:1", "c")]


def test_a_cursor_that_comes_again_is_the_end(site: Site) -> None:
    site.script = {None: [ok([page(1)], "b")], "b": [ok([page(2)], "c")], "c": [ok([page(3)], "b")]}
    assert [locator for locator, _ in models(site.source())] == ["civitai:1", "civitai:2", "civitai:3"]


def test_endless_empty_pages_end_in_a_sentence(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("velatura.catalog.civitai_live._EMPTY_PAGES", 3)
    site.script = {None: [ok([], "1")], "1": [ok([], "2")], "2": [ok([], "3")], "3": [ok([page(1)])]}
    with pytest.raises(SourceError, match="empty pages"):
        list(site.source().entries())


def test_overload_is_waited_out_as_the_site_asks_or_ever_longer(site: Site) -> None:
    busy: list[Answer] = [(503, {"Retry-After": "2"}, b""), (429, {}, b"{}"), (500, {}, b""), HTML]
    site.script = {None: [*busy, ok([page(1)])]}
    assert [locator for locator, _ in models(site.source())] == ["civitai:1"]
    first, *doubled = site.pauses
    assert first == 2.0
    for attempt, pause in enumerate(doubled, 1):
        assert 0.5 * 2**attempt <= pause <= 2**attempt


@pytest.mark.parametrize(
    ("header", "low", "high"),
    [("99999", 300, 300), ("-5", 0, 0), ("Wed, 21 Oct 2015 07:28:00 GMT", 0, 0), ("soon", 0.5, 1), ("nan", 0.5, 1)],
)
def test_what_the_site_asks_for_is_bounded(site: Site, header: str, low: float, high: float) -> None:
    site.script = {None: [(503, {"Retry-After": header}, b""), ok([])]}
    list(site.source().entries())
    assert low <= site.pauses[0] <= high


def test_a_torn_answer_is_asked_for_again(site: Site) -> None:
    site.script = {None: [(200, {"Content-Length": "5000"}, b'{"items": ['), ok([page(1)])]}
    assert len(models(site.source())) == 1
    assert len(site.pauses) == 1


def test_a_timeout_is_asked_again() -> None:
    class Slow:
        asked = 0

        def get(self, url: str, **_: Any) -> Any:
            self.asked += 1
            raise requests.ReadTimeout(f"{url} took too long")

    slow = Slow()
    with pytest.raises(SourceUnavailable, match="timeout, 3 tries"):
        list(CivitaiLive(slow, tries=3, sleep=lambda _: None).entries())  # type: ignore[arg-type]
    assert slow.asked == 3


def test_a_site_that_stays_away_is_one_sentence_and_not_for_ever(site: Site) -> None:
    site.script = {None: [(503, {}, b"")]}
    with pytest.raises(SourceUnavailable, match="HTTP 503, 5 tries"):
        list(site.source().entries())
    assert len(site.asked) == 5
    with pytest.raises(SourceUnavailable, match="no connection"):
        list(CivitaiLive(base_url="http://127.0.0.1:9", sleep=lambda _: None, tries=2).entries())


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ((401, {}, b"{}"), "CIVITAI_API_TOKEN"),
        ((403, {}, b"{}"), "CIVITAI_API_TOKEN"),
        ((403, {"Content-Type": "text/html"}, b"<html>"), "guard"),
        ((400, {}, b"{}"), "HTTP 400"),
        ((200, {}, b'{"error": "x"}'), "something else"),
        ((200, {}, b"[1, 2]"), "something else"),
    ],
)
def test_a_refusal_is_one_sentence_and_is_not_repeated(site: Site, answer: Answer, words: str) -> None:
    site.script = {None: [answer]}
    with pytest.raises(SourceError) as refused:
        list(site.source().entries())
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)
    assert not isinstance(refused.value, SourceUnavailable)
    assert len(site.asked) == 1


def test_the_token_stands_in_its_header_alone(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CIVITAI_API_TOKEN", "s3cret")
    site.script = {None: [ok([page(1)], "b")], "b": [(401, {}, b"{}")]}
    source = site.source()
    with pytest.raises(SourceError) as refused:
        list(source.entries())
    assert [headers["Authorization"] for headers in site.headers] == ["Bearer s3cret"] * 2
    assert "s3cret" not in f"{site.queries} {refused.value} {source.scope} {refused.value.__cause__}"
    monkeypatch.delenv("CIVITAI_API_TOKEN")
    site.script = {None: [ok([])]}
    list(site.source().entries())
    assert "Authorization" not in site.headers[-1]


def test_a_run_that_was_killed_goes_on_from_its_bookmark(site: Site) -> None:
    site.script = {
        None: [ok([page(1), page(2)], "b")],
        "b": [ok([page(3), page(4)], "c")],
        "c": [ok([page(5), page(6)])],
    }
    for stop in range(1, 7):
        seen, bookmark = [], None
        for count, entry in enumerate(site.source().entries(), 1):
            assert isinstance(entry, Entry)
            if count == stop:  # killed before this one was kept
                break
            seen.append(entry.locator)
            bookmark = entry.bookmark
        site.asked.clear()
        rest = [locator for locator, _ in models(site.source(resume_from=bookmark))]
        assert set(seen) | set(rest) == {f"civitai:{number}" for number in range(1, 7)}
        assert site.asked[0] == bookmark


def test_items_that_are_no_models_cost_no_neighbour(site: Site) -> None:
    site.script = {None: [ok([page(1), None, {"name": "no id"}, [], page(2), page(2)])]}
    offered = list(site.source().entries())
    assert [entry.locator for entry in offered if isinstance(entry, Entry)] == ["civitai:1", "civitai:2"]
    assert len([item for item in offered if isinstance(item, Rejection)]) == 3


def test_prompts_are_fetched_for_each_version_when_asked_for(site: Site) -> None:
    site.script = {None: [ok([page(1)])]}
    meta = {"prompt": "a fox <lora:local:0.7>", "civitaiResources": [{"modelVersionId": 10, "weight": 0.6}]}
    nested = {
        "id": 5,
        "url": "https://i/5.png",
        "nsfwLevel": "None",
        "browsingLevel": 1,
        "meta": {"id": 5, "meta": meta},
    }
    site.pictures = [(503, {"Retry-After": "0"}, b""), ok([nested, {"id": 6, "url": "https://i/6.png", "meta": None}])]
    (entry,) = site.source(with_prompts=True).entries()
    assert isinstance(entry, Entry)
    assert len(site.queries) == 1, "pictures are only fetched when the page is read"
    (record,) = entry.read()
    assert isinstance(record, AdapterRecord)
    assert [(example.image, example.prompt) for example in record.examples] == [
        ("https://i/5.png", "a fox <lora:local:0.7>"),
        ("https://i/6.png", None),
    ]
    assert [seen.weight for seen in record.weights] == [0.6]
    assert site.queries[-1]["modelVersionId"] == ["10"]
    assert site.queries[-1]["withMeta"] == ["true"]
    (plain,) = site.source().entries()
    assert isinstance(plain, Entry)
    assert plain.stamp != entry.stamp


@pytest.mark.parametrize("answer", [(404, {}, b"{}"), (200, {}, b'{"items": "none"}'), (200, {}, b"[]")])
def test_pictures_that_are_refused_leave_the_page_as_it_is(site: Site, answer: Answer) -> None:
    site.script = {None: [ok([page(1)])]}
    site.pictures = [answer]
    (entry,) = site.source(with_prompts=True).entries()
    assert isinstance(entry, Entry)
    (record,) = entry.read()
    assert isinstance(record, AdapterRecord)
    assert [example.image for example in record.examples] == ["https://i/5.png"]


def test_pictures_that_do_not_come_now_stop_the_run(site: Site) -> None:
    site.script = {None: [ok([page(1)])]}
    site.pictures = [(503, {}, b"")]
    (entry,) = site.source(with_prompts=True).entries()
    assert isinstance(entry, Entry)
    with pytest.raises(SourceUnavailable):
        entry.read()


def test_the_scope_is_the_question(site: Site) -> None:
    one, same, other = site.source(), site.source(page_size=7), site.source(params={"tag": "fox"})
    assert one.scope == same.scope != other.scope
