"""Real adapters on a model of SD 1.5's true size, with random weights: minutes, and some 8 GB of memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import ImageChops

from velatura.generation.checkpoint import quiet
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
    backend = StableDiffusionBackend(str(full_size), device="cpu", dtype=torch.bfloat16)
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
    composition = Composition(prompt="a red fox", choices=choices)
    worn = GenerationRequest(composition=composition, model=str(full_size), steps=1, guidance=1.0)
    bare = GenerationRequest(composition=composition, model=str(full_size), steps=1, guidance=1.0, mask=(False, False))

    before = {name: module.weight.detach().clone() for name, module in backend._modules.items()}
    first = next(backend.generate(worn)).image
    changed = [name for name, module in backend._modules.items() if not torch.equal(module.weight, before[name])]
    # 128 attention maps, the feed-forward maps of 16 blocks, and 48 maps of the text encoder.
    assert len(changed) == 128 + 16 + 48
    second = next(backend.generate(bare)).image
    assert all(torch.equal(module.weight, before[name]) for name, module in backend._modules.items())
    assert first.size == second.size == (512, 512)
    assert np.asarray(ImageChops.difference(first, second)).any()
