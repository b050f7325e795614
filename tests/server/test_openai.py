"""OpenAI's own client paints here unchanged, and its errors, limits and departures are those it knows."""

from __future__ import annotations

import base64
import io
import json
import socket
import time
from collections.abc import Iterator

import openai
import pytest
import requests
from PIL import Image
from playground_server import Serve, Served

from velatura.generation import read_story
from velatura.server.jobs import Job

PROMPT = "a yellow duck by the sea"
QUICK = {"steps": 2, "seed": 7}


def client_of(served: Served, token: str = "none") -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{served.url}/v1", api_key=token, max_retries=0, timeout=60)


@pytest.fixture(scope="module")
def client(served: Served) -> Iterator[openai.OpenAI]:
    with client_of(served) as client:
        yield client


def opened(text: str | None) -> Image.Image:
    assert text
    return Image.open(io.BytesIO(base64.b64decode(text)))


def png(mode: str = "RGB", colour: object = "navy", size: tuple[int, int] = (32, 32)) -> io.BytesIO:
    stream = io.BytesIO()
    Image.new(mode, size, colour).save(stream, format="PNG")  # type: ignore[arg-type]
    stream.seek(0)
    stream.name = "picture.png"
    return stream


def ended(job: Job, seconds: float = 30) -> str:
    assert job.wait(seconds)
    return job.state


# ------------------------------------------------------------------------------------------------- pictures


def test_the_model_is_listed_and_retrieved(client: openai.OpenAI) -> None:
    [model] = client.models.list().data
    assert (model.id, model.object) == ("base", "model")
    assert client.models.retrieve("base").id == "base"
    with pytest.raises(openai.NotFoundError, match="this server paints with base"):
        client.models.retrieve("gpt-image-2")


def test_pictures_come_with_their_story_and_the_reasons(client: openai.OpenAI, tmp_path) -> None:
    answer = client.images.generate(model="base", prompt=PROMPT, n=2, extra_body=QUICK)
    assert answer.size == "32x32"
    assert answer.usage
    assert answer.data
    first, second = answer.data
    assert opened(first.b64_json).size == (32, 32)
    assert first.b64_json != second.b64_json
    assert "duck" in (first.revised_prompt or "")
    told = first.velatura  # type: ignore[attr-defined]
    assert told["seed"] == 7
    assert any("duck" in choice["title"] and choice["weight"] > 0 and choice["reason"] for choice in told["choices"])
    path = tmp_path / "picture.png"
    path.write_bytes(base64.b64decode(second.b64_json or ""))
    assert read_story(path)["seed"] == 8


def test_the_same_seed_gives_the_same_picture_and_none_is_drawn_by_lot(client: openai.OpenAI) -> None:
    def painted(**extra: object) -> tuple[str | None, int]:
        [picture] = client.images.generate(prompt=PROMPT, extra_body={"steps": 1, **extra}).data or []
        return picture.b64_json, picture.velatura["seed"]  # type: ignore[attr-defined]

    assert painted(seed=3) == painted(seed=3)
    assert painted()[1] != painted()[1]


def test_an_address_can_be_fetched(served: Served, client: openai.OpenAI) -> None:
    [picture] = client.images.generate(prompt=PROMPT, response_format="url", extra_body=QUICK).data or []
    assert picture.url
    assert picture.url.startswith(f"{served.url}/pictures/")
    assert requests.get(picture.url, timeout=10).content.startswith(b"\x89PNG")


@pytest.mark.parametrize("form", ["jpeg", "webp"])
def test_other_forms_hold_the_parameters_too(client: openai.OpenAI, tmp_path, form: str) -> None:
    [picture] = client.images.generate(prompt=PROMPT, output_format=form, extra_body=QUICK).data or []
    path = tmp_path / f"picture.{form}"
    path.write_bytes(base64.b64decode(picture.b64_json or ""))
    with Image.open(path) as image:
        assert image.format == form.upper()
    assert read_story(path)["parameters"]["settings"]["Seed"] == "7"


def test_a_size_is_kept_to(client: openai.OpenAI) -> None:
    [picture] = client.images.generate(prompt=PROMPT, size="48x32", extra_body=QUICK).data or []
    assert opened(picture.b64_json).size == (48, 32)


def test_pictures_on_the_way_are_streamed(client: openai.OpenAI) -> None:
    extra = {"steps": 12, "seed": 7}
    events = list(client.images.generate(prompt=PROMPT, stream=True, partial_images=2, n=2, extra_body=extra))
    kinds = [event.type for event in events]
    assert kinds.count("image_generation.completed") == 2
    partial = [event for event in events if event.type == "image_generation.partial_image"]
    assert 1 <= len(partial) <= 4
    assert partial[0].partial_image_index == 0
    assert opened(partial[0].b64_json).size == (32, 32)
    assert opened(events[-1].b64_json).size == (32, 32)


def test_a_picture_is_painted_anew_where_the_mask_is_transparent(client: openai.OpenAI) -> None:
    mask = Image.new("RGBA", (32, 32), "black")
    mask.paste((0, 0, 0, 0), (0, 0, 32, 16))
    stream = io.BytesIO()
    mask.save(stream, format="PNG")
    answer = client.images.edit(image=png(), mask=("mask.png", stream.getvalue()), prompt=PROMPT, extra_body=QUICK)
    assert answer.data
    picture = opened(answer.data[0].b64_json).convert("RGB")
    assert picture.getpixel((16, 28)) == (0, 0, 128)
    assert picture.getpixel((16, 4)) != (0, 0, 128)


def test_an_edit_needs_no_mask_and_can_be_streamed(client: openai.OpenAI, served: Served) -> None:
    events = list(client.images.edit(image=[png()], prompt=PROMPT, stream=True, extra_body={"steps": 4}))
    assert [event.type for event in events] == ["image_edit.completed"]
    [job, *_] = served.studio.jobs.all()
    assert job.requests[0].start


# --------------------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("fields", "param", "sentence"),
    [
        ({"size": "huge"}, "size", "size must be"),
        ({"size": "33x32"}, None, "multiples of"),
        ({"size": "4096x4096"}, None, "at most 2048"),
        ({"n": 0}, "n", "greater than or equal"),
        ({"n": 17}, None, "at most 16"),
        ({"background": "transparent"}, "background", "transparent"),
        ({"response_format": "url", "output_format": "webp"}, "response_format", "b64_json"),
        ({"output_format": "gif"}, "output_format", "png"),
        ({"prompt": "x" * 10_001}, None, "10,000"),
        ({"extra_body": {"steps": 151}}, None, "at most 150"),
    ],
)
def test_what_cannot_be_is_told_in_a_sentence(client: openai.OpenAI, fields, param, sentence: str) -> None:
    with pytest.raises(openai.UnprocessableEntityError, match=sentence) as caught:
        client.images.generate(**{"prompt": PROMPT, **fields})
    assert caught.value.param == param


def test_an_unknown_model_is_not_found(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="this server paints with base"):
        client.images.generate(model="gpt-image-2", prompt=PROMPT)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"image": ("a.png", b"no picture")}, "the image is no PNG"),
        ({"image": [png(), png()]}, "one picture, not 2"),
        ({"image": png(), "mask": png()}, "transparent"),
        ({"image": png(size=(2056, 16))}, "2056x16, and this server paints at most 2048"),
        ({"image": png(), "n": "two"}, "n: "),
        ({"image": png(), "mask": ("m.png", b"\x89PNG\r\n\x1a\n")}, "the mask is"),
    ],
)
def test_edits_of_what_is_no_picture_are_refused(client: openai.OpenAI, fields, sentence: str) -> None:
    with pytest.raises(openai.UnprocessableEntityError, match=sentence):
        client.images.edit(prompt=PROMPT, **fields)


def test_halves_of_characters_are_painted_as_question_marks(served: Served) -> None:
    body = json.dumps({"prompt": "a \ud800 duck", **QUICK})
    headers = {"Content-Type": "application/json"}
    answer = requests.post(f"{served.url}/v1/images/generations", data=body, headers=headers, timeout=30)
    assert (answer.status_code, answer.json()["data"][0]["revised_prompt"]) == (200, "a ? duck")


def test_an_edit_that_is_no_form_is_refused(served: Served) -> None:
    answer = requests.post(f"{served.url}/v1/images/edits", json={"prompt": PROMPT}, timeout=10)
    assert (answer.status_code, answer.json()["error"]["param"]) == (422, "image")


def test_without_the_token_nobody_is_let_in(serve: Serve) -> None:
    guarded = serve(token="a-token-of-sixteen")
    with client_of(guarded, "wrong") as client, pytest.raises(openai.AuthenticationError, match="token"):
        client.models.list()
    with client_of(guarded, "a-token-of-sixteen") as client:
        assert client.models.list().data


def test_a_body_that_is_too_large_is_refused(serve: Serve) -> None:
    small = serve(largest_body=1)
    with client_of(small) as client:
        with pytest.raises(openai.APIStatusError) as caught:
            client.images.generate(prompt=PROMPT, extra_body={"waste": "x" * (1 << 20)})
        assert caught.value.status_code == 413
        with pytest.raises(openai.APIStatusError) as caught:
            client.images.edit(image=("a.png", b"x" * (1 << 20)), prompt=PROMPT)
        assert caught.value.status_code == 413


def test_a_full_queue_says_when_to_come_again(serve: Serve) -> None:
    narrow = serve(queue=1)
    studio = narrow.studio
    request = studio.request(studio.compose("a fox", wishes=studio.for_painting()), steps=150)
    waiting = [studio.jobs.submit("somebody", [request] * 16)]
    while waiting[0].state == "waiting":
        time.sleep(0.01)
    waiting.append(studio.jobs.submit("somebody", [request]))
    try:
        with client_of(narrow) as client, pytest.raises(openai.RateLimitError) as caught:
            client.images.generate(prompt=PROMPT)
        assert caught.value.response.headers["retry-after"]
    finally:
        for job in waiting:
            studio.jobs.cancel(job)
    assert {ended(job) for job in waiting} == {"cancelled"}


# ------------------------------------------------------------------------------------------------- going away


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_goes_away_frees_its_job(served: Served, stream: bool) -> None:
    body = json.dumps({"prompt": PROMPT, "n": 16, "steps": 150, "stream": stream, "user": "leaves"}).encode()
    head = "POST /v1/images/generations HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    known = {job.id for job in served.studio.jobs.all()}
    with socket.create_connection(("127.0.0.1", served.port), timeout=10) as connection:
        connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        end = time.monotonic() + 30
        while not (mine := [job for job in served.studio.jobs.all() if job.id not in known and job.started_at]):
            assert time.monotonic() < end
            time.sleep(0.01)
    assert ended(mine[0], 10) == "cancelled"
    assert len(mine[0].made) < 16
