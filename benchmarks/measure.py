"""Measuring adapters from their files alone, and finding near-duplicates among many.

    python benchmarks/measure.py [--ranks 16 128] [--adapters 70000] [--json]

Files hold every linear layer and convolution of SD 1.5's UNet and text encoder, in float16 and random, as kohya spells
them. The search goes over all pairs of random sketches, of which one in a hundred is a near-duplicate of another.
Seconds are CPU seconds; those of files the best of three.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn

from velatura.db.alike import alike
from velatura.generation.adapters.measure import measure, overlap
from velatura.generation.adapters.names import targets
from velatura.generation.adapters.sketch import WIDTH


def main() -> None:
    """Measure, search, and print what it took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ranks", type=int, nargs="+", default=[16, 128])
    parser.add_argument("--adapters", type=int, default=70_000, help="sketches that are searched")
    parser.add_argument("--json", action="store_true", help="print one JSON object last")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    result: dict[str, Any] = {"files": {f"r{rank}": of_files(rank) for rank in arguments.ranks}}
    result["search"] = of_search(arguments.adapters)
    for name, told in result["files"].items():
        print(f"{name}: {told['megabytes']} MB, measured in {told['measure']} s, two compared in {told['overlap']} s")
    told = result["search"]
    found = f"{told['found']} of {told['planted']} pairs found"
    print(f"{told['adapters']} sketches searched in {told['seconds']} s, {found}")
    if arguments.json:
        print(json.dumps(result))


def of_files(rank: int) -> dict[str, float]:
    """Time measuring one file, and comparing two."""
    torch.manual_seed(rank)
    with tempfile.TemporaryDirectory() as folder:
        paths = [write(Path(folder) / f"{name}.safetensors", rank) for name in ("one", "other")]
        return {
            "modules": len(shapes()),
            "megabytes": round(paths[0].stat().st_size / 1e6),
            "measure": seconds(lambda: measure(paths[0])),
            "overlap": seconds(lambda: overlap(*paths)),
        }


def of_search(count: int) -> dict[str, float]:
    """Time the search, and count which of the planted pairs it finds."""
    chance = np.random.default_rng(0)
    sketches = chance.standard_normal((count, WIDTH), dtype=np.float32)
    planted = count // 100
    sketches[-planted:] = sketches[:planted] + 0.2 * chance.standard_normal((planted, WIDTH), dtype=np.float32)
    started = time.process_time()
    pairs = {(one, other) for one, other, _ in alike(np.arange(count), sketches, 0.9)}
    took = time.process_time() - started
    found = sum((place, count - planted + place) in pairs for place in range(planted))
    return {"adapters": count, "seconds": round(took, 2), "planted": planted, "found": found, "pairs": len(pairs)}


def shapes() -> dict[str, tuple[int, ...]]:
    """Return the shapes of SD 1.5's weights by the names that kohya's trainer gives them."""
    from diffusers import UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    with torch.device("meta"):
        unet = UNet2DConditionModel(cross_attention_dim=768, attention_head_dim=8)
        clip = CLIPTextModel(CLIPTextConfig(hidden_size=768, intermediate_size=3072, num_hidden_layers=12))
    reached = {
        name: module
        for name, module in targets(unet=unet, text_encoder=clip).items()
        if isinstance(module, nn.Linear | nn.Conv2d)
    }
    return {
        name.replace("text_encoder.", "lora_te_text_model_").replace("unet.", "lora_unet_").replace(".", "_"): tuple(
            module.weight.shape
        )
        for name, module in reached.items()
    }


def write(path: Path, rank: int) -> Path:
    """Write an adapter of this rank over all of them."""
    tensors: dict[str, torch.Tensor] = {}
    for stem, (outputs, inputs, *kernel) in shapes().items():
        tensors[f"{stem}.lora_down.weight"] = torch.randn(rank, inputs, *kernel).half()
        tensors[f"{stem}.lora_up.weight"] = torch.randn(outputs, rank, *[1] * len(kernel)).half() / 100
        tensors[f"{stem}.alpha"] = torch.tensor(float(rank // 2))
    save_file(tensors, path)
    return path


def seconds(what: Callable[[], object]) -> float:
    """Return the best of three runs."""
    best = float("inf")
    for _ in range(3):
        started = time.process_time()
        what()
        best = min(best, time.process_time() - started)
    return round(best, 3)


if __name__ == "__main__":
    main()
