"""FLUX paints with adapters, seeds and a picture to start from, and says in one sentence what it cannot."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler, FluxPipeline, FluxTransformer2DModel
from PIL import Image, ImageChops
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer, T5Config, T5EncoderModel, T5TokenizerFast

from velatura.errors import Cancelled, IncompatibleAdapter, InputError, UnreadableFile
from velatura.generation import PaintingWarning, open_backend
from velatura.generation.checkpoint import quiet
from velatura.generation.flux import FluxBackend
from velatura.generation.flux_checkpoint import bfl_parameters, load_flux
from velatura.protocols import Watch
from velatura.records import Control, GenerationRequest, ImagePrompt, Picture, Start

Asked = Callable[..., GenerationRequest]

_WORDS = ("a", "red", "fox", "blue", "cat", "house")


def tiny_flux(folder: Path, clip: Path, *, guided: bool = False) -> Path:
    """Write a diffusers folder of FLUX.1's architecture: one block of either kind, one head."""
    vocabulary = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), *((f"▁{word}", -2.0) for word in _WORDS)]
    vocabulary += [(letter, -9.0) for letter in "▁abcdefghijklmnopqrstuvwxyz,"]
    words = T5TokenizerFast(vocab=vocabulary, extra_ids=0, model_max_length=512)
    with quiet(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        pipe = FluxPipeline(
            transformer=FluxTransformer2DModel(
                in_channels=16,
                num_layers=1,
                num_single_layers=1,
                num_attention_heads=1,
                joint_attention_dim=32,
                pooled_projection_dim=64,
                guidance_embeds=guided,
            ),
            vae=AutoencoderKL(
                down_block_types=("DownEncoderBlock2D",) * 4,
                up_block_types=("UpDecoderBlock2D",) * 4,
                block_out_channels=(32,) * 4,
                scaling_factor=0.3611,
                shift_factor=0.1159,
                use_quant_conv=False,
                use_post_quant_conv=False,
            ),
            text_encoder=CLIPTextModel.from_pretrained(clip / "text_encoder"),
            tokenizer=CLIPTokenizer.from_pretrained(clip / "tokenizer"),
            text_encoder_2=T5EncoderModel(
                T5Config(vocab_size=len(words), d_model=32, d_ff=64, d_kv=16, num_heads=2, num_layers=2)
            ),
            tokenizer_2=words,
            scheduler=FlowMatchEulerDiscreteScheduler(shift=1.0 if not guided else 3.0, use_dynamic_shifting=guided),
        )
        pipe.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def schnell(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_flux(tmp_path_factory.mktemp("flux") / "schnell", checkpoint)


@pytest.fixture(scope="module")
def dev(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_flux(tmp_path_factory.mktemp("flux") / "dev", checkpoint, guided=True)


@pytest.fixture(scope="module")
def painter(schnell: Path) -> FluxBackend:
    return FluxBackend(str(schnell), device="cpu")


@pytest.fixture(scope="module")
def guided(dev: Path) -> FluxBackend:
    return FluxBackend(str(dev), device="cpu")


@pytest.fixture
def wanted(asked: Asked) -> Asked:
    """A request of a model's own steps and guidance."""

    def make(prompt: str = "a red fox", *laid: tuple[Path, float], **fields: Any) -> GenerationRequest:
        return asked(prompt, *laid, **({"model": "", "steps": None} | fields))

    return make


def adapter(path: Path, *, seed: int = 0, width: int = 128) -> Path:
    """Write a LoRA as kohya's trainer does: on a matrix that is three modules here, a single block, and CLIP."""
    generator = torch.Generator().manual_seed(seed)
    tensors: dict[str, Tensor] = {}
    for stem, outputs, inputs in (
        ("lora_unet_double_blocks_0_img_attn_qkv", 3 * width, width),
        ("lora_unet_double_blocks_0_txt_mlp_0", 4 * width, width),
        ("lora_unet_single_blocks_0_linear2", width, 5 * width),
        ("lora_te1_text_model_encoder_layers_0_self_attn_q_proj", 64, 64),
    ):
        tensors[f"{stem}.lora_down.weight"] = torch.randn(4, inputs, generator=generator) / inputs**0.5
        tensors[f"{stem}.lora_up.weight"] = torch.randn(outputs, 4, generator=generator)
        tensors[f"{stem}.alpha"] = torch.tensor(4.0)
    save_file(tensors, path, metadata={"ss_base_model_version": "flux1"})
    return path


@pytest.fixture(scope="module")
def loras(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("flux-loras")
    return [adapter(folder / f"style{seed}.safetensors", seed=seed) for seed in (1, 2)]


def pixels(backend: FluxBackend, request: GenerationRequest, count: int = 1) -> list[bytes]:
    return [image.image.tobytes() for image in backend.generate(request, count)]


def test_schnell_and_dev_have_their_own_steps_and_guidance(
    painter: FluxBackend, guided: FluxBackend, wanted: Asked
) -> None:
    few, many = painter.complete(wanted(width=None, height=None)), guided.complete(wanted())
    assert (few.steps, few.guidance, few.scheduler, few.width, few.height) == (4, 0.0, "euler", 1024, 1024)
    assert (many.steps, many.guidance, many.width) == (28, 3.5, 64)
    assert painter.name == "flux"
    assert painter.family == guided.family == "flux1"


def test_what_is_painted_is_what_the_pipeline_of_diffusers_paints(
    dev: Path, guided: FluxBackend, wanted: Asked
) -> None:
    with quiet():
        pipe = FluxPipeline.from_pretrained(dev).to(torch.float32)
        pipe.set_progress_bar_config(disable=True)
        theirs = pipe(
            "a red fox",
            width=64,
            height=96,
            num_inference_steps=3,
            guidance_scale=2.5,
            generator=torch.Generator().manual_seed(5),
        ).images[0]
    request = wanted(width=64, height=96, steps=3, guidance=2.5, seed=5)
    ours = next(guided.generate(request)).image
    assert ours.size == (64, 96)
    assert ours.tobytes() == theirs.tobytes()


def test_seeds_decide_the_picture_and_batches_do_not(schnell: Path, painter: FluxBackend, wanted: Asked) -> None:
    three = pixels(painter, wanted(seed=7), 3)
    assert len(set(three)) == 3
    assert [pixels(painter, wanted(seed=seed))[0] for seed in (7, 8, 9)] == three
    together = FluxBackend(str(schnell), device="cpu", batch_size=3)
    for one, other in zip(painter.generate(wanted(seed=7), 3), together.generate(wanted(seed=7), 3), strict=True):
        assert one.seed == other.seed
        assert np.asarray(ImageChops.difference(one.image, other.image)).max() <= 1


def test_guidance_counts_where_the_model_follows_it(painter: FluxBackend, guided: FluxBackend, wanted: Asked) -> None:
    few = wanted(steps=2)
    assert pixels(guided, replace(few, guidance=1.0)) != pixels(guided, replace(few, guidance=4.0))
    assert pixels(painter, replace(few, guidance=0.0)) == pixels(painter, replace(few, guidance=1.0))


def test_a_negative_prompt_counts_with_guidance_that_is_classifier_free(
    painter: FluxBackend, guided: FluxBackend, wanted: Asked
) -> None:
    plain = wanted(steps=2, guidance=3.0)
    assert pixels(painter, replace(plain, negative="blue cat")) != pixels(painter, plain)
    with pytest.warns(PaintingWarning, match="reads no negative prompt: without guidance above 1"):
        assert pixels(painter, replace(plain, negative="blue", guidance=1.0)) == pixels(
            painter, replace(plain, guidance=1.0)
        )
    with pytest.warns(PaintingWarning, match="reads no negative prompt: its guidance needs none"):
        assert pixels(guided, replace(plain, negative="blue")) == pixels(guided, plain)


@pytest.mark.parametrize("laying", ["weights", "beside"])
def test_adapters_change_the_picture_and_leave_no_trace(
    schnell: Path, loras: list[Path], laying: Any, wanted: Asked
) -> None:
    backend = FluxBackend(str(schnell), device="cpu", laying=laying)
    bare = pixels(backend, wanted())
    one = pixels(backend, wanted("a red fox", (loras[0], 0.8)))
    two = pixels(backend, wanted("a red fox", (loras[0], 0.8), (loras[1], -0.4)))
    assert len({*bare, *one, *two}) == 3
    assert pixels(backend, wanted("a red fox", (loras[0], 0.8))) == one
    assert pixels(backend, wanted()) == bare
    assert backend.laid == {}


def test_adapters_beside_the_weights_paint_as_on_them(schnell: Path, loras: list[Path], wanted: Asked) -> None:
    request = wanted("a red fox", (loras[0], 0.8))
    on, beside = (
        next(FluxBackend(str(schnell), device="cpu", laying=way).generate(request)).image
        for way in ("weights", "beside")
    )
    assert np.asarray(ImageChops.difference(on, beside)).max() <= 1


def test_one_batch_wears_many_sets(schnell: Path, painter: FluxBackend, loras: list[Path], wanted: Asked) -> None:
    requests = [wanted("a red fox", (path, 0.8)) for path in loras] + [wanted()]
    together = FluxBackend(str(schnell), device="cpu", batch_size=3, laying="beside")
    found = dict(together.generate_each(requests))
    for place, request in enumerate(requests):
        alone = next(painter.generate(request)).image
        assert np.asarray(ImageChops.difference(found[place].image, alone)).max() <= 2


def test_an_adapter_of_another_family_is_refused(
    painter: FluxBackend, adapters: list[Path], tmp_path: Path, wanted: Asked
) -> None:
    with pytest.raises(IncompatibleAdapter):
        list(painter.generate(wanted("a fox", (adapters[0], 1.0))))
    with pytest.raises(IncompatibleAdapter):
        list(painter.generate(wanted("a fox", (adapter(tmp_path / "wide.safetensors", width=96), 1.0))))


def test_whoever_looks_on_is_told_and_may_stop(painter: FluxBackend, wanted: Asked) -> None:
    shares: list[float] = []
    shown: list[tuple[int, tuple[int, int]]] = []
    watch = Watch(progress=shares.append, preview=lambda place, image: shown.append((place, image.size)), every=1)
    list(painter.generate(wanted(), 2, watch=watch))
    assert shares == [pytest.approx(share / 8) for share in range(1, 9)]
    assert [place for place, _ in shown] == [0, 0, 0, 1, 1, 1]
    with pytest.raises(Cancelled):
        list(painter.generate(wanted(), watch=Watch(stopped=lambda: bool(shares))))


def test_painting_starts_from_a_picture(painter: FluxBackend, tmp_path: Path, wanted: Asked) -> None:
    path = tmp_path / "start.png"
    Image.linear_gradient("L").resize((100, 70)).convert("RGB").save(path)
    start = Start(picture=Picture(path=str(path)), strength=0.5)
    request = painter.complete(wanted(width=None, height=None, start=start))
    assert (request.width, request.height) == (96, 64)
    assert request.start is not None
    assert len(request.start.picture.sha256 or "") == 64
    assert request.start.strength == 0.5
    open_strength = painter.complete(replace(request, start=replace(start, strength=None))).start
    assert open_strength is not None
    assert open_strength.strength == 0.75
    # Where one side is asked for, the other keeps the picture's shape.
    sizes = [
        painter.complete(wanted(width=width, height=height, start=start)) for width, height in ((208, None), (None, 32))
    ]
    assert [(one.width, one.height) for one in sizes] == [(208, 144), (32, 32)]
    with pytest.raises(InputError, match="the picture is 100x70, too small to start from"):
        painter.complete(wanted(width=16, height=None, start=start))
    shares: list[float] = []
    half = next(painter.generate(request, watch=Watch(progress=shares.append))).image
    assert shares == [0.5, 1.0]
    assert half.size == (96, 64)
    little = replace(request, start=replace(request.start, strength=0.25), steps=8)
    whole = replace(request, start=replace(request.start, strength=1.0))
    assert len({half.tobytes(), *pixels(painter, little), *pixels(painter, whole)}) == 3
    # With the whole strength nothing of the picture is left.
    assert pixels(painter, whole) == pixels(painter, replace(request, start=None))


def test_starting_from_a_picture_is_what_the_pipeline_of_diffusers_does(
    dev: Path, guided: FluxBackend, tmp_path: Path, wanted: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    from diffusers import FluxImg2ImgPipeline
    from diffusers.pipelines.flux import pipeline_flux_img2img as theirs

    path = tmp_path / "start.png"
    Image.linear_gradient("L").resize((64, 64)).convert("RGB").save(path)
    noise = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(11))
    # It would draw from one generator for the autoencoder and for the noise.
    monkeypatch.setattr(theirs, "randn_tensor", lambda *_, **__: noise)
    monkeypatch.setattr(theirs, "retrieve_latents", lambda output, **_: output.latent_dist.mode())
    with quiet():
        pipe = FluxImg2ImgPipeline.from_pretrained(dev).to(torch.float32)
        pipe.set_progress_bar_config(disable=True)
        expected = pipe(
            "a red fox",
            image=Image.open(path),
            strength=0.6,
            num_inference_steps=5,
            guidance_scale=2.0,
            width=64,
            height=64,
        ).images[0]
    start = Start(picture=Picture(path=str(path)), strength=0.6)
    ours = next(guided.generate(wanted(start=start, steps=5, guidance=2.0, seed=11))).image
    assert np.asarray(ImageChops.difference(ours, expected)).max() <= 1


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"width": 72}, "multiples of 16 up to 4096, not 72"),
        ({"scheduler": "dpmpp_2m"}, "with the scheduler euler alone and not 'dpmpp_2m'"),
        ({"controls": (Control(model="c", picture=Picture(path="p")),)}, "knows no ControlNets"),
        ({"image_prompts": (ImagePrompt(model="c", pictures=()),)}, "knows no image prompts"),
        ({"freeu": (1.0, 1.0, 1.0, 1.0)}, "knows no FreeU"),
        ({"clip_skip": 1}, "knows no clip_skip"),
        ({"embeddings": ("e.safetensors",)}, "knows no textual inversions"),
        ({"start": Start(picture=Picture(path="none.png"))}, "none.png"),
        ({"start": Start(picture=Picture(path="none.png"), strength=0.0)}, "the strength must be above 0"),
        ({"start": Start(picture=Picture(path="a"), mask=Picture(path="b"))}, "knows no masks"),
    ],
)
def test_what_it_cannot_paint_is_one_sentence(
    painter: FluxBackend, wanted: Asked, fields: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(InputError, match=sentence):
        painter.generate(wanted(**fields))


def test_words_that_are_not_read_are_told(painter: FluxBackend, wanted: Asked) -> None:
    with pytest.warns(PaintingWarning, match=r"the prompt is 301 tokens long, .* the first 256"):
        painter.generate(wanted("fox " * 300))


def renamed(schnell: Path) -> dict[str, Tensor]:
    """The transformer's weights in Black Forest Labs' names."""
    model = FluxTransformer2DModel.from_pretrained(schnell / "transformer")
    tensors = model.state_dict()
    found = {}
    for theirs, ours in bfl_parameters(model).items():
        values = torch.cat([tensors[name] for name in ours])
        if theirs.startswith("final_layer.adaLN_modulation"):
            values = torch.cat(values.chunk(2)[::-1])
        found[theirs] = values
    return found


@pytest.mark.parametrize("prefix", ["", "model.diffusion_model."])
def test_a_single_file_paints_as_the_folder(
    schnell: Path, painter: FluxBackend, tmp_path: Path, wanted: Asked, prefix: str
) -> None:
    tensors = {f"{prefix}{key}": value for key, value in renamed(schnell).items()}
    if prefix:
        tensors["vae.decoder.conv_in.weight"] = torch.zeros(1)
    save_file(tensors, tmp_path / "one.safetensors")
    backend = FluxBackend(str(tmp_path / "one.safetensors"), device="cpu", parts=str(schnell))
    assert pixels(backend, wanted()) == pixels(painter, wanted())
    assert len(next(backend.generate(wanted())).model_hash or "") == 10


def test_the_names_of_a_single_file_are_those_that_diffusers_converts() -> None:
    """Against its converter, which knows the true widths alone."""
    from diffusers.loaders.single_file_utils import convert_flux_transformer_checkpoint_to_diffusers as convert

    with torch.device("meta"):
        model = FluxTransformer2DModel(num_layers=1, num_single_layers=1, guidance_embeds=True)
        tensors = model.state_dict()
        theirs = {name: torch.cat([tensors[own] for own in ours]) for name, ours in bfl_parameters(model).items()}
        converted = convert(dict(theirs))
    assert {key: value.shape for key, value in converted.items()} == {
        key: value.shape for key, value in tensors.items()
    }


def load(model: Path, **options: Any) -> None:
    load_flux(str(model), dtype=torch.float32, local_files_only=True, **options)


def test_files_that_are_no_whole_transformer_are_one_sentence(schnell: Path, tmp_path: Path) -> None:
    path, whole = tmp_path / "one.safetensors", renamed(schnell)
    save_file(whole, path)
    with pytest.raises(InputError, match="name as `parts` a diffusers folder"):
        load(path)
    save_file({key: value for key, value in whole.items() if key != "txt_in.bias"}, path)
    with pytest.raises(InputError, match=r"is not a whole FLUX transformer: 'txt_in\.bias'"):
        load(path, parts=str(schnell))
    save_file(whole | {"single_blocks.0.linear2.weight": torch.zeros(128, 7)}, path)
    with pytest.raises(InputError, match=r"is not a whole FLUX transformer: single_blocks\.0\.linear2\.weight"):
        load(path, parts=str(schnell))
    save_file(whole | {"img_in.scale_weight": torch.zeros(1)}, path)
    with pytest.raises(InputError, match="scaled to 8 bits"):
        load(path, parts=str(schnell))
    save_file({"unet.conv.weight": torch.zeros(1)}, path)
    with pytest.raises(InputError, match="is not a checkpoint that any backend paints with"):
        load(path, parts=str(schnell))
    path.write_bytes(b"\x10\x00")
    with pytest.raises(UnreadableFile, match="truncated or damaged"):
        load(path, parts=str(schnell))
    pickled = tmp_path / "flux.ckpt"
    pickled.write_bytes(b"PK")
    with pytest.raises(InputError, match="is a pickle"):
        load(pickled)


def test_folders_of_another_kind_are_one_sentence(schnell: Path, checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"is an SD 1\.x or 2\.x checkpoint; take --backend sd"):
        load(checkpoint)
    with pytest.raises(InputError, match="there is no checkpoint 'none'"):
        load(Path("none"))
    copy = tmp_path / "copy"
    shutil.copytree(schnell, copy)
    config = copy / "scheduler" / "scheduler_config.json"
    config.write_text(json.dumps({"_class_name": "UniPCMultistepScheduler"}))
    with pytest.raises(InputError, match="asks for the scheduler UniPCMultistepScheduler"):
        load(copy)
    shutil.copy(schnell / "scheduler" / "scheduler_config.json", config)
    weights = copy / "text_encoder_2" / "model.safetensors"
    cut = load_file(weights)
    cut.pop("encoder.block.1.layer.1.DenseReluDense.wo.weight")
    save_file(cut, weights, metadata={"format": "pt"})
    with pytest.raises(InputError, match="text_encoder_2 lacks 1 weights"):
        load(copy)
    weights.unlink()
    (weights.parent / "pytorch_model.bin").write_bytes(b"PK")
    with pytest.raises(InputError, match="only as pickles"):
        load(copy)


def test_an_editing_flux_is_refused(schnell: Path, tmp_path: Path) -> None:
    copy = tmp_path / "fill"
    shutil.copytree(schnell, copy)
    shutil.rmtree(copy / "transformer")
    with quiet():
        FluxTransformer2DModel(
            in_channels=96,
            out_channels=16,
            num_layers=1,
            num_single_layers=1,
            num_attention_heads=1,
            joint_attention_dim=32,
            pooled_projection_dim=64,
        ).save_pretrained(copy / "transformer")
    with pytest.raises(InputError, match="is an editing FLUX"):
        load(copy)


def test_the_backend_is_opened_by_name(schnell: Path) -> None:
    assert isinstance(open_backend("flux", str(schnell), device="cpu"), FluxBackend)
