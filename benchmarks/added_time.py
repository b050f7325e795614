"""What choosing and laying adapters adds to one picture, before the first step of painting.

    python benchmarks/added_time.py CATALOGUE [--adapters 3] [--rank 16] [--device cpu] [--dtype float32] [--json]

The catalogue is a real one, embedded (`velatura index DUMP --db CATALOGUE`). The model is SD 1.5 at full size with
random weights. The process stays, as a service does, and paints one picture after another, each with other adapters:
a prompt is searched for and composed, then three kohya files of that rank (attention, convolutions, text encoder;
float16) are opened, matched and laid on the weights in place of the picks, since the pages of a dump have no files
here. Timed is the way to the first pass through the UNet, against diffusers' own pipeline with nothing laid on it, in
the same run; on a processor everything runs on one core and one thread, and seconds are CPU seconds. With `--steps`
whole pictures are painted, too. The paper's figure for its own set-up is 12.1 s a picture (Stylus, figure 9).
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from lora_swap import make_model, make_set

from velatura import Velatura
from velatura.generation import open_backend
from velatura.generation.adapters.plan import Plans
from velatura.generation.checkpoint import quiet
from velatura.records import AdapterRecord, Choice, Composition, GenerationRequest
from velatura.settings import default_settings

PROMPTS = (
    "a portrait of a knight in gothic armor, oil painting",
    "cyberpunk city street at night, neon lights, rain",
    "a cute fox in the snow, watercolor style",
    "studio ghibli landscape with a castle on a hill",
    "pixel art spaceship over a desert planet",
    "an old man reading, art nouveau style",
)


class _Begun(Exception):
    """The denoiser was called."""


def main() -> None:
    """Time the way to the first step, with and without adapters."""
    arguments = options()
    if arguments.device == "cpu":
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
        torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder, quiet():
        modules = make_model(Path(folder) / "model", "sd15", small=arguments.small)
        for which in ("first", "second"):
            make_set(Path(folder) / which, modules, arguments.rank, arguments.adapters)
        del modules
        report = measure(arguments, Path(folder))
    show(report)
    if arguments.json:
        print(json.dumps(report))


def options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("catalogue", help="an embedded catalogue")
    parser.add_argument("--adapters", type=int, default=3)
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--steps", type=int, help="also paint whole pictures of 512x512 with so many steps")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32", choices=("float32", "float16", "bfloat16"))
    parser.add_argument("--small", action="store_true", help="widths of a quarter")
    parser.add_argument("--folder", type=Path, help="where the model is written for the time of the run")
    parser.add_argument("--json", action="store_true", help="print one JSON object last")
    return parser.parse_args()


def measure(arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Return the seconds of each part, the median over the prompts."""
    settings = default_settings(db=arguments.catalogue, resident=True)
    options_ = {"device": arguments.device, "dtype": arguments.dtype, "laying": "weights"}
    backend: Any = open_backend("sd", str(folder / "model"), **options_)
    files = [sorted((folder / which).iterdir()) for which in ("first", "second")]
    clock = _clock(arguments)
    bare = _bare(backend, arguments)
    parts: dict[str, list[float]] = {"compose": [], "lay": [], "bare": [], "added": []}
    with Velatura(settings, read_only=True) as velatura:
        velatura.compose("a warm up, of everything that stays")
        _begin(backend, _request(Composition(prompt="a warm up"), arguments), clock)
        bare()
        for number, prompt in enumerate(PROMPTS):
            backend._plans = Plans(backend._modules)  # files are read and matched anew
            composed, composition = clock(lambda prompt=prompt: velatura.compose(prompt))
            worn = _with_files(composition, files[number % 2])
            begun = _begin(backend, _request(worn, arguments), clock)
            alone, _ = clock(bare)
            for name, seconds in (
                ("compose", composed), ("lay", begun), ("bare", alone), ("added", composed + begun - alone),
            ):  # fmt: skip
                parts[name].append(seconds)
    report: dict[str, Any] = {
        "device": arguments.device,
        "dtype": arguments.dtype,
        "adapters": arguments.adapters,
        "rank": arguments.rank,
        "prompts": len(PROMPTS),
        "seconds": {name: round(statistics.median(values), 3) for name, values in parts.items()},
        "most_added": round(max(parts["added"]), 3),
    }
    if arguments.steps:
        report["picture"] = _pictures(backend, files[0], arguments, clock)
    return report


def _clock(arguments: argparse.Namespace) -> Callable[[Callable[[], Any]], tuple[float, Any]]:
    def timed(work: Callable[[], Any]) -> tuple[float, Any]:
        gpu = arguments.device != "cpu"
        if gpu:
            torch.cuda.synchronize()
        now = time.perf_counter if gpu else time.process_time
        started = now()
        result = work()
        if gpu:
            torch.cuda.synchronize()
        return now() - started, result

    return timed


def _bare(backend: Any, arguments: argparse.Namespace) -> Callable[[], None]:
    """Return what brings diffusers' own pipeline to its first step, on the same parts with nothing laid on them."""
    from diffusers import StableDiffusionPipeline

    pipe = StableDiffusionPipeline(
        **{**backend._pipe.components, "safety_checker": None, "feature_extractor": None, "image_encoder": None},
        requires_safety_checker=False,
    )
    pipe.set_progress_bar_config(disable=True)

    def begin() -> None:
        _until_begun(backend, lambda: pipe("a prompt as long as most are", num_inference_steps=25, guidance_scale=7.0))

    return begin


def _begin(backend: Any, request: GenerationRequest, clock: Any) -> float:
    seconds: float = clock(lambda: _until_begun(backend, lambda: next(backend.generate(request))))[0]
    return seconds


def _until_begun(backend: Any, work: Callable[[], object]) -> None:
    def begun(*_: Any) -> None:
        raise _Begun

    handle = backend._pipe.unet.register_forward_pre_hook(begun)
    try:
        work()
    except _Begun:
        return
    finally:
        handle.remove()
    raise SystemExit("the UNet was never called")


def _pictures(backend: Any, files: list[Path], arguments: argparse.Namespace, clock: Any) -> dict[str, float]:
    found = {}
    for name, worn in (("worn", files), ("bare", [])):
        composition = _with_files(Composition(prompt="a fox"), worn)
        request = _request(composition, arguments, steps=arguments.steps)
        found[name] = round(clock(lambda request=request: next(backend.generate(request)))[0], 2)
    return found


def _with_files(composition: Composition, files: list[Path]) -> Composition:
    choices = tuple(
        Choice(
            adapter=AdapterRecord(source="folder", key=str(file), title=file.stem, path=str(file)), weight=0.8, span=""
        )
        for file in files
    )
    return Composition(prompt=composition.prompt, choices=choices)


def _request(composition: Composition, arguments: argparse.Namespace, steps: int = 25) -> GenerationRequest:
    return GenerationRequest(composition=composition, model="", steps=steps, guidance=7.0, width=512, height=512)


def show(report: dict[str, Any]) -> None:
    """Print the table."""
    seconds = report["seconds"]
    print(f"SD 1.5, {report['device']} {report['dtype']}, {report['adapters']} adapters of rank {report['rank']}")
    print(f"  search and compose             {seconds['compose']:7.3f} s")
    print(f"  read, match, lay, encode       {seconds['lay']:7.3f} s")
    print(f"  bare pipeline to its first step{seconds['bare']:7.3f} s")
    print(f"  added                          {seconds['added']:7.3f} s (most {report['most_added']:.3f})")
    if "picture" in report:
        print(f"  whole picture {report['picture']['worn']} s, bare {report['picture']['bare']} s")


if __name__ == "__main__":
    main()
