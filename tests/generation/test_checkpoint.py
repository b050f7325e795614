"""A checkpoint opens by folder, single file or hub id, and is refused in one sentence where it cannot."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from stability_layout import ldm_of

from velatura.errors import InputError
from velatura.generation.checkpoint import load_checkpoint
from velatura.generation.sd import StableDiffusionBackend
from velatura.playground.sample import make_checkpoint
from velatura.records import GenerationRequest

Asked = Callable[..., GenerationRequest]
Tiny = Callable[[str], Path]


def loaded(model: Path | str, **options: Any) -> Any:
    return load_checkpoint(str(model), dtype=torch.float32, local_files_only=True, **options)


def refused(model: Path | str, **options: Any) -> str:
    with pytest.raises(InputError) as caught:
        loaded(model, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    return cache(lambda kind: make_checkpoint(tmp_path_factory.mktemp("tiny") / kind, kind=kind))


@pytest.fixture
def copy(checkpoint: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(checkpoint, tmp_path / "copy"))


def edit(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.fixture(scope="module")
def single(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("single") / "tiny.safetensors"
    save_file(ldm_of(checkpoint), path)
    return path


def test_a_single_file_paints_what_its_folder_paints(
    single: Path, checkpoint: Path, backend: StableDiffusionBackend, adapters: list[Path], asked: Asked
) -> None:
    file = StableDiffusionBackend(str(single), device="cpu", tokenizer=str(checkpoint / "tokenizer"))
    for laid in ((), ((adapters[0], 0.7),)):
        request = asked("a red fox", *laid, scheduler="ddim", width=128, height=128, model="")
        one, other = next(file.generate(request)), next(backend.generate(request))
        assert one.image.tobytes() == other.image.tobytes()
        assert len(one.model_hash) == 10
        assert other.model_hash is None
    assert file.family == "sd1"


def test_a_single_file_finds_the_tokenizer_beside_it(single: Path, checkpoint: Path, tmp_path: Path) -> None:
    shutil.copy(single, tmp_path / "tiny.safetensors")
    shutil.copytree(checkpoint / "tokenizer", tmp_path / "tokenizer")
    assert len(loaded(tmp_path / "tiny.safetensors").pipe.tokenizer) == 577


def test_a_single_file_without_a_tokenizer_says_what_to_do(single: Path) -> None:
    assert "brings no tokenizer and CLIP's is not on this machine: connect once, or name a folder" in refused(single)


def test_the_text_encoder_of_old_merging_tools_is_read(checkpoint: Path, tmp_path: Path) -> None:
    """They left out `text_model.`."""
    save_file(ldm_of(checkpoint, wrapper=""), tmp_path / "old.safetensors")
    encoder = loaded(tmp_path / "old.safetensors", tokenizer=str(checkpoint / "tokenizer")).pipe.text_encoder
    expected = load_file(checkpoint / "text_encoder" / "model.safetensors")
    for name, value in encoder.state_dict().items():
        assert torch.equal(value, expected[name].float()), name


@pytest.fixture
def sd2(tiny: Tiny, tmp_path: Path) -> Path:
    save_file(ldm_of(tiny("sd2")), tmp_path / "sd2.safetensors")
    return tmp_path / "sd2.safetensors"


def test_an_sd2_file_is_read_with_openclip_less_its_last_layer(
    sd2: Path, tiny: Tiny, checkpoint: Path, asked: Asked
) -> None:
    backend = StableDiffusionBackend(str(sd2), device="cpu", tokenizer=str(checkpoint / "tokenizer"))
    pipe = backend._pipe
    expected = load_file(tiny("sd2") / "text_encoder" / "model.safetensors")
    for name, value in pipe.text_encoder.state_dict().items():
        assert torch.equal(value, expected[name].float()), name
    assert pipe.text_encoder.config.hidden_act == "gelu"
    assert pipe.tokenizer.pad_token == "!"
    assert pipe.scheduler.config.prediction_type == "v_prediction"
    assert backend.family == "sd2"
    assert next(backend.generate(asked(model="", width=64, height=128))).image.size == (64, 128)


def test_the_prediction_of_an_sd2_file_can_be_told(sd2: Path, checkpoint: Path) -> None:
    options = {"tokenizer": str(checkpoint / "tokenizer")}
    assert loaded(sd2, **options).pipe.unet.config.sample_size == 96
    told = loaded(sd2, prediction="epsilon", **options).pipe
    assert told.scheduler.config.prediction_type == "epsilon"
    assert told.unet.config.sample_size == 64
    save_file(load_file(sd2), sd2, metadata={"modelspec.prediction_type": "epsilon"})
    assert loaded(sd2, **options).pipe.scheduler.config.prediction_type == "epsilon"


def test_a_hub_id_opens_from_the_cache(checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "hub" / "models--someone--tiny"
    shutil.copytree(checkpoint, root / "snapshots" / "abc")
    (root / "refs").mkdir()
    (root / "refs" / "main").write_text("abc")
    monkeypatch.setattr("diffusers.pipelines.pipeline_utils.HF_HUB_CACHE", str(tmp_path / "hub"), raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    found = loaded("someone/tiny")
    assert (found.name, found.hash) == ("someone/tiny", None)


def test_an_unknown_hub_id_says_what_to_do() -> None:
    sentence = refused("nobody/nothing-at-all")
    assert sentence.startswith("nobody/nothing-at-all is not on this machine and the hub does not give it")


@pytest.mark.parametrize("name", ["none", "/no/such/folder/anywhere", "a/b/c", "", "\U0001f98a"])
def test_what_is_nothing_says_what_is_wanted(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path / ".." if name else tmp_path)
    sentence = refused(name)
    assert "give a diffusers folder, a .safetensors file, or a hub id" in sentence or "model_index.json" in sentence


def test_half_precision_files_are_found(copy: Path) -> None:
    for part in ("unet", "vae", "text_encoder"):
        for file in (copy / part).glob("*.safetensors"):
            file.rename(file.with_suffix(".fp16.safetensors"))
    assert loaded(copy).pipe.unet.dtype == torch.float32


def broken(copy: Path) -> Iterator[tuple[str, Callable[[], None]]]:
    unet = copy / "unet" / "diffusion_pytorch_model.safetensors"
    yield "it has no model_index.json", (copy / "model_index.json").unlink
    yield "model_index.json is not a JSON object", lambda: (copy / "model_index.json").write_text("[" * 99_999)
    yield (
        "copy is an SDXL checkpoint; take --backend sdxl",
        lambda: edit(copy / "model_index.json", _class_name="StableDiffusionXLPipeline", text_encoder_2=["x", "y"]),
    )
    yield "has the autoencoder AutoencoderDC", lambda: edit(copy / "vae" / "config.json", _class_name="AutoencoderDC")
    yield "it has no vae/config.json", (copy / "vae" / "config.json").unlink
    yield (
        "asks for the scheduler os, which diffusers does not have",
        lambda: edit(copy / "scheduler" / "scheduler_config.json", _class_name="os"),
    )
    yield "the tokenizer cannot be loaded", lambda: shutil.rmtree(copy / "tokenizer")
    yield "its vocabulary is missing", lambda: [file.unlink() for file in (copy / "tokenizer").glob("[vmt]*s*")]
    yield "the unet cannot be loaded", lambda: unet.write_bytes(unet.read_bytes()[:-10])
    yield "the unet cannot be loaded", lambda: edit(copy / "unet" / "config.json", cross_attention_dim=32)
    yield "only as pickles, which are not opened", lambda: unet.rename(unet.with_suffix(".bin"))
    yield "has the weights of its unet not at all", unet.unlink
    yield (
        "the unet lacks 1 weights, conv_in.weight first",
        lambda: save_file({k: v for k, v in load_file(unet).items() if k != "conv_in.weight"}, unet),
    )


@pytest.mark.parametrize("case", range(13))
def test_a_broken_folder_says_where(copy: Path, case: int) -> None:
    reason, damage = list(broken(copy))[case]
    damage()
    assert reason in refused(copy)


def test_a_folders_index_cannot_name_code_to_run(copy: Path) -> None:
    (copy / "unet" / "evil.py").write_text("raise SystemExit('ran')")
    edit(copy / "model_index.json", unet=["evil", "Evil"], _class_name=["evil", "Evil"])
    assert type(loaded(copy).pipe.unet).__name__ == "UNet2DConditionModel"


def test_an_inpainting_checkpoint_is_named(copy: Path) -> None:
    unet = copy / "unet" / "diffusion_pytorch_model.safetensors"
    edit(copy / "unet" / "config.json", in_channels=9)
    save_file({**load_file(unet), "conv_in.weight": torch.zeros(32, 9, 3, 3)}, unet)
    assert refused(copy) == (
        "copy is an SD inpainting checkpoint, which only paints over a picture: take --backend sd, and give it a "
        "picture and a mask (--image, --inpaint)"
    )
    assert loaded(copy, kinds=("sd-inpaint",)).pipe.unet.config.in_channels == 9


def test_a_tokenizer_larger_than_the_text_encoder_is_refused(copy: Path) -> None:
    clip = copy / "text_encoder" / "model.safetensors"
    tensors = load_file(clip)
    name = next(key for key in tensors if key.endswith("token_embedding.weight"))
    save_file({**tensors, name: tensors[name][:100].clone()}, clip)
    edit(copy / "text_encoder" / "config.json", vocab_size=100, bos_token_id=98, eos_token_id=99)
    assert "the tokenizer has 577 words and the text encoder 100" in refused(copy)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"conditioner.embedders.1.x": (1,)}, "is an SDXL checkpoint; take --backend sdxl"),
        ({"conditioner.embedders.0.model.x": (1,)}, "is an SDXL refiner's checkpoint, which no backend paints with"),
        ({"model.diffusion_model.joint_blocks.0.x": (1,)}, "is an SD 3 checkpoint, which no backend paints with"),
        ({"double_blocks.0.x": (1,)}, "is a FLUX.1 checkpoint; take --backend flux"),
        ({"first_stage_model.": None}, "is not a whole checkpoint: it has no autoencoder"),
        ({"model.diffusion_model.out.2.weight": None}, "is not a whole SD 1.x or 2.x checkpoint: "),
        ({"model.diffusion_model.out.2.bias": None}, "is not a whole SD 1.x or 2.x checkpoint: "),
        ({"model.diffusion_model.out.2.weight": (4, 1, 3, 3)}, "is not a whole SD 1.x or 2.x checkpoint: "),
        ({"first_stage_model.encoder.conv_in.weight": (3,)}, "is not a whole SD 1.x or 2.x checkpoint: "),
        ({"cond_stage_model.transformer.text_model.final_layer_norm.bias": None}, "the text encoder lacks"),
    ],
)
def test_a_single_file_of_another_kind_says_which(
    change: dict[str, Any], reason: str, single: Path, checkpoint: Path, tmp_path: Path
) -> None:
    tensors = load_file(single)
    for prefix, shape in change.items():
        tensors = {key: value for key, value in tensors.items() if not key.startswith(prefix)}
        if shape:
            tensors[prefix] = torch.zeros(shape)
    save_file(tensors, tmp_path / "a.safetensors")
    assert reason in refused(tmp_path / "a.safetensors", tokenizer=str(checkpoint / "tokenizer"))


def test_damaged_and_pickled_single_files_are_refused(single: Path, tmp_path: Path) -> None:
    (tmp_path / "cut.safetensors").write_bytes(single.read_bytes()[:-10])
    assert "truncated or damaged" in refused(tmp_path / "cut.safetensors")
    (tmp_path / "old.ckpt").write_bytes(b"PK\x03\x04")
    assert "is a pickle, which can run code when opened" in refused(tmp_path / "old.ckpt")


def test_eight_channels_are_no_image_editing_where_the_autoencoder_has_as_many(
    checkpoint: Path, tmp_path: Path
) -> None:
    from diffusers import AutoencoderTiny, UNet2DConditionModel

    folder = tmp_path / "eight"
    shutil.copytree(checkpoint, folder)
    config = {**UNet2DConditionModel.load_config(folder / "unet"), "in_channels": 8, "out_channels": 8}
    UNet2DConditionModel.from_config(config).save_pretrained(folder / "unet")
    refused = "InstructPix2Pix"
    with pytest.raises(InputError, match=refused):
        load_checkpoint(str(folder), dtype=torch.float32, local_files_only=True)
    shutil.rmtree(folder / "vae")
    AutoencoderTiny(latent_channels=8).save_pretrained(folder / "vae")
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(json.dumps({**index, "vae": ["diffusers", "AutoencoderTiny"]}))
    assert load_checkpoint(str(folder), dtype=torch.float32, local_files_only=True).pipe.unet.config.in_channels == 8
