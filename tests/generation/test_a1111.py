"""A composition is painted by A1111 as it was meant, and every fault of a server is one sentence."""

from __future__ import annotations

import base64
import hashlib
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import paint_servers
import pytest
from paint_servers import A1111Server, Sent, pixels, png_bytes, wait_for
from PIL import Image

from velatura.errors import BackendError, Cancelled, IncompatibleAdapter, InputError
from velatura.generation import PaintingWarning, a1111, open_backend
from velatura.generation.a1111 import A1111Backend
from velatura.generation.remote import server as asking
from velatura.protocols import Watch
from velatura.records import (
    AdapterRecord,
    Choice,
    Composition,
    Control,
    Enlargement,
    GenerationRequest,
    Hashes,
    ImagePrompt,
    Picture,
    Start,
)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[A1111Server]:
    monkeypatch.setattr(a1111, "_PAUSE", 0.01)
    stand_in = A1111Server()
    with paint_servers.serving(stand_in):
        yield stand_in


@pytest.fixture
def backend(server: A1111Server) -> A1111Backend:
    return A1111Backend("dream", url=server.url, timeout=10)


def adapter(name: str, weight: float = 0.8, *, triggers: tuple[str, ...] = (), **fields: Any) -> Choice:
    told = {"source": "folder", "key": name, "title": name, "path": f"/here/{name}.safetensors", **fields}
    return Choice(adapter=AdapterRecord(**told), weight=weight, span="fox", triggers=triggers)


def asked(prompt: str = "a red fox", *choices: Choice, **fields: Any) -> GenerationRequest:
    composition = Composition(prompt=prompt, choices=choices)
    return GenerationRequest(
        composition=composition, **{"model": "dream", "seed": 7, "width": 64, "height": 64} | fields
    )


def painted(server: A1111Server) -> dict[str, Any]:
    """What the stand-in was last asked to paint."""
    asked = [one for one in server.asked if one.path.endswith("2img")]
    body: dict[str, Any] = asked[-1].body
    return body


def sentence(backend: A1111Backend, request: GenerationRequest | None = None, kind: type = BackendError) -> str:
    with pytest.raises(kind) as failure:
        list(backend.generate(request or asked()))
    told = str(failure.value)
    assert told
    assert "\n" not in told
    assert len(told) < 600
    return told


# -------------------------------------------------------------------- what is sent, and what comes back


def test_the_whole_of_a_request_is_sent(server: A1111Server, backend: A1111Backend) -> None:
    request = asked(
        "a (red:1.2) fox",
        adapter("FOXY", 0.85, triggers=("foxy",)),
        adapter("ink-wash_v2", -1e-5),
        negative="blurry",
        steps=12,
        guidance=5.5,
        width=512,
        height=768,
        scheduler="dpmpp_2m_karras",
        clip_skip=1,
    )
    [image] = backend.generate(request)
    assert painted(server) == {
        "prompt": "a (red:1.2) fox, foxy <lora:Foxy:0.85><lora:ink-wash_v2:-0.00001>",
        "negative_prompt": "blurry",
        "seed": 7,
        "steps": 12,
        "cfg_scale": 5.5,
        "width": 512,
        "height": 768,
        "sampler_name": "DPM++ 2M",
        "scheduler": "Karras",
        "batch_size": 1,
        "n_iter": 1,
        "send_images": True,
        "save_images": False,
        "override_settings": {
            "sd_model_checkpoint": "sd15/dream.safetensors [879db523c3]",
            "CLIP_stop_at_last_layers": 2,
        },
        "override_settings_restore_afterwards": True,
    }
    assert [one.path for one in server.asked if one.path.endswith("2img")] == ["/sdapi/v1/txt2img"]
    assert image.image.tobytes() == pixels(7, (512, 768)).tobytes()
    assert image.image.info == {"parameters": f"{painted(server)['prompt']}\nSteps: 12, Seed: 7"}
    assert (image.seed, image.model_hash) == (7, "879db523c3")
    assert image.request == replace(request, backend="a1111")
    assert image.seconds > 0


def test_what_is_left_to_the_model_is_filled_in(backend: A1111Backend) -> None:
    complete = backend.complete(asked(width=None, height=None))
    assert (complete.steps, complete.guidance, complete.scheduler) == (25, 7.0, "euler")
    assert (complete.width, complete.height) == (512, 512)
    assert (complete.model, complete.backend) == ("dream", "a1111")
    assert backend.complete(complete) == complete


def test_sizes_follow_the_family_and_where_it_is_unknown_the_adapters(server: A1111Server) -> None:
    noob = A1111Backend("noob-xl", url=server.url)
    assert noob.family == "noobai"
    request = replace(asked(width=None, height=None), model="")
    assert noob.complete(request).width == 1024
    dream = A1111Backend("dream", url=server.url)
    assert dream.family == "unknown"
    large = adapter("Foxy", family="sdxl")
    assert dream.complete(replace(request, composition=Composition(prompt="", choices=(large,)))).width == 1024


def test_a_known_checkpoint_brings_its_own_settings(server: A1111Server) -> None:
    files = [{"title": "counterfeit.safetensors", "filename": "/m/counterfeit.safetensors"}]
    server.routes["GET", "/sdapi/v1/sd-models"] = (200, files)
    backend = A1111Backend("counterfeit", url=server.url)
    complete = backend.complete(replace(asked(width=None, height=None), model=""))
    assert (backend.family, complete.width, complete.scheduler) == ("sd1", 512, "dpmpp_2m_karras")


def test_an_adapter_for_few_steps_decides_them(server: A1111Server, backend: A1111Backend) -> None:
    names = [*paint_servers.LORAS, {"name": "lcm-lora-sdv1-5", "path": "lcm-lora-sdv1-5.safetensors", "metadata": {}}]
    server.routes["GET", "/sdapi/v1/loras"] = (200, names)
    samplers = [*paint_servers.SAMPLERS, {"name": "LCM", "aliases": [], "options": {}}]
    server.routes["GET", "/sdapi/v1/samplers"] = (200, samplers)
    complete = backend.complete(asked("a fox", adapter("lcm-lora-sdv1-5", 1.0, family="sd1")))
    assert (complete.steps, complete.guidance, complete.scheduler) == (4, 1.0, "lcm")
    with pytest.warns(PaintingWarning, match="bears"):
        list(backend.generate(replace(complete, guidance=9.0)))


def test_several_images_count_up_from_the_seed_one_request_each(server: A1111Server, backend: A1111Backend) -> None:
    images = list(backend.generate(asked(seed=300), 3))
    assert [image.seed for image in images] == [300, 301, 302]
    assert [image.image.getpixel((0, 0)) for image in images] == [(44, 1, 77), (45, 1, 77), (46, 1, 77)]
    bodies = [one.body for one in server.to("/sdapi/v1/txt2img")]
    assert [(body["seed"], body["n_iter"], body["batch_size"]) for body in bodies] == [
        (300, 1, 1),
        (301, 1, 1),
        (302, 1, 1),
    ]
    assert {image.request.seed for image in images} == {300}


def test_each_request_has_its_own_adapters_and_lists_are_asked_once(server: A1111Server, backend: A1111Backend) -> None:
    requests = [asked("a", adapter("Foxy"), seed=1), asked("b", adapter("ink-wash_v2"), seed=2), asked("c", seed=3)]
    images = dict(backend.generate_each(requests))
    assert [images[place].seed for place in range(3)] == [1, 2, 3]
    prompts = [one.body["prompt"] for one in server.to("/sdapi/v1/txt2img")]
    assert prompts == ["a <lora:Foxy:0.8>", "b <lora:ink-wash_v2:0.8>", "c"]
    assert len(server.to("/sdapi/v1/loras")) == len(server.to("/sdapi/v1/sd-models")) == 1


def test_a_mask_takes_choices_off_and_one_file_is_laid_once(server: A1111Server, backend: A1111Backend) -> None:
    choices = (adapter("Foxy", 0.5), adapter("ink-wash_v2"), adapter("foxy", 0.25))
    list(backend.generate(asked("x", *choices, mask=(True, False, True))))
    assert painted(server)["prompt"] == "x <lora:Foxy:0.75>"


def test_what_the_server_says_of_the_picture_is_kept(server: A1111Server, backend: A1111Backend) -> None:
    server.info = {"seed": 99, "infotexts": ["told"]}
    [image] = backend.generate(asked())
    assert (image.seed, image.image.info) == (99, {"parameters": "told"})
    assert image.request.seed == 7
    server.info = {"seed": True, "infotexts": [None], "sd_model_hash": "e3b0c44298", "extra_generation_params": 3}
    [image] = backend.generate(asked())
    assert (image.seed, image.image.info, image.model_hash) == (7, {}, "879db523c3")


def test_no_guidance_is_one_there(server: A1111Server, backend: A1111Backend) -> None:
    list(backend.generate(asked(guidance=0.0)))
    assert painted(server)["cfg_scale"] == 1.0


# -------------------------------------------------------------------- tags


@pytest.mark.parametrize(
    ("prompt", "sent"),
    [
        ("a fox <lora:evil:9>, snow", "a fox , snow <lora:Foxy:0.8>"),
        ("a <hypernet:x:1> fox", "a fox <lora:Foxy:0.8>"),
        ("a fox <lora:evil", "a fox lora:evil <lora:Foxy:0.8>"),
        ("<lora:ev<a:b>il:9> fox", "lora:evil:9 fox <lora:Foxy:0.8>"),
        ("a fox <3 snow", "a fox <3 snow <lora:Foxy:0.8>"),
        ("a fox #1", "a fox #1\n<lora:Foxy:0.8>"),
        ("a \ud83d fox", "a ? fox <lora:Foxy:0.8>"),
    ],
)
def test_no_tag_of_the_user_reaches_the_server(
    prompt: str, sent: str, server: A1111Server, backend: A1111Backend
) -> None:
    list(backend.generate(asked(prompt, adapter("Foxy"), negative="<lora:evil:1> blurry")))
    assert painted(server)["prompt"] == sent
    assert painted(server)["negative_prompt"] == "blurry"


def test_triggers_are_names_and_the_users_brackets_emphasis(server: A1111Server, backend: A1111Backend) -> None:
    choice = adapter("Foxy", triggers=("saber (fate)", "<lora:evil:1>", "(ink:1.1)", "two\nlines"))
    list(backend.generate(asked("((red)) fox", choice)))
    assert painted(server)["prompt"] == r"((red)) fox, saber \(fate\), (ink:1.1), two lines <lora:Foxy:0.8>"


@pytest.mark.parametrize("name", ["a<b", "a:b", "a=b", "a#b", "a>b"])
def test_a_name_that_ends_a_tag_is_refused(name: str, server: A1111Server, backend: A1111Backend) -> None:
    server.routes["GET", "/sdapi/v1/loras"] = (200, [{"name": name, "path": f"/x/{name}.safetensors"}])
    told = sentence(backend, asked("x", adapter(name)), InputError)
    assert told == f"{name[1]!r} in the name of the adapter {name!r} ends a tag; rename the file on A1111"
    assert not server.to("/sdapi/v1/txt2img")


# -------------------------------------------------------------------- what is found there


def test_an_adapter_that_is_not_there_is_named_with_its_neighbours(backend: A1111Backend) -> None:
    told = sentence(backend, asked("x", adapter("ink_wash_v3")), InputError)
    assert told == (
        "A1111 has no adapter 'ink_wash_v3'; of names like it there are '/srv/Lora/art/ink-wash_v2.safetensors'; "
        "put the file into models/Lora there, and refresh the list"
    )
    assert sentence(backend, asked("x", adapter("zzzzz")), InputError).startswith("A1111 has no adapter 'zzzzz'; put")


def test_an_adapter_is_found_by_what_is_in_it(server: A1111Server, backend: A1111Backend) -> None:
    renamed = adapter("my copy", hashes=Hashes(autov3=paint_servers.FOXY_TENSORS[:12]))
    list(backend.generate(asked("x", renamed)))
    assert painted(server)["prompt"] == "x <lora:Foxy:0.8>"


def test_an_adapter_without_a_file_name_is_not_guessed(backend: A1111Backend) -> None:
    told = sentence(backend, asked("x", adapter("Foxy", path=None, title="Foxy")), InputError)
    assert told == "A1111 has no adapter that is 'Foxy', whose file name is not known here; name the file"


def test_another_file_of_the_same_name_is_told(server: A1111Server, backend: A1111Backend) -> None:
    other = adapter("Foxy", hashes=Hashes(autov3="0" * 11 + "1"))
    with pytest.warns(PaintingWarning, match="A1111: the adapter '/srv/Lora/Foxy.safetensors' there is another file"):
        list(backend.generate(asked("x", other)))
    assert painted(server)["prompt"] == "x <lora:Foxy:0.8>"


def test_of_two_files_of_one_name_the_right_one_is_taken(server: A1111Server, backend: A1111Backend) -> None:
    first, second = "1" * 11 + "2", "3" * 11 + "4"
    server.routes["GET", "/sdapi/v1/loras"] = (
        200,
        [
            {"name": "a/Foxy", "path": "/l/a/Foxy.safetensors", "metadata": {"sshs_model_hash": first + "0" * 52}},
            {"name": "b/Foxy", "path": "/l/b/Foxy.safetensors", "metadata": {"sshs_model_hash": second + "0" * 52}},
        ],
    )
    list(backend.generate(asked("x", adapter("Foxy", hashes=Hashes(autov3=second)))))
    assert painted(server)["prompt"] == "x <lora:b/Foxy:0.8>"
    list(backend.generate(asked("x", adapter("Foxy", path="/mine/B/foxy.safetensors"))))
    assert painted(server)["prompt"] == "x <lora:b/Foxy:0.8>"
    with pytest.warns(PaintingWarning, match=r"there are 2 files 'Foxy' there; '/l/a/Foxy.safetensors' was taken"):
        list(backend.generate(asked("x", adapter("Foxy"))))
    assert painted(server)["prompt"] == "x <lora:a/Foxy:0.8>"


@pytest.mark.parametrize(
    "model", ["dream", "DREAM.safetensors", "sd15/dream.safetensors [879db523c3]", "879db523c3", "/my/dream.ckpt"]
)
def test_a_checkpoint_is_found_as_people_name_it(model: str, server: A1111Server) -> None:
    backend = A1111Backend(model, url=server.url)
    list(backend.generate(replace(asked(), model="")))
    assert painted(server)["override_settings"]["sd_model_checkpoint"] == "sd15/dream.safetensors [879db523c3]"


def test_a_checkpoint_that_is_not_there_is_named_with_its_neighbours(server: A1111Server) -> None:
    backend = A1111Backend("dreams", url=server.url)
    told = sentence(backend, replace(asked(), model=""), InputError)
    assert told.startswith("A1111 has no checkpoint 'dreams'; of names like it there are '/srv/models/sd15/dream")
    with pytest.raises(InputError, match="has no checkpoint 'dreams'"):
        _ = backend.family


def test_an_adapter_of_another_architecture_is_refused(server: A1111Server) -> None:
    noob = A1111Backend("noob-xl", url=server.url)
    request = replace(asked("x", adapter("Foxy", family="sd1")), model="")
    told = sentence(noob, request, IncompatibleAdapter)
    assert told.startswith("Foxy is for SD 1.x and noob-xl is NoobAI; choose")
    assert noob.complete(
        replace(request, composition=Composition(prompt="", choices=(adapter("Foxy", family="pony"),)))
    )


def test_textual_inversions_are_named_as_the_server_names_them(server: A1111Server, backend: A1111Backend) -> None:
    request = asked("a fox", embeddings=("/e/neg-xl.safetensors",), negative="<neg-xl>, embedding:NEG-XL, neg-xlarge")
    list(backend.generate(request))
    assert painted(server)["negative_prompt"] == "Neg-XL, Neg-XL, neg-xlarge"
    told = sentence(backend, asked(embeddings=("/e/gone.safetensors",)), InputError)
    assert told == "A1111 has no embedding 'gone'; put the file into embeddings there, and refresh the list"
    learned = adapter("badhands", kind="embedding", triggers=("badhands",))
    list(backend.generate(asked("x", learned)))
    assert painted(server)["prompt"] == "x, badhands"


# -------------------------------------------------------------------- samplers


@pytest.mark.parametrize(
    ("scheduler", "sent"),
    [
        ("euler", {"sampler_name": "Euler", "scheduler": "Automatic"}),
        ("euler_a", {"sampler_name": "Euler a", "scheduler": "Automatic"}),
        ("dpmpp_2m", {"sampler_name": "DPM++ 2M", "scheduler": "Uniform"}),
        ("dpmpp_2m_karras", {"sampler_name": "DPM++ 2M", "scheduler": "Karras"}),
        ("euler_a_sgm_uniform", {"sampler_name": "Euler a", "scheduler": "SGM Uniform"}),
    ],
)
def test_schedulers_have_their_names_there(
    scheduler: str, sent: dict[str, str], server: A1111Server, backend: A1111Backend
) -> None:
    list(backend.generate(asked(scheduler=scheduler)))
    body = painted(server)
    assert {name: body.get(name) for name in ("sampler_name", "scheduler")} == sent


def test_an_old_server_has_the_schedule_in_the_name(server: A1111Server, backend: A1111Backend) -> None:
    del server.routes["GET", "/sdapi/v1/schedulers"]
    server.routes["GET", "/sdapi/v1/samplers"] = (200, [{"name": "DPM++ 2M Karras"}, {"name": "DPM++ 2M"}])
    list(backend.generate(asked(scheduler="dpmpp_2m_karras")))
    assert painted(server)["sampler_name"] == "DPM++ 2M Karras"
    assert "scheduler" not in painted(server)


def test_a_scheduler_that_is_not_there_lists_those_that_are(server: A1111Server, backend: A1111Backend) -> None:
    told = sentence(backend, asked(scheduler="heun"), InputError)
    assert told == "A1111 has no scheduler heun (Heun); of ours it has dpmpp_2m, euler, euler_a"
    assert sentence(backend, asked(scheduler="dpmpp_2m_exponential"), InputError).startswith("A1111 has no scheduler")
    assert "there is no scheduler 'best'; take one of ddim" in sentence(backend, asked(scheduler="best"), InputError)
    assert not server.to("/sdapi/v1/txt2img")


# -------------------------------------------------------------------- pictures to paint from


@pytest.fixture
def pictures(tmp_path: Path) -> dict[str, Picture]:
    Image.new("RGB", (80, 64), (10, 20, 30)).save(tmp_path / "start.png")
    mask = Image.new("L", (80, 64), 0)
    mask.paste(255, (40, 0, 80, 64))
    mask.save(tmp_path / "mask.png")
    edges = Image.new("RGB", (80, 64), "black")
    edges.paste((255, 255, 255), (20, 20, 60, 44))
    edges.save(tmp_path / "edges.png")
    return {name: Picture(path=str(tmp_path / f"{name}.png")) for name in ("start", "mask", "edges")}


def test_a_start_is_sent_and_its_size_is_the_pictures(
    server: A1111Server, backend: A1111Backend, pictures: dict[str, Picture]
) -> None:
    request = asked(start=Start(picture=pictures["start"], strength=0.6), width=None, height=None)
    [image] = backend.generate(request)
    body = painted(server)
    assert server.asked[-1].path == "/sdapi/v1/img2img"
    assert (body["denoising_strength"], body["resize_mode"], body["width"], body["height"]) == (0.6, 0, 80, 64)
    assert body["override_settings"]["img2img_fix_steps"] is False
    [sent] = body["init_images"]
    assert paint_servers.picture_from(sent).tobytes() == Image.new("RGB", (80, 64), (10, 20, 30)).tobytes()
    assert "mask" not in body
    start = image.request.start
    assert start is not None
    assert start.picture.sha256 == hashlib.sha256(Path(pictures["start"].path).read_bytes()).hexdigest()


def test_where_the_mask_is_black_the_picture_is_kept(
    server: A1111Server, backend: A1111Backend, pictures: dict[str, Picture]
) -> None:
    start = Start(picture=pictures["start"], mask=pictures["mask"])
    [image] = backend.generate(asked(start=start, width=None, height=None))
    body = painted(server)
    mask = paint_servers.picture_from(body["mask"])
    assert (mask.getpixel((10, 10)), mask.getpixel((60, 10))) == (0, 255)
    assert (body["mask_blur"], body["inpainting_fill"], body["inpaint_full_res"]) == (0, 1, False)
    assert image.image.getpixel((10, 10)) == (10, 20, 30)
    assert image.image.getpixel((70, 10)) == (7, 0, 77)
    assert "parameters" in image.image.info


def test_a_control_is_one_unit_with_its_map(
    server: A1111Server, backend: A1111Backend, pictures: dict[str, Picture]
) -> None:
    control = Control(
        model="lllyasviel/control_v11p_sd15_canny",
        picture=pictures["edges"],
        reading="canny",
        weight=0.7,
        begin=0.1,
        end=0.9,
    )
    plain = replace(control, reading=None, model="control_v11p_sd15_canny.safetensors")
    list(backend.generate(asked(controls=(control, plain), width=80, height=64)))
    read, given = painted(server)["alwayson_scripts"]["ControlNet"]["args"]
    assert {name: value for name, value in read.items() if name != "image"} == {
        "enabled": True,
        "module": "none",
        "model": "control_v11p_sd15_canny [d14c016b]",
        "weight": 0.7,
        "guidance_start": 0.1,
        "guidance_end": 0.9,
        "resize_mode": "Just Resize",
        "control_mode": "Balanced",
        "save_detected_map": False,
    }
    assert given["model"] == read["model"]
    edges = paint_servers.picture_from(read["image"])
    assert edges.size == (80, 64)
    assert (edges.getpixel((40, 32)), edges.getpixel((2, 2))) == ((0, 0, 0), (0, 0, 0))
    assert (255, 255, 255) in {edges.getpixel((x, 32)) for x in range(80)}
    assert paint_servers.picture_from(given["image"]).getpixel((40, 32)) == (255, 255, 255)


def test_a_server_without_controlnet_is_told(
    server: A1111Server, backend: A1111Backend, pictures: dict[str, Picture]
) -> None:
    del server.routes["GET", "/controlnet/model_list"]
    told = sentence(backend, asked(controls=(Control(model="x", picture=pictures["edges"]),)), InputError)
    assert told.startswith("A1111 has no ControlNet; install the extension sd-webui-controlnet")


# -------------------------------------------------------------------- what cannot be


def test_what_cannot_be_asked_is_one_sentence(
    server: A1111Server, backend: A1111Backend, pictures: dict[str, Picture], tmp_path: Path
) -> None:
    Image.new("L", (16, 16)).save(tmp_path / "small.png")
    small = Picture(path=str(tmp_path / "small.png"))
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"width": 100}, "width and height must be multiples of 8 from 64 to 4096, not 100"),
        ({"height": 8192}, "width and height must be multiples of 8 from 64 to 4096, not 8192"),
        ({"steps": 0}, "the steps must be between 1 and 1000, not 0"),
        ({"seed": -1}, "the seed must be between 0 and 2^63, not -1"),
        ({"guidance": float("nan")}, "the guidance must be between 0 and 100, not nan"),
        ({"clip_skip": 12}, "clip_skip must be between 0 and 11, not 12"),
        ({"mask": (True,)}, "the mask must be as long as the 0 choices"),
        ({"model": "other"}, "this backend holds dream, not other"),
        ({"freeu": (1.0, 1.0, 1.0, 1.0)}, "the backend a1111 has no FreeU"),
        ({"image_prompts": (ImagePrompt(model="ip", pictures=()),)}, "the backend a1111 takes no image prompts"),
        ({"enlargement": Enlargement()}, "the backend a1111 paints no enlargements"),
        ({"start": Start(picture=Picture(path="/gone.png"))}, "there is no picture /gone.png"),
        ({"start": Start(picture=pictures["start"], strength=0)}, "the strength must be above 0 and at most 1, not 0"),
        ({"start": Start(picture=pictures["start"], strength=0.1), "steps": 5}, "a strength of 0.1 of 5 steps leaves"),
        ({"start": Start(picture=pictures["start"], mask=small)}, "the mask is 16x16 and the picture 80x64"),
        (
            {"controls": (Control(model="x", picture=small, weight=3),)},
            "the weight of a control must be between 0 and 2",
        ),
        ({"controls": (Control(model="x", picture=small, begin=1),)}, "a control must begin before it ends"),
        ({"controls": (Control(model="x", picture=small),)}, "A1111 has no ControlNet 'x'; put the file"),
    ]
    for fields, told in wrong:
        with pytest.raises(InputError) as failure:
            backend.complete(asked(**fields))
        assert str(failure.value).startswith(told)
        with pytest.raises(InputError):
            backend.generate(asked(**fields))
    with pytest.raises(InputError, match="the weight of Foxy must be a finite number, not nan"):
        backend.complete(asked("x", adapter("Foxy", float("nan"))))
    with pytest.raises(InputError, match="the count must be at least 1, not 0"):
        backend.generate(asked(), 0)
    assert not server.to("/sdapi/v1/txt2img")


def test_clip_skip_is_refused_where_it_would_mean_another_thing(server: A1111Server) -> None:
    noob = A1111Backend("noob-xl", url=server.url)
    with pytest.raises(InputError, match="clip_skip means another thing"):
        noob.complete(replace(asked(clip_skip=1), model=""))


@pytest.mark.parametrize(
    "url", ["", "127.0.0.1:7860", "ftp://x", "http://", "http://x:99999", "http://x/?a=b", "http://x#y", "file:///x"]
)
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(InputError, match=r"the server's address must be like http://127\.0\.0\.1:7860"):
        A1111Backend("dream", url=url)


def test_a_password_in_the_address_is_refused_and_not_repeated() -> None:
    with pytest.raises(InputError, match="VELATURA_A1111_AUTH") as failure:
        A1111Backend("dream", url="http://me:hush@127.0.0.1:7860")
    assert "hush" not in str(failure.value)


@pytest.mark.parametrize("timeout", [0, -1, float("nan"), float("inf")])
def test_a_time_that_is_none_is_refused(timeout: float) -> None:
    with pytest.raises(InputError, match="the time for a picture"):
        A1111Backend("dream", timeout=timeout)


# -------------------------------------------------------------------- who looks on


def painting_until(server: A1111Server) -> threading.Event:
    """Let the stand-in paint until the event that is returned is set, picture by picture."""
    paint: Any = server.routes["POST", "/sdapi/v1/txt2img"]
    done = threading.Event()

    def wait(asked: paint_servers.Asked) -> Any:
        done.wait(20)
        done.clear()
        return paint(asked)

    server.routes["POST", "/sdapi/v1/txt2img"] = wait
    return done


def test_progress_and_previews_are_told(server: A1111Server, backend: A1111Backend) -> None:
    small = base64.b64encode(png_bytes(Image.new("RGB", (8, 8), (1, 2, 3)))).decode()
    server.routes["GET", "/sdapi/v1/progress"] = lambda one: (
        200,
        {**server.progress, "current_image": None if one.query["skip_current_image"] == "true" else small},
    )
    done = painting_until(server)
    shares: list[float] = []
    shown: list[tuple[int, Image.Image]] = []

    def preview(place: int, image: Image.Image) -> None:
        shown.append((place, image))
        done.set()

    list(backend.generate(asked(), 2, watch=Watch(progress=shares.append, preview=preview)))
    assert shares == [0.25, 0.5, 0.75, 1.0]
    assert [place for place, _ in shown] == [0, 1]
    assert shown[0][1].getpixel((0, 0)) == (1, 2, 3)


@pytest.mark.parametrize(
    "told",
    [
        (500, {"detail": "no"}),
        (200, b"<html>"),
        (200, {}),
        (200, {"progress": "x", "state": {"job_count": 1, "sampling_step": 1, "sampling_steps": 2}}),
        (200, {"progress": float("nan"), "state": {"job_count": 1, "sampling_step": 1, "sampling_steps": 2}}),
        (200, {"progress": 0.4, "state": {"job_count": 0, "sampling_step": 1, "sampling_steps": 2}}),
        (200, {"progress": 0.4, "state": {"job_count": -1, "sampling_step": 0, "sampling_steps": 0}}),
        (
            200,
            {"progress": 1e9, "current_image": "x", "state": {"job_count": 1, "sampling_step": 9, "sampling_steps": 2}},
        ),
    ],
)
def test_wrong_progress_costs_nothing(told: Any, server: A1111Server, backend: A1111Backend) -> None:
    done = painting_until(server)

    def progress(one: paint_servers.Asked) -> Any:
        if len(server.to("/sdapi/v1/progress")) >= 3:
            done.set()
        return told

    server.routes["GET", "/sdapi/v1/progress"] = progress
    shares: list[float] = []
    shown: list[object] = []
    watch = Watch(progress=shares.append, preview=lambda place, image: shown.append(image), every=1)
    assert len(list(backend.generate(asked(), watch=watch))) == 1
    assert shares == [1.0]
    assert shown == []


def test_a_stop_interrupts_the_server_and_loses_nothing(server: A1111Server, backend: A1111Backend) -> None:
    stop = threading.Event()
    images = backend.generate(asked(), 3, watch=Watch(stopped=stop.is_set))
    first = next(images)
    assert first.image.tobytes() == pixels(7).tobytes()
    server.seconds = 20
    threading.Thread(
        target=lambda: (wait_for(lambda: len(server.to("/sdapi/v1/txt2img")) == 2), stop.set()), daemon=True
    ).start()
    with pytest.raises(Cancelled):
        next(images)
    assert server.interrupted.is_set()
    assert len(server.to("/sdapi/v1/txt2img")) == 2


def test_a_stop_before_the_start_asks_for_nothing(server: A1111Server, backend: A1111Backend) -> None:
    with pytest.raises(Cancelled):
        list(backend.generate(asked(), watch=Watch(stopped=lambda: True)))
    assert not server.to("/sdapi/v1/txt2img")


def test_who_looks_on_and_fails_interrupts_the_server(server: A1111Server, backend: A1111Backend) -> None:
    def fail(share: float) -> None:
        raise KeyboardInterrupt

    server.seconds = 20
    with pytest.raises(KeyboardInterrupt):
        list(backend.generate(asked(), watch=Watch(progress=fail)))
    assert server.interrupted.is_set()


def test_a_server_deaf_to_interrupts_is_not_waited_for(
    server: A1111Server, backend: A1111Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(a1111, "_PATIENCE", 0.1)
    server.routes["POST", "/sdapi/v1/txt2img"] = Sent(200, {}, delay=20)
    server.routes["POST", "/sdapi/v1/interrupt"] = (200, {})
    calls = iter([False, False])
    with pytest.raises(Cancelled):
        list(backend.generate(asked(), watch=Watch(stopped=lambda: next(calls, True))))
    assert server.to("/sdapi/v1/interrupt")


# -------------------------------------------------------------------- faults


def test_a_server_that_is_down_is_told() -> None:
    told = sentence(A1111Backend("dream", url="http://127.0.0.1:9"))
    assert told == "A1111 does not answer at http://127.0.0.1:9; is it running?"


def test_a_server_without_the_api_is_told_how_to_start(server: A1111Server, backend: A1111Backend) -> None:
    server.routes.clear()
    assert sentence(backend) == f"A1111 at {server.url} has no /sdapi/v1/sd-models; start it with --api"


TRACE = {"error": "ValueError", "detail": "", "body": "", "errors": "shapes\ncannot be \x1b[31mmultiplied"}
MEMORY = {"error": "OutOfMemoryError", "detail": "", "body": "", "errors": "CUDA out of memory. Tried 2 GiB"}
GOOD = base64.b64encode(png_bytes(pixels(7))).decode()
HUGE = base64.b64encode(png_bytes(Image.new("1", (10_000, 10_000)))).decode()


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (
            (422, {"detail": [{"loc": ["body", "steps"], "msg": "not a valid integer"}]}),
            "A1111 fails: steps: not a valid",
        ),
        (
            (422, {"detail": "always on script ControlNet not found"}),
            "A1111 fails: always on script ControlNet not found",
        ),
        ((400, {"detail": "Sampler not found"}), "A1111 fails: Sampler not found"),
        ((500, TRACE), "A1111 fails: ValueError: shapes cannot be [31mmultiplied"),
        ((500, MEMORY), "A1111 has not enough memory for a picture of 64x64; ask for a smaller one"),
        ((500, b"<html>Internal Server Error</html>"), "A1111 fails: HTTP 500"),
        ((503, b""), "A1111 fails: HTTP 503"),
        ((500, {"detail": "x" * 100_000}), "A1111 fails: xxx"),
        ((200, b"<html>a page</html>"), "what answers at {url} is hardly A1111: it sends a page for a browser"),
        ((200, b"{half"), "what answers at {url} is hardly A1111: it sends what is no JSON"),
        ((200, b"[" * 100_000), "what answers at {url} is hardly A1111: it sends what is no JSON"),
        ((200, {"images": []}), "A1111 painted nothing: its answer holds no picture"),
        ((200, {"images": "x"}), "A1111 painted nothing"),
        ((200, [1]), "A1111 painted nothing"),
        ((200, {"images": [None]}), "A1111 sent no picture where one belongs"),
        ((200, {"images": ["not base64!"]}), "A1111 sent a broken picture (it is no base64)"),
        ((200, {"images": ["é"]}), "A1111 sent a broken picture"),
        ((200, {"images": [base64.b64encode(b"GIF89a").decode()]}), "A1111 sent a broken picture"),
        ((200, {"images": [GOOD[:-40]]}), "A1111 sent a broken picture"),
        ((200, {"images": [HUGE]}), "A1111 sent a picture of 10000x10000, which is too large"),
        (Sent(200, {"images": [GOOD]}, cut=40), "A1111 at {url} broke off in the middle of an answer"),
        (Sent(302, b"", {"Location": "http://evil.example/x"}), "A1111 at {url} sends on to http://evil.example/x"),
        (Sent(307, b"", {"Location": "/elsewhere"}), "A1111 at {url} sends on to /elsewhere, which is not followed"),
        ((401, {"detail": "Not authenticated"}), "A1111 at {url} wants a user and a password; set VELATURA_A1111_AUTH"),
        ((404, {"detail": "Not Found"}), "A1111 at {url} has no /sdapi/v1/txt2img; start it with --api"),
        (
            Sent(200, b"no gzip at all, this", {"Content-Encoding": "gzip"}),
            "A1111 at {url} broke off in the middle of an answer",
        ),
    ],
)
def test_every_fault_is_one_sentence_and_the_next_picture_is_painted(
    answer: Any, told: str, server: A1111Server, backend: A1111Backend
) -> None:
    paint = server.routes["POST", "/sdapi/v1/txt2img"]
    server.routes["POST", "/sdapi/v1/txt2img"] = answer
    assert sentence(backend).startswith(told.replace("{url}", server.url))
    server.routes["POST", "/sdapi/v1/txt2img"] = paint
    assert len(list(backend.generate(asked()))) == 1


def test_images_before_a_fault_are_whole(server: A1111Server, backend: A1111Backend) -> None:
    paint: Any = server.routes["POST", "/sdapi/v1/txt2img"]
    server.routes["POST", "/sdapi/v1/txt2img"] = lambda one: paint(one) if one.body["seed"] < 9 else (500, MEMORY)
    images = backend.generate(asked(), 3)
    assert [next(images).seed, next(images).seed] == [7, 8]
    with pytest.raises(BackendError, match="not enough memory"):
        next(images)


def test_a_picture_after_a_data_prefix_is_read(server: A1111Server, backend: A1111Backend) -> None:
    server.routes["POST", "/sdapi/v1/txt2img"] = (200, {"images": [f"data:image/png;base64,{GOOD}"], "info": "{"})
    [image] = backend.generate(asked())
    assert (image.image.tobytes(), image.seed) == (pixels(7).tobytes(), 7)


@pytest.mark.parametrize("slow", [Sent(200, {}, delay=20), Sent(200, b"{" * 999, dribble=0.05)])
def test_a_picture_that_takes_too_long_is_given_up_and_interrupted(slow: Sent, server: A1111Server) -> None:
    backend = A1111Backend("dream", url=server.url, timeout=0.3)
    server.routes["POST", "/sdapi/v1/txt2img"] = slow
    assert sentence(backend) == f"A1111 at {server.url} gave no answer in 0.3 s"
    assert server.interrupted.is_set()


def test_an_answer_without_end_is_cut(
    server: A1111Server, backend: A1111Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "_LARGEST", 1 << 20)
    server.routes["GET", "/sdapi/v1/loras"] = (200, ["x" * (1 << 21)])
    told = sentence(backend, asked("x", adapter("Foxy")))
    assert told == f"A1111 at {server.url} answers with more than 1 MiB"


@pytest.mark.parametrize(
    "listed",
    [
        {},
        None,
        3,
        [None, 3, {"name": None}, {"name": ["x"]}],
        [{"name": "x", "path": 3, "metadata": "y"}],
        [{"name": "Foxy" * 9999}],
    ],
)
def test_lists_of_wrong_types_hold_nothing(listed: Any, server: A1111Server, backend: A1111Backend) -> None:
    server.routes["GET", "/sdapi/v1/loras"] = (200, listed)
    if listed is None:
        assert "hardly A1111" in sentence(backend, asked("x", adapter("Foxy")))
    else:
        assert "has no adapter 'Foxy'" in sentence(backend, asked("x", adapter("Foxy")), InputError)


def test_another_checkpoint_or_a_lost_adapter_is_told(server: A1111Server, backend: A1111Backend) -> None:
    server.info = {"sd_model_name": "fallback", "sd_model_hash": "0123456789"}
    with pytest.warns(PaintingWarning, match="A1111 painted with the checkpoint 'fallback', not with 'sd15/dream"):
        [image] = backend.generate(asked())
    assert image.model_hash == "0123456789"
    server.info = {"extra_generation_params": {"Lora hashes": "ink-wash_v2: 0123456789ab"}}
    with pytest.warns(PaintingWarning, match="A1111 could not lay on Foxy; its own log tells why"):
        list(backend.generate(asked("x", adapter("Foxy"), adapter("ink-wash_v2"))))


# -------------------------------------------------------------------- secrets


def test_the_password_is_sent_and_never_shown(
    server: A1111Server, backend: A1111Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VELATURA_A1111_AUTH", "me:hush:hush")
    list(backend.generate(asked()))
    encoded = base64.b64encode(b"me:hush:hush").decode()
    assert {one.headers.get("Authorization") for one in server.asked} == {f"Basic {encoded}"}
    server.routes["POST", "/sdapi/v1/txt2img"] = (500, {"detail": f"me:hush:hush hush:hush {encoded}"})
    assert sentence(backend) == "A1111 fails: *** *** ***"
    server.routes["POST", "/sdapi/v1/txt2img"] = (401, {})
    told = sentence(backend)
    assert told == f"A1111 at {server.url} refuses the user and password in VELATURA_A1111_AUTH"
    assert "hush" not in repr(vars(backend)) + repr(vars(backend._server))
    monkeypatch.setenv("VELATURA_A1111_AUTH", "nocolon")
    assert sentence(backend, kind=InputError) == "VELATURA_A1111_AUTH must be user:password"


def test_a_redirection_takes_the_password_nowhere(
    server: A1111Server, backend: A1111Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VELATURA_A1111_AUTH", "me:hush")
    other = paint_servers.PaintServer()
    with paint_servers.serving(other):
        server.routes["GET", "/sdapi/v1/sd-models"] = Sent(302, b"", {"Location": f"{other.url}/x"})
        assert "is not followed" in sentence(backend)
        assert other.asked == []


def test_no_proxy_and_no_file_of_passwords_is_used(
    server: A1111Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password hush")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    list(A1111Backend("dream", url=server.url).generate(asked()))
    assert all("Authorization" not in one.headers for one in server.asked)


def test_the_backend_is_opened_by_name_and_loads_nothing_heavy(server: A1111Server) -> None:
    assert open_backend("a1111", "dream", url=server.url).name == "a1111"
    code = "import sys, velatura.generation.a1111; sys.exit(bool({'torch', 'diffusers', 'PIL'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_path_before_the_api_is_kept(server: A1111Server) -> None:
    server.routes = {(method, f"/sd{path}"): answer for (method, path), answer in server.routes.items()}
    [image] = A1111Backend("dream", url=f"{server.url}/sd/").generate(asked())
    assert image.image.size == (64, 64)
    assert json.dumps(server.to("/sd/sdapi/v1/txt2img")[0].body)
