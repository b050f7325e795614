"""What is laid on for prompts that nobody wrote for these adapters?

    python benchmarks/captions.py --db build/civitai.db --prompts PartiPrompts.tsv [--show 60 --seed 0]

Composes each prompt alone, in a process that stays, and prints picks a prompt, how many prompts have none, how often
which category and which adapters are laid on, and how long it took. A caption of a photograph asks for hardly any of
the adapters that people share, so that few picks are good here, and right ones can only be told by reading them: with
--show N, N compositions drawn by --seed are printed with their weights and reasons. One thread is used.

Files are read by what their columns are called (`prompt`, `caption` or `text`, and `category` of the prompt where there
is one), separated by tabs, or by commas in `.csv`; any other file has a prompt a line.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import random
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from human_choices import mean

from velatura import Velatura
from velatura.categories import category_of
from velatura.records import AdapterRecord, Composition, Filter
from velatura.settings import load_settings

SEPARATORS = {".tsv": "\t", ".csv": ","}
COLUMNS = ("prompt", "caption", "text")
CATEGORY = "category"
MOST_USED = 15
WARMING = 5


@dataclass(frozen=True)
class Caption:
    """One prompt, and what its file says that it is about."""

    prompt: str
    category: str | None = None


@dataclass(frozen=True)
class Composed:
    """A caption's composition and how long it took."""

    caption: Caption
    composition: Composition
    seconds: float


def read_captions(path: Path, most: int | None = None) -> list[Caption]:
    """Read the first prompts of a file, in order; see above for its forms."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(islice(_captions(file, SEPARATORS.get(path.suffix), path), most))


def _captions(lines: Iterable[str], separator: str | None, path: Path) -> Iterable[Caption]:
    if separator is None:
        yield from (Caption(line.strip()) for line in lines if line.strip())
        return
    table = csv.DictReader(lines, delimiter=separator)
    named = {name.lower(): name for name in table.fieldnames or ()}
    column = next((named[name] for name in COLUMNS if name in named), None)
    if column is None:
        raise SystemExit(f"{path} has no column called {', '.join(COLUMNS[:-1])} or {COLUMNS[-1]}")
    for row in table:
        if row[column]:
            yield Caption(row[column].strip(), row[named[CATEGORY]] if CATEGORY in named else None)


def percentiles(seconds: Sequence[float]) -> dict[str, float]:
    """Return p50, p95 and p99 in milliseconds."""
    return {f"p{part}": round(float(np.percentile(seconds, part)) * 1000, 1) for part in (50, 95, 99)}


def category(record: AdapterRecord) -> str:
    """Return what an adapter is for."""
    found = category_of(record)
    return found.name if found is not None else "unknown"


def compose(velatura: Velatura, captions: Sequence[Caption], wanted: Filter) -> list[Composed]:
    """Compose each caption alone; the first ones once more before, so that everything is open."""
    for caption in captions[:WARMING]:
        velatura.compose(caption.prompt, filter=wanted)
    composed = []
    for caption in captions:
        started = time.perf_counter()
        composition = velatura.compose(caption.prompt, filter=wanted)
        composed.append(Composed(caption, composition, time.perf_counter() - started))
    return composed


def judge(composed: Sequence[Composed]) -> dict[str, object]:
    """Return the figures of a file."""
    picks = [len(one.composition.choices) for one in composed]
    laid = [choice.adapter for one in composed for choice in one.composition.choices]
    titles = {record.model_id or record.key: record.title for record in laid}
    used = Counter(record.model_id or record.key for record in laid)
    by_category: dict[str, list[int]] = defaultdict(list)
    for one, count in zip(composed, picks, strict=True):
        if one.caption.category is not None:
            by_category[one.caption.category].append(count)
    return {
        "prompts": len(composed),
        "picks": round(mean(picks), 3),
        "none": round(mean([float(count == 0) for count in picks]), 4),
        "how_many": dict(sorted(Counter(picks).items())),
        "categories": dict(Counter(map(category, laid)).most_common()),
        "adapters": len(used),
        "most_used": [[titles[page], count] for page, count in used.most_common(MOST_USED)],
        "milliseconds": percentiles([one.seconds for one in composed]),
        "by_prompt_category": {
            name: {
                "prompts": len(counts),
                "picks": round(mean(counts), 3),
                "none": round(mean([float(count == 0) for count in counts]), 3),
            }
            for name, counts in sorted(by_category.items())
        },
    }


def show(one: Composed) -> None:
    """Print a composition for reading."""
    print(f"\n{one.caption.prompt}")
    print(f"    asks for: {' | '.join(one.composition.tasks)}")
    for choice in one.composition.choices:
        print(f"  + {choice.adapter.title} ({category(choice.adapter)}) {choice.weight:g} for “{choice.span}”")
        print(f"      {choice.reason}")
        if choice.triggers:
            print(f"      adds: {', '.join(choice.triggers)}")
    for note in one.composition.notes:
        print(f"  ! {note}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--db", required=True, help="a catalogue, indexed and embedded; it is not changed")
    parser.add_argument("--prompts", type=Path, required=True, help="a file of prompts")
    parser.add_argument("--most", type=int, help="take so many of them, the first")
    parser.add_argument("--family", help="only adapters that a model of this base family wears, such as sd1")
    parser.add_argument("--show", type=int, default=0, metavar="N", help="print N compositions")
    parser.add_argument("--seed", type=int, default=0, help="which ones")
    parser.add_argument("--json", action="store_true", help="print one JSON object last")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    captions = read_captions(arguments.prompts, arguments.most)
    with Velatura(load_settings(db=arguments.db, resident=True), read_only=True) as velatura:
        composed = compose(velatura, captions, Filter(family=arguments.family))
    for one in random.Random(arguments.seed).sample(composed, min(arguments.show, len(composed))):
        show(one)
    result = judge(composed) | {"load": round(os.getloadavg()[0], 2)}
    print(f"\n{arguments.prompts.name}" + (f", family {arguments.family}" if arguments.family else ""))
    for name, value in result.items():
        if name == "by_prompt_category" and isinstance(value, dict):
            for each, figures in value.items():
                print(f"  {each:22}", "  ".join(f"{figure} {number:g}" for figure, number in figures.items()))
        else:
            print(f"  {name:22}", value)
    if arguments.json:
        print(json.dumps(result | {"file": arguments.prompts.name, "family": arguments.family}))


if __name__ == "__main__":
    main()
