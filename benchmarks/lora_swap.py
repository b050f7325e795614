"""Laying a set of adapters, changing it, taking it off: this package against diffusers with PEFT, on one model.

    python benchmarks/lora_swap.py [--sets r16_n3 r16_n6 r128_n3] [--forward] [--json]
    python benchmarks/lora_swap.py --small --sets r16_n3          # seconds instead of minutes
    python benchmarks/lora_swap.py --device cuda --dtype float16 [--model sdxl]

SD 1.5's UNet and CLIP-L at full size with random weights, saved as a diffusers folder and loaded from it by both
sides, each set in a process of its own, one after the other, on one thread and one core; seconds are CPU seconds (wall
seconds on a GPU). Both get the same kohya files (attention, convolutions, text encoder; float16). Diffusers lays a
set by load, set_adapters and fuse, and changes it by unfuse, unload, load, set_adapters and fuse; this package reads
the files, matches them and writes each touched weight once. `--forward` adds what an evaluation of the UNet costs.
It takes 14 GB of memory, 4 GB of disk, and about ten minutes.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from velatura.generation.adapters.bases import stored_weights
from velatura.generation.adapters.names import targets
from velatura.generation.adapters.patch import Layers
from velatura.generation.adapters.plan import Plans
from velatura.generation.checkpoint import quiet
from velatura.playground.sample import make_checkpoint

SETS = ("r16_n3", "r16_n6", "r128_n3")
WEIGHT = 0.8
PARTS = ("unet", "text_encoder", "text_encoder_2")


def main() -> None:
    """Make the model and the files, run both sides, and print what they took."""
    arguments = options()
    if arguments.side:
        print(json.dumps(SIDES[arguments.side](arguments, arguments.sets[0])))
        return
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder, quiet():
        modules = make_model(Path(folder) / "model", arguments.model, small=arguments.small)
        for name in arguments.sets:
            rank, count = numbers(name)
            for which in ("first", "second"):
                make_set(Path(folder) / f"{name}_{which}", modules, rank, count)
        weights = sum(module.weight.numel() for module in reached(modules).values())
        del modules
        results = {
            side: {name: run_side(side, name, Path(folder), arguments) for name in arguments.sets} for side in SIDES
        }
    report = {"model": arguments.model, "small": arguments.small, "weights": weights, "device": arguments.device}
    report |= compare(arguments.sets, **results)
    show(report)
    if arguments.json:
        print(json.dumps(report))


def options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", nargs="+", default=list(SETS), help="ranks and numbers of adapters, as r16_n3")
    parser.add_argument("--model", choices=("sd15", "sdxl"), default="sd15")
    parser.add_argument("--small", action="store_true", help="widths of a tenth of the weights")
    parser.add_argument("--forward", action="store_true", help="time evaluations of the UNet, too")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32", choices=("float32", "float16", "bfloat16"))
    parser.add_argument("--folder", type=Path, help="where the model is written for the time of the run")
    parser.add_argument("--json", action="store_true", help="print one JSON object last")
    parser.add_argument("--side", choices=tuple(SIDES), help=argparse.SUPPRESS)
    return parser.parse_args()


def run_side(side: str, name: str, folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """Run one side on one set, alone, on one core."""
    command = [sys.executable, __file__, "--side", side, "--folder", str(folder), "--sets", name]
    command += ["--device", arguments.device, "--dtype", arguments.dtype, "--model", arguments.model]
    command += ["--forward"] * arguments.forward
    core = str(max(os.sched_getaffinity(0)))
    bound = ["taskset", "-c", core] if arguments.device == "cpu" else []
    done = subprocess.run([*bound, *command], check=True, stdout=subprocess.PIPE, text=True)
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def numbers(name: str) -> tuple[int, int]:
    """Read `r16_n3` as rank 16, three adapters."""
    rank, _, count = name.partition("_n")
    return int(rank.removeprefix("r")), int(count)


def make_model(folder: Path, model: str, *, small: bool) -> dict[str, Any]:
    """Write a diffusers folder with random weights; what no adapter touches is tiny. Return what adapters reach."""
    from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    tiny = StableDiffusionPipeline.from_pretrained(make_checkpoint(folder.parent / "tiny"))
    torch.manual_seed(0)
    scale = 4 if small else 1
    clip = clip_config(768 // scale, 12 // scale, CLIPTextConfig)
    if model == "sd15":
        unet = UNet2DConditionModel(
            block_out_channels=tuple(width // scale for width in (320, 640, 1280, 1280)),
            cross_attention_dim=768 // scale,
            norm_num_groups=32 // scale,
            sample_size=64,
        )
        parts = {"unet": unet, "text_encoder": CLIPTextModel(clip)}
        tiny.register_modules(**parts)
        tiny.save_pretrained(folder)
        return targets(**parts)
    unet = UNet2DConditionModel(
        block_out_channels=tuple(width // scale for width in (320, 640, 1280)),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        transformer_layers_per_block=(1, 2, 10),
        attention_head_dim=(5, 10, 20),
        cross_attention_dim=2048 // scale,
        norm_num_groups=32 // scale,
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=256,
        projection_class_embeddings_input_dim=256 * 6 + 1280 // scale,
        sample_size=128,
    )
    second = clip_config(1280 // scale, 20 // scale, CLIPTextConfig)
    parts = {
        "unet": unet,
        "text_encoder": CLIPTextModel(clip),
        "text_encoder_2": CLIPTextModelWithProjection(second),
    }
    StableDiffusionXLPipeline(
        vae=tiny.vae, tokenizer=tiny.tokenizer, tokenizer_2=tiny.tokenizer, scheduler=tiny.scheduler, **parts
    ).save_pretrained(folder)
    return targets(**parts)


def clip_config(width: int, heads: int, config: Any) -> Any:
    """CLIP-L's or bigG's shape by width."""
    layers = 12 if width <= 768 else 32
    return config(
        hidden_size=width,
        intermediate_size=4 * width,
        num_attention_heads=heads,
        num_hidden_layers=layers,
        projection_dim=width,
    )


def reached(modules: dict[str, Any]) -> dict[str, Any]:
    """The modules that a LoCon of kohya's reaches."""
    places = (".attentions.", ".resnets.", "samplers.", "text_encoder.", "text_encoder_2.")
    return {
        name: module
        for name, module in modules.items()
        if any(place in name for place in places) and isinstance(module, torch.nn.Linear | torch.nn.Conv2d)
    }


def make_set(folder: Path, modules: dict[str, Any], rank: int, count: int) -> None:
    """Write random adapters in kohya's layout, float16."""
    folder.mkdir()
    two = any(name.startswith("text_encoder_2") for name in modules)
    short = {"unet": "unet", "text_encoder": "te1" if two else "te", "text_encoder_2": "te2"}
    for number in range(count):
        tensors = {}
        for name, module in reached(modules).items():
            outputs, inputs, *kernel = module.weight.shape
            part, _, rest = name.partition(".")
            if rest == "text_projection":
                continue
            inner = rest.replace(".", "_")
            stem = f"lora_{short[part]}_" + (inner if part == "unet" else f"text_model_{inner}")
            tensors[f"{stem}.lora_down.weight"] = torch.randn(rank, inputs, *kernel).half() / 50
            tensors[f"{stem}.lora_up.weight"] = torch.randn(outputs, rank, *[1] * len(kernel)).half() / 50
            tensors[f"{stem}.alpha"] = torch.tensor(float(rank)).half()
        save_file(tensors, folder / f"{folder.name}_{number}.safetensors")


def loaded(arguments: argparse.Namespace) -> Any:
    """Load the pipeline, and give it memory of its own, as any cast or move would: neither side's doing is timed."""
    from diffusers import DiffusionPipeline

    torch.set_num_threads(1)
    with quiet():
        pipe = DiffusionPipeline.from_pretrained(
            arguments.folder / "model", torch_dtype=getattr(torch, arguments.dtype), safety_checker=None
        )
    pipe = pipe.to(arguments.device)
    for part in PARTS:
        for parameter in getattr(pipe, part).parameters() if getattr(pipe, part, None) is not None else ():
            parameter.data = parameter.data.clone()
    return pipe


def files_of(arguments: argparse.Namespace, name: str, which: str) -> list[Path]:
    """The files of a set."""
    return sorted((arguments.folder / f"{name}_{which}").iterdir())


def with_diffusers(arguments: argparse.Namespace, name: str) -> dict[str, Any]:
    """Lay sets by loading and fusing, change them, take them off."""
    pipe = loaded(arguments)
    parts = [part for part in PARTS if getattr(pipe, part, None) is not None]
    probe = pipe.unet.mid_block.attentions[0].proj_in.weight.detach().clone()

    def load(files: list[Path]) -> None:
        for file in files:
            pipe.load_lora_weights(str(file.parent), weight_name=file.name, adapter_name=file.stem)
        pipe.set_adapters([file.stem for file in files], [WEIGHT] * len(files))

    def lay(files: list[Path]) -> None:
        load(files)
        pipe.fuse_lora(components=parts)

    def off() -> None:
        pipe.unfuse_lora(components=parts)
        pipe.unload_lora_weights()

    def change(files: list[Path]) -> None:
        off()
        lay(files)

    first, second = (files_of(arguments, name, which) for which in ("first", "second"))
    took = clock(arguments)
    found: dict[str, Any] = {"first": took(lambda: lay(first)), "swap": took(lambda: change(second))}
    worn = anonymous()
    found["restore"] = took(off)
    found["memory_mib"] = worn - anonymous()
    after = pipe.unet.mid_block.attentions[0].proj_in.weight.detach()
    found["drift"] = float((after - probe).norm() / probe.norm())
    if arguments.forward:
        found["bare"] = forward(pipe, arguments)
        load(first)
        found["worn"] = forward(pipe, arguments)
    return found


def with_velatura(arguments: argparse.Namespace, name: str) -> dict[str, Any]:
    """Lay sets on the weights, change them, take them off; files are read and matched anew each time."""
    pipe = loaded(arguments)
    modules = targets(**{part: getattr(pipe, part) for part in PARTS if getattr(pipe, part, None) is not None})
    before = {key: module.weight.detach().clone() for key, module in sample(modules)}
    layers = Layers(modules, stored=stored_weights(arguments.folder / "model"), fresh=True)

    def lay(files: list[Path]) -> None:
        plans = Plans(modules)
        layers.lay({plans.of(file): WEIGHT for file in files})

    first, second = (files_of(arguments, name, which) for which in ("first", "second"))
    took = clock(arguments)
    found: dict[str, Any] = {"first": took(lambda: lay(first)), "swap": took(lambda: lay(second))}
    found["exact_while_worn"] = not layers.verify()
    worn = anonymous()
    found["restore"] = took(layers.restore)
    found["memory_mib"] = worn - anonymous()
    found["copied_mib"] = layers.copied >> 20
    found["exact"] = all(torch.equal(module.weight, before[key]) for key, module in sample(modules))
    if arguments.device != "cpu":
        found["floor"] = floor(modules)
    if arguments.forward:
        found["bare"] = forward(pipe, arguments)
        lay(first)
        found["worn"] = forward(pipe, arguments)
    return found


SIDES: dict[str, Callable[[argparse.Namespace, str], dict[str, Any]]] = {
    "diffusers": with_diffusers,
    "velatura": with_velatura,
}


def sample(modules: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Every tenth module, to be compared without a second copy of the model."""
    yield from list(reached(modules).items())[::10]


def clock(arguments: argparse.Namespace) -> Callable[[Callable[[], object]], float]:
    """Return what times a piece of work: in CPU seconds, or in wall seconds on a GPU."""

    def took(work: Callable[[], object]) -> float:
        gpu = arguments.device != "cpu"
        if gpu:
            torch.cuda.synchronize()
        start = time.perf_counter() if gpu else time.process_time()
        work()
        if gpu:
            torch.cuda.synchronize()
        return round((time.perf_counter() if gpu else time.process_time()) - start, 3)

    return took


@torch.no_grad()
def forward(pipe: Any, arguments: argparse.Namespace) -> float:
    """The least time of three evaluations of the UNet on one sample."""
    unet, kind = pipe.unet, getattr(torch, arguments.dtype)
    size = unet.config.sample_size
    sample_ = torch.randn(1, 4, size, size, device=arguments.device, dtype=kind)
    text = torch.randn(1, 77, unet.config.cross_attention_dim, device=arguments.device, dtype=kind)
    extra = {}
    if unet.config.addition_embed_type == "text_time":
        width = unet.config.projection_class_embeddings_input_dim - 6 * 256
        extra["added_cond_kwargs"] = {
            "text_embeds": torch.randn(1, width, device=arguments.device, dtype=kind),
            "time_ids": torch.zeros(1, 6, device=arguments.device, dtype=kind),
        }
    took = clock(arguments)
    return min(took(lambda: unet(sample_, 500, text, **extra)) for _ in range(3))


@torch.no_grad()
def floor(modules: dict[str, Any]) -> float:
    """Seconds that reading and writing every touched weight once takes: the least that any laying can."""
    weights = [module.weight for module in reached(modules).values()]
    copies = [weight.detach().clone() for weight in weights]
    torch.cuda.synchronize()
    start = time.perf_counter()
    for weight, copy in zip(weights, copies, strict=True):
        weight.detach().copy_(copy)
    torch.cuda.synchronize()
    return round(time.perf_counter() - start, 4)


def anonymous() -> int:
    """MiB of memory of our own, without what is mapped from files."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("RssAnon")).split()[1]) >> 10


def compare(sets: list[str], *, diffusers: dict[str, Any], velatura: dict[str, Any]) -> dict[str, Any]:
    """Put both sides together."""
    report: dict[str, Any] = {"diffusers": diffusers, "velatura": velatura}
    for step in ("first", "swap", "restore"):
        report[f"{step}_ratio"] = {name: round(diffusers[name][step] / velatura[name][step], 1) for name in sets}
    if "worn" in velatura[sets[0]]:
        report["forward_overhead"] = {
            side: {name: round(result[name]["worn"] / result[name]["bare"] - 1, 3) for name in sets}
            for side, result in (("diffusers", diffusers), ("velatura", velatura))
        }
    return report


def show(report: dict[str, Any]) -> None:
    """Print the tables."""
    unit = "CPU seconds" if report["device"] == "cpu" else "seconds"
    print(f"{report['model']}, {report['weights'] / 1e6:.0f} M touched weights, {unit}")
    for name, ours in report["velatura"].items():
        theirs = report["diffusers"][name]
        rank, count = numbers(name)
        print(f"\n{count} adapters of rank {rank}{'diffusers':>14}{'velatura':>12}{'ratio':>9}")
        for step in ("first", "swap", "restore"):
            print(f"  {step:21}{theirs[step]:12.3f}{ours[step]:12.3f}{report[f'{step}_ratio'][name]:8.1f}x")
        print(f"  {'memory while worn':21}{theirs['memory_mib']:8} MiB{ours['memory_mib']:8} MiB")
        if "worn" in ours:
            overhead = {side: report["forward_overhead"][side][name] for side in ("diffusers", "velatura")}
            print(f"  {'evaluation':21}{overhead['diffusers']:+11.1%}{overhead['velatura']:+12.1%}")
        exact = "exactly" if ours["exact"] else "NOT"
        print(f"  all off: diffusers is {theirs['drift']:.1e} from where it was, velatura is {exact} there")


if __name__ == "__main__":
    main()
