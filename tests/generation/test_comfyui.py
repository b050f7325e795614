"""A composition becomes the graph that it means, ComfyUI paints it, and every fault of a server is one sentence."""

from __future__ import annotations

import base64
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import paint_servers
import pytest
from paint_servers import ComfyUIServer, Sent, picture_from, pixels, png_bytes, wait_for
from PIL import Image

from velatura.errors import BackendError, Cancelled, IncompatibleAdapter, InputError
from velatura.generation import PaintingWarning, comfyui, open_backend
from velatura.generation.comfyui import ComfyUIBackend
from velatura.generation.schedulers import SAMPLERS
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
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ComfyUIServer]:
    monkeypatch.setattr(comfyui, "_SHORTEST", 0.005)
    monkeypatch.setattr(comfyui, "_LONGEST", 0.01)
    stand_in = ComfyUIServer()
    with paint_servers.serving(stand_in):
        yield stand_in


@pytest.fixture
def backend(server: ComfyUIServer) -> ComfyUIBackend:
    return ComfyUIBackend("dream", url=server.url, timeout=10)


def adapter(name: str, weight: float = 0.8, *, triggers: tuple[str, ...] = (), **fields: Any) -> Choice:
    told = {"source": "folder", "key": name, "title": name, "path": f"/here/{name}.safetensors", **fields}
    return Choice(adapter=AdapterRecord(**told), weight=weight, span="fox", triggers=triggers)


def asked(prompt: str = "a red fox", *choices: Choice, **fields: Any) -> GenerationRequest:
    composition = Composition(prompt=prompt, choices=choices)
    return GenerationRequest(
        composition=composition, **{"model": "dream", "seed": 7, "width": 64, "height": 64} | fields
    )


def graph(server: ComfyUIServer) -> dict[str, Any]:
    """The graph that was queued last."""
    body = server.to("/prompt")[-1].body
    assert body["client_id"] == "velatura"
    queued: dict[str, Any] = body["prompt"]
    return queued


def nodes(server: ComfyUIServer, kind: str) -> list[dict[str, Any]]:
    """The inputs of every node of a kind, in their order."""
    return [node["inputs"] for node in graph(server).values() if node["class_type"] == kind]


def sentence(backend: ComfyUIBackend, request: GenerationRequest | None = None, kind: type = BackendError) -> str:
    with pytest.raises(kind) as failure:
        list(backend.generate(request or asked()))
    told = str(failure.value)
    assert told
    assert "\n" not in told
    assert len(told) < 700
    return told


# -------------------------------------------------------------------- the graph


def test_the_whole_of_a_request_is_one_graph(server: ComfyUIServer, backend: ComfyUIBackend) -> None:
    request = asked(
        "a (red:1.2) fox <lora:evil:9>",
        adapter("ink-wash_v2", 0.85, triggers=("saber (fate)",)),
        adapter("Foxy", -0.5, hashes=Hashes(autov3=paint_servers.FOXY_TENSORS[:12])),
        negative="blurry",
        steps=12,
        guidance=5.5,
        width=512,
        height=768,
        scheduler="dpmpp_2m_karras",
        clip_skip=1,
    )
    [image] = backend.generate(request)
    assert graph(server) == {
        "1": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "sd15/dream.safetensors"}},
        "2": {
            "class_type": "LoraLoader",
            "inputs": {
                "lora_name": "art/ink-wash_v2.safetensors",
                "strength_model": 0.85,
                "strength_clip": 0.85,
                "model": ["1", 0],
                "clip": ["1", 1],
            },
        },
        "3": {
            "class_type": "LoraLoader",
            "inputs": {
                "lora_name": "new\\Foxy.safetensors",
                "strength_model": -0.5,
                "strength_clip": -0.5,
                "model": ["2", 0],
                "clip": ["2", 1],
            },
        },
        "4": {"class_type": "CLIPSetLastLayer", "inputs": {"clip": ["3", 1], "stop_at_clip_layer": -2}},
        "5": {
            "class_type": "CLIPTextEncode",
            "inputs": {"text": r"a (red:1.2) fox, saber \(fate\)", "clip": ["4", 0]},
        },
        "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "blurry", "clip": ["4", 0]}},
        "7": {"class_type": "EmptyLatentImage", "inputs": {"width": 512, "height": 768, "batch_size": 1}},
        "8": {
            "class_type": "KSampler",
            "inputs": {
                "seed": 7,
                "steps": 12,
                "cfg": 5.5,
                "sampler_name": "dpmpp_2m",
                "scheduler": "karras",
                "denoise": 1.0,
                "model": ["3", 0],
                "positive": ["5", 0],
                "negative": ["6", 0],
                "latent_image": ["7", 0],
            },
        },
        "9": {"class_type": "VAEDecode", "inputs": {"samples": ["8", 0], "vae": ["1", 2]}},
        "10": {"class_type": "PreviewImage", "inputs": {"images": ["9", 0]}},
    }
    assert image.image.tobytes() == pixels(7, (512, 768)).tobytes()
    assert (image.seed, image.model_hash, image.image.info) == (7, None, {})
    assert image.request == replace(request, backend="comfyui")


def test_nothing_stands_between_what_is_not_asked_for(server: ComfyUIServer, backend: ComfyUIBackend) -> None:
    list(backend.generate(asked()))
    assert [node["class_type"] for node in graph(server).values()] == [
        "CheckpointLoaderSimple",
        "CLIPTextEncode",
        "CLIPTextEncode",
        "EmptyLatentImage",
        "KSampler",
        "VAEDecode",
        "PreviewImage",
    ]
    [sampled] = nodes(server, "KSampler")
    assert (sampled["sampler_name"], sampled["scheduler"], sampled["steps"], sampled["cfg"]) == (
        "euler",
        "normal",
        25,
        7,
    )


def test_several_images_count_up_from_the_seed(server: ComfyUIServer, backend: ComfyUIBackend) -> None:
    images = list(backend.generate(asked(seed=300), 3))
    assert [image.seed for image in images] == [300, 301, 302]
    assert [image.image.getpixel((0, 0)) for image in images] == [(44, 1, 77), (45, 1, 77), (46, 1, 77)]
    assert {image.request.seed for image in images} == {300}


def test_each_request_has_its_own_adapters(server: ComfyUIServer, backend: ComfyUIBackend) -> None:
    requests = [asked("a", adapter("ink-wash_v2"), seed=1), asked("b", seed=2)]
    images = dict(backend.generate_each(requests))
    assert (images[0].seed, images[1].seed) == (1, 2)
    kinds = [[node["class_type"] for node in one.body["prompt"].values()] for one in server.to("/prompt")]
    assert ["LoraLoader" in kind for kind in kinds] == [True, False]
    assert len(server.to("/object_info/LoraLoader")) == 1


def test_parts_between_breaks_are_encoded_apart(server: ComfyUIServer, backend: ComfyUIBackend) -> None:
    list(backend.generate(asked("a fox BREAK snow BREAK BREAKFAST")))
    texts = nodes(server, "CLIPTextEncode")
    assert [text["text"] for text in texts] == ["a fox", "snow", "BREAKFAST", ""]
    first, second = nodes(server, "ConditioningConcat")
    assert first == {"conditioning_to": ["2", 0], "conditioning_from": ["3", 0]}
    assert second == {"conditioning_to": ["5", 0], "conditioning_from": ["4", 0]}
    assert nodes(server, "KSampler")[0]["positive"] == ["6", 0]


def test_clip_skip_counts_from_what_the_family_reads(server: ComfyUIServer) -> None:
    noob = ComfyUIBackend("noob-xl", url=server.url)
    list(noob.generate(replace(asked(clip_skip=1), model="")))
    assert nodes(server, "CLIPSetLastLayer")[0]["stop_at_clip_layer"] == -3


def test_freeu_lies_behind_the_adapters(server: ComfyUIServer, backend: ComfyUIBackend) -> None:
    list(backend.generate(asked("x", adapter("ink-wash_v2"), freeu=(0.9, 0.2, 1.5, 1.6))))
    assert nodes(server, "FreeU") == [{"model": ["2", 0], "b1": 1.5, "b2": 1.6, "s1": 0.9, "s2": 0.2}]
    assert nodes(server, "KSampler")[0]["model"] == ["3", 0]


def test_textual_inversions_are_named_as_comfyui_wants_them(server: ComfyUIServer, backend: ComfyUIBackend) -> None:
    request = asked("fox, BadHands", embeddings=("/e/badhands.pt",), negative="<badhands>, (embedding:badhands.pt:1.2)")
    list(backend.generate(request))
    assert [text["text"] for text in nodes(server, "CLIPTextEncode")] == [
        "fox, embedding:neg/badhands",
        "embedding:neg/badhands, (embedding:neg/badhands:1.2)",
    ]
    told = sentence(backend, asked(embeddings=("/e/gone.safetensors",)), InputError)
    assert told == "ComfyUI has no embedding 'gone'; put the file into models/embeddings there"


@pytest.mark.parametrize("scheduler", ["euler", "euler_a", "dpmpp_2m", "ddim", "lcm", "euler_sgm_uniform"])
def test_schedulers_have_their_names_there(scheduler: str, server: ComfyUIServer, backend: ComfyUIBackend) -> None:
    list(backend.generate(asked(scheduler=scheduler)))
    [sampled] = nodes(server, "KSampler")
    assert (sampled["sampler_name"], sampled["scheduler"]) == SAMPLERS[scheduler].comfyui


def test_a_scheduler_that_is_not_there_lists_those_that_are(server: ComfyUIServer, backend: ComfyUIBackend) -> None:
    for scheduler in ("pndm", "heun", "euler_beta"):
        told = sentence(backend, asked(scheduler=scheduler), InputError)
        assert told.startswith(f"ComfyUI has no scheduler {scheduler}; of ours it has ddim, dpmpp_2m, dpmpp_2m_karras")
        assert "heun" not in told.partition(";")[2]
    assert not server.to("/prompt")


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


def sent_picture(server: ComfyUIServer, name: str) -> Image.Image:
    """The picture that a node of the graph names."""
    assert name.endswith(" [temp]")
    return picture_from(base64.b64encode(server.temporary[name.removesuffix(" [temp]")]).decode())


def test_a_share_of_the_steps_is_made_from_a_start(
    server: ComfyUIServer, backend: ComfyUIBackend, pictures: dict[str, Picture]
) -> None:
    start = Start(picture=pictures["start"], strength=0.6)
    [image] = backend.generate(asked(start=start, steps=20, width=None, height=None))
    assert (image.request.width, image.request.height) == (80, 64)
    [loaded] = nodes(server, "LoadImage")
    assert sent_picture(server, loaded["image"]).tobytes() == Image.new("RGB", (80, 64), (10, 20, 30)).tobytes()
    kinds = {node["class_type"]: (name, node["inputs"]) for name, node in graph(server).items()}
    assert kinds["VAEEncode"][1] == {"pixels": [kinds["LoadImage"][0], 0], "vae": ["1", 2]}
    sampled = kinds["KSamplerAdvanced"][1]
    assert sampled == {
        "add_noise": "enable",
        "noise_seed": 7,
        "return_with_leftover_noise": "disable",
        "steps": 20,
        "cfg": 7.0,
        "sampler_name": "euler",
        "scheduler": "normal",
        "start_at_step": 8,
        "end_at_step": 20,
        "model": ["1", 0],
        "positive": ["2", 0],
        "negative": ["3", 0],
        "latent_image": [kinds["VAEEncode"][0], 0],
    }
    assert "EmptyLatentImage" not in kinds


def test_pictures_are_sent_as_temporary_files_named_by_their_content(
    server: ComfyUIServer, backend: ComfyUIBackend, pictures: dict[str, Picture]
) -> None:
    list(backend.generate(asked(start=Start(picture=pictures["start"])), 2))
    bodies = [one.body for one in server.to("/upload/image")]
    assert {(body["type"], body["subfolder"], body["overwrite"]) for body in bodies} == {("temp", "velatura", "true")}
    assert len({body["image"][0] for body in bodies}) == len(server.temporary) - 2 == 1


def test_where_the_mask_is_black_the_picture_is_kept(
    server: ComfyUIServer, backend: ComfyUIBackend, pictures: dict[str, Picture]
) -> None:
    start = Start(picture=pictures["start"], mask=pictures["mask"])
    [image] = backend.generate(asked(start=start, width=80, height=64))
    kinds = {node["class_type"]: (name, node["inputs"]) for name, node in graph(server).items()}
    assert kinds["LoadImageMask"][1]["channel"] == "red"
    mask = sent_picture(server, kinds["LoadImageMask"][1]["image"]).convert("RGB").getchannel("R")
    assert (mask.getpixel((10, 10)), mask.getpixel((60, 10))) == (0, 255)
    assert kinds["SetLatentNoiseMask"][1] == {
        "samples": [kinds["VAEEncode"][0], 0],
        "mask": [kinds["LoadImageMask"][0], 0],
    }
    assert kinds["KSamplerAdvanced"][1]["latent_image"] == [kinds["SetLatentNoiseMask"][0], 0]
    assert image.image.getpixel((10, 10)) == (10, 20, 30)
    assert image.image.getpixel((70, 10)) == (7, 0, 77)


def test_controls_follow_each_other(
    server: ComfyUIServer, backend: ComfyUIBackend, pictures: dict[str, Picture]
) -> None:
    first = Control(
        model="lllyasviel/control_v11p_sd15_canny",
        picture=pictures["edges"],
        reading="canny",
        weight=3,
        begin=0.1,
        end=0.9,
    )
    second = replace(first, reading=None, weight=0.5)
    list(backend.generate(asked(controls=(first, second), width=80, height=64)))
    one, two = nodes(server, "ControlNetApplyAdvanced")
    names = {name: node for name, node in graph(server).items() if node["class_type"] == "ControlNetApplyAdvanced"}
    assert (one["positive"], one["negative"]) == (["2", 0], ["3", 0])
    assert (one["strength"], one["start_percent"], one["end_percent"]) == (3, 0.1, 0.9)
    assert (two["positive"], two["negative"]) == ([next(iter(names)), 0], [next(iter(names)), 1])
    assert nodes(server, "ControlNetLoader") == [{"control_net_name": "control_v11p_sd15_canny.pth"}] * 2
    edges, given = (sent_picture(server, node["image"]) for node in nodes(server, "LoadImage"))
    assert (edges.size, edges.getpixel((40, 32)), given.getpixel((40, 32))) == ((80, 64), (0, 0, 0), (255, 255, 255))
    [sampled] = nodes(server, "KSampler")
    last = list(names)[-1]
    assert (sampled["positive"], sampled["negative"]) == ([last, 0], [last, 1])


# -------------------------------------------------------------------- what is found there


def test_of_two_files_of_one_name_the_right_one_is_taken(server: ComfyUIServer, backend: ComfyUIBackend) -> None:
    right = adapter("foxy", hashes=Hashes(autov3=paint_servers.FOXY_TENSORS[:12]))
    list(backend.generate(asked("x", right)))
    assert nodes(server, "LoraLoader")[0]["lora_name"] == "new\\Foxy.safetensors"
    assert {one.query["filename"] for one in server.to("/view_metadata/loras")} == {
        "old/Foxy.safetensors",
        "new\\Foxy.safetensors",
    }
    list(backend.generate(asked("x", adapter("foxy", path="D:\\loras\\Old\\foxy.safetensors"))))
    assert nodes(server, "LoraLoader")[0]["lora_name"] == "old/Foxy.safetensors"
    with pytest.warns(PaintingWarning, match="ComfyUI: there are 2 files 'foxy' there; 'new"):
        list(backend.generate(asked("x", adapter("foxy"))))
    assert nodes(server, "LoraLoader")[0]["lora_name"] == "new\\Foxy.safetensors"


def test_a_renamed_file_is_found_among_the_nearest_names(server: ComfyUIServer, backend: ComfyUIBackend) -> None:
    renamed = adapter("Foxxy", hashes=Hashes(autov3=paint_servers.FOXY_TENSORS[:12]))
    server.headers["old/Foxy.safetensors"] = {"sshs_model_hash": paint_servers.FOXY_TENSORS}
    list(backend.generate(asked("x", renamed)))
    assert nodes(server, "LoraLoader")[0]["lora_name"] == "old/Foxy.safetensors"


def test_an_adapter_that_is_not_there_is_named_with_its_neighbours(backend: ComfyUIBackend) -> None:
    told = sentence(backend, asked("x", adapter("ink_wash_v3")), InputError)
    assert told == (
        "ComfyUI has no adapter 'ink_wash_v3'; of names like it there are 'art/ink-wash_v2.safetensors'; "
        "put the file into models/loras there"
    )


def test_a_checkpoint_that_is_not_there_is_told(server: ComfyUIServer) -> None:
    told = sentence(ComfyUIBackend("gone", url=server.url), replace(asked(), model=""), InputError)
    assert told == "ComfyUI has no checkpoint 'gone'; put the file into models/checkpoints there"


def test_the_family_is_told_by_the_name_there(server: ComfyUIServer, backend: ComfyUIBackend) -> None:
    assert ComfyUIBackend("noob-xl", url=server.url).family == "noobai"
    assert backend.family == "unknown"
    request = replace(asked("x", adapter("ink-wash_v2", family="sd1")), model="")
    told = sentence(ComfyUIBackend("noob-xl", url=server.url), request, IncompatibleAdapter)
    assert told.startswith("ink-wash_v2 is for SD 1.x and noob-xl is NoobAI")


def test_lists_of_the_newer_form_are_read(server: ComfyUIServer, backend: ComfyUIBackend) -> None:
    def info(asked: paint_servers.Asked) -> tuple[int, Any]:
        kind = asked.path.rpartition("/")[2]
        files = paint_servers.COMFY_FILES[kind]
        inputs = {name: ["COMBO", {"options": [*choices, None, 3]}] for name, choices in files.items()}
        return 200, {kind: {"input": {"required": inputs}}}

    server.routes["GET", "/object_info"] = info
    assert len(list(backend.generate(asked("x", adapter("ink-wash_v2"))))) == 1


@pytest.mark.parametrize(
    "told",
    [{}, [], {"CheckpointLoaderSimple": None}, {"CheckpointLoaderSimple": {"input": {"required": {"ckpt_name": []}}}}],
)
def test_a_server_that_does_not_tell_its_files_is_told(
    told: Any, server: ComfyUIServer, backend: ComfyUIBackend
) -> None:
    server.routes["GET", "/object_info"] = (200, told)
    assert "does not tell what CheckpointLoaderSimple can load; update it" in sentence(backend)


def test_what_cannot_be_asked_is_one_sentence(backend: ComfyUIBackend, pictures: dict[str, Picture]) -> None:
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"width": 100}, "width and height must be multiples of 8"),
        ({"clip_skip": 23}, "clip_skip must be between 0 and 22, not 23"),
        ({"image_prompts": (ImagePrompt(model="ip", pictures=()),)}, "the backend comfyui takes no image prompts"),
        ({"enlargement": Enlargement()}, "the backend comfyui paints no enlargements"),
        ({"freeu": (float("nan"), 1.0, 1.0, 1.0)}, "FreeU takes four numbers from 0 to 10, not nan"),
        ({"controls": (Control(model="gone", picture=pictures["edges"]),)}, "ComfyUI has no ControlNet 'gone'; put"),
    ]
    for fields, told in wrong:
        with pytest.raises(InputError) as failure:
            backend.complete(asked(**fields))
        assert str(failure.value).startswith(told)


# -------------------------------------------------------------------- who looks on


def test_a_picture_is_waited_for_and_progress_told_by_pictures(server: ComfyUIServer, backend: ComfyUIBackend) -> None:
    server.polls = 4
    shares: list[float] = []
    list(backend.generate(asked(), 2, watch=Watch(progress=shares.append)))
    assert shares == [0.5, 1.0]
    assert len(server.to("/history/5d0e-0")) == 4


def test_a_stop_interrupts_what_runs_and_loses_nothing(server: ComfyUIServer, backend: ComfyUIBackend) -> None:
    stop = threading.Event()
    images = backend.generate(asked(), 3, watch=Watch(stopped=stop.is_set))
    assert next(images).image.tobytes() == pixels(7).tobytes()
    server.polls = 10_000
    threading.Thread(target=lambda: (wait_for(lambda: len(server.to("/prompt")) == 2), stop.set()), daemon=True).start()
    with pytest.raises(Cancelled):
        next(images)
    assert [one.body for one in server.to("/queue") if one.method == "POST"] == [{"delete": ["5d0e-1"]}]
    assert [one.body for one in server.to("/interrupt")] == [{"prompt_id": "5d0e-1"}]


def test_a_stop_leaves_the_picture_of_another_alone(server: ComfyUIServer, backend: ComfyUIBackend) -> None:
    queue: Any = server.routes["POST", "/prompt"]

    def behind(asked: paint_servers.Asked) -> Any:
        answer = queue(asked)
        server.pending, server.running = server.running, ["another"]
        return answer

    server.routes["POST", "/prompt"] = behind
    calls = iter([False, False])
    with pytest.raises(Cancelled):
        list(backend.generate(asked(), watch=Watch(stopped=lambda: next(calls, True))))
    assert server.pending == []
    assert not server.to("/interrupt")


# -------------------------------------------------------------------- faults


def test_a_server_that_is_down_or_another_is_told(server: ComfyUIServer, backend: ComfyUIBackend) -> None:
    told = sentence(ComfyUIBackend("dream", url="http://127.0.0.1:9"))
    assert told == "ComfyUI does not answer at http://127.0.0.1:9; is it running?"
    server.routes.clear()
    assert sentence(backend).startswith(f"ComfyUI at {server.url} has no /object_info/CheckpointLoaderSimple; look")


def test_what_is_wrong_with_a_graph_is_told_by_node(server: ComfyUIServer, backend: ComfyUIBackend) -> None:
    listed = server.routes["GET", "/object_info"]

    def stale(asked: paint_servers.Asked) -> Any:
        status, told = listed(asked)  # type: ignore[operator]
        if "LoraLoader" in told:
            told["LoraLoader"]["input"]["required"]["lora_name"][0] = ["gone.safetensors"]
        return status, told

    server.routes["GET", "/object_info"] = stale
    told = sentence(backend, asked("x", adapter("gone")))
    assert told.startswith(
        "ComfyUI refuses the picture: LoraLoader: Value not in list (lora_name: 'gone.safetensors' not"
    )


OOM = {"node_id": "5", "node_type": "KSampler", "exception_type": "torch.OutOfMemoryError",
       "exception_message": "Allocation on device 0 would exceed", "traceback": ["secret"]}  # fmt: skip
BUG = {"node_type": "KSampler", "exception_type": "RuntimeError", "exception_message": "mat1 and mat2\nshapes"}


@pytest.mark.parametrize(
    ("messages", "told"),
    [
        ([["execution_start", {}], ["execution_error", OOM]], "ComfyUI has not enough memory for a picture of 64x64"),
        ([["execution_error", BUG]], "ComfyUI fails in the node KSampler: mat1 and mat2 shapes"),
        ([["execution_interrupted", {}]], "the picture was interrupted on ComfyUI"),
        ([None, 3, ["execution_error"], ["x", None]], "ComfyUI painted nothing: its history holds no picture"),
        ([["execution_error", {}]], "ComfyUI fails: "),
    ],
)
def test_what_failed_is_told(messages: list[Any], told: str, server: ComfyUIServer, backend: ComfyUIBackend) -> None:
    server.fail(*messages)
    assert sentence(backend).startswith(told)


@pytest.mark.parametrize(
    "entry",
    [
        {"outputs": {}},
        {"outputs": None, "status": None},
        {"outputs": {"9": None, "8": {"images": None}, "7": {"images": [None, {"filename": 3}]}}},
        {"outputs": {"9": {"images": []}}, "status": {"messages": "x"}},
    ],
)
def test_a_history_without_a_picture_is_told(entry: Any, server: ComfyUIServer, backend: ComfyUIBackend) -> None:
    server.routes["GET", "/history"] = lambda asked: (200, {asked.path.rpartition("/")[2]: entry})
    assert sentence(backend) == "ComfyUI painted nothing: its history holds no picture"


def test_a_picture_that_vanishes_from_the_queue_is_told(server: ComfyUIServer, backend: ComfyUIBackend) -> None:
    server.routes["GET", "/history"] = (200, {})
    server.routes["GET", "/queue"] = (200, {"queue_running": "x", "queue_pending": [None, []]})
    assert sentence(backend).startswith("ComfyUI lost the picture")


def test_a_picture_that_takes_too_long_is_given_up_and_interrupted(server: ComfyUIServer) -> None:
    server.polls = 10_000
    told = sentence(ComfyUIBackend("dream", url=server.url, timeout=0.1))
    assert told == f"ComfyUI at {server.url} painted no picture in 0.1 s"
    assert server.to("/interrupt")


WHOLE = png_bytes(pixels(7))


@pytest.mark.parametrize(
    ("path", "answer", "told"),
    [
        (("GET", "/view"), (200, b"<html>"), "ComfyUI sent a broken picture"),
        (("GET", "/view"), (200, WHOLE[:-30]), "ComfyUI sent a broken picture"),
        (("GET", "/view"), Sent(200, WHOLE, cut=20), "ComfyUI at {url} broke off in the middle"),
        (("GET", "/view"), (404, b""), "ComfyUI at {url} has no /view; look"),
        (
            ("GET", "/view"),
            Sent(302, b"", {"Location": "http://evil.example/"}),
            "ComfyUI at {url} sends on to http://ev",
        ),
        (("POST", "/prompt"), (200, {"prompt_id": "../queue"}), "ComfyUI did not say what it calls the picture"),
        (("POST", "/prompt"), (200, []), "ComfyUI did not say what it calls the picture"),
        (("POST", "/prompt"), (400, {"error": "no prompt", "node_errors": []}), "ComfyUI fails: no prompt"),
        (("POST", "/prompt"), (400, {"error": {"message": "Cannot execute", "details": "x"}}), "ComfyUI fails: Cannot"),
        (("POST", "/prompt"), (500, b"500 Internal Server Error"), "ComfyUI fails: HTTP 500"),
        (
            ("GET", "/history"),
            (200, b"<html>"),
            "what answers at {url} is hardly ComfyUI: it sends a page for a browser",
        ),
        (("GET", "/history"), (200, [1]), "ComfyUI lost the picture"),
    ],
)
def test_every_fault_is_one_sentence_and_the_next_picture_is_painted(
    path: tuple[str, str], answer: Any, told: str, server: ComfyUIServer, backend: ComfyUIBackend
) -> None:
    right = server.routes[path]
    server.routes[path] = answer
    if told.startswith("ComfyUI lost"):
        server.routes["GET", "/queue"] = (200, {})
    assert sentence(backend).startswith(told.replace("{url}", server.url))
    server.routes[path] = right
    assert len(list(backend.generate(asked()))) == 1


def test_a_server_that_keeps_no_picture_is_told(
    server: ComfyUIServer, backend: ComfyUIBackend, pictures: dict[str, Picture]
) -> None:
    server.routes["POST", "/upload/image"] = (200, {"name": None})
    told = sentence(backend, asked(start=Start(picture=pictures["start"])))
    assert told == "ComfyUI did not say what it calls a picture that it was sent; update it"


def test_the_backend_is_opened_by_name_and_loads_nothing_heavy(server: ComfyUIServer) -> None:
    assert open_backend("comfyui", "dream", url=server.url).name == "comfyui"
    code = "import sys, velatura.generation.comfyui; sys.exit(bool({'torch', 'diffusers', 'PIL'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_password_is_sent_where_one_is_set(
    server: ComfyUIServer, backend: ComfyUIBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VELATURA_COMFYUI_AUTH", "me:hush")
    list(backend.generate(asked()))
    assert {one.headers.get("Authorization") for one in server.asked} == {"Basic bWU6aHVzaA=="}
