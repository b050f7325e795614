"""Laying a set of adapters, changing it, taking it off: this package against diffusers with PEFT, on one model.

    python benchmarks/lay.py [--full] [--adapters 3] [--rank 16] [--json]

Both sides get the same kohya files (attention, convolutions, text encoder) and the same model of SD 1.5's blocks
with random weights, on one thread; seconds are CPU seconds. Diffusers changes a set by unfuse, unload, load,
set_adapters and fuse; this package reads the files and writes each touched weight once. `--full` takes SD 1.5's true
size in float32: 10 GB of memory and some minutes.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from velatura.generation.adapters.file import AdapterFile
from velatura.generation.adapters.names import targets
from velatura.generation.adapters.patch import Layers
from velatura.generation.adapters.plan import plan
from velatura.generation.checkpoint import quiet
from velatura.playground.sample import make_checkpoint

MEDIUM, FULL = (96, 192, 384, 384), (320, 640, 1280, 1280)


def main() -> None:
    """Run both sides and print what they took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="SD 1.5's true size")
    parser.add_argument("--adapters", type=int, default=3, help="adapters in a set")
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--json", action="store_true", help="print one JSON object last")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder, quiet():
        pipe = model(Path(folder), full=arguments.full)
        modules = targets(unet=pipe.unet, text_encoder=pipe.text_encoder)
        sets = [
            [
                adapter(Path(folder) / f"{name}{n}.safetensors", modules, arguments.rank)
                for n in range(arguments.adapters)
            ]
            for name in ("first", "second")
        ]
        theirs = with_diffusers(pipe, *sets)
        ours = with_layers(modules, *sets)
    result = {
        "size": "full" if arguments.full else "medium",
        "adapters": arguments.adapters,
        "rank": arguments.rank,
        "weights": sum(module.weight.numel() for module in reached(modules).values()),
        "diffusers": theirs,
        "velatura": ours,
        "first_ratio": round(theirs["first"] / ours["first"], 1),
        "swap_ratio": round(theirs["swap"] / ours["swap"], 1),
        "restore_ratio": round(theirs["restore"] / ours["restore"], 1),
    }
    show(result)
    if arguments.json:
        print(json.dumps(result))


def model(folder: Path, *, full: bool) -> Any:
    """Build the pipeline; what no adapter touches is tiny."""
    from diffusers import StableDiffusionPipeline, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    width, layers = (768, 12) if full else (256, 6)
    pipe = StableDiffusionPipeline.from_pretrained(make_checkpoint(folder / "tiny"))
    clip = CLIPTextConfig(
        hidden_size=width, intermediate_size=4 * width, num_hidden_layers=layers, num_attention_heads=width // 64
    )
    unet = UNet2DConditionModel(block_out_channels=FULL if full else MEDIUM, cross_attention_dim=width, sample_size=64)
    pipe.register_modules(unet=unet, text_encoder=CLIPTextModel(clip))
    return pipe


def reached(modules: dict[str, Any]) -> dict[str, Any]:
    """The modules that a LoCon of kohya's reaches."""
    places = (".attentions.", ".resnets.", "samplers.", "text_encoder.")
    return {name: module for name, module in modules.items() if any(place in name for place in places)}


def adapter(path: Path, modules: dict[str, Any], rank: int) -> Path:
    """Write a random adapter in kohya's layout, float16."""
    tensors = {}
    for name, module in reached(modules).items():
        outputs, inputs, *kernel = module.weight.shape
        part, _, rest = name.partition(".")
        stem = ("lora_unet_" if part == "unet" else "lora_te_text_model_") + rest.replace(".", "_")
        tensors[f"{stem}.lora_down.weight"] = torch.randn(rank, inputs, *kernel).half() / 50
        tensors[f"{stem}.lora_up.weight"] = torch.randn(outputs, rank, *[1] * len(kernel)).half() / 50
        tensors[f"{stem}.alpha"] = torch.tensor(float(rank)).half()
    save_file(tensors, path)
    return path


def with_diffusers(pipe: Any, first: list[Path], second: list[Path]) -> dict[str, float]:
    """Lay a set by loading and fusing, change it, take it off."""

    def lay(files: list[Path]) -> None:
        for file in files:
            pipe.load_lora_weights(str(file.parent), weight_name=file.name, adapter_name=file.stem)
        pipe.set_adapters([file.stem for file in files], [0.8] * len(files))
        pipe.fuse_lora(components=["unet", "text_encoder"])

    def off() -> None:
        pipe.unfuse_lora(components=["unet", "text_encoder"])
        pipe.unload_lora_weights()

    probe = pipe.unet.mid_block.attentions[0].proj_in
    before = probe.weight.detach().clone()
    seconds = {"first": took(lambda: lay(first)), "swap": took(lambda: (off(), lay(second))), "restore": took(off)}
    probe = pipe.unet.mid_block.attentions[0].proj_in
    return {**seconds, "drift": float((probe.weight.detach() - before).norm() / before.norm())}


def with_layers(modules: dict[str, Any], first: list[Path], second: list[Path]) -> dict[str, Any]:
    """Lay a set on the weights, change it, take it off; the files are read and matched anew each time."""
    layers = Layers(modules)

    def lay(files: list[Path]) -> None:
        layers.lay({plan(AdapterFile(file), modules): 0.8 for file in files})

    before = {name: module.weight.detach().clone() for name, module in sample(modules)}
    seconds = {"first": took(lambda: lay(first)), "swap": took(lambda: lay(second)), "restore": took(layers.restore)}
    exact = all(torch.equal(module.weight, before[name]) for name, module in sample(modules))
    return {**seconds, "exact": exact}


def sample(modules: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Every tenth module, to be compared without a second copy of the model."""
    yield from list(modules.items())[::10]


def took(work: Callable[[], object]) -> float:
    """CPU seconds."""
    start = time.process_time()
    work()
    return round(time.process_time() - start, 3)


def show(result: dict[str, Any]) -> None:
    """Print the table."""
    millions = result["weights"] / 1e6
    print(f"{result['adapters']} adapters of rank {result['rank']} on {millions:.0f} M weights, CPU seconds")
    print(f"{'':10}{'diffusers':>12}{'velatura':>12}{'ratio':>10}")
    for step in ("first", "swap", "restore"):
        ours, theirs = result["velatura"][step], result["diffusers"][step]
        print(f"{step:10}{theirs:12.3f}{ours:12.3f}{result[f'{step}_ratio']:9.1f}x")
    drift, exact = result["diffusers"]["drift"], result["velatura"]["exact"]
    print(f"all off: diffusers is {drift:.1e} from where it was, velatura is {'exactly' if exact else 'NOT'} there")


if __name__ == "__main__":
    main()
