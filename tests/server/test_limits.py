"""What a request can never do: get round the settings' gates, limits and turns."""

from __future__ import annotations

import asyncio
import io
import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import requests
from PIL import Image
from run_painter import Painter
from shelf import BagEmbedder, Given, adapter

from velatura.errors import CatalogueError
from velatura.pipeline import Velatura
from velatura.records import PG, XXX, Licence
from velatura.server import create_app
from velatura.server.folders import without_folders
from velatura.server.jobs import Job
from velatura.server.own.job_answers import JobEvents
from velatura.settings import default_settings

PUBLIC = {"nsfw": PG, "commercial": "image", "real_people": False, "blocked": ("Blocked Fox",)}
KEPT_OUT = ("Naked Fox", "Unrated Fox", "Unlicensed Fox", "Famous Fox", "Blocked Fox", "Young Fox")


class Folder(Given):
    """Offers records as a folder does."""

    name = "folder"


@dataclass(frozen=True)
class Asked:
    """A server whose catalogue and painter a test made."""

    url: str
    studio: Any
    numbers: dict[str, int]

    def post(self, path: str, body: Any, status: int = 200, **headers: str) -> Any:
        answer = requests.post(f"{self.url}{path}", json=body, headers=headers, timeout=120)
        assert answer.status_code == status, answer.text
        return answer.json()

    def get(self, path: str, status: int = 200, **headers: str) -> Any:
        answer = requests.get(f"{self.url}{path}", headers=headers, timeout=120)
        assert answer.status_code == status, answer.text
        return answer.json()


@contextmanager
def catalogue(folder: Path, **settings: object) -> Iterator[Asked]:
    """Serve foxes that the gates of a public server keep out, and one that they let through."""
    import threading

    import uvicorn

    fine = {"nsfw": PG, "licence": Licence(commercial=("image",)), "triggers": (("fox",),)}
    loras = folder / "loras"
    loras.mkdir()
    fields: dict[str, dict[str, Any]] = {
        "Red Fox": {},
        "Naked Fox": {"nsfw": XXX},
        "Unrated Fox": {"nsfw": None},
        "Unlicensed Fox": {"licence": Licence(commercial=())},
        "Famous Fox": {"real_person": True},
        "Blocked Fox": {},
        "Young Fox": {"minor": True},
    }
    records = []
    for title, own in fields.items():
        path = loras / f"{title}.safetensors"
        Image.new("RGB", (600, 400), "orange").save(path.with_suffix(".png"))
        record = adapter(
            str(path), title=title, path=str(path), file_name=path.name, previews=(str(path.with_suffix(".png")),),
            description=f"a {title.lower()}", **{**fine, **own},
        )  # fmt: skip
        records.append(replace(record, source="folder"))
    given = {"db": str(folder / "catalogue.db"), "model": "painters/colours", "output": str(folder), **settings}
    with ExitStack() as stack:
        velatura = stack.enter_context(Velatura(default_settings(**given)))
        velatura.__dict__["embedder"] = BagEmbedder()
        velatura.store.sync(Folder(records))
        velatura.embed()
        numbers = {each.record.title: each.id for each in velatura.store.adapters(range(1, 20))}
        velatura.painting.__dict__["backend"] = Painter(delay=0.05)
        server = uvicorn.Server(uvicorn.Config(create_app(velatura), port=0, log_level="warning"))
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        try:
            yield Asked(f"http://127.0.0.1:{port}", server.config.app.state.studio, numbers)  # type: ignore[union-attr]
        finally:
            server.should_exit = True
            thread.join(10)


@pytest.fixture(scope="module")
def public(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asked]:
    """A server that only allows what anybody may see, and is called by a public name."""
    limits = {"most_pictures": 3, "most_steps": 5, "largest_side": 512, "queue": 3, "public_hosts": ("paint.example",)}
    with catalogue(tmp_path_factory.mktemp("public"), **PUBLIC, **limits) as server:
        yield server


# --------------------------------------------------------------------------------------------------- gates


def test_what_the_gates_keep_out_is_never_found(public: Asked) -> None:
    told = json.dumps(
        [
            public.post("/search", {"prompt": "fox", "limit": 200, "filter": {}}),
            public.post("/search", {"prompt": "fox", "trigger": True}),
            public.post("/search", {"similar_to": public.numbers["Red Fox"]}),
            public.post("/compose", {"prompt": "a naked fox, a famous fox, a blocked fox, an unrated fox"}),
            public.get("/adapters?limit=200"),
            public.get("/duplicates"),
            public.get(f"/adapters/{public.numbers['Red Fox']}"),
        ]
    )
    assert "Red Fox" in told
    for title in KEPT_OUT:
        assert title not in told
        assert f'"/adapters/{public.numbers[title]}/preview"' not in told


@pytest.mark.parametrize("title", KEPT_OUT)
def test_what_the_gates_keep_out_cannot_be_asked_for(public: Asked, title: str) -> None:
    number = public.numbers[title]
    public.get(f"/adapters/{number}", status=404)
    public.get(f"/adapters/{number}/preview", status=404)
    choices = [{"id": number, "weight": 1, "span": ""}]
    path = str(public.studio.velatura.store.adapter(number).record.path)
    by_path = {"source": "folder", "key": path, "title": title, "weight": 1, "span": ""}
    for path, body in (
        ("/search", {"similar_to": number}),
        ("/compose", {"prompt": "a", "locked": {str(number): 1.0}}),
        ("/validate", {"adapters": [{"id": number}]}),
        ("/validate", {"composition": {"prompt": "a", "choices": choices}}),
        ("/export", {"composition": {"prompt": "a", "choices": choices}}),
        ("/generate", {"composition": {"prompt": "a", "choices": choices}}),
        ("/generate", {"composition": {"prompt": "a", "choices": [by_path]}}),
        ("/generate", {"prompt": "a", "locked": {str(number): 1.0}}),
        ("/compare", {"composition": {"prompt": "a", "choices": choices}}),
    ):
        refused = json.dumps(public.post(path, body, status=422))
        assert title not in refused, "a number does not tell what is kept out"
        assert "is kept out" in refused
    pinned = public.post("/compose", {"prompt": f"a <lora:{title}:1>"})
    assert pinned["choices"] == []
    read = public.post("/import", {"text": f"a <lora:{title}:1>"})
    assert read["choices"] == []
    assert any("is kept out" in note for note in read["notes"])
    assert "a young fox" not in json.dumps(read)


def test_openais_clients_do_not_pass_the_gates_by_a_prompt(public: Asked) -> None:
    pins = " ".join(f"<lora:{title}:1>" for title in (*KEPT_OUT, "Red Fox"))
    prompt = f"a naked fox, a famous fox, a blocked fox, an unrated fox {pins}"
    answer = public.post("/v1/images/generations", {"prompt": prompt, "size": "64x64", "steps": 1})
    [picture] = answer["data"]
    assert [choice["title"] for choice in picture["velatura"]["choices"]] == ["Red Fox"]


def test_a_request_can_only_narrow_what_is_allowed(public: Asked) -> None:
    assert "only what may be used for 'image'" in json.dumps(
        public.post("/search", {"prompt": "fox", "filter": {"commercial": "sell"}}, status=422)
    )
    found = public.post("/search", {"prompt": "fox", "filter": {"commercial": "image", "safe": True}})
    assert [each["title"] for each in found["candidates"]] == ["Red Fox"]
    assert public.get("/health")["adapters"] == public.get("/about")["adapters"] == 1


def test_a_public_server_tells_no_paths(public: Asked) -> None:
    number = public.numbers["Red Fox"]
    composed = public.post("/compose", {"prompt": "a fox", "locked": {str(number): 0.5}})
    job = public.post("/generate", {"composition": composed, "steps": 1}, status=202)["job"]
    answers = [
        composed, job, public.get(f"/adapters/{number}"), public.get("/adapters"), public.get("/rejected"),
        public.post("/search", {"prompt": "fox"}), public.get("/about"), public.get("/health"), public.get("/jobs"),
        *(public.post("/export", {"composition": composed, "form": form}) for form in public.get("/about")["forms"]),
    ]  # fmt: skip
    assert [choice["id"] for choice in composed["choices"]] == [number]
    assert "/loras" not in json.dumps(answers)
    assert "/tmp" not in json.dumps(answers)


def test_folders_of_a_public_server_cannot_be_guessed(public: Asked, tmp_path: Path) -> None:
    composed = public.post("/compose", {"prompt": "a fox", "locked": {str(public.numbers["Red Fox"]): 0.5}})
    body = {"composition": composed, "form": "comfyui", "loras": "/"}
    refused = public.post("/export", body, status=422)["error"]
    assert (refused["param"], "nobody where its files lie" in refused["message"]) == ("loras", True)
    assert "Red Fox.safetensors" in public.post("/export", body | {"loras": None})["text"]
    with catalogue(tmp_path) as local:
        composed = local.post("/compose", {"prompt": "a fox", "locked": {str(local.numbers["Red Fox"]): 0.5}})
        body |= {"composition": composed, "loras": str(tmp_path)}
        assert "loras/Red Fox.safetensors" in local.post("/export", body)["text"]


def test_an_error_amid_a_stream_tells_no_folders(public: Asked) -> None:
    body = {"prompt": "a red fox unfit", "stream": True, "steps": 1}
    answer = requests.post(f"{public.url}/v1/images/generations", json=body, timeout=20)
    [event] = answer.text.strip().split("\n\n")
    error = json.loads(event.partition("data: ")[2])["error"]
    assert error == {
        "message": "Red Fox.safetensors does not fit", "type": "incompatible_adapter", "param": None, "code": None,
    }  # fmt: skip


@pytest.mark.parametrize(
    "body",
    [
        '{"composition": {"prompt": "a", "choices": [], "x": %s}}',
        '{"composition": {"prompt": "a", "choices": []}, "form": "comfyui", "workflow": {"x": %s}}',
    ],
)
def test_json_that_goes_too_deep_is_refused(public: Asked, body: str) -> None:
    content = body % ("[" * 900 + "]" * 900)
    headers = {"Content-Type": "application/json"}
    answer = requests.post(f"{public.url}/export", data=content, headers=headers, timeout=10)
    assert (answer.status_code, answer.json()["error"]["message"]) == (422, "the request's JSON is nested too deeply")


@pytest.mark.parametrize(
    ("sentence", "told"),
    [("/home/ada/my.db cannot be read", "my.db cannot be read"),
     ("there is no checkpoint '/srv/models/x.safetensors': give", "there is no checkpoint 'x.safetensors': give"),
     ("C:\\loras\\fox.safetensors is damaged", "fox.safetensors is damaged"),
     ("stabilityai/sdxl-turbo at http://127.0.0.1:7860/sdapi/v1 and/or 1/2", None), ("a strength of 1 / 2", None)],
)  # fmt: skip
def test_errors_tell_others_no_folders(sentence: str, told: str | None) -> None:
    assert without_folders(sentence) == (told or sentence)


def test_a_preview_is_made_of_the_file_beside_the_adapter(public: Asked) -> None:
    answer = requests.get(f"{public.url}/adapters/{public.numbers['Red Fox']}/preview", timeout=10)
    assert Image.open(io.BytesIO(answer.content)).size == (320, 213)


# -------------------------------------------------------------------------------------------------- limits


@pytest.mark.parametrize(
    ("body", "sentence"),
    [({"count": 4}, "at most 3"), ({"steps": 6}, "at most 5"), ({"width": 520}, "at most 512"),
     ({"height": 10_000}, "at most 512"), ({"prompt": "wrong"}, "multiple of 8")],
)  # fmt: skip
def test_more_than_the_settings_allow_is_refused(public: Asked, body: dict[str, Any], sentence: str) -> None:
    before = public.get("/jobs")["jobs"]
    answer = public.post("/generate", {"prompt": "a fox", **body}, status=422)
    assert sentence in answer["error"]["message"]
    assert public.get("/jobs")["jobs"] == before


def test_a_full_queue_says_when_to_try_again_and_clients_take_turns(public: Asked) -> None:
    studio = public.studio
    for job in studio.jobs.all():
        assert job.wait(10)
    body = {"prompt": "slow", "count": 3, "steps": 1}
    ids = {}
    for place, client in enumerate(("ann", "ann", "ann", "bob")):
        job = public.post("/generate", body, status=202, **{"X-Velatura-Client": client})["job"]
        ids[f"{client}{place}"] = job["id"]
    full = requests.post(f"{public.url}/generate", json=body, timeout=10)
    if full.status_code == 202:  # the first was painted meanwhile, and there was room
        full = requests.post(f"{public.url}/generate", json=body, timeout=10)
    assert full.status_code == 429
    assert full.headers["Retry-After"]
    assert "as many as may" in full.json()["error"]["message"]
    assert [job["id"] for job in public.get("/jobs", **{"X-Velatura-Client": "bob"})["jobs"]] == [ids["bob3"]]
    waiting = {name: studio.jobs.get(number) for name, number in ids.items()}
    assert all(job.wait(20) for job in waiting.values())
    assert waiting["bob3"].ended_at < waiting["ann2"].ended_at


def test_a_job_that_fails_says_why(public: Asked) -> None:
    job = public.post("/generate", {"prompt": "broken", "steps": 1}, status=202)["job"]
    assert public.studio.jobs.get(job["id"]).wait(10)
    told = public.get(f"/jobs/{job['id']}")["job"]
    assert (told["state"], told["error"]) == ("failed", "it is broken")
    assert told["pictures"] == []


def test_the_oldest_pictures_are_forgotten_first(tmp_path: Path) -> None:
    with catalogue(tmp_path, kept_megabytes=1) as server:
        server.studio.shelf._most = 2500
        jobs = [server.post("/generate", {"prompt": "a", "count": 2, "steps": 1}, status=202)["job"] for _ in range(4)]
        for job in jobs:
            assert server.studio.jobs.get(job["id"]).wait(20)
        first, last = (server.get(f"/jobs/{jobs[place]['id']}")["job"]["pictures"] for place in (0, -1))
        assert not first[0]["is_kept"]
        assert last[-1]["is_kept"]
        server.get(first[0]["url"], status=404)
        server.get(first[0]["url"].replace(".png", "/story"), status=404)
        assert requests.get(f"{server.url}{last[-1]['url']}", timeout=10).content.startswith(b"\x89PNG")
        assert server.studio.shelf.size <= 2500


def test_a_server_without_a_checkpoint_still_finds_and_says_that_it_cannot_paint(tmp_path: Path) -> None:
    with catalogue(tmp_path, model=None) as server:
        server.studio.velatura.painting.__dict__.pop("backend")
        about = server.get("/about")
        assert (about["painter"], about["model"], about["own_size"]) == (False, None, None)
        assert server.post("/compose", {"prompt": "a fox"})["choices"]
        refused = server.post("/generate", {"prompt": "a fox"}, status=422)
        assert "no checkpoint is named" in refused["error"]["message"]


def test_a_checkpoint_that_cannot_be_used_is_told(tmp_path: Path) -> None:
    with catalogue(tmp_path, model="/nowhere/model.safetensors", public_hosts=("paint.example",)) as server:
        server.studio.velatura.painting.__dict__.pop("backend")
        about = server.get("/about")
        assert not about["painter"]
        assert "there is no checkpoint 'model.safetensors'" in about["trouble"]
        assert server.post("/search", {"prompt": "a fox"})["candidates"]


def test_while_the_checkpoint_is_loaded_the_server_answers_what_does_not_need_it(tmp_path: Path) -> None:
    with catalogue(tmp_path) as server, ThreadPoolExecutor(50) as pool:
        backend = server.studio.velatura.painting.__dict__.pop("backend")
        with server.studio._opening:
            begun = time.monotonic()
            about = server.get("/about?wait=false")
            assert (about["painter"], about["loading"], about["adapters"]) == (False, True, 6)
            body = {"prompt": "a fox", "steps": 1}
            asked = [
                pool.submit(server.post, "/generate", body, status=202, **{"X-Velatura-Client": str(number)})
                for number in range(50)
            ]
            time.sleep(0.5)
            assert server.get("/health")["status"] == "ok"
            assert server.post("/search", {"prompt": "a fox"})["candidates"]
            assert time.monotonic() - begun < 10
            server.studio.velatura.painting.__dict__["backend"] = backend
        assert all(answer.result()["job"]["state"] in ("waiting", "painting", "done") for answer in asked)
        about = server.get("/about?wait=false")
        assert (about["painter"], about["loading"], about["own_size"]) == (True, False, [16, 16])
        assert about == server.get("/about")


def test_a_checkpoint_that_cannot_be_used_is_tried_anew(tmp_path: Path) -> None:
    with catalogue(tmp_path, model="/nowhere/model.safetensors") as server:
        backend = server.studio.velatura.painting.__dict__.pop("backend")
        while (about := server.get("/about?wait=false"))["loading"]:
            time.sleep(0.05)
        assert (about["painter"], "there is no checkpoint" in about["trouble"]) == (False, True)
        server.studio.velatura.painting.__dict__["backend"] = backend
        assert server.get("/about?wait=false")["painter"]


def test_events_end_where_the_catalogue_can_no_longer_be_read() -> None:
    def tell() -> dict[str, Any]:
        raise CatalogueError("it cannot be read")

    async def told() -> list[bytes]:
        return [event async for event in JobEvents(Job(client="me", requests=()), tell).body_iterator]

    assert asyncio.run(told()) == []
