"""`webuiapi`, a client of A1111's web UI, paints here unchanged; what would be left out in silence is refused."""

from __future__ import annotations

import base64
import io
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests
import webuiapi
from PIL import Image
from playground_server import Serve, Served

from velatura.generation import open_backend
from velatura.records import Choice, Composition, GenerationRequest
from velatura.server.a1111.samplers import scheduler_of, schedulers
from velatura.server.jobs import Job

PROMPT = "a yellow duck by the sea"
SMALL = {"width": 32, "height": 32, "steps": 2, "seed": 7, "cfg_scale": 2.0}
PINNED = "a duck <lora:rubber_duck_v2:0.5>"


@pytest.fixture(scope="module")
def api(served: Served) -> Iterator[webuiapi.WebUIApi]:
    found = webuiapi.WebUIApi(port=served.port, steps=2)
    yield found
    found.session.close()


def post(served: Served, path: str, body: dict[str, Any], **options: Any) -> requests.Response:
    return requests.post(f"{served.url}/sdapi/v1/{path}", json=body, timeout=60, **options)


def until(condition: Callable[[], Any], seconds: float = 30) -> Any:
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.01)
    return found


class Slow:
    """A client that paints many pictures of many steps in a thread of its own."""

    def __init__(self, served: Served, **fields: object) -> None:
        known = {job.id for job in served.studio.jobs.all()}
        self.reply: requests.Response | None = None
        body = {"prompt": PINNED, **SMALL, "steps": 150, "n_iter": 4, **fields}

        def ask() -> None:
            self.reply = post(served, "txt2img", body)

        self._thread = threading.Thread(target=ask)
        self._thread.start()
        jobs = served.studio.jobs
        self.job: Job = until(lambda: [job for job in jobs.all() if job.id not in known and job.progress > 0])[0]

    def answer(self) -> dict[str, Any]:
        self._thread.join(30)
        assert self.reply is not None
        assert self.reply.status_code == 200
        return self.reply.json()


# ------------------------------------------------------------------------------------------------- pictures


def test_adapters_are_chosen_for_a_prompt_that_names_none(api: webuiapi.WebUIApi) -> None:
    answer = api.txt2img(prompt=PROMPT, negative_prompt="fog", batch_size=2, n_iter=1, **SMALL)
    assert [image.size for image in answer.images] == [(32, 32)] * 2
    assert answer.info["all_seeds"] == [7, 8]
    assert (answer.info["steps"], answer.info["cfg_scale"], answer.info["sampler_name"]) == (2, 2.0, "Euler a")
    assert answer.info["negative_prompt"] == "fog"
    assert any("duck" in choice["title"] and choice["reason"] for choice in answer.info["velatura"]["choices"])
    assert "rubber_duck_v2" in answer.info["extra_generation_params"]["Lora hashes"]
    assert answer.images[0].text["parameters"] == answer.info["infotexts"][0]
    assert "velatura" in answer.images[0].text
    assert answer.parameters["prompt"] == PROMPT


def test_a_prompt_that_names_adapters_wears_these_alone_and_as_they_are(api: webuiapi.WebUIApi) -> None:
    answer = api.txt2img(prompt="a rocket <lora:rubber_duck_v2:0.5>", **SMALL)
    [choice] = answer.info["velatura"]["choices"]
    assert (choice["title"], choice["weight"]) == ("rubber duck v2", 0.5)
    assert "<lora:rubber_duck_v2:0.5>" in answer.info["infotexts"][0]
    assert answer.image.tobytes() != api.txt2img(prompt="a rocket <lora:rubber_duck_v2:0>", **SMALL).image.tobytes()


@pytest.mark.parametrize("name", ["no such file", "../../etc/passwd", "7"])
def test_an_adapter_that_is_not_there_is_told(api: webuiapi.WebUIApi, name: str) -> None:
    with pytest.raises(RuntimeError, match="no file in the catalogue is called so") as caught:
        api.txt2img(prompt=f"a fox <lora:{name}:1>", **SMALL)
    assert caught.value.args[0] == 422


def test_the_gates_hold_for_adapters_that_a_prompt_names(serve: Serve) -> None:
    guarded = serve(blocked=("rubber_duck_v2.safetensors",))
    answer = post(guarded, "txt2img", {"prompt": PINNED, **SMALL})
    assert (answer.status_code, "kept out" in answer.json()["detail"]) == (422, True)
    listed = requests.get(f"{guarded.url}/sdapi/v1/loras", timeout=30).json()
    assert "rubber_duck_v2" not in {lora["name"] for lora in listed}


def test_a_picture_is_painted_anew_in_the_white_of_its_mask(api: webuiapi.WebUIApi) -> None:
    start, mask = Image.new("RGB", (64, 64), "navy"), Image.new("L", (64, 64), 0)
    mask.paste(255, (0, 0, 64, 32))
    fields = {"prompt": PINNED, **SMALL, "denoising_strength": 0.9}
    kept = api.img2img(images=[start], mask_image=mask, **fields).image.convert("RGB")
    assert (kept.size, kept.getpixel((16, 28))) == ((32, 32), (0, 0, 128))
    assert kept.getpixel((16, 4)) != (0, 0, 128)
    turned = api.img2img(images=[start], mask_image=mask, inpainting_mask_invert=1, **fields).image.convert("RGB")
    assert turned.getpixel((16, 2)) == (0, 0, 128)
    whole = api.img2img(images=[start], resize_mode=1, **fields)
    assert whole.info["denoising_strength"] == 0.9
    assert whole.image.convert("RGB").getpixel((16, 28)) != (0, 0, 128)


def test_pictures_may_be_left_out_of_the_answer(api: webuiapi.WebUIApi) -> None:
    answer = api.txt2img(prompt=PINNED, send_images=False, **SMALL)
    assert (answer.images, answer.info["all_seeds"]) == ([], [7])


def test_what_is_left_out_is_the_models_own(served: Served) -> None:
    info = json.loads(post(served, "txt2img", {"prompt": PINNED, "steps": 1}).json()["info"])
    assert (info["width"], info["height"], info["sampler_name"]) == (32, 32, "DDIM")
    assert 0 <= info["seed"] < 1 << 32


# --------------------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"width": 33}, "multiples of"),
        ({"width": 4096}, "at most 2048"),
        ({"steps": 151}, "at most 150"),
        ({"batch_size": 5, "n_iter": 4}, "at most 16"),
        ({"sampler_name": "Restart"}, "there is no sampler 'Restart'"),
        ({"scheduler": "align_your_steps"}, "there is no schedule type"),
        ({"sampler_name": "DDIM", "scheduler": "Karras"}, "DDIM has no schedule type Karras"),
        ({"enable_hr": True}, "hires fix"),
        ({"tiling": True}, "tiling"),
        ({"restore_faces": True}, "face restoration"),
        ({"subseed_strength": 0.5}, "variation seeds"),
        ({"styles": ["mine"]}, "no styles"),
        ({"script_name": "X/Y/Z plot"}, "scripts"),
        ({"alwayson_scripts": {"ADetailer": {"args": [True, {"ad_model": "face_yolov8n.pt"}]}}}, "'ADetailer'"),
        ({"alwayson_scripts": {"ControlNet": {"args": [{"enabled": True, "model": "canny"}]}}}, "'ControlNet'"),
        ({"override_settings": {"sd_model_checkpoint": "another"}}, "this server paints with base"),
        ({"override_settings": {"sd_vae": "other.pt"}}, "'sd_vae' cannot be overridden"),
        ({"override_settings": {"CLIP_stop_at_last_layers": 0}}, "between 1 and 12"),
        ({"seed": "x"}, "seed: "),
        ({"prompt": "x" * 10_001}, "10,000"),
    ],
)
def test_what_cannot_be_is_told_in_a_sentence(served: Served, fields: dict[str, Any], sentence: str) -> None:
    answer = post(served, "txt2img", {"prompt": PINNED, **SMALL, **fields})
    assert answer.status_code == 422
    assert sentence in answer.json()["detail"]


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({}, "one picture, not 0"),
        ({"init_images": ["a", "b"]}, "one picture, not 2"),
        ({"init_images": ["http://127.0.0.1/a.png"]}, "addresses and paths are not opened"),
        ({"init_images": ["file:///etc/passwd"]}, "addresses and paths are not opened"),
        ({"init_images": ["AAAA"]}, "the picture is no PNG"),
        ({"init_images": ["AAAA"], "resize_mode": 2}, "no more"),
        ({"init_images": ["AAAA"], "width": 10**18, "height": 10**18}, "at most 2048"),
    ],
)
def test_what_is_no_picture_is_refused(served: Served, fields: dict[str, Any], sentence: str) -> None:
    answer = post(served, "img2img", {"prompt": PINNED, **SMALL, **fields})
    assert (answer.status_code, sentence in answer.json()["detail"]) == (422, True)


@pytest.mark.parametrize(
    "scripts",
    [
        {"ADetailer": {"args": [False]}},
        {"ControlNet": {"args": []}},
        {"ControlNet": {"args": [{"enabled": False, "model": "canny"}]}},
        {"animatediff": {"args": [False]}},
    ],
)
def test_scripts_that_are_told_to_do_nothing_are_passed_over(api: webuiapi.WebUIApi, scripts: dict[str, Any]) -> None:
    assert api.txt2img(prompt=PINNED, alwayson_scripts=scripts, **SMALL).images


def test_only_who_has_the_token_is_let_in(serve: Serve) -> None:
    guarded = serve(token="a-token-of-sixteen")
    assert requests.get(f"{guarded.url}/sdapi/v1/options", timeout=10).status_code == 401
    known = webuiapi.WebUIApi(port=guarded.port, username="anybody", password="a-token-of-sixteen")
    assert known.get_options()["sd_model_checkpoint"] == "base"
    known.session.close()


def test_too_large_a_body_and_too_long_a_queue_are_told(serve: Serve) -> None:
    answer = post(serve(largest_body=1), "txt2img", {"prompt": "x", "waste": "x" * (1 << 20)})
    assert (answer.status_code, "MB" in answer.json()["detail"]) == (413, True)
    narrow = serve(queue=1)
    slow = Slow(narrow)
    waiting = narrow.studio.jobs.submit("somebody", slow.job.requests)
    answer = post(narrow, "txt2img", {"prompt": PINNED, **SMALL})
    narrow.studio.jobs.cancel(waiting)
    narrow.studio.jobs.cancel(slow.job)
    assert (answer.status_code, "waiting" in answer.json()["detail"]) == (429, True)
    slow.answer()


# ------------------------------------------------------------------------------------------------- progress


def test_progress_is_told_and_an_interrupted_job_answers_what_it_has(api: webuiapi.WebUIApi, served: Served) -> None:
    idle = api.get_progress()
    assert (idle["progress"], idle["state"]["job_count"], idle["current_image"]) == (0.0, 0, None)
    slow = Slow(served, n_iter=8)
    now = until(lambda: (said := api.get_progress())["current_image"] and said)
    assert 0 < now["progress"] < 1
    assert now["eta_relative"] > 0
    assert (now["state"]["job_count"], now["state"]["sampling_steps"]) == (8, 150)
    assert Image.open(io.BytesIO(base64.b64decode(now["current_image"]))).format == "PNG"
    assert api.interrupt() == {}
    answer = slow.answer()
    assert len(answer["images"]) < 8
    assert "ended before all was painted" in json.loads(answer["info"])["velatura"]["notes"][-1]
    api.util_wait_for_ready(check_interval=0.05)


def test_others_are_neither_told_of_nor_interrupted(api: webuiapi.WebUIApi, served: Served) -> None:
    studio = served.studio
    other = studio.jobs.submit("somebody else", [studio.request(Composition(prompt="a fox"), steps=150)] * 8)
    until(lambda: other.progress > 0)
    assert api.get_progress()["state"]["job_count"] == 0
    assert api.interrupt() == {}
    assert not other.stopped
    studio.jobs.cancel(other)
    assert other.wait(10)


def test_the_last_picture_of_a_job_alone_can_be_skipped(api: webuiapi.WebUIApi, served: Served) -> None:
    assert api.skip() == {}
    slow = Slow(served, n_iter=8)
    assert "interrupt it" in api.skip()["detail"]
    api.interrupt()
    slow.answer()
    slow = Slow(served, n_iter=1)
    assert api.skip() == {}
    assert slow.answer()["images"] == []


def test_a_client_that_goes_away_frees_its_job(served: Served) -> None:
    known = {job.id for job in served.studio.jobs.all()}
    body = json.dumps({"prompt": PINNED, **SMALL, "steps": 150, "n_iter": 16}).encode()
    head = "POST /sdapi/v1/txt2img HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    with socket.create_connection(("127.0.0.1", served.port), timeout=10) as connection:
        connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        jobs = served.studio.jobs
        [job] = until(lambda: [job for job in jobs.all() if job.id not in known and job.started_at])
    assert job.wait(10)
    assert job.state == "cancelled"


# ---------------------------------------------------------------------------------------------------- lists


def test_lists_are_what_clients_expect(api: webuiapi.WebUIApi, playground) -> None:
    assert api.util_get_model_names() == ["base"]
    assert "DPM++ 2M" in api.util_get_sampler_names()
    assert "karras" in api.util_get_scheduler_names()
    loras = api.get_loras()
    assert "rubber_duck_v2" in {lora["name"] for lora in loras}
    assert str(playground) not in json.dumps(loras)
    for nothing in ("sd_vae", "hypernetworks", "face_restorers", "realesrgan_models", "prompt_styles"):
        assert getattr(api, f"get_{nothing}")() == []
    assert api.get_latent_upscale_modes() == []
    assert api.get_embeddings() == {"loaded": {}, "skipped": {}}
    assert api.get_scripts() == {"txt2img": [], "img2img": []}
    assert {"ram", "cuda"} <= set(api.get_memory())
    assert api.get_cmd_flags()["api"]
    assert api.refresh_checkpoints() is None
    assert [one["name"] for one in api.get_upscalers()] == ["None", "Lanczos", "Nearest"]


def test_the_checkpoint_is_the_one_there_is(api: webuiapi.WebUIApi, capsys: pytest.CaptureFixture[str]) -> None:
    assert api.util_get_current_model() == "base"
    api.util_set_model("Base")
    assert api.set_options({"sd_model_checkpoint": "base.safetensors [0123456789]"}) is None
    assert "paints with base" in api.set_options({"sd_model_checkpoint": "another"})["detail"]
    assert "from outside" in api.set_options({"outdir_samples": "/etc"})["detail"]


def test_pictures_are_enlarged(api: webuiapi.WebUIApi) -> None:
    picture = Image.new("RGB", (10, 6), "red")
    assert api.extra_single_image(picture, upscaler_1="Lanczos", upscaling_resize=3).image.size == (30, 18)
    sized = {"resize_mode": 1, "upscaling_resize_w": 20, "upscaling_resize_h": 20}
    assert api.extra_single_image(picture, upscaler_1="Nearest", **sized).image.size == (20, 20)
    assert [one.size for one in api.extra_batch_images([picture] * 2, upscaling_resize=2).images] == [(20, 12)] * 2
    with pytest.raises(RuntimeError, match="none of None, Lanczos, Nearest"):
        api.extra_single_image(picture, upscaler_1="R-ESRGAN 4x+")
    with pytest.raises(RuntimeError, match="at most 2048"):
        api.extra_single_image(Image.new("1", (2000, 8)), upscaling_resize=8)
    with pytest.raises(RuntimeError, match="2048x1 has no pixels left"):
        api.extra_single_image(Image.new("RGB", (2048, 1)), upscaling_crop=False, **sized)


def test_a_pictures_story_is_read(api: webuiapi.WebUIApi) -> None:
    painted = api.txt2img(prompt=PINNED, **SMALL)
    told = api.png_info(painted.image)
    assert told.json["info"] == painted.info["infotexts"][0]
    assert told.parameters["Seed"] == "7"
    assert api.png_info(Image.new("RGB", (4, 4))).json["info"] == ""


def test_without_a_picture_model_nothing_is_put_into_words(api: webuiapi.WebUIApi) -> None:
    with pytest.raises(RuntimeError, match="picture model") as caught:
        api.interrogate(Image.new("RGB", (4, 4)))
    assert caught.value.args[0] == 422


def test_every_sampler_and_schedule_that_is_listed_is_one_of_ours(api: webuiapi.WebUIApi) -> None:
    for name in api.util_get_sampler_names():
        assert scheduler_of(name, "automatic")
    for schedule in schedulers():
        assert scheduler_of("Euler", schedule["label"]) == scheduler_of("euler", schedule["name"])
    assert scheduler_of("DPM++ 2M Karras", None) == scheduler_of("DPM++ 2M", "Karras") == "dpmpp_2m_karras"
    assert scheduler_of(None, None) is None
    assert scheduler_of("dpmpp_2m_sde", None) == "dpmpp_2m_sde"


def test_another_velatura_paints_through_this_one(served: Served) -> None:
    """Our own backend for A1111 is a client, too, and reads every answer closely."""
    studio = served.studio
    [number] = studio.velatura.find("rubber_duck_v2.safetensors")[:1]
    record = studio.velatura.store.adapter(number).record
    backend = open_backend("a1111", "base", url=served.url)
    composition = Composition(prompt="a duck", choices=(Choice(adapter=record, weight=0.5, span="duck"),))
    fields = {"steps": 2, "guidance": 2.0, "width": 64, "height": 64, "seed": 7, "scheduler": "euler"}
    [there] = backend.generate(GenerationRequest(composition=composition, model="base", **fields))
    here = next(studio.velatura.generate(studio.request(composition, **fields)))
    assert there.image.convert("RGB").tobytes() == here.image.tobytes()
