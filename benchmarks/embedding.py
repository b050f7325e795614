"""Embed adapters' cards: sentence-transformers' own `encode`, and ours.

    python benchmarks/embedding.py [--count 1000] [--prompts 300] [--threads 1] [--json]

The cards are those of a dump of Civitai pages; beyond them come copies of which one word in five is another card's.
Both ways embed the same slices in turn, in one process. Prompts are those whose writers' choice is known, embedded by
sentence-transformers for both, so that rankings differ by the cards' vectors alone; recall is the share of prompts with
an adapter that their writer used. Last comes one prompt in a new process, again both ways.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from human_choices import Query, data_folder, read_queries

from velatura.catalog import CivitaiDump
from velatura.protocols import Entry
from velatura.records import AdapterRecord, RefinedAdapter
from velatura.refiner.embedders import MINILM, SentenceEmbedder, locate
from velatura.refiner.passages import card
from velatura.syntax import plain_text

SLICE = 500
"""Cards that one way embeds before the other's turn."""
DEPTHS = (1, 3, 10, 50)

PLAIN = (
    "from sentence_transformers import SentenceTransformer;"
    "SentenceTransformer({folder!r}, device='cpu').encode([{text!r}], normalize_embeddings=True)"
)
OURS = "from velatura.refiner.embedders import SentenceEmbedder; SentenceEmbedder(device='cpu').embed([{text!r}])"


@dataclass
class Way:
    """One way to embed, what it has taken so far, and its rows."""

    encode: Callable[[list[str]], Any]
    wall: float = 0.0
    cpu: float = 0.0
    rows: list[np.ndarray] = field(default_factory=list)

    def run(self, texts: list[str]) -> None:
        """Embed one slice."""
        wall, cpu = time.perf_counter(), time.process_time()
        self.rows.append(np.asarray(self.encode(texts)))
        self.wall += time.perf_counter() - wall
        self.cpu += time.process_time() - cpu


def read_cards(dump: Path) -> Iterator[tuple[int, str]]:
    """Yield the page and the card of each adapter of a dump."""
    number = 0
    for offered in CivitaiDump(dump).entries():
        for record in offered.read() if isinstance(offered, Entry) else ():
            if isinstance(record, AdapterRecord):
                number += 1
                yield record.model_id or 0, card(RefinedAdapter(id=number, record=record))


def noised(cards: list[tuple[int, str]], count: int, seed: int = 0) -> list[tuple[int, str]]:
    """Return `count` cards, in no order: the real ones, then copies with words of others, each a page of its own."""
    rng = random.Random(seed)
    words = [word for _, text in cards for word in text.split(" ")]
    result = list(cards)
    while len(result) < count:
        text = cards[len(result) % len(cards)][1].split(" ")
        result.append((-len(result), " ".join(rng.choice(words) if rng.random() < 0.2 else word for word in text)))
    rng.shuffle(result)
    return result[:count]


def compare(texts: list[str], plain: Way, ours: Way) -> dict[str, Any]:
    """Embed the texts both ways, slice by slice, and tell what each took and how far the rows agree."""
    for way in (plain, ours):
        way.encode(texts[:64])
    for start in range(0, len(texts), SLICE):
        for way in (plain, ours):
            way.run(texts[start : start + SLICE])
        print(f"{start + len(plain.rows[-1]):,} cards: {plain.cpu / ours.cpu:.2f} times less CPU", file=sys.stderr)
    agreement = (np.concatenate(plain.rows) * np.concatenate(ours.rows)).sum(axis=1)
    told = {
        name: {
            "cards_per_second": round(len(texts) / way.wall, 2),
            "cards_per_cpu_second": round(len(texts) / way.cpu, 2),
            "cpu_seconds": round(way.cpu, 2),
        }
        for name, way in (("plain", plain), ("ours", ours))
    }
    return told | {
        "times_faster": round(plain.wall / ours.wall, 2),
        "times_less_cpu": round(plain.cpu / ours.cpu, 2),
        "cosine_least": round(float(agreement.min()), 6),
        "cosine_mean": round(float(agreement.mean()), 6),
    }


def rank(rows: np.ndarray, pages: np.ndarray, prompts: np.ndarray) -> list[list[int]]:
    """Return the pages nearest to each prompt, each page by its best card."""
    nearest = []
    for scores in prompts @ rows.T:
        order = pages[np.argsort(-scores, kind="stable")]
        nearest.append(list(dict.fromkeys(order.tolist())))
    return nearest


def compare_rankings(pages: np.ndarray, queries: list[Query], plain: Way, ours: Way) -> dict[str, Any]:
    """Rank the cards for human prompts by both ways' rows: the first, the first ten, and what people chose."""
    prompts = np.asarray(plain.encode([plain_text(query.prompt) for query in queries]))
    first, second = (rank(np.concatenate(way.rows), pages, prompts) for way in (plain, ours))
    present = set(pages.tolist())
    known = [at for at, query in enumerate(queries) if query.gold & present]
    recall = {
        f"recall@{depth}": {
            name: round(float(np.mean([len(queries[at].gold & set(found[at][:depth])) > 0 for at in known])), 4)
            for name, found in (("plain", first), ("ours", second))
        }
        for depth in DEPTHS
    }
    return recall | {
        "prompts": len(queries),
        "prompts_whose_adapter_is_there": len(known),
        "shared_of_first_10": round(
            float(np.mean([len(set(a[:10]) & set(b[:10])) / 10 for a, b in zip(first, second, strict=True)])), 4
        ),
        "same_first": round(float(np.mean([a[0] == b[0] for a, b in zip(first, second, strict=True)])), 4),
    }


def cold(program: str) -> float:
    """Return the CPU seconds of a new interpreter that runs a program."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return round(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    folder = data_folder() / "civitai"
    parser.add_argument("--models", type=Path, default=folder / "models.jsonl.gz", help="a dump in Civitai's form")
    parser.add_argument("--choices", type=Path, default=folder / "human_choices_dev.jsonl", help="JSON Lines")
    parser.add_argument("--count", type=int, default=1000, help="cards to embed")
    parser.add_argument("--prompts", type=int, default=300, help="prompts to rank for; 0 leaves rankings out")
    parser.add_argument("--threads", type=int, help="torch's; all cores when not given")
    parser.add_argument("--json", action="store_true", help="print one JSON object last")
    options = parser.parse_args()

    import torch
    import transformers
    from sentence_transformers import SentenceTransformer

    transformers.utils.logging.disable_progress_bar()
    if options.threads:
        torch.set_num_threads(options.threads)
    network = SentenceTransformer(str(locate(MINILM)), device="cpu", model_kwargs={"use_safetensors": True})

    def encode(texts: list[str]) -> Any:
        return network.encode(texts, normalize_embeddings=True, show_progress_bar=False)

    plain, ours = Way(encode), Way(SentenceEmbedder(MINILM, device="cpu").embed)
    cards = noised(list(read_cards(options.models)), options.count)
    result: dict[str, Any] = {"cards": len(cards), "threads": torch.get_num_threads()}
    result |= compare([text for _, text in cards], plain, ours)
    result["load_average"] = round(os.getloadavg()[0], 1)
    if options.prompts:
        queries = read_queries(options.choices)
        queries = queries[:: max(1, len(queries) // options.prompts)][: options.prompts]
        result |= compare_rankings(np.array([page for page, _ in cards]), queries, plain, ours)
    text = "a fox in the snow, ink painting"
    result["one_prompt_cold_cpu_seconds"] = {
        "plain": cold(PLAIN.format(folder=str(locate(MINILM)), text=text)),
        "ours": cold(OURS.format(text=text)),
    }
    for name, value in result.items():
        print(f"{name:28} {value}")
    if options.json:
        print(json.dumps(result))


if __name__ == "__main__":
    main()
