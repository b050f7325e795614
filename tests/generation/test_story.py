"""A picture tells its request back, its file appears whole or not at all, and a bomb inside it does not go off."""

from __future__ import annotations

import io
import json
import struct
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from velatura.errors import InputError, UnreadableFile
from velatura.generation import story
from velatura.generation.sd import StableDiffusionBackend
from velatura.generation.story import image_name, read_story, request_of, save_png, story_json
from velatura.records import (
    AdapterRecord,
    Choice,
    Composition,
    Control,
    GeneratedImage,
    GenerationRequest,
    Hashes,
    ImagePrompt,
    Picture,
    Refusal,
    Start,
)

Asked = Callable[..., GenerationRequest]

RECORD = AdapterRecord(
    source="civitai",
    key="1/2/3",
    title='Fox, the "red": 🦊狐',
    model_id=1,
    version_id=2,
    path="/loras/fox.safetensors",
    hashes=Hashes(autov3="ab" * 6),
    family="sd1",
)
REQUEST = GenerationRequest(
    composition=Composition(
        prompt="a red fox\nin snow",
        choices=(
            Choice(adapter=RECORD, weight=0.123456789, span="fox", triggers=("foxy",), reason="it fits"),
            Choice(adapter=replace(RECORD, key="4", path=None), weight=-1.0, span="snow"),
        ),
        refused=(Refusal(adapter=RECORD, reason="another base"),),
        composer="builtin 1",
    ),
    model="/models/tiny",
    mask=(True, False),
    negative="blurry",
    seed=41,
    steps=12,
    guidance=6.5,
    width=64,
    height=72,
    scheduler="euler_a",
    clip_skip=1,
)


def picture(request: GenerationRequest = REQUEST, seed: int = 42) -> GeneratedImage:
    return GeneratedImage(
        image=Image.linear_gradient("L").convert("RGB").resize((64, 72)),
        request=request,
        seed=seed,
        model_hash="0123456789",
        seconds=1.5,
    )


def test_the_request_comes_back_whole(tmp_path: Path) -> None:
    story = read_story(save_png(picture(), tmp_path / "a.png"))
    told = request_of(story)
    assert replace(told, model=REQUEST.model, composition=REQUEST.composition) == REQUEST
    assert [choice.weight for choice in told.composition.choices] == [0.123456789, -1.0]
    assert told.composition.choices[0].adapter == replace(RECORD, path=None)
    assert told.composition.refused[0].reason == "another base"
    assert (story["seed"], story["model_hash"]) == (42, "0123456789")
    assert story["velatura"].startswith("Velatura")
    assert story["parameters"]["settings"]["Seed"] == "42"
    json.dumps(story)


def located(told: GenerationRequest, model: str, files: list[Path]) -> GenerationRequest:
    """Put the paths of this machine back into what a picture tells."""
    paths = {file.name: str(file) for file in files}
    start, composition = told.start, told.composition
    choices = (
        replace(choice, adapter=replace(choice.adapter, key=paths[choice.adapter.key], path=paths[choice.adapter.key]))
        for choice in composition.choices
    )
    return replace(
        told,
        model=model,
        composition=replace(composition, choices=tuple(choices)),
        start=start and replace(start, picture=replace(start.picture, path=paths[start.picture.path])),
    )


@pytest.mark.parametrize(
    "fields",
    [
        {"scheduler": "euler_a"},
        {"mask": (True, False), "negative": "a house"},
        {"mask": (False, False)},
        {"start": True, "steps": 4},
        {"start": True, "steps": 4, "mask": (False, True), "width": None, "height": None, "clip_skip": 1},
    ],
)
def test_a_told_request_paints_the_same_picture(
    tmp_path: Path, backend: StableDiffusionBackend, adapters: list[Path], asked: Asked, fields: dict[str, Any]
) -> None:
    begun = tmp_path / "begun.png"
    Image.linear_gradient("L").convert("RGB").resize((72, 64)).save(begun)
    fields = fields | ({"start": Start(picture=Picture(path=str(begun)), strength=0.5)} if "start" in fields else {})
    request = asked("a red fox", (adapters[0], 0.8), (adapters[1], -0.5), seed=5, **fields)
    images = list(backend.generate(request, 2))
    paths = [save_png(image, tmp_path / f"{image.seed}.png") for image in images]
    told = request_of(read_story(paths[0]))
    assert told.model == Path(request.model).name
    told = located(told, backend.model, [*adapters, begun])
    again = next(backend.generate(told))
    assert again.image.tobytes() == images[0].image.tobytes()
    assert save_png(again, tmp_path / "again.png").read_bytes() == paths[0].read_bytes()
    # The request is that of the whole batch; which of it this is, the seed beside it tells.
    second = next(backend.generate(replace(told, seed=read_story(paths[1])["seed"])))
    assert second.image.tobytes() == images[1].image.tobytes()
    assert second.image.tobytes() != images[0].image.tobytes()


def test_no_folder_of_this_machine_is_told(tmp_path: Path) -> None:
    home = tmp_path / "home of anna"
    (home / "model").mkdir(parents=True)
    record = replace(RECORD, source="folder", key=f"{home}/fox.safetensors", path=f"{home}/fox.safetensors")
    composition = Composition(
        prompt="a fox",
        choices=(Choice(adapter=record, weight=1.0, span="fox"),),
        refused=(Refusal(adapter=record, reason="no"),),
    )
    request = replace(REQUEST, composition=composition, model=str(home / "model"), mask=None)
    path = save_png(picture(request), tmp_path / "a.png")
    assert b"anna" not in path.read_bytes()
    told = request_of(read_story(path))
    assert (told.model, told.composition.choices[0].adapter.key) == ("model", "fox.safetensors")


@pytest.mark.parametrize(
    ("model", "told"),
    [
        ("~/anna/checkpoint", "checkpoint"),
        ("~anna/checkpoint", "checkpoint"),
        ("/anna/checkpoint.safetensors", "checkpoint.safetensors"),
        ("../anna/checkpoint", "checkpoint"),
        ("./checkpoint", "checkpoint"),
        ("anna/models/checkpoint", "checkpoint"),
        ("C:\\Users\\anna\\checkpoint\\", "checkpoint"),
        ("C:/anna", "anna"),
        ("here/checkpoint", "checkpoint"),
        ("runwayml/stable-diffusion-v1-5", "runwayml/stable-diffusion-v1-5"),
        ("a" * 300 + "/b", "b"),
        ("h94/IP-Adapter/models/ip-adapter_sd15.safetensors", "h94/IP-Adapter/models/ip-adapter_sd15.safetensors"),
        ("h94/IP-Adapter/../../anna/a.safetensors", "a.safetensors"),
        ("here/checkpoint/unet/model.safetensors", "model.safetensors"),
        ("~/anna/loras/model.safetensors", "model.safetensors"),
    ],
)
def test_a_checkpoint_is_told_by_its_hub_id_or_its_bare_name(
    model: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here" / "checkpoint" / "unet").mkdir(parents=True)
    (tmp_path / "here" / "checkpoint" / "unet" / "model.safetensors").touch()
    monkeypatch.chdir(tmp_path)
    assert request_of(json.loads(story_json(picture(replace(REQUEST, model=model))))).model == told


def test_what_steers_is_told_by_its_name_on_the_hub_and_files_without_folders() -> None:
    on_hub = "h94/IP-Adapter/models/ip-adapter_sd15.safetensors"
    shown = Picture(path="~/anna/shown.png")
    request = replace(
        REQUEST,
        controls=(Control(model="lllyasviel/sd-controlnet-canny", picture=shown),),
        image_prompts=(
            ImagePrompt(model=on_hub, pictures=(shown,), encoder="h94/IP-Adapter"),
            ImagePrompt(model="/anna/ip.safetensors", pictures=(), encoder="~/anna/encoder"),
        ),
        embeddings=("anna/private/tokens/easy.safetensors",),
    )
    told = request_of(json.loads(story_json(picture(request))))
    assert [control.model for control in told.controls] == ["lllyasviel/sd-controlnet-canny"]
    assert [(prompt.model, prompt.encoder) for prompt in told.image_prompts] == [
        (on_hub, "h94/IP-Adapter"),
        ("ip.safetensors", "encoder"),
    ]
    assert {told.controls[0].picture.path, told.image_prompts[0].pictures[0].path} == {"shown.png"}
    assert told.embeddings == ("easy.safetensors",)


def test_every_script_survives(tmp_path: Path) -> None:
    prompt = "狐 \U0001f98a ünï \x00 \u2028 \ud800"
    request = replace(REQUEST, composition=replace(REQUEST.composition, prompt=prompt), negative=prompt)
    story = read_story(save_png(picture(request), tmp_path / "a.png"))
    assert request_of(story).negative == prompt
    assert story["parameters"]["prompt"].startswith("狐 \U0001f98a ünï")


def test_the_chunks_are_those_that_other_tools_read(tmp_path: Path) -> None:
    with Image.open(save_png(picture(), tmp_path / "a.png")) as image:
        assert set(image.text) == {"parameters", "velatura"}
        assert image.text["velatura"] == story_json(picture())
        assert "Steps: 12, Sampler: Euler a" in image.text["parameters"]


def test_a_file_is_not_replaced_unless_that_is_asked(tmp_path: Path) -> None:
    path = save_png(picture(), tmp_path / "new folder" / "a.png")
    before = path.read_bytes()
    with pytest.raises(InputError, match="is there already; give another name, or ask to overwrite it"):
        save_png(picture(seed=43), path)
    assert path.read_bytes() == before
    save_png(picture(seed=43), path, overwrite=True)
    assert read_story(path)["seed"] == 43
    assert [file.name for file in path.parent.iterdir()] == ["a.png"]


def test_a_failure_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class FullDisk(io.FileIO):
        def write(self, content: Any) -> int:
            super().write(content[:4])
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(story, "png_bytes", lambda image: b"a picture")
    monkeypatch.setattr(Path, "open", lambda self, mode: FullDisk(self, mode))
    with pytest.raises(InputError, match="cannot be written: No space left on device"):
        save_png(picture(), tmp_path / "a.png")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_to_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="file cannot be made"):
        save_png(picture(), tmp_path / "file" / "a.png")
    with pytest.raises(InputError, match="cannot be written"):
        save_png(picture(), tmp_path / ("x" * 300 + ".png"))


@pytest.mark.parametrize(
    ("prompt", "name"),
    [
        ("A red fox, in snow!", "a-red-fox-in-snow-42.png"),
        ("../../etc/passwd", "etc-passwd-42.png"),
        ("狐 und Ünï", "狐-und-ünï-42.png"),
        ("<lora:x:1>", "image-42.png"),
        ("\x00\ud800///", "image-42.png"),
        ("con", "con-42.png"),
        ("fox " * 100, "fox-" * 25 + "42.png"),
    ],
)
def test_names_are_safe(prompt: str, name: str, tmp_path: Path) -> None:
    request = replace(REQUEST, composition=Composition(prompt=prompt), mask=None)
    assert image_name(request, 1) == name
    assert save_png(picture(request), tmp_path / name).is_file()


def test_long_names_of_any_script_fit_a_file_system() -> None:
    request = replace(REQUEST, composition=Composition(prompt="狐" * 500), mask=None)
    assert len(image_name(request, 0).encode()) < 130


# ------------------------------------------------------------------ strangers' pictures

PARAMETERS = "a castle <lora:foo:0.5>\nNegative prompt: cars\nSteps: 28, Sampler: Euler a, CFG scale: 5, Seed: 123"


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(*chunks: bytes) -> bytes:
    start = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0))
    return start + b"".join(chunks) + chunk(b"IDAT", zlib.compress(b"\0\0")) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    "text",
    [
        chunk(b"tEXt", b"parameters\0" + PARAMETERS.encode()),
        chunk(b"zTXt", b"parameters\0\0" + zlib.compress(PARAMETERS.encode())),
        chunk(b"iTXt", b"parameters\0\0\0\0\0" + PARAMETERS.encode()),
        chunk(b"iTXt", b"parameters\0\1\0en\0x\0" + zlib.compress(PARAMETERS.encode())),
    ],
)
def test_a_picture_of_another_tool_tells_its_parameters(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "a.png").write_bytes(png(text))
    story = read_story(tmp_path / "a.png")
    assert set(story) == {"parameters"}
    assert story["parameters"]["prompt"] == "a castle <lora:foo:0.5>"
    assert story["parameters"]["settings"]["Seed"] == "123"
    with pytest.raises(InputError, match="made by another program"):
        request_of(story)


@pytest.mark.parametrize("suffix", [".jpg", ".webp"])
def test_jpeg_and_webp_tell_theirs(tmp_path: Path, suffix: str) -> None:
    image = Image.new("RGB", (8, 8))
    exif = image.getexif()
    exif.get_ifd(0x8769)[0x9286] = b"UNICODE\0" + PARAMETERS.encode("utf-16-be")
    image.save(tmp_path / f"a{suffix}", exif=exif)
    assert read_story(tmp_path / f"a{suffix}")["parameters"]["negative"] == "cars"


@pytest.mark.parametrize("number", ["NaN", "-Infinity", "1e400"])
def test_another_tools_numbers_can_be_told_again(tmp_path: Path, number: str) -> None:
    text = f'{PARAMETERS}, Hashes: {{"model": {number}}}'
    (tmp_path / "a.png").write_bytes(png(chunk(b"tEXt", b"parameters\0" + text.encode())))
    story = read_story(tmp_path / "a.png")
    assert story["parameters"]["settings"]["Seed"] == "123"
    json.dumps(story, allow_nan=False)


def test_a_text_that_unpacks_without_end_is_refused(tmp_path: Path) -> None:
    bomb = zlib.compress(b"a" * (1 << 25))
    for text in (chunk(b"zTXt", b"parameters\0\0" + bomb), chunk(b"iTXt", b"velatura\0\1\0\0\0" + bomb)):
        (tmp_path / "a.png").write_bytes(png(text))
        with pytest.raises(UnreadableFile, match="unpacks to more than 16 MiB"):
            read_story(tmp_path / "a.png")


@pytest.mark.parametrize(
    "content",
    [
        png(),
        png(chunk(b"tEXt", b"Software\0x")),
        png(chunk(b"tEXt", b"velatura\0" + b"[" * 10**5)),
        png(chunk(b"tEXt", b"velatura\0null")),
        *(
            png(chunk(b"tEXt", b'velatura\0{"seed": [' + number + b"]}"))
            for number in (b"NaN", b"Infinity", b"-Infinity", b"1e400", b"9" * 5000)
        ),
        png(chunk(b"tEXt", b"velatura")),
        png(struct.pack(">I", 2**32 - 1) + b"tEXtparameters\0x"),
        png(chunk(b"tEXt", b"parameters\0x")[:-4] + b"\0\0\0\0"),
        png()[:20],
    ],
)
def test_a_picture_that_tells_nothing_says_so(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(InputError, match=r"a\.png does not tell how it was made"):
        read_story(tmp_path / "a.png")


@pytest.mark.parametrize("content", [b"", b"text", b"GIF89a", b"\x89PNG", b"\xff\xd8\xff\xe0junk", b"RIFF0000WEBP"])
def test_what_is_no_picture_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(UnreadableFile, match="not a PNG, JPEG or WebP"):
        read_story(tmp_path / "a.png")
    with pytest.raises(UnreadableFile, match="cannot be read"):
        read_story(tmp_path / "none.png")


def test_a_damaged_packed_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png(chunk(b"zTXt", b"parameters\0\0garbage")))
    with pytest.raises(UnreadableFile, match="holds a text that is damaged"):
        read_story(tmp_path / "a.png")


@pytest.mark.parametrize(
    "request_",
    [None, 5, {}, {"composition": 5}, {"composition": {"prompt": 5}}, {"composition": {"prompt": "x"}, "model": []}],
)
def test_a_forged_request_is_one_sentence(tmp_path: Path, request_: Any) -> None:
    texts = PngInfo()
    texts.add_text("velatura", json.dumps({"request": request_}))
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png", pnginfo=texts)
    with pytest.raises(InputError) as caught:
        request_of(read_story(tmp_path / "a.png"))
    assert "\n" not in str(caught.value)
