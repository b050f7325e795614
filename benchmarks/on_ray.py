"""Ray against this process: embedding and painting with one worker and with two, and what a batch costs on the way.

python benchmarks/on_ray.py [--texts 1500] [--pictures 24] [--steps 10]
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"  # so that two workers find room on two processors

from velatura.engines.on_ray import RayEngine
from velatura.engines.painting import EngineBackend, PaintRecipe
from velatura.engines.recipes import Describing, Embedding
from velatura.playground.library import weights_folder
from velatura.records import AdapterRecord, Choice, Composition, GenerationRequest
from velatura.refiner.card import CardDescriber
from velatura.refiner.embedders import SentenceEmbedder
from velatura.settings import default_settings

BATCH = 50


def timed(act: Callable[[], Any]) -> float:
    started = time.perf_counter()
    act()
    return time.perf_counter() - started


def texts(count: int) -> list[list[str]]:
    words = ("ink", "fox", "harbour", "glass", "snow", "knight", "neon", "otter")
    made = [" ".join(words[(number * step) % 8] for step in range(3, 40)) + f" {number}" for number in range(count)]
    return [made[start : start + BATCH] for start in range(0, count, BATCH)]


def embedding(count: int, engine: RayEngine) -> None:
    settings = default_settings(device="cpu")
    embedder = SentenceEmbedder(settings.embedder, device="cpu")
    batches = texts(count)
    embedder.embed(batches[0])
    here = timed(lambda: [embedder.embed(batch) for batch in batches])
    print(f"embed, {count:,} texts: here {here:.2f} s")
    for workers in (1, 2):
        with engine.workers(Embedding.of(settings, embedder), most=workers) as made:
            list(made.each(batches[: 2 * workers]))  # opens them
            there = timed(lambda made=made: list(made.each(batches)))
        print(f"embed, {count:,} texts: {workers} on Ray {there:.2f} s, {here / there:.2f} times as fast")


def painting(count: int, steps: int, engine: RayEngine) -> None:
    from velatura.painting import Painting

    weights = weights_folder()
    settings = default_settings(model=str(weights / "base"), device="cpu")
    names = ("cat", "rocket", "snow_scene", "comic_style")

    def asked(number: int) -> GenerationRequest:
        name = names[number % len(names)]
        path = str(weights / "loras" / f"{name}.safetensors")
        record = AdapterRecord(source="folder", key=name, title=name, path=path, family="miniature")
        composition = Composition(prompt=f"a {name}", choices=(Choice(adapter=record, weight=0.8, span=name),))
        return GenerationRequest(composition=composition, model="", backend="", steps=steps, seed=number)

    requests = [asked(number) for number in range(count)]
    backend = Painting(settings, lambda composition: composition).backend
    list(backend.generate_each(requests[:1]))
    here = timed(lambda: list(backend.generate_each(requests)))
    print(f"paint, {count} pictures, {steps} steps, {len(names)} sets in turn: here {here:.2f} s")
    for workers in (1, 2):
        with engine.workers(PaintRecipe.of(settings), most=workers) as made:
            away = EngineBackend(made)
            list(away.generate_each(requests))  # opens them
            swaps = made.swaps
            there = timed(lambda away=away: list(away.generate_each(requests)))
            told = f"{here / there:.2f} times as fast, {made.swaps - swaps} sets laid"
        print(f"paint, {count} pictures: {workers} on Ray {there:.2f} s, {told}")


def overhead(engine: RayEngine) -> None:
    describer = CardDescriber()
    with engine.workers(Describing.of(default_settings(), describer, most=1), most=1) as made:
        made.ask([])
        seconds = timed(lambda: list(made.each([[]] * 500)))
    print(f"an empty batch: {1000 * seconds / 500:.2f} ms")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--texts", type=int, default=1500)
    parser.add_argument("--pictures", type=int, default=24)
    parser.add_argument("--steps", type=int, default=10)
    told = parser.parse_args()
    engine = RayEngine()
    started = time.perf_counter()
    try:
        overhead(engine)
        print(f"a cluster of our own and its first worker were there after {time.perf_counter() - started:.1f} s")
        embedding(told.texts, engine)
        painting(told.pictures, told.steps, engine)
    finally:
        engine.close()


if __name__ == "__main__":
    main()
