"""What one adapter, one prompt and one picture take, and from that what many take: the table of docs/scale.md.

    python benchmarks/cost.py DUMP [--pages 1000] [--prompts 200] [--parts adapter prompt work picture] [--json]

DUMP is a Civitai dump (.jsonl or .jsonl.gz); its first so many pages are read, described by rules, embedded and put
into index files, each step by the command line in a process of its own. Told are processor seconds, less those of the
same command with nothing to do where it has a start to speak of, and bytes on the disk.

    adapter  reading, describing, embedding, index files
    prompt   searching and composing, in a process that stays, every prompt another
    work     arithmetic of a picture by models of the true sizes, counted and not timed: multiplications and additions
             of the denoiser in each step, and of the decoder
    picture  processor seconds of a step of SD 1.5 at full size (random weights, float32), and of all besides
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

PARTS = ("adapter", "prompt", "work", "picture")
MANY = (1_000_000, 10_000_000)
"""Adapters for which the table is drawn out."""


def main() -> None:
    """Measure what is asked for, and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dump", type=Path, nargs="?")
    parser.add_argument("--pages", type=int, default=1000)
    parser.add_argument("--prompts", type=int, default=200)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    if given.dump is None and {"adapter", "prompt"} & set(given.parts):
        parser.error("name a dump, or only the parts work and picture")
    told: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if {"adapter", "prompt"} & set(given.parts):
            told |= adapters(given.dump, given.pages, folder)
        if "prompt" in given.parts:
            told |= prompts(folder / "cost.db", given.prompts)
        if "work" in given.parts:
            told |= work()
        if "picture" in given.parts:
            told |= picture(folder)
    if given.json:
        print(json.dumps(told))
        return
    for name, value in told.items():
        print(f"{name:52} {value:,.4g}" if isinstance(value, float) else f"{name:52} {value:,}")
    if "CPU s an adapter, all steps" in told:
        for count in MANY:
            print(
                f"\n{count:,} adapters: {told['CPU s an adapter, all steps'] * count / 3600:,.0f} core hours once, ",
                end="",
            )
            print(f"{told['bytes an adapter, all files'] * count / 1e9:,.0f} GB on the disk")


# -------------------------------------------------------------------- an adapter


def adapters(dump: Path, pages: int, folder: Path) -> dict[str, Any]:
    """Bring pages of a dump into a catalogue, step by step."""
    part, db = folder / "part.jsonl", folder / "cost.db"
    opens: Callable[..., Any] = gzip.open if dump.suffix == ".gz" else open
    with opens(dump, "rt", encoding="utf-8") as lines, part.open("w", encoding="utf-8") as written:
        written.writelines(islice(lines, pages))
    steps: dict[str, list[str]] = {
        "reading": ["index", str(part), "--no-embed"],
        "describing by rules": ["refine", "--describer", "card", "--no-embed"],
        "embedding": ["embed"],
        "index files": ["search", "a fox in the snow"],
    }
    told: dict[str, Any] = {}
    seconds, sizes, before = {}, {}, 0
    for step, command in steps.items():
        first = _velatura(db, folder, *command)
        seconds[step] = first - _velatura(db, folder, *command)  # the second time there is nothing to do
        size = sum(file.stat().st_size for file in folder.glob("cost.db*"))
        sizes[step], before = size - before, size
    count = int(json.loads(_output(db, folder, "stats"))["files"])
    told["adapters"] = count
    for step in steps:
        told[f"CPU s an adapter, {step}"] = seconds[step] / count
        told[f"bytes an adapter, {step}"] = sizes[step] / count
    told["CPU s an adapter, all steps"] = sum(seconds.values()) / count
    told["bytes an adapter, all files"] = sum(sizes.values()) / count
    return told


def _velatura(db: Path, home: Path, *command: str) -> float:
    """Run a command, and return the processor seconds that it took."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    _output(db, home, *command)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _output(db: Path, home: Path, *command: str) -> str:
    environment = {**os.environ, "VELATURA_HOME": str(home), "OMP_NUM_THREADS": "1", "VELATURA_OFFLINE": "true"}
    whole = [sys.executable, "-m", "velatura", *command, "--db", str(db), "--json"]
    return subprocess.run(whole, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout


# -------------------------------------------------------------------- a prompt


def prompts(db: Path, count: int) -> dict[str, Any]:
    """Search and compose for prompts that the example pictures were made with."""
    import torch

    from velatura import Velatura
    from velatura.records import Filter
    from velatura.settings import default_settings

    torch.set_num_threads(1)
    with Velatura(default_settings(db=str(db), resident=True), read_only=True) as opened:
        numbers = opened.store.select(Filter()).tolist()
        examples = (one for found in opened.store.adapters(numbers[: 20 * count]) for one in found.record.examples)
        asked = list(dict.fromkeys(one.prompt for one in examples if one.prompt))[: 2 * count]
        half = len(asked) // 2
        opened.compose("to open everything once")
        return {
            "prompts": half,
            "CPU s a prompt, search": _each(lambda prompt: opened.search(prompt), asked[:half]),
            "CPU s a prompt, search and compose": _each(lambda prompt: opened.compose(prompt), asked[half : 2 * half]),
            "MB of memory, all opened": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        }


def _each(work: Callable[[str], object], asked: list[str]) -> float:
    began = time.process_time()
    for prompt in asked:
        work(prompt)
    return (time.process_time() - began) / max(1, len(asked))


# -------------------------------------------------------------------- a picture


def work() -> dict[str, Any]:
    """Count the arithmetic of one evaluation of each denoiser, and of one decoding; nothing is computed."""
    import torch
    from full_size import KINDS, NATIVE, _parts
    from torch.utils.flop_counter import FlopCounterMode

    told: dict[str, Any] = {}
    for kind in KINDS:
        with torch.device("meta"), torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            parts = _parts(kind, 1)
            side = NATIVE[kind] // 8
            latents, step = torch.zeros(1, 4, side, side), torch.zeros(1)
            words = torch.zeros(1, 77, parts["unet"].config.cross_attention_dim)
            added = {"text_embeds": torch.zeros(1, 1280), "time_ids": torch.zeros(1, 6)}
            with FlopCounterMode(display=False) as counted:
                parts["unet"](latents, step, words, added_cond_kwargs=added if "text_encoder_2" in parts else None)
            told[f"TFLOP an evaluation, {kind} at {NATIVE[kind]}"] = counted.get_total_flops() / 1e12
            with FlopCounterMode(display=False) as counted:
                parts["vae"].decode(latents)
            told[f"TFLOP a decoding, {kind} at {NATIVE[kind]}"] = counted.get_total_flops() / 1e12
    return told


def picture(folder: Path) -> dict[str, Any]:
    """Paint with one step and with two; the difference is a step."""
    import torch
    from full_size import make_full_size

    from velatura.generation import open_backend
    from velatura.generation.checkpoint import quiet
    from velatura.records import Composition, GenerationRequest

    torch.set_num_threads(1)
    seconds = []
    with quiet(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what random weights paint is no picture
        make_full_size(folder / "sd", "sd")
        backend: Any = open_backend("sd", str(folder / "sd"), device="cpu", dtype="float32")
        composition = Composition(prompt="a red fox in the snow", choices=())
        for steps in (1, 1, 2):
            request = GenerationRequest(
                composition=composition, model="", steps=steps, guidance=7.0, width=512, height=512
            )
            began = time.process_time()
            list(backend.generate(request, 1))
            seconds.append(time.process_time() - began)
    _, one, two = seconds  # the first warms up
    return {"CPU s a guided step of SD 1.5 at 512": two - one, "CPU s besides, text and decoding": 2 * one - two}


if __name__ == "__main__":
    main()
