"""The prompts whose writers' own choice of adapters is known, and the catalogue that they are asked of."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from velatura import Velatura
from velatura.settings import load_settings

KINDS = ("trigger", "no_trigger", "multi")
"""The prompt holds a trigger word of the adapter; it holds none; it needs several adapters."""


@dataclass(frozen=True)
class Query:
    """One prompt and the page ids of the adapters that its writer used."""

    prompt: str
    kind: str
    gold: frozenset[int]


def data_folder() -> Path:
    """Return the folder of real data: VELATURA_REAL_DATA, or `shared/data` beside the repository."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    return Path(os.environ.get("VELATURA_REAL_DATA", beside))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what every benchmark over human choices takes."""
    folder = data_folder() / "civitai"
    parser.add_argument("--models", type=Path, default=folder / "models.jsonl.gz", help="a dump in Civitai's form")
    parser.add_argument("--choices", type=Path, default=folder / "human_choices_dev.jsonl", help="JSON Lines")
    parser.add_argument("--db", required=True, help="the catalogue; made and embedded when it is not there")
    parser.add_argument("--every", type=int, default=1, help="take every n-th prompt")
    parser.add_argument("--json", action="store_true", help="print one JSON object last")


def read_queries(path: Path, every: int = 1) -> list[Query]:
    """Read the prompts in order."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [
        Query(prompt=row["prompt"], kind=row["kind"], gold=frozenset(item["model_id"] for item in row["gold"]))
        for row in rows[::every]
    ]


def open_catalogue(arguments: argparse.Namespace, **settings: object) -> Velatura:
    """Open the catalogue so that nothing changes it; one that is not there is indexed and embedded before."""
    if not Path(arguments.db).exists():
        with Velatura.open(db=arguments.db) as velatura:
            velatura.index(arguments.models)
            velatura.embed()
    return Velatura(load_settings(db=arguments.db, **settings), read_only=True)


def mean(values: Sequence[float]) -> float:
    """Return the mean, 0 of nothing."""
    return sum(values) / len(values) if values else 0.0
