"""A tiny but real Stable Diffusion checkpoint with random weights, and adapters for it, made in seconds.

The UNet has SD 1.5's blocks, so adapters name its modules as they name SD 1.5's; only the widths are small. Its
pictures are coloured noise: it shows that everything runs, not what a trained model would paint.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..generation.checkpoint import quiet

_WORDS = (
    "a", "an", "the", "of", "in", "on", "with", "and", "fox", "cat", "red", "blue", "snow", "night",
    "style", "ink", "light", "house", "tree", "girl", "man", "photo", "painting", "portrait",
)  # fmt: skip
"""Words that are one token; all else is spelt in bytes."""

_WIDTHS = (32, 32, 32, 64)


def make_checkpoint(folder: Path, *, seed: int = 0, text: int = 64) -> Path:
    """Write a diffusers folder of under 5 MB that the backend `sd` paints with at 128x128, and return it.

    Args:
        folder: Where it goes.
        seed: Of the random weights.
        text: The text encoder's width, a multiple of 64; 128 makes it one of the playground's family.
    """
    with quiet():
        _write(folder, seed, text)
    return folder


def _write(folder: Path, seed: int, text: int) -> None:
    from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    tokenizer = _tokenizer(folder / "tokenizer")
    last = len(tokenizer) - 1
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        unet = UNet2DConditionModel(
            sample_size=16, block_out_channels=_WIDTHS, attention_head_dim=8, cross_attention_dim=text
        )
        vae = AutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            block_out_channels=(32,) * 4,
            sample_size=128,
        )
        text_encoder = CLIPTextModel(
            CLIPTextConfig(
                vocab_size=last + 1,
                hidden_size=text,
                intermediate_size=2 * text,
                num_hidden_layers=2,
                num_attention_heads=1,
                projection_dim=text,
                bos_token_id=last - 1,
                eos_token_id=last,
            )
        )
    scheduler = DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
    )
    pipe = StableDiffusionPipeline(
        unet=unet.half(),
        vae=vae.half(),
        text_encoder=text_encoder.half(),
        tokenizer=tokenizer,
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipe.save_pretrained(folder, safe_serialization=True)


def make_adapter(
    path: Path,
    checkpoint: Path,
    *,
    seed: int = 0,
    rank: int = 4,
    metadata: Mapping[str, str] | None = None,
) -> Path:
    """Write a LoRA for that checkpoint as kohya's trainer would, over all attentions and the text encoder.

    Args:
        path: The `.safetensors` file to write.
        checkpoint: The folder that `make_checkpoint` wrote.
        seed: Of the random weights.
        rank: Of every module; alpha is half of it.
        metadata: More header fields (`ss_tag_frequency`, ...), or others in place of the usual ones.
    """
    from safetensors.torch import save_file

    generator = torch.Generator().manual_seed(seed)
    tensors: dict[str, Tensor] = {}
    for stem, module in _adapted(checkpoint):
        outputs, inputs, *kernel = module.weight.shape
        ones = [1] * len(kernel)
        down = torch.randn(rank, inputs, *ones, generator=generator) / inputs**0.5
        up = torch.randn(outputs, rank, *ones, generator=generator) / rank**0.5
        tensors[f"{stem}.lora_down.weight"] = down.half()
        tensors[f"{stem}.lora_up.weight"] = up.half()
        tensors[f"{stem}.alpha"] = torch.tensor(rank / 2).half()
    header = {
        "ss_base_model_version": "sd_v1",
        "ss_network_module": "networks.lora",
        "ss_network_dim": str(rank),
        "ss_network_alpha": str(rank / 2),
        "ss_output_name": path.stem,
        "ss_sd_model_name": checkpoint.name,
        **(metadata or {}),
    }
    save_file(tensors, path, metadata=header)
    digest = _tensor_hash(path)
    save_file(tensors, path, metadata={**header, "sshs_model_hash": digest, "sshs_legacy_hash": digest[:8]})
    return path


def _adapted(checkpoint: Path) -> Iterator[tuple[str, nn.Linear | nn.Conv2d]]:
    """Yield kohya's name and the module, for the modules that kohya's LoRA reaches."""
    from diffusers import UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    with torch.device("meta"):
        unet = UNet2DConditionModel.from_config(UNet2DConditionModel.load_config(checkpoint / "unet"))
        clip = CLIPTextModel(CLIPTextConfig.from_pretrained(checkpoint / "text_encoder"))
    for name, module in unet.named_modules():
        if "attentions" in name and isinstance(module, nn.Linear | nn.Conv2d):
            yield f"lora_unet_{name.replace('.', '_')}", module
    for name, module in clip.named_modules():
        if isinstance(module, nn.Linear):
            yield f"lora_te_text_model_{name.removeprefix('text_model.').replace('.', '_')}", module


def _tokenizer(folder: Path) -> Any:
    """Write a byte-level vocabulary of CLIP's form: every byte, alone and at a word's end, and a few words."""
    from transformers import CLIPTokenizer

    letters = list(_byte_letters())
    tokens = letters + [f"{letter}</w>" for letter in letters]
    merges: list[tuple[str, str]] = []
    for word in (word for word in _WORDS if len(word) > 1):
        pieces = [*word[:-1], f"{word[-1]}</w>"]
        while len(pieces) > 1:
            pair = (pieces[-2], pieces[-1])
            if pair not in merges:
                merges.append(pair)
                tokens.append("".join(pair))
            pieces[-2:] = ["".join(pair)]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps({token: number for number, token in enumerate(tokens)}))
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *map(" ".join, merges)]) + "\n")
    return CLIPTokenizer.from_pretrained(folder, local_files_only=True, model_max_length=77)


def _byte_letters() -> Iterator[str]:
    """Yield the printable letter that byte-level BPE writes for each byte, in the order of CLIP's vocabulary."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    yield from (chr(byte) for byte in printable)
    yield from (chr(256 + number) for number in range(256 - len(printable)))


def _tensor_hash(path: Path) -> str:
    content = path.read_bytes()
    return hashlib.sha256(content[8 + int.from_bytes(content[:8], "little") :]).hexdigest()
