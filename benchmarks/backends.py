"""What one picture takes with each backend: by batch size, and with no, three and six adapters.

    python benchmarks/backends.py [--kinds sd sdxs] [--json]                      # a quarter of the widths, on the CPU
    python benchmarks/backends.py --full --device cuda --dtype float16 --json     # the true sizes

Every checkpoint has random weights and its true structure (SD 1.5, SDXL, SDXL-Turbo, SDXS with its tiny autoencoder);
adapters are kohya files of rank 16 over attention, convolutions and text encoders (a text encoder's are left out for
SDXS). Seconds are of whole pictures after one that warms up: text, steps, decoding; the laying of a set is timed by
itself. Reduced sizes tell ratios alone.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import torch
from full_size import KINDS, NATIVE, make_full_size
from lora_swap import make_set

from velatura.generation import open_backend
from velatura.generation.checkpoint import quiet
from velatura.records import AdapterRecord, Choice, Composition, GenerationRequest

STEPS = {"sd": 25, "sdxl": 30, "sdxl-turbo": 4, "sdxs": 1}


def main() -> None:
    """Make each checkpoint, paint with it, and print what it took."""
    arguments = options()
    rows: list[dict[str, Any]] = []
    for kind in arguments.kinds:
        with tempfile.TemporaryDirectory(dir=arguments.folder) as folder, quiet():
            modules = make_full_size(Path(folder) / "model", kind, scale=1 if arguments.full else 4)
            make_set(Path(folder) / "adapters", modules, 16, max(arguments.adapters))
            del modules
            rows += measure(kind, Path(folder), arguments)
    if arguments.json:
        print(json.dumps({"full": arguments.full, "device": arguments.device, "dtype": arguments.dtype, "rows": rows}))


def options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 2, 4])
    parser.add_argument("--adapters", nargs="+", type=int, default=[0, 3, 6])
    parser.add_argument("--full", action="store_true", help="the true sizes, not a quarter of the widths")
    parser.add_argument("--steps", type=int, help="instead of each model's own; SDXS takes one")
    parser.add_argument("--size", type=int, help="pixels of a side; else the model's own, a quarter of it when small")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32", choices=("float32", "float16", "bfloat16"))
    parser.add_argument("--folder", type=Path, help="where models are written for the time of the run")
    parser.add_argument("--json", action="store_true", help="print one JSON object last")
    return parser.parse_args()


def measure(kind: str, folder: Path, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Return a row for each batch size and number of adapters."""
    files = sorted((folder / "adapters").iterdir())
    side = arguments.size or (NATIVE[kind] if arguments.full else NATIVE[kind] // 4)
    steps = STEPS[kind] if kind == "sdxs" else arguments.steps or STEPS[kind]
    backend: Any = open_backend(
        kind, str(folder / "model"), device=arguments.device, dtype=arguments.dtype, laying="weights",
        batch_size=max(arguments.batches), force=True,
    )  # fmt: skip
    rows = []
    print(f"{kind}, {side}x{side}, {steps} steps, {arguments.device} {arguments.dtype}")
    for adapters in arguments.adapters:
        request = _request(files[:adapters], side, steps, kind)
        laying = _timed(arguments, lambda request=request: backend._layers.lay(backend._laying(request.choices)))
        _paint(backend, request, 1)
        for batch in arguments.batches:
            _forget_peak(arguments)
            seconds = [
                _timed(arguments, lambda request=request, batch=batch: _paint(backend, request, batch)) / batch
                for _ in range(arguments.repeats)
            ]
            rows.append(
                {
                    "kind": kind,
                    "adapters": adapters,
                    "batch": batch,
                    "seconds": round(statistics.median(seconds), 4),
                    "laying": round(laying, 4),
                    "memory_mib": _peak(arguments),
                }
            )
            print(
                f"  {adapters} adapters, {batch} at once: {rows[-1]['seconds']:8.3f} s a picture"
                f"{rows[-1]['memory_mib']:8} MiB   (laid in {laying:.3f} s)"
            )
    return rows


def _request(files: list[Path], side: int, steps: int, kind: str) -> GenerationRequest:
    choices = tuple(
        Choice(
            adapter=AdapterRecord(source="folder", key=str(file), title=file.stem, path=str(file)), weight=0.8, span=""
        )
        for file in files
    )
    guidance = {"sdxl-turbo": 0.0, "sdxs": 0.0}.get(kind, 7.0)
    return GenerationRequest(
        composition=Composition(prompt="a red fox in the snow", choices=choices),
        model="",
        steps=steps,
        guidance=guidance,
        width=side,
        height=side,
    )


def _paint(backend: Any, request: GenerationRequest, count: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what random weights paint is no picture
        for _ in backend.generate(request, count):
            pass


def _timed(arguments: argparse.Namespace, work: Any) -> float:
    if arguments.device != "cpu":
        torch.cuda.synchronize()
    started = time.perf_counter()
    work()
    if arguments.device != "cpu":
        torch.cuda.synchronize()
    return time.perf_counter() - started


def _forget_peak(arguments: argparse.Namespace) -> None:
    if arguments.device != "cpu":
        torch.cuda.reset_peak_memory_stats()


def _peak(arguments: argparse.Namespace) -> int:
    """MiB at most: on a GPU of this row, on the CPU of the process so far."""
    if arguments.device != "cpu":
        return torch.cuda.max_memory_allocated() >> 20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10


if __name__ == "__main__":
    main()
