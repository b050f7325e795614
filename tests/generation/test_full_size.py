"""Real adapters on a model of SD 1.5's true size, with random weights: minutes, and some 8 GB of memory."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import ImageChops
from safetensors.torch import load_file
from torch import Tensor

from velatura.generation.adapters.file import AdapterFile
from velatura.generation.adapters.names import targets
from velatura.generation.adapters.patch import Layers
from velatura.generation.adapters.plan import plan
from velatura.generation.adapters.side import SideBranch
from velatura.generation.checkpoint import load_checkpoint, quiet
from velatura.generation.sd import StableDiffusionBackend
from velatura.records import AdapterRecord, Choice, Composition, GenerationRequest

pytestmark = [pytest.mark.slow, pytest.mark.real_data]


@pytest.fixture(scope="module")
def full_size(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """SD 1.5's UNet, text encoder and autoencoder from their configurations, in bfloat16; the tiny tokenizer."""
    from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

    torch.manual_seed(0)
    torch.set_default_dtype(torch.bfloat16)
    try:
        unet = UNet2DConditionModel(sample_size=64, cross_attention_dim=768)
        clip = CLIPTextModel(CLIPTextConfig(hidden_size=768, intermediate_size=3072, num_attention_heads=12))
        vae = AutoencoderKL(
            block_out_channels=(128, 256, 512, 512),
            layers_per_block=2,
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
        )
    finally:
        torch.set_default_dtype(torch.float32)
    assert sum(weight.numel() for weight in unet.parameters()) == 859_520_964
    folder = tmp_path_factory.mktemp("models") / "sd15"
    with quiet():
        StableDiffusionPipeline(
            unet=unet,
            vae=vae,
            text_encoder=clip,
            tokenizer=CLIPTokenizer.from_pretrained(checkpoint / "tokenizer", local_files_only=True),
            scheduler=DDIMScheduler.from_pretrained(checkpoint / "scheduler"),
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        ).save_pretrained(folder)
    return folder


def test_real_adapters_are_laid_on_a_full_size_model(full_size: Path, real_data: Path) -> None:
    torch.set_num_threads(2)
    # One step alone would be painted beside the weights.
    backend = StableDiffusionBackend(str(full_size), device="cpu", dtype=torch.bfloat16, laying="weights")
    assert backend.family == "sd1"
    choices = tuple(
        Choice(
            adapter=AdapterRecord(source="folder", key=name, title=name, path=str(real_data / "lora_files" / name)),
            weight=1.0,
            span="fox",
        )
        for name in ("catundchat_weapons_sd15.safetensors", "cloneofsimo_analog_svd_rank4.safetensors")
    )
    for choice, parts in zip(choices, (128, 192), strict=True):
        found = backend.plan(str(choice.adapter.path))
        assert (len(found.parts), found.coverage) == (parts, 1)
        assert all(name.endswith(".weight") for name in found.parts)
    composition = Composition(prompt="a red fox", choices=choices)
    asked = {"model": str(full_size), "steps": 1, "guidance": 1.0, "width": 256, "height": 256}
    worn = GenerationRequest(composition=composition, **asked)
    bare = GenerationRequest(composition=composition, mask=(False, False), **asked)

    before = {name: module.weight.detach().clone() for name, module in backend._modules.items()}
    first = next(backend.generate(worn)).image
    assert backend._layers.copied == 0
    assert backend._layers.verify() == ()
    changed = [name for name, module in backend._modules.items() if not torch.equal(module.weight, before[name])]
    # 128 attention maps, the feed-forward maps of 16 blocks, and 48 maps of the text encoder.
    assert len(changed) == 128 + 16 + 48
    second = next(backend.generate(bare)).image
    assert all(torch.equal(module.weight, before[name]) for name, module in backend._modules.items())
    assert first.size == second.size == (256, 256)
    assert np.asarray(ImageChops.difference(first, second)).any()


UNETS: dict[str, dict[str, Any]] = {
    "sd1": {"cross_attention_dim": 768},
    "sd2": {"cross_attention_dim": 1024, "attention_head_dim": (5, 10, 20, 20), "use_linear_projection": True},
}
FILES = {
    "sd1": ("catundchat_weapons_sd15", "jettooss_satellite_sd15"),
    "sd2": ("ivanby12_sd2x_processor", "vfph55_naruto_sd15_bf16"),
}
"""Those that diffusers can load: the first when it is told which part it is for."""


@pytest.mark.parametrize("family", UNETS)
def test_the_effect_of_real_adapters_is_that_of_diffusers(
    family: str, checkpoint: Path, real_data: Path, record_property: Callable[[str, object], None]
) -> None:
    """In float32, on a UNet of true size and random weights: ours on the weights, beside them, and diffusers' own."""
    from diffusers import UNet2DConditionModel

    torch.set_num_threads(2)
    torch.manual_seed(0)
    unet = UNet2DConditionModel(**UNETS[family]).eval()
    pipe = load_checkpoint(str(checkpoint), dtype=torch.float32, local_files_only=True).pipe
    pipe.register_modules(unet=unet)
    modules, generator = targets(unet=unet), torch.Generator().manual_seed(1)
    sample = torch.randn(1, 4, 16, 16, generator=generator)
    text = torch.randn(1, 77, UNETS[family]["cross_attention_dim"], generator=generator)

    def painted() -> Tensor:
        with torch.no_grad():
            out: Tensor = unet(sample, 500, encoder_hidden_states=text).sample
        return out

    bare = painted()
    for name in FILES[family]:
        path = real_data / "lora_files" / f"{name}.safetensors"
        found = plan(AdapterFile(path), modules)
        with Layers(modules) as layers:
            layers.lay({found: 1.0})
            ours = painted()
        with SideBranch(modules) as side:
            side.wear([{found: 1.0}])
            beside = painted()
        assert torch.equal(painted(), bare)
        tensors = load_file(path)
        if not any(key.startswith("unet.") for key in tensors):  # of such a file diffusers would load nothing
            tensors = {f"unet.{key}": value for key, value in tensors.items()}
        with quiet():
            pipe.load_lora_weights(tensors)
        theirs = painted()
        pipe.unload_lora_weights()
        effect, difference = float((ours - bare).abs().max()), float((ours - theirs).abs().max())
        record_property(name, f"effect {effect:.3g}, from diffusers {difference:.3g}")
        assert difference < 1e-4
        assert (beside - ours).abs().max() < 1e-4
        assert effect > 20 * difference
