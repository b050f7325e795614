"""Tiny but real checkpoints with random weights, and adapters for them, made in seconds.

Each has the blocks of the real model, so adapters name its modules as they name the real one's; only the widths are
small. Their pictures are coloured noise: they show that everything runs, not what a trained model would paint.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..generation.adapters.sgm import sgm_names
from ..generation.checkpoint import quiet
from .sample_models import Kind, Vocabulary, open_clip, tiny_autoencoder, tiny_scheduler, tiny_text_encoder, tiny_unet

_WORDS = (
    "a", "an", "the", "of", "in", "on", "with", "and", "fox", "cat", "red", "blue", "snow", "night",
    "style", "ink", "light", "house", "tree", "girl", "man", "photo", "painting", "portrait",
)  # fmt: skip
"""Words that are one token; all else is spelt in bytes."""

_BASES = {"sd1": "sd_v1", "sd2": "sd_v2_v", "sdxl": "sdxl_base_v1-0"}
"""How kohya's trainer names the families."""


def make_checkpoint(folder: Path, *, kind: Kind = "sd", seed: int = 0, text: int = 64) -> Path:
    """Write a diffusers folder of under 14 MB, for pictures of 128x128, and return it.

    Args:
        folder: Where it goes.
        kind: The model whose architecture it has.
        seed: Of the random weights.
        text: The width of the first text encoder, a multiple of 64; 128 makes an `sd` one of the playground's family.
            SDXL's second is twice as wide.
    """
    with quiet():
        _pipeline(folder, kind, seed, text).save_pretrained(folder, safe_serialization=True)
    return folder


def _pipeline(folder: Path, kind: Kind, seed: int, text: int) -> Any:
    from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline

    tokenizer = _tokenizer(folder / "tokenizer", zeros=open_clip(kind))
    vocabulary = Vocabulary(len(tokenizer), len(tokenizer) - 2, len(tokenizer) - 1)
    xl = kind.startswith("sdxl")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        parts = {
            "unet": tiny_unet(kind, 3 * text if xl else text).half(),
            "vae": tiny_autoencoder(kind).half(),
            "text_encoder": tiny_text_encoder(kind, text, vocabulary).half(),
        }
        if xl:
            parts["text_encoder_2"] = tiny_text_encoder(kind, 2 * text, vocabulary, second=True).half()
    parts |= {"tokenizer": tokenizer, "scheduler": tiny_scheduler(kind), "feature_extractor": None}
    if xl:
        second = _tokenizer(folder / "tokenizer_2", zeros=True)
        return StableDiffusionXLPipeline(**parts, tokenizer_2=second, add_watermarker=False)
    return StableDiffusionPipeline(**parts, safety_checker=None, requires_safety_checker=False)


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
        "ss_base_model_version": _BASES[_kind(checkpoint)],
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
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    xl = _kind(checkpoint) == "sdxl"
    encoders: dict[str, Any] = {"text_encoder": CLIPTextModel}
    if xl:
        encoders["text_encoder_2"] = CLIPTextModelWithProjection
    with torch.device("meta"):
        unet = UNet2DConditionModel.from_config(UNet2DConditionModel.load_config(checkpoint / "unet"))
        clips = [cls(CLIPTextConfig.from_pretrained(checkpoint / part)) for part, cls in encoders.items()]
    modules = {name: module for name, module in unet.named_modules() if isinstance(module, nn.Linear | nn.Conv2d)}
    # For SDXL kohya's trainer loads Stability's own UNet, and so writes its names.
    spelt = sgm_names(modules) if xl else {}
    for name, module in modules.items():
        if "attentions" in name:
            yield f"lora_unet_{spelt.get(name, name).replace('.', '_')}", module
    for prefix, clip in zip(("lora_te1", "lora_te2") if xl else ("lora_te",), clips, strict=True):
        for name, module in clip.named_modules():
            if isinstance(module, nn.Linear) and name != "text_projection":
                yield f"{prefix}_text_model_{name.removeprefix('text_model.').replace('.', '_')}", module


def _kind(checkpoint: Path) -> str:
    """Tell the family that kohya's header would name: `sd1`, `sd2` or `sdxl`."""
    index = json.loads((checkpoint / "model_index.json").read_text())
    if "text_encoder_2" in index:
        return "sdxl"
    return "sd2" if json.loads((checkpoint / "unet" / "config.json").read_text())["use_linear_projection"] else "sd1"


def _tokenizer(folder: Path, *, zeros: bool) -> Any:
    """Write a byte-level vocabulary of CLIP's form: every byte, alone and at a word's end, and a few words.

    Args:
        folder: Where it goes.
        zeros: Whether the rest of a text is filled with the word of number 0, as OpenCLIP was trained.
    """
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
    padding = {"pad_token": tokens[0]} if zeros else {}
    return CLIPTokenizer.from_pretrained(folder, local_files_only=True, model_max_length=77, **padding)


def _byte_letters() -> Iterator[str]:
    """Yield the printable letter that byte-level BPE writes for each byte, in the order of CLIP's vocabulary."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    yield from (chr(byte) for byte in printable)
    yield from (chr(256 + number) for number in range(256 - len(printable)))


def _tensor_hash(path: Path) -> str:
    content = path.read_bytes()
    return hashlib.sha256(content[8 + int.from_bytes(content[:8], "little") :]).hexdigest()
