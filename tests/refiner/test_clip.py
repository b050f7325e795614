"""A CLIP model from a folder, what it is shown, and the files that pictures come in."""

from __future__ import annotations

import io
import json
import random
import struct
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from velatura.errors import InputError, UnreadableFile
from velatura.playground.library import find_weights
from velatura.playground.measure.evaluator import Evaluator
from velatura.playground.world import draw, enlarge, paint
from velatura.refiner import picture_file
from velatura.refiner.clip import ClipEmbedder
from velatura.refiner.clip_input import ClipInput, read_clip_input
from velatura.refiner.picture_file import read_picture_file

SIDE = 24


def build(folder: Path, seed: int = 0) -> Path:
    """Write a CLIP model with random weights, as transformers keeps one; its words are the playground's."""
    import torch
    from transformers import CLIPConfig, CLIPModel

    torch.manual_seed(seed)
    words = {"vocab_size": 873, "max_position_embeddings": 16, "bos_token_id": 871, "eos_token_id": 872}
    small = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = CLIPConfig(
        text_config={**small, **words},
        vision_config={**small, "image_size": SIDE, "patch_size": 8},
        projection_dim=8,
    )
    folder.mkdir(parents=True, exist_ok=True)
    CLIPModel(config).save_pretrained(folder)
    for name in ("vocab.json", "merges.txt", "tokenizer_config.json", "special_tokens_map.json"):
        (folder / name).write_bytes((find_weights() / "evaluator" / name).read_bytes())
    return folder


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("clip"))


@pytest.fixture
def damaged(tiny: Path, tmp_path: Path) -> Callable[..., Path]:
    """A copy of the model in which some files hold something else, or are gone."""

    def make(**files: str | None) -> Path:
        folder = tmp_path / "model"
        folder.mkdir()
        for path in tiny.iterdir():
            (folder / path.name).write_bytes(path.read_bytes())
        for name, text in files.items():
            path = folder / name.replace("__", ".")
            path.unlink(missing_ok=True)
            if text is not None:
                path.write_text(text)
        return folder

    return make


def noise(width: int, height: int) -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (9, 9, 3), dtype=np.uint8)
    return Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC)


# ---------------------------------------------------------------------------------- the model


def test_pictures_and_texts_have_rows_of_one_space(tiny: Path) -> None:
    clip = ClipEmbedder(str(tiny))
    pictures, texts = (
        clip.embed_images([noise(40, 30), noise(7, 90)]),
        clip.embed(["a fox", "half \ud800", "fox " * 99]),
    )
    assert pictures.shape == (2, 8)
    assert texts.shape == (3, 8)
    assert pictures.dtype == texts.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm([*pictures, *texts], axis=1), 1, atol=1e-6)
    assert clip.embed([]).shape == clip.embed_images([]).shape == (0, 8)


def test_a_row_is_the_same_whatever_is_embedded_beside_it(tiny: Path) -> None:
    clip = ClipEmbedder(str(tiny))
    texts, pictures = [f"{'fox ' * (n % 5)}snow" for n in range(40)], [noise(30 + n, 40) for n in range(40)]
    np.testing.assert_allclose(clip.embed(texts)[37], clip.embed(texts[37:38])[0], atol=1e-5)
    np.testing.assert_allclose(clip.embed_images(pictures)[37], clip.embed_images(pictures[37:38])[0], atol=1e-5)


def test_torchvision_is_not_asked_for(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchvision", None)
    assert ClipEmbedder(str(tiny)).embed_images([noise(9, 9)]).shape == (1, 8)


def test_weights_are_read_when_they_are_needed_and_told_apart(tiny: Path, tmp_path: Path) -> None:
    other, same = build(tmp_path / "other", seed=1), build(tmp_path / "same")
    assert ClipEmbedder(str(tiny)).revision == ClipEmbedder(str(same)).revision != ClipEmbedder(str(other)).revision


def test_the_evaluator_of_the_playground_sees_and_reads_as_itself() -> None:
    folder = find_weights() / "evaluator"
    own, clip = Evaluator(folder), ClipEmbedder(str(folder))
    pictures = np.stack([paint(draw(random.Random(number))) for number in range(6)])
    texts = ["a red duck by the sea", "neon style, a boat"]
    for features, rows in (
        (own.see(pictures), clip.embed_images([Image.fromarray(picture) for picture in pictures])),
        (own.read(texts), clip.embed(texts)),
    ):
        np.testing.assert_allclose(features / np.linalg.norm(features, axis=1, keepdims=True), rows, atol=1e-5)


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"config__json": None}, "its config.json is not there"),
        ({"config__json": "[" * 100_000}, "its config.json is not there, or damaged"),
        ({"config__json": '{"model_type": "siglip"}'}, "says 'siglip'"),
        ({"config__json": '{"model_type": "clip", "vision_config": {"image_size": 1e99}}'}, "pictures of '1e"),
        ({"model__safetensors": None}, "no .safetensors weights, and pickles are never opened"),
        ({"preprocessor_config__json": "{"}, "cannot be read"),
        ({"preprocessor_config__json": '{"crop_size": 99}'}, "pictures that the model does not take"),
        ({"preprocessor_config__json": '{"size": {"shortest_edge": 8}}'}, "pictures that the model does not take"),
        ({"preprocessor_config__json": '{"image_std": [1, 0, 1]}'}, "pictures that the model does not take"),
        ({"preprocessor_config__json": '{"image_mean": [1, NaN, 1]}'}, "pictures that the model does not take"),
        ({"preprocessor_config__json": '{"resample": []}'}, "pictures that the model does not take"),
    ],
)
def test_what_is_no_clip_model_is_told_before_weights_are_read(
    damaged: Callable[..., Path], files: dict[str, str | None], said: str
) -> None:
    with pytest.raises(InputError, match=said):
        ClipEmbedder(str(damaged(**files)))


def test_damaged_weights_are_one_sentence(damaged: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no CLIP model that transformers reads"):
        ClipEmbedder(str(damaged(model__safetensors="no tensors"))).embed_images([noise(9, 9)])


def test_lacking_weights_are_not_noise(damaged: Callable[..., Path]) -> None:
    from safetensors.numpy import load_file, save_file

    folder = damaged()
    tensors = load_file(folder / "model.safetensors")
    del tensors["visual_projection.weight"]
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(InputError, match=r"lacks 1 of its weights, visual_projection\.weight first"):
        ClipEmbedder(str(folder)).embed_images([noise(9, 9)])


def test_a_model_that_is_nowhere_is_one_sentence() -> None:
    with pytest.raises(InputError, match="the picture model nobody/nothing is not on this machine"):
        ClipEmbedder("nobody/nothing")


# ---------------------------------------------------------------------------------- what it is shown


@pytest.mark.parametrize("size", [(64, 48), (30, 101), (51, 51), (20, 10), (8, 8)])
def test_pictures_are_prepared_as_transformers_does(size: tuple[int, int]) -> None:
    transformers_clip = pytest.importorskip("transformers.models.clip.image_processing_pil_clip")
    theirs = transformers_clip.CLIPImageProcessorPil(
        size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE}
    )
    picture = noise(*size)
    expected = theirs(picture, return_tensors="np")["pixel_values"]
    np.testing.assert_allclose(ClipInput(shown=SIDE, edge=SIDE).prepare([picture]), expected, atol=0.02)


def test_the_middle_of_a_very_wide_picture_is_all_that_is_resized() -> None:
    wide = Image.new("RGB", (20_000, 1), "black")
    wide.paste("white", (9_990, 0, 10_010, 1))
    shown = ClipInput(shown=SIDE, edge=SIDE, mean=(0, 0, 0), spread=(1, 1, 1)).prepare([wide])
    assert shown.shape == (1, 3, SIDE, SIDE)
    assert shown.min() == 1


def test_a_folder_says_how_pictures_are_prepared(tmp_path: Path) -> None:
    assert read_clip_input(tmp_path, 224) == ClipInput(shown=224, edge=224)
    asked = {"size": {"height": 32, "width": 32}, "do_center_crop": False, "resample": 2, "image_mean": [0.5] * 3}
    (tmp_path / "processor_config.json").write_text(json.dumps({"image_processor": asked}))
    assert read_clip_input(tmp_path, 32) == ClipInput(
        shown=32, edge=32, whole=True, resample=Image.Resampling.BILINEAR, mean=(0.5, 0.5, 0.5)
    )
    (tmp_path / "preprocessor_config.json").write_text('{"size": 40, "crop_size": 32, "do_normalize": false}')
    assert read_clip_input(tmp_path, 32) == ClipInput(shown=32, edge=40, mean=(0, 0, 0), spread=(1, 1, 1))


# ---------------------------------------------------------------------------------- files


def saved(picture: Image.Image, kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    return stream.getvalue()


def bomb(width: int, height: int) -> bytes:
    """Return a PNG of a few bytes that says it is so large."""

    def part(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    start = b"\x89PNG\r\n\x1a\n" + part(b"IHDR", header)
    return start + part(b"IDAT", zlib.compress(b"\0" * 1000)) + part(b"IEND", b"")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF"])
def test_pictures_are_read_whatever_they_are_called(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "fox.dat"
    path.write_bytes(saved(Image.new("RGB", (12, 8), "red"), kind))
    picture = read_picture_file(path).decode()
    assert (picture.mode, picture.size) == ("RGB", (12, 8))
    assert np.abs(np.asarray(picture, dtype=int) - (255, 0, 0)).max() < 12


def test_large_pictures_are_kept_small_and_upright(tmp_path: Path) -> None:
    path = tmp_path / "wide.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6
    path.write_bytes(saved(Image.new("RGB", (20_000, 40), "blue"), "JPEG", exif=exif))
    picture = read_picture_file(path).decode()
    assert picture.height == 1024
    assert picture.width <= 3


def test_what_is_transparent_is_white_and_an_animation_is_its_first_frame(tmp_path: Path) -> None:
    path = tmp_path / "a.gif"
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    path.write_bytes(saved(frames[0], "GIF", save_all=True, append_images=frames[1:]))
    assert read_picture_file(path).decode().getpixel((0, 0)) == (255, 0, 0)
    path.write_bytes(saved(Image.new("RGBA", (4, 4), (0, 0, 0, 0)), "PNG"))
    assert read_picture_file(path).decode().getpixel((0, 0)) == (255, 255, 255)


def test_the_digest_is_that_of_the_bytes(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(saved(noise(5, 5), "PNG"))
    first, second = read_picture_file(tmp_path / "a.png"), read_picture_file(tmp_path / "b.png")
    assert first.digest == second.digest
    assert first.stamp != second.stamp


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "no PNG, JPEG, WebP or GIF"),
        (b"%PDF-1.7 no picture", "no PNG, JPEG, WebP or GIF"),
        (saved(noise(9, 9), "BMP"), "no PNG, JPEG, WebP or GIF"),
        (saved(noise(90, 90), "PNG")[:300], "damaged picture"),
        (saved(noise(90, 90), "JPEG")[:600], "damaged picture"),
        (bomb(10_001, 10_000), "more than 100,000,000 pixels"),
        (bomb(60_000, 60_000), "more than 100,000,000 pixels"),
        (bomb(9_000, 9_000), "damaged picture"),
    ],
)
def test_hostile_files_are_one_sentence(content: bytes, said: str, tmp_path: Path) -> None:
    path = tmp_path / "fox.png"
    path.write_bytes(content)
    with pytest.raises(UnreadableFile, match=said) as told:
        read_picture_file(path).decode()
    assert "\n" not in str(told.value)


def test_files_that_are_no_files_or_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="there is no picture"):
        read_picture_file(tmp_path / "gone.png")
    with pytest.raises(InputError, match="is no file"):
        read_picture_file(tmp_path)
    with pytest.raises(InputError, match="cannot be read"):
        read_picture_file(Path("a\0b.png"))
    monkeypatch.setattr(picture_file, "MOST_BYTES", 10)
    (tmp_path / "big.png").write_bytes(saved(enlarge(np.zeros((4, 4, 3), np.uint8), 2), "PNG"))
    with pytest.raises(UnreadableFile, match="is larger than"):
        read_picture_file(tmp_path / "big.png")
