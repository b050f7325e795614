"""Many pictures of one prompt, each with its own mask of the adapters: on the weights, beside them, and as chosen.

    python benchmarks/masks.py [--pictures 8] [--adapters 3] [--steps 1 2 8] [--json]
    python benchmarks/masks.py --full --device cuda --dtype float16 --json

SD 1.5's structure with random weights, by default a quarter of its widths at 64x64; three kohya files of rank 16
over attention, convolutions and text encoder. Every mask is another set of them. On the weights, pictures of one set
follow each other and each set is laid once; beside them, one batch wears all. Left to itself, the backend counts
which is cheaper (`generation/adapters/choice.py`). Seconds are of all pictures, the least of three runs.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
import warnings
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import torch
from backends import _request
from full_size import make_full_size
from lora_swap import make_set

from velatura.generation import open_backend
from velatura.generation.checkpoint import quiet


def main() -> None:
    """Paint the masks in each way and print what it took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=8)
    parser.add_argument("--adapters", type=int, default=3)
    parser.add_argument("--steps", type=int, nargs="+", default=[1, 2, 8])
    parser.add_argument("--size", type=int, default=None)
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    size = arguments.size or (512 if arguments.full else 64)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder, quiet():
        modules = make_full_size(Path(folder) / "model", "sd", scale=1 if arguments.full else 4)
        make_set(Path(folder) / "adapters", modules, 16, arguments.adapters)
        files = sorted((Path(folder) / "adapters").iterdir())
        masks = list(product((True, False), repeat=arguments.adapters))
        for steps in arguments.steps:
            seconds = {}
            for way in ("weights", "beside", None):
                backend: Any = open_backend(
                    "sd", str(Path(folder) / "model"), device=arguments.device, dtype=arguments.dtype, laying=way,
                    batch_size=arguments.pictures,
                )  # fmt: skip
                whole = _request(files, size, steps, "sd")
                requests = [
                    replace(whole, mask=masks[number % len(masks)], seed=number) for number in range(arguments.pictures)
                ]
                seconds[str(way or "chosen")] = round(min(_painted(backend, requests, arguments) for _ in range(3)), 2)
            rows.append({"steps": steps, **seconds})
            print(f"{steps:3} steps: " + ", ".join(f"{way} {value} s" for way, value in seconds.items()))
    if arguments.json:
        print(json.dumps({"pictures": arguments.pictures, "size": size, "full": arguments.full, "rows": rows}))


def _painted(backend: Any, requests: list[Any], arguments: argparse.Namespace) -> float:
    started = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in backend.generate_each(requests):
            pass
    if arguments.device != "cpu":
        torch.cuda.synchronize()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
