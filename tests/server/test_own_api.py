"""Our own API, over a real server on the playground: what is found, chosen and painted, and how it is told."""

from __future__ import annotations

import base64
import io
import json
import re
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from pydantic import TypeAdapter

from velatura.server.own import answer_models as told
from velatura.server.own.models import CompareAsked, ComposeAsked, ExportAsked, GenerateAsked, ImportAsked, SearchAsked

PROMPT = "a red rocket at sunset, stained glass style"


class Api:
    """Asks a server, and holds each answer to what its documentation says."""

    def __init__(self, url: str, **headers: str) -> None:
        self.url = url
        self.session = requests.Session()
        self.session.headers.update(headers)

    def ask(self, method: str, path: str, body: Any = None, status: int = 200, **headers: str) -> requests.Response:
        data = json.dumps(body).encode() if body is not None else None
        sent = {"Content-Type": "application/json", **headers}
        answer = self.session.request(method, f"{self.url}{path}", data=data, headers=sent, timeout=120)
        assert answer.status_code == status, answer.text
        return answer

    def get(self, path: str, model: Any = Any, status: int = 200) -> Any:
        return self._held(self.ask("GET", path, status=status), model)

    def post(self, path: str, body: Any, model: Any = Any, status: int = 200) -> Any:
        return self._held(self.ask("POST", path, body, status), model)

    def refused(self, path: str, body: Any, status: int = 422, method: str = "POST") -> str:
        """Return the sentence of an error."""
        return str(self.ask(method, path, body, status).json()["error"]["message"])

    def painted(self, path: str, body: Any) -> dict[str, Any]:
        """Return a job that has ended well."""
        job = self.post(path, body, told.JobAnswer, status=202)["job"]
        for _ in range(6000):
            job = self.get(f"/jobs/{job['id']}", told.JobAnswer)["job"]
            if job["state"] not in ("waiting", "painting"):
                break
            time.sleep(0.02)
        assert job["state"] == "done", job["error"]
        return dict(job)

    @staticmethod
    def _held(answer: requests.Response, model: Any) -> Any:
        if model is not Any:
            TypeAdapter(model).validate_json(answer.content)
        return answer.json()


@pytest.fixture(scope="module")
def api(served: Any) -> Api:
    return Api(served.url)


@pytest.fixture(scope="module")
def composition(api: Api) -> dict[str, Any]:
    return dict(api.post("/compose", {"prompt": PROMPT}))


# ------------------------------------------------------------------------------------------------ finding


def test_about_tells_what_paints_and_what_is_allowed(api: Api) -> None:
    about = api.get("/about", told.AboutTold)
    assert (about["family"], about["own_size"], about["painter"]) == ("miniature", [32, 32], True)
    assert about["model"] == "base", "a name, and not where it lies"
    assert about["adapters"] == about["installed"] == sum(about["kinds"].values())
    assert about["limits"]["pictures"] == 16
    assert "a1111" in about["forms"]
    assert about["defaults"]["steps"] > 0


def test_search_finds_says_why_and_counts_what_is_kept_out(api: Api) -> None:
    body = {"prompt": "a red rocket at sunset", "limit": 3, "filter": {"family": "miniature", "whole": True}}
    found = api.post("/search", body, told.SearchTold)
    best = found["candidates"][0]
    assert best["title"] == "rocket-retro"
    assert "trigger “rocket”" in best["because"]
    assert best["preview"] == f"/adapters/{best['id']}/preview"
    assert len(found["candidates"]) == 3
    assert found["excluded"] == {"family": 1}
    banned = api.post("/search", body | {"filter": {"banned": [best["id"]]}})
    assert best["id"] not in [each["id"] for each in banned["candidates"]]


def test_search_by_trigger_and_by_likeness(api: Api) -> None:
    by_trigger = api.post("/search", {"prompt": "stained glass", "trigger": True}, told.SearchTold)
    assert "stained glass" in json.dumps(by_trigger["candidates"][0])
    alike = api.post("/search", {"similar_to": by_trigger["candidates"][0]["id"], "limit": 2}, told.SearchTold)
    assert len(alike["candidates"]) == 2
    quoted = api.post("/search", {"prompt": 'a "rocket"'}, told.SearchTold)
    assert any("“rocket”" in note for note in quoted["notes"])


def test_search_by_picture_needs_a_picture_model(api: Api) -> None:
    assert "no picture model" in api.refused("/search", {"picture": data_url(Image.new("RGB", (8, 8)))})


@pytest.mark.parametrize(
    "body",
    [{}, {"prompt": "a", "similar_to": 1}, {"trigger": True, "similar_to": 1}, {"prompt": "a", "limit": 201},
     {"prompt": "a", "filter": {"family": "nonsense"}}, {"prompt": "a", "filter": {"commercial": "war"}},
     {"similar_to": 999_999}, {"similar_to": 2**63}, {"prompt": "a", "unknown": 1}, {"prompt": "x" * 10_001}],
)  # fmt: skip
def test_a_search_that_cannot_be_is_refused_in_a_sentence(api: Api, body: dict[str, Any]) -> None:
    assert api.refused("/search", body)


def test_adapters_are_listed_by_page_and_told_whole(api: Api) -> None:
    every = api.get("/adapters?limit=200", told.AdaptersTold)
    assert every["total"] == len(every["adapters"]) == api.get("/health", told.HealthTold)["adapters"]
    page = api.get("/adapters?limit=2&offset=3", told.AdaptersTold)
    assert page["adapters"] == every["adapters"][3:5]
    assert api.get("/adapters?source=civitai", told.AdaptersTold)["total"] == 0
    assert api.get("/adapters?source=folder&kind=lora", told.AdaptersTold)["total"] == 3
    assert api.get("/adapters?offset=9999", told.AdaptersTold)["adapters"] == []
    number = every["adapters"][0]["id"]
    known = api.get(f"/adapters/{number}", told.KnownTold)
    assert known["description"]
    assert known["title"] == every["adapters"][0]["title"]


def test_a_preview_is_a_small_webp_of_what_lies_beside_the_file(api: Api) -> None:
    with_picture = next(each for each in api.get("/adapters")["adapters"] if each["preview"])
    answer = api.ask("GET", with_picture["preview"])
    assert answer.headers["Content-Type"] == "image/webp"
    picture = Image.open(io.BytesIO(answer.content))
    assert max(picture.size) <= 320
    assert api.ask("GET", with_picture["preview"]).content == answer.content


def test_the_catalogue_tells_itself(api: Api) -> None:
    assert api.get("/stats")["files"] == 34
    assert len(api.get("/rejected?limit=1")) == 1
    assert {group["why"] for group in api.get("/duplicates")} == {"same file", "same tensors"}


@pytest.mark.parametrize(
    ("path", "status"),
    [("/adapters/999", 404), ("/adapters/999/preview", 404), ("/adapters/1e9", 422), ("/adapters/0", 422),
     ("/adapters/-1", 422), (f"/adapters/{2**70}", 422), ("/adapters?limit=0", 422), ("/adapters?offset=-1", 422),
     (f"/adapters?offset={2**80}", 422), ("/adapters?source=../etc", 422), ("/adapters?kind=%00", 200),
     ("/pictures/..%2f..%2fetc/passwd.png", 404), ("/pictures/../../etc/passwd", 404), ("/pictures/%ED%A0%80.png", 404),
     ("/pictures/x.png", 404), ("/pictures/x/story", 404), ("/jobs/x", 404), ("/jobs/%00", 404),
     ("/jobs/..%2f..%2f", 404), ("/jobs/x/events", 404), ("/nothing", 404)],
)  # fmt: skip
def test_paths_that_lead_nowhere(api: Api, path: str, status: int) -> None:
    answer = requests.Request("GET", api.url).prepare()
    answer.url = f"{api.url}{path}"  # as it stands: a client would tidy it
    got = api.session.send(answer, timeout=10)
    assert got.status_code == status
    assert status == 200 or got.json()["error"]["message"]


# ----------------------------------------------------------------------------------------------- choosing


def test_compose_chooses_weighs_and_warns(api: Api) -> None:
    body = {"prompt": PROMPT, "masks": 4, "seed": 1}
    composed = api.post("/compose", body, told.ComposeTold)
    titles = [choice["title"] for choice in composed["choices"]]
    assert "rocket-retro" in titles
    assert all(choice["id"] for choice in composed["choices"])
    assert [row["id"] for row in composed["weights"]] == [choice["id"] for choice in composed["choices"]]
    assert len(composed["masks"]) == len(composed["mask_weights"]) == 4
    assert composed["masks"][0] == [True] * len(titles)
    assert composed["painted_prompt"].startswith(PROMPT)
    assert composed["unembedded"] == 0
    assert api.post("/compose", body) == composed, "the same question has the same answer"


def test_compose_keeps_what_is_locked_and_leaves_out_what_is_banned(api: Api, composition: dict[str, Any]) -> None:
    first = composition["choices"][0]["id"]
    other = next(each["id"] for each in api.get("/adapters")["adapters"] if each["title"] == "chalk")
    body = {"prompt": PROMPT, "locked": {str(other): 0.3}, "filter": {"banned": [first]}}
    choices = api.post("/compose", body, told.ComposeTold)["choices"]
    kept = next(choice for choice in choices if choice["id"] == other)
    assert (kept["weight"], kept["kept"]) == (0.3, True)
    assert first not in [choice["id"] for choice in choices]
    assert "kept out" in api.refused(
        "/compose", {"prompt": "a", "locked": {str(first): 1}, "filter": {"banned": [first]}}
    )
    assert "number 999999" in api.refused("/compose", {"prompt": "a", "locked": {"999999": None}})


def test_an_empty_prompt_is_composed_of_nothing(api: Api) -> None:
    assert api.post("/compose", {"prompt": ""}, told.ComposeTold)["choices"] == []


def test_a_composition_comes_back_as_it_went_out(api: Api, composition: dict[str, Any]) -> None:
    """What is sent back has the catalogue's adapters, and what the client decided: weights, triggers, reasons."""
    exported = api.post("/export", {"composition": composition, "form": "json"}, told.ExportTold)
    again = json.loads(exported["text"])
    for before, after in zip(composition["choices"], again["choices"], strict=True):
        assert {name: after[name] for name in ("key", "weight", "span", "triggers", "reason")} == {
            name: before[name] for name in ("key", "weight", "span", "triggers", "reason")
        }
    text = api.post("/export", {"composition": composition, "form": "a1111"})["text"]
    assert text.startswith(composition["painted_prompt"])


def test_a_composition_cannot_bring_a_path_or_another_record(api: Api, composition: dict[str, Any]) -> None:
    lie = json.loads(json.dumps(composition))
    lie["choices"] = [{**lie["choices"][0], "path": "/etc/passwd", "title": "Not it", "nsfw": 1}]
    job = api.painted("/generate", {"composition": lie, "steps": 1, "seed": 1})
    [choice] = job["composition"]["choices"]
    assert choice["title"] == composition["choices"][0]["title"]
    assert choice["path"] == composition["choices"][0]["path"]
    unknown = {
        "prompt": "a",
        "choices": [{"source": "folder", "key": "/etc/passwd", "title": "x", "weight": 1, "span": ""}],
    }
    assert "is not in the catalogue" in api.refused("/generate", {"composition": unknown})


@pytest.mark.parametrize(
    "choices",
    [[{"id": 10**30, "weight": 1, "span": ""}], [{"id": True, "weight": 1, "span": ""}], [{"id": "1"}], [{}], ["x"],
     [{"id": 1, "span": ""}], [{"id": 1, "weight": float("nan"), "span": ""}], [{"id": 1, "weight": 1e9, "span": ""}],
     [{"id": 1, "weight": 1, "span": "", "weigth": 1}], "x", 5,
     [{"id": 1, "weight": 1, "span": ""}] * 2, [{"id": 1, "weight": 1, "span": ""}] * 101],
)  # fmt: skip
def test_compositions_that_cannot_be_are_refused(api: Api, choices: Any) -> None:
    for path in ("/export", "/validate", "/generate"):
        assert api.refused(path, {"composition": {"prompt": "a", "choices": choices}})


def test_a_composition_that_would_fill_memory_is_refused(api: Api) -> None:
    huge = {"prompt": "a", "choices": [], "notes": ["x" * 1_100_000]}
    assert "larger than 1 MB" in api.refused("/generate", {"composition": huge})


def test_validate_judges_a_set_that_somebody_chose(api: Api, composition: dict[str, Any]) -> None:
    numbers = [{"id": choice["id"], "weight": 3.0} for choice in composition["choices"]]
    judged = api.post("/validate", {"adapters": numbers, "prompt": PROMPT, "family": "sdxl"}, told.ValidateTold)
    assert len(judged["adapters"]) == len(numbers)
    assert "family" in {conflict["kind"] for conflict in judged["conflicts"]}
    twice = api.post("/validate", {"adapters": [numbers[0], numbers[0]]}, told.ValidateTold)
    assert "twice" in {conflict["kind"] for conflict in twice["conflicts"]}
    assert "is none of" in api.refused("/validate", {"adapters": numbers, "family": "nonsense"})


def test_every_form_is_written_and_names_no_folder(api: Api, composition: dict[str, Any]) -> None:
    for form in api.get("/about")["forms"]:
        exported = api.post("/export", {"composition": composition, "form": form}, told.ExportTold)
        assert exported["text"]
        assert re.fullmatch(r"[\w-]+\.(txt|json|csv)", exported["file_name"])
        if form != "json":
            assert "/loras/" not in exported["text"], form
    assert "there is no form" in api.refused("/export", {"composition": composition, "form": "../x"})
    workflow = {
        "form": "comfyui",
        "composition": composition,
        "workflow": {"1": {"class_type": "Nothing", "inputs": {}}},
    }
    assert api.refused("/export", workflow)


def test_what_other_tools_wrote_is_read(api: Api, composition: dict[str, Any]) -> None:
    text = api.post("/export", {"composition": composition, "form": "a1111"})["text"]
    read = api.post("/import", {"text": text}, told.ComposeTold)
    assert {choice["id"] for choice in read["choices"]} == {choice["id"] for choice in composition["choices"]}
    table = api.post("/export", {"composition": composition, "form": "csv"})["text"]
    file = base64.b64encode(table.encode()).decode()
    read = api.post("/import", {"file": file, "name": "../../x.csv"}, told.ComposeTold)
    assert len(read["choices"]) == len(composition["choices"])
    assert "at most 10,000" in api.refused("/import", {"text": "a fox, " * 2000})  # a text that is no prompt
    strange = api.post("/import", {"text": "a fox <lora:nobody:0.5>"}, told.ComposeTold)
    assert strange["choices"][0]["id"] is None


@pytest.mark.parametrize("picture", ["http://127.0.0.1/x.png", "file:///etc/passwd", "/etc/passwd", "", "AAAA"])
def test_pictures_come_as_base64_alone(api: Api, picture: str) -> None:
    assert api.refused("/import", {"picture": picture})
    assert api.refused("/generate", {"prompt": "a fox", "start": {"picture": picture}})


# ----------------------------------------------------------------------------------------------- painting


def test_a_job_paints_what_it_was_asked_for_and_its_pictures_tell_their_story(
    api: Api, composition: dict[str, Any]
) -> None:
    job = api.painted("/generate", {"composition": composition, "count": 2, "seed": 7, "steps": 2})
    assert [(one["place"], one["seed"]) for one in job["pictures"]] == [(0, 7), (1, 8)]
    assert (job["progress"], job["count"], job["ahead"], job["preview"]) == (1.0, 2, 0, None)
    first = job["pictures"][0]
    assert [each["id"] for each in first["choices"]] == [choice["id"] for choice in composition["choices"]]
    assert first["prompt"] == composition["painted_prompt"]
    answer = api.ask("GET", first["url"])
    assert answer.headers["Content-Type"] == "image/png"
    assert "immutable" in answer.headers["Cache-Control"]
    assert answer.headers["Content-Disposition"].endswith("-7.png")
    picture = Image.open(io.BytesIO(answer.content))
    assert picture.size == (32, 32)
    story = api.get(first["url"].replace(".png", "/story"))
    assert story["seed"] == 7
    assert story["request"]["steps"] == 2
    assert story["parameters_text"] == picture.text["parameters"]  # type: ignore[attr-defined]
    assert "/loras/" not in json.dumps(story)
    imported = api.post("/import", {"picture": data_url(picture, answer.content)}, told.ComposeTold)
    assert [each["title"] for each in imported["choices"]] == [each["title"] for each in composition["choices"]]
    listed = api.get("/jobs", told.JobsTold)["jobs"]
    assert job["id"] in [each["id"] for each in listed]
    assert "composition" not in listed[0]
    other = Api(api.url, **{"X-Velatura-Client": "somebody else"})
    assert other.get("/jobs", told.JobsTold)["jobs"] == []


def test_the_same_seed_paints_the_same_picture_and_none_draws_one(api: Api) -> None:
    body = {"prompt": "a red rocket", "steps": 1, "seed": 5}
    one, two = (api.painted("/generate", body)["pictures"][0] for _ in range(2))
    assert api.ask("GET", one["url"]).content == api.ask("GET", two["url"]).content
    drawn = [api.painted("/generate", {"prompt": "a red rocket", "steps": 1})["pictures"][0]["seed"] for _ in range(2)]
    assert drawn[0] != drawn[1]


def test_masks_and_a_mask_leave_adapters_off(api: Api, composition: dict[str, Any]) -> None:
    count = len(composition["choices"])
    assert count == 2
    masked = api.painted("/generate", {"composition": composition, "mask": [True, False], "steps": 1, "seed": 1})
    assert len(masked["pictures"][0]["choices"]) == 1
    varied = api.painted("/generate", {"composition": composition, "masks": True, "count": 3, "steps": 1, "seed": 1})
    assert len({json.dumps(one["choices"]) for one in varied["pictures"]}) == 3
    assert "mask" in api.refused("/generate", {"composition": composition, "mask": [True], "steps": 1})


def test_painting_starts_from_a_picture_that_is_deleted_afterwards(
    api: Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    start = {"picture": data_url(Image.new("RGB", (32, 32), "red")), "strength": 0.5}
    job = api.painted("/generate", {"prompt": "a red rocket", "steps": 4, "seed": 1, "start": start})
    story = api.get(job["pictures"][0]["url"].replace(".png", "/story"))
    assert story["request"]["start"]["strength"] == 0.5
    assert "/" not in story["request"]["start"]["picture"]["path"]
    assert api.refused("/generate", {"prompt": "a red rocket", "width": 33, "start": start})
    assert list(tmp_path.iterdir()) == []


def test_what_is_wrong_is_told_before_anything_waits(api: Api, served: Any) -> None:
    before = len(served.studio.jobs.all())
    for body, sentence in (
        ({"prompt": "a", "steps": 151}, "at most 150"),
        ({"prompt": "a", "width": 4096}, "at most 2048"),
        ({"prompt": "a", "count": 17}, "at most 16"),
        ({"prompt": "a", "width": 33}, "multiples of 8"),
        ({"prompt": "a", "scheduler": "nonsense"}, "scheduler"),
        ({"prompt": "a", "seed": -1}, "seed"),
        ({"prompt": "a", "guidance": float("inf")}, "guidance"),
        ({"prompt": "a", "start": {"picture": "x"}}, "base64"),
        ({}, "a composition or a prompt"),
    ):
        assert sentence in api.refused("/generate", body)
    assert len(served.studio.jobs.all()) == before


def test_a_comparison_paints_each_way_once_and_labels_every_place(api: Api, composition: dict[str, Any]) -> None:
    job = api.painted("/compare", {"composition": composition, "seed": 1, "steps": 1, "sweep": [0.5]})
    assert job["count"] == len(job["pictures"]) == 10
    panels = {one["panel"] for one in job["pictures"]}
    assert len(panels) == 4
    assert all("without adapters" in [o["label"] for o in job["pictures"] if o["panel"] == panel] for panel in panels)
    assert len({one["url"] for one in job["pictures"]}) == 7, "without adapters is painted once"
    assert "at most 16" in api.refused(
        "/compare", {"composition": composition, "sweep": [0.1 * n for n in range(1, 9)]}
    )
    plain = api.painted("/compare", {"prompt": "zzz", "steps": 1, "filter": {"kinds": ["none such"]}})
    assert [one["label"] for one in plain["pictures"]] == ["without adapters"]


# ------------------------------------------------------------------------------------------------- events


SLOW = {"prompt": "a red rocket", "count": 16, "steps": 150, "seed": 1}


def events_of(answer: requests.Response) -> Iterator[dict[str, Any]]:
    kind = ""
    for line in answer.iter_lines(decode_unicode=True):
        if line.startswith("event: "):
            kind = line.removeprefix("event: ")
        elif line.startswith("data: "):
            assert kind == "job"
            yield json.loads(line.removeprefix("data: "))


def test_events_tell_a_job_as_it_changes_until_it_has_ended(api: Api) -> None:
    body = {"prompt": "a red rocket", "count": 3, "steps": 12, "seed": 1}
    begun = time.monotonic()
    with api.session.post(
        f"{api.url}/generate", json=body, headers={"Accept": "text/event-stream"}, stream=True, timeout=30
    ) as answer:
        assert answer.headers["Content-Type"].startswith("text/event-stream")
        assert answer.headers["X-Accel-Buffering"] == "no"
        assert "no-transform" in answer.headers["Cache-Control"]
        events = list(events_of(answer))
    seconds = time.monotonic() - begun
    for event in events:
        told.JobTold.model_validate(event)
    assert events[-1]["state"] == "done"
    assert len(events[-1]["pictures"]) == 3
    assert [event["progress"] for event in events] == sorted(event["progress"] for event in events)
    assert len(events) <= 10 * seconds + 3, "about ten a second at most"
    previews = [event["preview"]["picture"] for event in events if event["preview"]]
    assert all(preview.startswith("data:image/png;base64,") for preview in previews)
    again = api.session.get(f"{api.url}/jobs/{events[-1]['id']}/events", timeout=10)
    assert [event["state"] for event in events_of(again)] == ["done"]


@contextmanager
def streamed(api: Api, request: bytes) -> Iterator[socket.socket]:
    """Ask over a socket of one's own, which can be cut at any moment."""
    port = int(api.url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(request)
        yield connection


def until_ended(api: Api, number: str, seconds: float = 10.0) -> dict[str, Any]:
    end = time.monotonic() + seconds
    while True:
        job = api.get(f"/jobs/{number}")["job"]
        if job["ended_at"] is not None:
            return dict(job)
        assert time.monotonic() < end, "the job goes on"
        time.sleep(0.05)


def first_id(connection: socket.socket) -> str:
    content = b""
    while b"\n\n" not in content.partition(b"event: job")[2]:
        content += connection.recv(65536)
    found = re.search(rb'"id":"(\w{32})"', content)
    assert found is not None
    return found[1].decode()


def test_a_job_whose_stream_is_cut_ends(api: Api) -> None:
    body = json.dumps(SLOW).encode()
    head = f"POST /generate HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/event-stream\r\nContent-Length: {len(body)}\r\n"
    with streamed(api, head.encode() + b"Content-Type: application/json\r\n\r\n" + body) as connection:
        number = first_id(connection)
        assert api.get(f"/jobs/{number}")["job"]["state"] in ("waiting", "painting")
    assert until_ended(api, number)["state"] == "cancelled"


def test_a_job_that_is_only_looked_at_goes_on_until_somebody_ends_it(api: Api) -> None:
    number = api.post("/generate", SLOW, told.JobAnswer, status=202)["job"]["id"]
    with streamed(api, f"GET /jobs/{number}/events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()) as connection:
        assert first_id(connection) == number
    time.sleep(0.7)
    assert api.get(f"/jobs/{number}")["job"]["state"] == "painting"
    waiting = api.post("/generate", SLOW, status=202)["job"]
    assert (waiting["state"], waiting["ahead"]) == ("waiting", 0)
    gone = api.ask("DELETE", f"/jobs/{waiting['id']}").json()["job"]
    assert gone["state"] == "cancelled"
    api.ask("DELETE", f"/jobs/{number}")
    assert until_ended(api, number)["state"] == "cancelled"


# ------------------------------------------------------------------------------------- whatever is sent


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.just("\ud800"),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
FIELDS = (
    "prompt", "composition", "filter", "locked", "form", "text", "picture", "file", "name", "limit", "adapters",
    "similar_to", "masks", "seed", "count", "start", "mask", "sweep", "workflow", "negative", "token", "choices",
)  # fmt: skip


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(body=ANYTHING | st.dictionaries(st.sampled_from(FIELDS), ANYTHING, max_size=4))
def test_whatever_is_sent_is_answered_or_refused_in_a_sentence(api: Api, body: Any) -> None:
    sent = json.dumps(body).encode()
    for path in ("/search", "/compose", "/validate", "/export", "/import", "/compare", "/login"):
        answer = api.session.post(
            f"{api.url}{path}", data=sent, headers={"Content-Type": "application/json"}, timeout=120
        )
        assert answer.status_code < 500, (path, answer.text)
        assert answer.status_code < 400 or answer.json()["error"]["message"]
        if path == "/compare" and answer.status_code == 202:
            api.ask("DELETE", answer.headers["Location"])


@pytest.mark.parametrize("sent", [b"", b"{", b"\xff\xfe", b"[" * 100_000, b'{"prompt": ' + b"9" * 5000 + b"}", b"null"])
def test_bodies_that_are_no_json(api: Api, sent: bytes) -> None:
    answer = api.session.post(f"{api.url}/search", data=sent, headers={"Content-Type": "application/json"}, timeout=120)
    assert 400 <= answer.status_code < 500
    assert answer.json()["error"]["message"]


def test_half_a_character_and_hostile_words_are_only_words(api: Api) -> None:
    for prompt in ("\x00\x1b[2J<script>alert(1)</script>", "' OR 1=1 --", "\u202e\u200b", "<lora:../../etc/passwd:1>"):
        api.post("/search", {"prompt": prompt}, told.SearchTold)
        api.post("/compose", {"prompt": prompt}, told.ComposeTold)
    assert api.refused("/search", {"prompt": "a \ud800 fox"})


# ------------------------------------------------------------------------------------------ documentation


def test_the_documentation_of_the_api_is_whole(api: Api) -> None:
    spec = api.get("/openapi.json")
    assert spec["components"]["securitySchemes"]["token"]["scheme"] == "bearer"
    ours = [(path, method, route) for path, routes in spec["paths"].items() for method, route in routes.items()]
    for path, method, route in ours:
        assert route.get("summary"), (method, path)
        if not path.startswith(("/v1/", "/sdapi/")):
            assert route.get("description"), (method, path)
        assert route.get("tags"), (method, path)
    for path in ("/search", "/compose", "/generate"):
        responses = spec["paths"][path]["post"]["responses"]
        assert responses["422"]["content"]["application/json"]["schema"]["$ref"].endswith("/ErrorAnswer")
        assert responses["401"]


@pytest.mark.parametrize("model", [SearchAsked, ComposeAsked, GenerateAsked, CompareAsked, ExportAsked, ImportAsked])
def test_the_examples_of_the_documentation_are_valid(model: Any) -> None:
    examples = model.model_json_schema()["examples"]
    assert examples
    for example in examples:
        model.model_validate(example)


def data_url(picture: Image.Image, content: bytes | None = None) -> str:
    if content is None:
        stream = io.BytesIO()
        picture.save(stream, format="PNG")
        content = stream.getvalue()
    return f"data:image/png;base64,{base64.b64encode(content).decode()}"
