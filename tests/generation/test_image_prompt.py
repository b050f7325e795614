"""IP-Adapters steer the UNet that they were made for, and leave it as it was."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import CLIPImageProcessorPil, CLIPVisionConfig, CLIPVisionModelWithProjection

from velatura.errors import InputError, UnreadableFile
from velatura.generation.adapters.names import targets
from velatura.generation.adapters.patch import Layers
from velatura.generation.adapters.plan import Plans
from velatura.generation.adapters.side import SideBranch
from velatura.generation.checkpoint import quiet
from velatura.generation.image_prompt import ImagePrompts, Shown
from velatura.playground.sample_models import Kind, tiny_unet
from velatura.records import ImagePrompt

TEXT: dict[Kind, int] = {"sd": 64, "sdxl": 192, "sdxs": 64}
SIDE, HIDDEN, EMBEDDING = 32, 64, 48

Wear = Callable[..., Tensor]


def picture(seed: int, size: tuple[int, int] = (50, 40)) -> Image.Image:
    rough = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    return Image.fromarray(rough).resize(size, Image.Resampling.BICUBIC)


def make_encoder(folder: Path, *, hidden: int = HIDDEN, embedding: int = EMBEDDING) -> Path:
    torch.manual_seed(hidden + embedding)
    config = CLIPVisionConfig(
        hidden_size=hidden,
        intermediate_size=2 * hidden,
        num_hidden_layers=3,
        num_attention_heads=2,
        image_size=SIDE,
        patch_size=8,
        projection_dim=embedding,
        hidden_act="gelu",
    )
    with quiet():
        CLIPVisionModelWithProjection(config).save_pretrained(folder)
    return folder


def make_adapter(path: Path, unet: Any, *, sort: str = "plain", seed: int = 0) -> Path:
    """Write an IP-Adapter with random weights in the layout of its authors."""
    generator = torch.Generator().manual_seed(seed)

    def noise(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator) / shape[-1] ** 0.5

    text = unet.config.cross_attention_dim
    tensors: dict[str, Tensor] = {}
    places = [name for name in unet.attn_processors if "attn2" in name]
    for place, name in enumerate(places):
        width = unet.get_submodule(name.removesuffix(".processor")).to_k.out_features
        tensors |= {f"ip_adapter.{2 * place + 1}.to_{part}_ip.weight": noise(width, text) for part in "kv"}
    if sort == "plain":
        projection = {"proj.weight": noise(4 * text, EMBEDDING), "proj.bias": noise(4 * text)}
        projection |= {"norm.weight": torch.ones(text), "norm.bias": torch.zeros(text)}
    elif sort == "plus":
        projection = _resampler(noise, text)
    else:
        projection = {"proj.0.weight": noise(HIDDEN, HIDDEN), "proj.0.bias": noise(HIDDEN)}
        projection |= {"proj.2.weight": noise(text, HIDDEN), "proj.2.bias": noise(text)}
        projection |= {"proj.3.weight": torch.ones(text), "proj.3.bias": torch.zeros(text)}
    tensors |= {f"image_proj.{key}": value for key, value in projection.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, path)
    return path


def _resampler(noise: Callable[..., Tensor], text: int) -> dict[str, Tensor]:
    width = 64
    found = {
        "latents": noise(1, 6, width),
        "proj_in.weight": noise(width, HIDDEN),
        "proj_in.bias": noise(width),
        "proj_out.weight": noise(text, width),
        "proj_out.bias": noise(text),
        "norm_out.weight": torch.ones(text),
        "norm_out.bias": torch.zeros(text),
    }
    for layer in range(4):
        at = f"layers.{layer}"
        for norm in (f"{at}.0.norm1", f"{at}.0.norm2", f"{at}.1.0"):
            found |= {f"{norm}.weight": torch.ones(width), f"{norm}.bias": torch.zeros(width)}
        found |= {f"{at}.0.to_q.weight": noise(width, width), f"{at}.0.to_kv.weight": noise(2 * width, width)}
        found |= {f"{at}.0.to_out.weight": noise(width, width)}
        found |= {f"{at}.1.1.weight": noise(4 * width, width), f"{at}.1.3.weight": noise(width, 4 * width)}
    return found


@pytest.fixture(scope="module")
def unets() -> dict[str, Any]:
    torch.manual_seed(0)
    return {kind: tiny_unet(kind, width).eval() for kind, width in TEXT.items()}


@pytest.fixture(scope="module")
def models(unets: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    make_encoder(folder / "image_encoder")
    for kind in ("sd", "sdxl"):
        for sort in ("plain", "plus", "full"):
            make_adapter(folder / f"{sort}_{kind}.safetensors", unets[kind], sort=sort)
    make_adapter(folder / "other_sd.safetensors", unets["sd"], seed=1)
    return folder


@pytest.fixture
def prompts(unets: dict[str, Any]) -> ImagePrompts:
    return ImagePrompts(unets["sd"])


def shown(path: Path, *pictures: Image.Image, weight: float = 1.0) -> Shown:
    return Shown(ImagePrompt(model=str(path), pictures=(), weight=weight), pictures)


def predict(unet: Any, embeddings: Sequence[Tensor] | None = None, *, images: int = 1) -> Tensor:
    """Return the noise that a UNet predicts, without and with what was shown."""
    generator = torch.Generator().manual_seed(5)
    noise = torch.randn(images, 4, 8, 8, generator=generator).repeat(2, 1, 1, 1)
    text = torch.randn(2 * images, 7, unet.config.cross_attention_dim, generator=generator)
    added: dict[str, Any] = {}
    if unet.config.addition_embed_type:
        added = {"text_embeds": torch.ones(2 * images, 128), "time_ids": torch.ones(2 * images, 6)}
    if embeddings is not None:
        added["image_embeds"] = [one.repeat_interleave(images, dim=0) for one in embeddings]
    with torch.no_grad():
        found: Tensor = unet(noise, 500, text, added_cond_kwargs=added or None).sample
    return found


def seen(unet: Any, prompts: ImagePrompts, *worn: Shown) -> Tensor:
    with prompts.worn(worn, guided=True) as embeddings:
        return predict(unet, embeddings)


@pytest.mark.parametrize("sort", ["plain", "plus", "full"])
@pytest.mark.parametrize("kind", ["sd", "sdxl"])
def test_a_picture_steers_and_leaves_no_trace(kind: Kind, sort: str, unets: dict[str, Any], models: Path) -> None:
    unet, prompts = unets[kind], ImagePrompts(unets[kind])
    bare, names = predict(unet), list(dict(unet.named_modules()))
    processors = unet.attn_processors
    one, other = (shown(models / f"{sort}_{kind}.safetensors", picture(seed)) for seed in (1, 2))
    prompts.check(one.prompt)
    first = seen(unet, prompts, one)
    assert not torch.equal(first, bare)
    assert not torch.equal(seen(unet, prompts, other)[1], first[1])
    assert torch.equal(seen(unet, prompts, other)[0], first[0])  # without the picture: what goes for guidance
    assert torch.equal(seen(unet, prompts, one), first)
    assert torch.equal(predict(unet), bare)
    assert {name: id(one) for name, one in unet.attn_processors.items()} == {n: id(p) for n, p in processors.items()}
    assert (unet.encoder_hid_proj, unet.config.encoder_hid_dim_type) == (None, None)
    assert list(dict(unet.named_modules())) == names


def test_it_does_what_the_pipelines_own_loader_does(unets: dict[str, Any], models: Path) -> None:
    from diffusers.loaders import IPAdapterMixin

    class Bare(IPAdapterMixin):
        """No more of a pipeline than what loads an adapter."""

        unet_name = "unet"

        def __init__(self, unet: Any) -> None:
            self.unet = unet

    unet, pictures = unets["sd"], [picture(1), picture(2)]
    encoder = CLIPVisionModelWithProjection.from_pretrained(models / "image_encoder").eval()
    pixels = CLIPImageProcessorPil(size=SIDE, crop_size=SIDE)(pictures, return_tensors="pt").pixel_values
    for sort in ("plain", "plus"):
        path = models / f"{sort}_sd.safetensors"
        found = seen(unet, ImagePrompts(unet), shown(path, *pictures, weight=0.7))
        loaded = Bare(deepcopy(unet))
        with quiet():
            loaded.load_ip_adapter(_split(load_file(path)), "", "", image_encoder_folder=None)
            loaded.set_ip_adapter_scale(0.7)
        with torch.no_grad():
            if sort == "plain":
                embedded = encoder(pixels).image_embeds
                nothing = torch.zeros_like(embedded)
            else:
                embedded = encoder(pixels, output_hidden_states=True).hidden_states[-2]
                nothing = encoder(torch.zeros_like(pixels), output_hidden_states=True).hidden_states[-2]
        expected = predict(loaded.unet, [torch.stack([nothing, embedded])])
        # Its processor resizes a picture and then cuts it; ours does both at once, to rounding the same.
        assert torch.allclose(found, expected, atol=2e-3)
        assert not torch.allclose(found, predict(unet), atol=2e-2)


def _split(tensors: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    parts: dict[str, dict[str, Tensor]] = {"image_proj": {}, "ip_adapter": {}}
    for key, value in tensors.items():
        part, _, name = key.partition(".")
        parts[part][name] = value
    return parts


def test_weight_counts_and_none_is_none(unets: dict[str, Any], prompts: ImagePrompts, models: Path) -> None:
    unet, path = unets["sd"], models / "plain_sd.safetensors"
    bare = predict(unet)
    assert torch.equal(seen(unet, prompts, shown(path, picture(1), weight=0.0)), bare)
    steps = [(seen(unet, prompts, shown(path, picture(1), weight=w)) - bare).norm() for w in (0.1, 0.5, 1.4)]
    assert steps[0] < steps[1] < steps[2]


def test_several_pictures_of_one_prompt_stand_after_each_other(unets: dict[str, Any], models: Path) -> None:
    unet, prompts, path = unets["sd"], ImagePrompts(unets["sd"]), models / "plain_sd.safetensors"
    one, two = picture(1), picture(2)
    assert prompts.embeddings(shown(path, one, two), guided=True).shape == (2, 2, EMBEDDING)
    assert prompts.embeddings(shown(path, one, two), guided=False).shape == (1, 2, EMBEDDING)
    both, turned = (seen(unet, prompts, shown(path, *pair)) for pair in ((one, two), (two, one)))
    assert torch.allclose(both, turned, atol=1e-5)  # tokens side by side have no order
    # The same picture twice is the same attention as once: the tokens are not added up.
    once, twice = (seen(unet, prompts, shown(path, *pair)) for pair in ((one,), (one, one)))
    assert torch.allclose(once, twice, atol=1e-3)  # some CPUs round attention by how many tokens there are
    assert not torch.allclose(once, both, atol=1e-3)


def test_several_adapters_add_up_each_with_its_weight(unets: dict[str, Any], models: Path) -> None:
    unet, prompts = unets["sd"], ImagePrompts(unets["sd"])
    one, other = models / "plain_sd.safetensors", models / "plus_sd.safetensors"
    both = seen(unet, prompts, shown(one, picture(1)), shown(other, picture(2)))
    first = seen(unet, prompts, shown(one, picture(1)))
    assert not torch.equal(both, first)
    assert torch.equal(seen(unet, prompts, shown(one, picture(1)), shown(other, picture(2), weight=0.0)), first)


def test_it_is_taken_off_where_painting_fails(unets: dict[str, Any], prompts: ImagePrompts, models: Path) -> None:
    unet = unets["sd"]
    bare = predict(unet)
    with (
        pytest.raises(ZeroDivisionError),
        prompts.worn([shown(models / "plain_sd.safetensors", picture(1))], guided=True),
    ):
        raise ZeroDivisionError
    assert torch.equal(predict(unet), bare)
    assert unet.encoder_hid_proj is None


def test_adapters_on_the_weights_and_beside_them_go_with_it(
    models: Path, adapters: list[Path], pristine: dict[str, Any]
) -> None:
    unet = deepcopy(pristine["unet"])
    path = make_adapter(models / "wide" / "ip.safetensors", unet)
    modules = targets(unet=unet, text_encoder=deepcopy(pristine["text_encoder"]))
    layers, prompts = Layers(modules), ImagePrompts(unet)
    plan, worn = Plans(modules).of(adapters[0], force=False), shown(path, picture(1))
    bare, steered = predict(unet), seen(unet, prompts, worn)
    layers.lay({plan: 1.0})
    laid, both = predict(unet), seen(unet, prompts, worn)
    assert len({one.numpy().tobytes() for one in (bare, steered, laid, both)}) == 4
    layers.restore()
    assert torch.equal(predict(unet), bare)
    with SideBranch(modules, layers) as side:
        side.wear([{plan: 1.0}])
        beside = seen(unet, prompts, worn)
        assert torch.allclose(predict(unet), laid, atol=1e-4)
    assert torch.allclose(beside, both, atol=1e-4)
    # Hooks that were set while it was worn stay set when it is off.
    with prompts.worn([worn], guided=True) as embeddings:
        layers.lay({plan: 1.0})
        assert torch.equal(predict(unet, embeddings), both)
    assert torch.equal(predict(unet), laid)
    layers.restore()
    assert torch.equal(seen(unet, prompts, worn), steered)


def test_features_are_those_of_the_library_and_computed_once(prompts: ImagePrompts, models: Path) -> None:
    encoder = CLIPVisionModelWithProjection.from_pretrained(models / "image_encoder").eval()
    one = picture(1, (SIDE, SIDE))
    pixels = CLIPImageProcessorPil(size=SIDE, crop_size=SIDE)(one, return_tensors="pt").pixel_values
    found = prompts.features(str(models / "image_encoder"), [one, picture(2)])
    assert found.shape == (2, EMBEDDING)
    with torch.no_grad():
        assert torch.allclose(found[:1], encoder(pixels).image_embeds, atol=1e-6)
    hidden = prompts.features(str(models / "image_encoder"), [one], hidden=True)
    assert hidden.shape == (1, 17, HIDDEN)
    calls = []
    loaded = prompts._clip._loaded
    assert loaded is not None
    loaded.model.register_forward_hook(lambda *_: calls.append(1))
    assert torch.equal(prompts.features(str(models / "image_encoder"), [picture(2), one]), found.flip(0))
    assert calls == []
    prompts.features(str(models / "image_encoder"), [picture(3)])
    assert calls == [1]


def test_a_very_long_picture_is_seen_in_its_middle(prompts: ImagePrompts, models: Path) -> None:
    assert prompts.features(str(models / "image_encoder"), [Image.new("RGB", (20_000, 1), "red")]).isfinite().all()


@pytest.mark.parametrize("place", ["image_encoder", "../models/image_encoder", "../clip_vision", "named", "file"])
def test_the_encoder_is_found_where_people_keep_it(place: str, unets: dict[str, Any], tmp_path: Path) -> None:
    adapter = make_adapter(tmp_path / "ipadapter" / "plain.safetensors", unets["sd"])
    encoder = None
    if place == "../clip_vision":
        # Another lies there too, and comes first.
        other = make_encoder(tmp_path / "other", embedding=EMBEDDING + 16)
        whole = make_encoder(tmp_path / "whole")
        (tmp_path / "clip_vision").mkdir()
        (other / "model.safetensors").rename(tmp_path / "clip_vision" / "a.safetensors")
        (whole / "model.safetensors").rename(tmp_path / "clip_vision" / "b.safetensors")
    elif place == "named":
        encoder = str(make_encoder(tmp_path / "elsewhere"))
    elif place == "file":
        encoder = str(make_encoder(tmp_path / "elsewhere") / "model.safetensors")
    else:
        make_encoder(adapter.parent / place)
    prompts = ImagePrompts(unets["sd"])
    prompt = ImagePrompt(model=str(adapter), pictures=(), encoder=encoder)
    prompts.check(prompt)
    assert prompts.embeddings(Shown(prompt, (picture(1),)), guided=False).shape == (1, 1, EMBEDDING)


def test_an_encoder_that_does_not_fit_is_not_taken(unets: dict[str, Any], tmp_path: Path) -> None:
    adapter = make_adapter(tmp_path / "plain.safetensors", unets["sd"])
    prompts = ImagePrompts(unets["sd"])
    what = f"a CLIP vision model whose embedding is {EMBEDDING} wide"
    with pytest.raises(InputError, match=f"there is not {what}, through which it looks; name its folder or hub id"):
        prompts.check(ImagePrompt(model=str(adapter), pictures=()))
    make_encoder(tmp_path / "image_encoder", embedding=EMBEDDING + 16)
    with pytest.raises(InputError, match=f"there is not {what}"):
        prompts.check(ImagePrompt(model=str(adapter), pictures=()))
    with pytest.raises(InputError, match=rf"looks through {what}, and .*image_encoder is another"):
        prompts.check(ImagePrompt(model=str(adapter), pictures=(), encoder=str(tmp_path / "image_encoder")))
    with pytest.raises(InputError, match="there is no CLIP vision model 'nowhere'"):
        prompts.check(ImagePrompt(model=str(adapter), pictures=(), encoder="nowhere"))


def test_one_for_another_model_is_refused(unets: dict[str, Any], models: Path) -> None:
    for made, here, sentence in (
        ("sdxl", "sd", "for a model whose text is 192 wide, and this checkpoint is a model whose text is 64 wide"),
        ("sd", "sdxl", "for a model whose text is 64 wide, and this checkpoint"),
        ("sd", "sdxs", "for another model: it has 16 cross attentions or other widths, and this checkpoint has"),
    ):
        with pytest.raises(InputError, match=sentence) as caught:
            ImagePrompts(unets[here]).check(ImagePrompt(model=str(models / f"plain_{made}.safetensors"), pictures=()))
        assert "\n" not in str(caught.value)


def test_what_cannot_be_used_costs_one_sentence(unets: dict[str, Any], models: Path, tmp_path: Path) -> None:
    tensors = load_file(models / "plain_sd.safetensors")
    attention = {key: value for key, value in tensors.items() if key.startswith("ip_adapter.")}
    (tmp_path / "pickle.bin").write_bytes(b"\x80\x04N.")
    (tmp_path / "cut.safetensors").write_bytes((models / "plain_sd.safetensors").read_bytes()[:9000])
    face = {"image_proj.proj.0.weight": torch.ones(8, 4), "image_proj.norm.weight": torch.ones(64)}
    for name, content, sentence in (
        ("pickle.bin", None, "is a pickle"),
        ("cut.safetensors", None, "is truncated or damaged"),
        ("missing.safetensors", None, "there is no IP-Adapter"),
        ("lora.safetensors", {"lora_unet_x": torch.ones(2)}, "is no IP-Adapter: it lacks image_proj or ip_adapter"),
        ("face.safetensors", attention | face, "is an IP-Adapter FaceID, which needs a face recogniser"),
        ("odd.safetensors", attention | {"image_proj.odd": torch.ones(2)}, "is no IP-Adapter of a known sort"),
        ("owner/name/sub/a.safetensors", None, "is not on this machine and the hub does not give it"),
        ("owner/name/../../a.safetensors", None, "there is no IP-Adapter"),
    ):
        path = name if name.startswith("owner") else str(tmp_path / name)
        if content is not None:
            save_file(content, path)
        with pytest.raises(InputError, match=sentence) as caught:
            ImagePrompts(unets["sd"], local_files_only=True).check(ImagePrompt(model=path, pictures=()))
        assert "\n" not in str(caught.value)


def test_a_gap_is_told_and_never_filled(unets: dict[str, Any], models: Path, tmp_path: Path) -> None:
    unet = unets["sd"]
    bare, tensors = predict(unet), load_file(models / "plus_sd.safetensors")
    make_encoder(tmp_path / "image_encoder")
    path = tmp_path / "plus.safetensors"
    for wrong in (
        {key: value for key, value in tensors.items() if key != "image_proj.layers.3.0.to_q.weight"},
        tensors | {"image_proj.proj_out.bias": torch.ones(3)},
    ):
        save_file(wrong, path)
        with (
            pytest.raises(InputError, match="cannot be loaded as IP-Adapter") as caught,
            ImagePrompts(unet).worn([shown(path, picture(1))], guided=True),
        ):
            pass
        assert "\n" not in str(caught.value)
        assert torch.equal(predict(unet), bare)


def test_an_encoder_with_gaps_or_lies_is_refused(unets: dict[str, Any], tmp_path: Path) -> None:
    prompts = ImagePrompts(unets["sd"])
    folder = make_encoder(tmp_path / "encoder")
    tensors = load_file(folder / "model.safetensors")
    save_file(
        {key: value for key, value in tensors.items() if "layers.1.mlp.fc1.bias" not in key},
        folder / "model.safetensors",
    )
    with pytest.raises(InputError, match="lacks 1 weights of a CLIP vision model"):
        prompts.features(str(folder), [picture(1)])
    save_file({"visual_projection.weight": torch.ones(3)}, folder / "model.safetensors")
    with pytest.raises(InputError, match="is no CLIP vision model with a projection"):
        prompts.features(str(folder), [picture(1)])
    (folder / "model.safetensors").write_bytes(b"\xff" * 100)
    with pytest.raises(UnreadableFile, match="is truncated or damaged"):
        prompts.features(str(folder), [picture(1)])
    folder = make_encoder(tmp_path / "liar")
    config = json.loads((folder / "config.json").read_text())
    config |= {"num_hidden_layers": 10**9, "hidden_size": "wide", "num_attention_heads": 7, "hidden_act": "os.system"}
    (folder / "config.json").write_text(json.dumps(config))
    assert prompts.features(str(folder), [picture(1)]).isfinite().all()
