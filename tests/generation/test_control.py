"""A ControlNet is loaded by any name it has, only as safetensors, and only for the model that it was made for."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from velatura.errors import InputError, UnreadableFile
from velatura.generation.control import ControlNets
from velatura.playground.sample_models import Kind, tiny_unet

WIDTHS: dict[Kind, int] = {"sd": 64, "sd2": 128, "sdxl": 192, "sdxs": 64}
HINTS = (8, 8, 16, 16)


@pytest.fixture(scope="module")
def unets() -> dict[str, Any]:
    torch.manual_seed(0)
    return {kind: tiny_unet(kind, width).eval() for kind, width in WIDTHS.items()}


@pytest.fixture(scope="module")
def nets(unets: dict[str, Any]) -> dict[str, Any]:
    """ControlNets that do something: their outputs are zero as they are made."""
    from diffusers import ControlNetModel

    found = {}
    for kind in ("sd", "sd2", "sdxl"):
        net = ControlNetModel.from_unet(unets[kind], conditioning_embedding_out_channels=HINTS)
        torch.manual_seed(1)
        for name, values in net.named_parameters():
            if name.startswith("controlnet_"):
                torch.nn.init.normal_(values, std=0.2)
        found[kind] = net.eval()
    return found


def original(tensors: dict[str, Tensor], blocks: int = 2) -> dict[str, Tensor]:
    """Spell a ControlNet as its authors do, turning round what is published of the two layouts."""
    inner = [
        (r"resnets\.\d\.norm1", "in_layers.0"), (r"resnets\.\d\.conv1", "in_layers.2"),
        (r"resnets\.\d\.norm2", "out_layers.0"), (r"resnets\.\d\.conv2", "out_layers.3"),
        (r"resnets\.\d\.time_emb_proj", "emb_layers.1"), (r"resnets\.\d\.conv_shortcut", "skip_connection"),
        (r"attentions\.\d\.", ""), (r"downsamplers\.0\.conv", "op"),
    ]  # fmt: skip
    spelt = {}
    for key, value in tensors.items():
        name = key
        if found := re.match(r"down_blocks\.(\d+)\.(resnets|attentions|downsamplers)\.(\d)\.(.*)", key):
            block, part, layer = int(found[1]), found[2], int(found[3])
            place = 1 + block * (blocks + 1) + (blocks if part == "downsamplers" else layer)
            name = f"input_blocks.{place}.{int(part == 'attentions')}.{key.split('.', 2)[2]}"
        elif found := re.match(r"mid_block\.(resnets|attentions)\.(\d)\.(.*)", key):
            place = 1 if found[1] == "attentions" else 2 * int(found[2])
            name = f"middle_block.{place}.{key.split('.', 1)[1]}"
        elif found := re.match(r"controlnet_down_blocks\.(\d+)\.(.*)", key):
            name = f"zero_convs.{found[1]}.0.{found[2]}"
        elif found := re.match(r"controlnet_cond_embedding\.blocks\.(\d+)\.(.*)", key):
            name = f"input_hint_block.{2 * int(found[1]) + 2}.{found[2]}"
        for old, new in (
            ("controlnet_mid_block.", "middle_block_out.0."),
            ("controlnet_cond_embedding.conv_in", "input_hint_block.0"),
            ("controlnet_cond_embedding.conv_out", "input_hint_block.14"), ("time_embedding.linear_1", "time_embed.0"),
            ("time_embedding.linear_2", "time_embed.2"), ("add_embedding.linear_1", "label_emb.0.0"),
            ("add_embedding.linear_2", "label_emb.0.2"),
        ):  # fmt: skip
            name = name.replace(old, new)
        name = re.sub(r"^conv_in\.", "input_blocks.0.0.", name)
        for old, new in inner:
            name = re.sub(old, new, name)
        spelt[name] = value.contiguous()
    assert len(spelt) == len(tensors)
    return spelt


def answer(net: Any, width: int, *, xl: bool) -> list[Tensor]:
    """Return all that a ControlNet adds to its UNet."""
    generator = torch.Generator().manual_seed(5)
    noise, text = torch.randn(2, 4, 8, 8, generator=generator), torch.randn(2, 7, width, generator=generator)
    hint = torch.rand(2, 3, 64, 64, generator=generator)
    added = {"text_embeds": torch.ones(2, 128), "time_ids": torch.ones(2, 6)} if xl else None
    with torch.no_grad():
        down, mid = net(noise, 500, text, hint, added_cond_kwargs=added, return_dict=False)
    return [*down, mid]


@pytest.mark.parametrize("layout", ["folder", "halves", "file", "prefixed", "bare"])
@pytest.mark.parametrize("kind", ["sd", "sd2", "sdxl"])
def test_every_layout_gives_the_same_controlnet(
    kind: Kind, layout: str, unets: dict[str, Any], nets: dict[str, Any], tmp_path: Path
) -> None:
    net, path = nets[kind], tmp_path / "net"
    tensors = {key: value.contiguous() for key, value in net.state_dict().items()}
    if layout in ("folder", "halves"):
        net.save_pretrained(path, variant="fp16" if layout == "halves" else None)
    else:
        path = path.with_suffix(".safetensors")
        spelt = tensors if layout == "file" else original(tensors)
        save_file(
            {("control_model." if layout == "prefixed" else "") + key: value for key, value in spelt.items()}, path
        )
    controls = ControlNets(unets[kind])
    controls.check(str(path))
    loaded = controls.load(str(path))
    assert all(torch.equal(tensor, tensors[key]) for key, tensor in loaded.state_dict().items())
    expected = answer(net, WIDTHS[kind], xl=kind == "sdxl")
    for one, other in zip(answer(loaded, WIDTHS[kind], xl=kind == "sdxl"), expected, strict=True):
        # Some CPUs round by where in memory a tensor lies.
        assert torch.allclose(one, other, atol=1e-4)
        assert one.abs().max() > 0


def test_the_last_few_stay_loaded_and_an_edited_one_is_read_anew(
    unets: dict[str, Any], nets: dict[str, Any], tmp_path: Path
) -> None:
    controls = ControlNets(unets["sd"])
    names = []
    for number in range(3):
        path = tmp_path / f"{number}.safetensors"
        save_file(nets["sd"].state_dict(), path)
        names.append(str(path))
    first = controls.load(names[0])
    assert controls.load(names[1]) is not first
    assert controls.load(names[0]) is first
    controls.load(names[1])
    controls.load(names[2])
    assert controls.load(names[0]) is not first
    again = controls.load(names[0])
    save_file(nets["sd"].state_dict(), names[0], metadata={"edited": "yes"})
    assert controls.load(names[0]) is not again


def test_the_precision_is_the_models_own_and_the_file_is_not_written(nets: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    save_file(nets["sd"].half().state_dict(), path)
    nets["sd"].float()
    before = path.read_bytes()
    net = ControlNets(tiny_unet("sd", 64).half()).load(str(path))
    assert {value.dtype for value in net.parameters()} == {torch.float16}
    with torch.no_grad():
        net.conv_in.weight.zero_()
    assert path.read_bytes() == before


def test_a_controlnet_for_another_model_is_refused(unets: dict[str, Any], nets: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    for made, here, sentence in (
        ("sdxl", "sd", "for a model whose text is 192 wide, and this checkpoint is a model whose text is 64 wide"),
        ("sd", "sdxl", "for a model whose text is 64 wide, and this checkpoint is a model whose text is 192 wide"),
        ("sd", "sdxs", r"this model has no middle block, to which every ControlNet adds \(SDXS\)"),
    ):
        save_file({key: value.contiguous() for key, value in nets[made].state_dict().items()}, path)
        for refuse in (ControlNets(unets[here]).check, ControlNets(unets[here]).load):
            with pytest.raises(InputError, match=sentence) as caught:
                refuse(str(path))
            assert "\n" not in str(caught.value)


def test_a_full_size_controlnet_names_its_family(unets: dict[str, Any], nets: dict[str, Any], tmp_path: Path) -> None:
    tensors = {key: value.contiguous() for key, value in nets["sd"].state_dict().items()}
    wide = {key: torch.zeros(value.shape[0], 2048) if "attn2.to_k" in key else value for key, value in tensors.items()}
    save_file(wide, tmp_path / "net.safetensors")
    with pytest.raises(InputError, match="is a ControlNet for SDXL, and this checkpoint is a model whose"):
        ControlNets(unets["sd"]).check(str(tmp_path / "net.safetensors"))


def test_one_of_other_widths_is_refused(unets: dict[str, Any], tmp_path: Path) -> None:
    from diffusers import ControlNetModel, UNet2DConditionModel

    other = UNet2DConditionModel(
        sample_size=16, block_out_channels=(32, 32, 64, 64), attention_head_dim=8, cross_attention_dim=64
    )
    ControlNetModel.from_unet(other, conditioning_embedding_out_channels=HINTS).save_pretrained(tmp_path)
    with pytest.raises(InputError, match=r"for another model: it has block_out_channels \(32, 32, 64, 64\), not"):
        ControlNets(unets["sd"]).check(str(tmp_path))


@pytest.mark.parametrize(
    ("keys", "sentence"),
    [
        (["lora_controlnet", "input_blocks.0.0.weight"], "is a Control-LoRA"),
        (["task_embedding", "conv_in.weight"], "is a ControlNet Union"),
        (["adapter.body.0.in_conv.weight"], "is a T2I-Adapter"),
        (["lllite_unet_x.down.0.weight"], "is a ControlNet-LLLite"),
        (["weird"], "is no ControlNet"),
        (["conv_in.weight", "controlnet_cond_embedding.conv_in.weight"], "is no ControlNet"),
        (["input_hint_block.0.weight"], "is no ControlNet"),
    ],
)
def test_what_is_no_controlnet_is_told(keys: list[str], sentence: str, unets: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    save_file({key: torch.zeros(4, 4) for key in keys}, path)
    for refuse in (ControlNets(unets["sd"]).check, ControlNets(unets["sd"]).load):
        with pytest.raises(InputError, match=sentence) as caught:
            refuse(str(path))
        assert "\n" not in str(caught.value)


def test_gaps_and_wrong_shapes_are_told_and_never_filled(
    unets: dict[str, Any], nets: dict[str, Any], tmp_path: Path
) -> None:
    path = tmp_path / "net.safetensors"
    tensors = {key: value.contiguous() for key, value in nets["sd"].state_dict().items()}
    save_file({key: value for key, value in tensors.items() if key != "controlnet_mid_block.bias"}, path)
    with pytest.raises(InputError, match=r"lacks 1 weights, controlnet_mid_block\.bias first"):
        ControlNets(unets["sd"]).load(str(path))
    save_file(tensors | {"controlnet_mid_block.bias": torch.zeros(3)}, path)
    with pytest.raises(InputError, match="is not a whole ControlNet: size mismatch") as caught:
        ControlNets(unets["sd"]).load(str(path))
    assert "\n" not in str(caught.value)


def test_pickles_and_damage_are_refused(unets: dict[str, Any], nets: dict[str, Any], tmp_path: Path) -> None:
    controls = ControlNets(unets["sd"])
    folder = tmp_path / "pickled"
    folder.mkdir()
    (folder / "diffusion_pytorch_model.bin").write_bytes(b"\x80\x04N.")
    with pytest.raises(InputError, match="only as pickles, which are not opened"):
        controls.check(str(folder))
    (tmp_path / "net.pth").write_bytes(b"\x80\x04N.")
    with pytest.raises(InputError, match=r"net\.pth is a pickle"):
        controls.check(str(tmp_path / "net.pth"))
    path = tmp_path / "net.safetensors"
    save_file(nets["sd"].state_dict(), path)
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(UnreadableFile, match="is truncated or damaged"):
        controls.check(str(path))
    for name in ("nothing", "owner/missing", "a\0b", "", "~nobody-of-that-name/net"):
        with pytest.raises(InputError, match=r"there is no ControlNet|is not on this machine"):
            controls.check(name)


def test_what_a_folder_tells_beside_its_weights_is_obeyed(
    unets: dict[str, Any], nets: dict[str, Any], tmp_path: Path
) -> None:
    nets["sd"].save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config |= {"controlnet_conditioning_channel_order": "bgr", "layers_per_block": 10**9}
    (tmp_path / "config.json").write_text(json.dumps(config))
    turned = ControlNets(unets["sd"]).load(str(tmp_path))
    expected = nets["sd"]
    generator = torch.Generator().manual_seed(5)
    noise, text, hint = (
        torch.randn(shape, generator=generator) for shape in ((2, 4, 8, 8), (2, 7, 64), (2, 3, 64, 64))
    )
    with torch.no_grad():
        one = turned(noise, 500, text, hint, return_dict=False)[1]
        other = expected(noise, 500, text, hint.flip(1), return_dict=False)[1]
    assert torch.equal(one, other)
    (tmp_path / "config.json").write_text("[" * 100_000)
    with pytest.raises(InputError, match="is not a JSON object"):
        ControlNets(unets["sd"]).load(str(tmp_path))


def test_small_ones_without_attention_are_known(tmp_path: Path, unets: dict[str, Any]) -> None:
    from diffusers import ControlNetModel

    unet = unets["sdxl"].config
    small = ControlNetModel(
        down_block_types=("DownBlock2D",) * 3,
        mid_block_type="UNetMidBlock2D",
        block_out_channels=unet.block_out_channels,
        cross_attention_dim=unet.cross_attention_dim,
        attention_head_dim=unet.attention_head_dim,
        transformer_layers_per_block=(1, 1, 1),
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=unet.addition_time_embed_dim,
        projection_class_embeddings_input_dim=unet.projection_class_embeddings_input_dim,
        conditioning_embedding_out_channels=HINTS,
    ).eval()
    torch.nn.init.normal_(small.controlnet_mid_block.weight)
    small.save_pretrained(tmp_path)
    found = ControlNets(unets["sdxl"]).load(str(tmp_path))
    for one, other in zip(answer(found, 192, xl=True), answer(small, 192, xl=True), strict=True):
        assert torch.equal(one, other)
    assert load_file(tmp_path / "diffusion_pytorch_model.safetensors")
