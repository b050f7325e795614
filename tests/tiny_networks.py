"""Networks with random weights, in the files and folders that real ones come in."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from velatura.playground.library import find_weights

_WORDS = ("vocab.json", "merges.txt", "tokenizer_config.json", "special_tokens_map.json")


def clip_folder(folder: Path, *, seed: int = 0, side: int = 24, longest: int = 16) -> Path:
    """Write a CLIP model; its words are the playground's."""
    import torch
    from transformers import CLIPConfig, CLIPModel

    torch.manual_seed(seed)
    words = {"vocab_size": 873, "max_position_embeddings": longest, "bos_token_id": 871, "eos_token_id": 872}
    small = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = CLIPConfig(
        text_config={**small, **words},
        vision_config={**small, "image_size": side, "patch_size": 8},
        projection_dim=8,
    )
    CLIPModel(config).save_pretrained(folder)
    for name in _WORDS:
        (folder / name).write_bytes((find_weights() / "evaluator" / name).read_bytes())
    return folder


def resnet_folder(folder: Path) -> Path:
    import torch
    from transformers import ResNetConfig, ResNetModel

    torch.manual_seed(0)
    config = ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1])
    ResNetModel(config).save_pretrained(folder)
    settings = {"size": {"shortest_edge": 28}, "crop_pct": 0.875, "resample": 3, "image_processor_type": "ConvNext"}
    (folder / "preprocessor_config.json").write_text(json.dumps(settings))
    return folder


def dinov2_folder(folder: Path) -> Path:
    import torch
    from transformers import Dinov2Config, Dinov2Model

    torch.manual_seed(0)
    config = Dinov2Config(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, image_size=28, patch_size=14)
    Dinov2Model(config).save_pretrained(folder)
    settings = {"size": {"shortest_edge": 32}, "crop_size": {"height": 28, "width": 28}, "resample": 3}
    (folder / "preprocessor_config.json").write_text(json.dumps(settings))
    return folder


def inception_file(path: Path) -> Path:
    """Write a TorchScript file with the parts that NVIDIA's has, under the same names, all of them small."""
    import torch

    class Network(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = torch.nn.Sequential()
            self.layers.add_module("conv", torch.nn.Conv2d(3, 4, 3, 8))
            self.layers.add_module("pool0", torch.nn.MaxPool2d(3, 2))
            self.layers.add_module("conv_3", torch.nn.Conv2d(4, 5, 1))
            self.layers.add_module("pool1", torch.nn.MaxPool2d(3, 2))
            self.layers.add_module("mixed_7", torch.nn.Conv2d(5, 6, 1))
            self.layers.add_module("mixed_10", torch.nn.Conv2d(6, 7, 1))
            self.layers.add_module("pool2", torch.nn.AvgPool2d(8, 8))
            self.output = torch.nn.Linear(7, 3)

        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            return self.output(self.layers(pixels).flatten(1))

    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TorchScript is on its way out; the one file that FID needs is in it
        torch.jit.save(torch.jit.script(Network()), str(path))
    return path


def noise(width: int, height: int, seed: int = 0) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (9, 9, 3), dtype=np.uint8)
    return Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC)


class Counting:
    """An extractor that counts what it is shown."""

    width = 3

    def __init__(self, name: str = "mean", fingerprint: str | None = None) -> None:
        self.name = name
        self.fingerprint = fingerprint or f"{name}-1"
        self.signature = f"{name}=1"
        self.prepared = 0
        self.batches: list[int] = []

    def prepare(self, image: Any) -> Any:
        self.prepared += 1
        return np.asarray(image, np.float32).mean((0, 1))

    def extract(self, prepared: Any) -> Any:
        self.batches.append(len(prepared))
        return prepared * np.float32(2)
