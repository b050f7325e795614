"""Does the built-in composer lay on what a person laid on?

    python benchmarks/composition.py --db build/civitai.db [--captions mlperf_coco2014_5k.tsv] [--parts choices ...]

Prints, in one run over prompts whose writers' own choice is known, by kind of prompt and over all:

choices  the share of the writer's adapters that are laid on (recall), the share of what is laid on that the writer used
         (precision), picks a prompt, and the share of prompts with no pick; with the defaults, after conflicts are
         repaired, with other settings, less one rule at a time, and beside what only searches: the best of our search,
         Stylus's "Retriever-only" (the three nearest cards) and three at random. The defaults' 95 % intervals are from
         resampling prompts. With --captions, picks for prompts that nobody wrote for these adapters stand beside.
absent   what is laid on although the writer's adapters are not there: the prompts are dealt to eight, and each eighth
         is composed over a copy of the catalogue from which the pages of all of its adapters are deleted, so that
         neither ranks nor rarities know of them. Copies of them on other pages stay.
cost     the time that choosing adds to painting, one prompt at a time on one thread, and the tokens of the language
         model's question.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from captions import Caption, percentiles, read_captions
from human_choices import KINDS, Query, add_arguments, mean, open_catalogue, read_queries

from velatura import Candidate, Velatura
from velatura.composer import builtin
from velatura.composer.builtin import BuiltinComposer
from velatura.composer.cards import estimated_tokens
from velatura.composer.llm import FORM, INSTRUCTIONS, question
from velatura.composer.spans import Mention, Spoken
from velatura.db.words import COLUMNS
from velatura.records import Filter, RefinedAdapter
from velatura.settings import default_settings
from velatura.syntax import plain_text

PARTS = ("choices", "absent", "cost")
GOALS = {"trigger": 0.88, "no_trigger": 0.34, "multi": 0.48}
GOAL_PICKS, GOAL_SECONDS, GOAL_TOKENS = 2.2, 0.15, 4000
STYLUS = {"COCO": {"picks": 2.16, "none": 0.051}, "PartiPrompts": {"picks": 1.88, "none": 0.115}}
"""What Stylus's own composer laid on, counted in the choices that its authors published."""
SETTINGS: dict[str, tuple[float, ...]] = {
    "least": (0.05, 0.07, 0.1, 0.2, 0.4),
    "per_task": (1, 2, 3),
    "most": (1, 2, 3, 5),
}
RETRIEVER_ONLY = "the 3 nearest cards (Stylus's Retriever-only)"
FOLDS = 8
DRAWS = 2000
TIMED, TOLD, WARMING, COLD = 300, 100, 5, 5

Pages = frozenset[Any]
Way = Callable[[str, Sequence[Candidate]], Pages]
"""Chooses pages for a prompt among what the search found."""
Row = tuple[int, int, int]
"""Of one prompt: adapters of the writer's that were laid on, all that were laid on, all of the writer's."""


def pages(candidates: Iterable[Candidate]) -> Pages:
    return frozenset(candidate.adapter.record.model_id for candidate in candidates)


def counted(query: Query, laid: Pages) -> Row:
    return len(laid & query.gold), len(laid), len(query.gold)


def composing(**settings: Any) -> Way:
    """Return the built-in composer with some settings."""
    composer = BuiltinComposer(**settings)
    return lambda prompt, candidates: pages(pick.candidate for pick in composer.pick(prompt, candidates).picks)


# ---------------------------------------------------------------- rules left out

_category, _mention = builtin.category_for, builtin.mention


def untooled(adapter: RefinedAdapter) -> str | None:
    """Take a tool for a style, which it competes with in any case."""
    found = _category(adapter)
    return "style" if found == "tool" else found


def near_enough(candidate: Candidate, spoken: Spoken) -> Mention:
    """Take every example of what nothing names for a near one, and for none that draws somebody by the looks."""
    found = _mention(candidate, spoken)
    return found if found.is_named else replace(found, near=max(builtin._NEAR, found.near))


RULES: dict[str, dict[str, object]] = {
    "a certain person only when named": {"names_somebody": lambda *_: True},
    "a tool only when named": {"category_for": untooled},
    "what nothing names only by a near example": {"mention": near_enough},
    "a word that means another thing": {"other_thing": lambda *_: None},
    "same words, same kind: compete": {"_mates": lambda *_: []},
    "alternatives must be about as likely": {"_MATE": 0.0},
    "what examples show needs half as much": {"_SHOWN": 1.0},
}
"""What of `velatura.composer.builtin` is replaced to leave a rule out."""


@contextmanager
def replaced(names: dict[str, object]) -> Iterator[None]:
    kept = {name: getattr(builtin, name) for name in names}
    try:
        for name, other in names.items():
            setattr(builtin, name, other)
        yield
    finally:
        for name, own in kept.items():
            setattr(builtin, name, own)


def composing_without(rule: str) -> Way:
    def choose(prompt: str, candidates: Sequence[Candidate]) -> Pages:
        with replaced(RULES[rule]):
            return composing()(prompt, candidates)

    return choose


# ---------------------------------------------------------------- choices


def figures(rows: Sequence[Row]) -> dict[str, float]:
    hits, picks, golds = np.array(rows).reshape(-1, 3).sum(axis=0).tolist()
    return {
        "recall": round(hits / golds, 4) if golds else 0.0,
        "precision": round(hits / picks, 4) if picks else 0.0,
        "picks": round(mean([row[1] for row in rows]), 3),
        "none": round(mean([float(row[1] == 0) for row in rows]), 4),
    }


def intervals(rows: Sequence[Row], seed: int = 0) -> dict[str, list[float]]:
    """Return 95 % intervals of recall, precision and picks, prompts drawn anew."""
    table = np.array(rows, float)
    drawn = np.random.default_rng(seed).multinomial(len(table), np.full(len(table), 1 / len(table)), DRAWS) @ table
    hits, picks, golds = drawn.T
    drawn_figures = {"recall": hits / golds, "precision": hits / np.maximum(picks, 1), "picks": picks / len(table)}
    return {name: np.percentile(drawn, (2.5, 97.5)).round(3).tolist() for name, drawn in drawn_figures.items()}


def told(kind: str, values: dict[str, float]) -> str:
    return f"  {kind:10} " + "  ".join(f"{name} {value:.3f}" for name, value in values.items())


def by_kind(queries: Sequence[Query], rows: Sequence[Row]) -> dict[str, list[Row]]:
    mine = {kind: [row for query, row in zip(queries, rows, strict=True) if query.kind == kind] for kind in KINDS}
    return {kind: each for kind, each in mine.items() if each} | {"all": list(rows)}


def named(name: str, value: float) -> str:
    usual = default_settings()
    return f"{name} {value:g}" + (" (default)" if value == getattr(usual, name) else "")


def ways(velatura: Velatura) -> dict[str, Way]:
    """Return what chooses among the candidates of our search."""
    allowed = frozenset(velatura.store.select(Filter()).tolist())
    known = sorted(set(velatura.store.pages().values()), key=str)

    def composed(prompt: str, candidates: Sequence[Candidate]) -> Pages:
        composition = velatura.composing.compose(prompt, candidates, allowed)
        return frozenset(choice.adapter.model_id for choice in composition.choices)

    return {
        "default": composing(),
        "default, conflicts repaired": composed,
        **{named(name, value): composing(**{name: value}) for name, values in SETTINGS.items() for value in values},
        **{f"without: {rule}": composing_without(rule) for rule in RULES},
        "the best of our search": lambda _, candidates: pages(candidates[:1]),
        "the best 3 of our search": lambda _, candidates: pages(candidates[:3]),
        "3 at random": lambda prompt, _: frozenset(random.Random(prompt).sample(known, 3)),
    }


def judge_choices(velatura: Velatura, queries: Sequence[Query], captions: Sequence[Caption]) -> dict[str, Any]:
    """Print and return what each way lays on."""
    prompts = [query.prompt for query in queries]
    rows: dict[str, list[Row]] = {}

    chosen = ways(velatura)
    found = velatura.retriever.search_all(prompts, None, velatura.composing.reads)
    for query, candidates in zip(queries, found, strict=True):
        for name, way in chosen.items():
            rows.setdefault(name, []).append(counted(query, way(query.prompt, candidates)))
    nearest = velatura.retriever.search_all(prompts, None, 3, "dense")
    for query, candidates in zip(queries, nearest, strict=True):
        rows.setdefault(RETRIEVER_ONLY, []).append(counted(query, pages(candidates)))
    beside: dict[str, list[int]] = {name: [] for name in chosen}
    found = velatura.retriever.search_all((one.prompt for one in captions), None, velatura.composing.reads)
    for caption, candidates in zip(captions, found, strict=True):
        for name, way in chosen.items():
            beside[name].append(len(way(caption.prompt, candidates)))

    print(f"{len(queries)} prompts; goals: recall {GOALS} at no more than {GOAL_PICKS} picks")
    result: dict[str, Any] = {}
    for name, mine in rows.items():
        result[name] = {kind: figures(each) for kind, each in by_kind(queries, mine).items()}
        if beside.get(name):
            none = mean([float(count == 0) for count in beside[name]])
            result[name]["captions"] = {"picks": round(mean(beside[name]), 3), "none": round(none, 4)}
        print("\n".join([name, *(told(kind, values) for kind, values in result[name].items())]))
    spread = {kind: intervals(mine) for kind, mine in by_kind(queries, rows["default"]).items()}
    print("95 % intervals of the default")
    for kind, each in spread.items():
        print(f"  {kind:10}", "  ".join(f"{figure} {low:.3f}-{high:.3f}" for figure, (low, high) in each.items()))
    return {"ways": result, "intervals": spread}


# ---------------------------------------------------------------- absent


def judge_absent(arguments: argparse.Namespace, queries: Sequence[Query]) -> dict[str, Any]:
    """Print and return what is laid on where the writer's own adapters are not in the catalogue."""
    rows: list[tuple[Query, Row]] = []
    way = composing()
    with tempfile.TemporaryDirectory() as folder:
        for fold in range(FOLDS):
            mine = queries[fold::FOLDS]
            arguments_of = argparse.Namespace(db=str(Path(folder) / f"{fold}.db"))
            copy_without(arguments.db, arguments_of.db, {page for query in mine for page in query.gold})
            with open_catalogue(arguments_of, resident=True) as velatura:
                found = velatura.retriever.search_all((query.prompt for query in mine), None, velatura.composing.reads)
                for query, candidates in zip(mine, found, strict=True):
                    rows.append((query, counted(query, way(query.prompt, candidates))))
            for left in Path(folder).iterdir():
                left.unlink()
    kinds = by_kind([query for query, _ in rows], [row for _, row in rows])
    result = {kind: {name: figures(mine)[name] for name in ("picks", "none")} for kind, mine in kinds.items()}
    print("\nlaid on although the writer's adapters are not there")
    print("\n".join(told(kind, values) for kind, values in result.items()))
    print("  Stylus's own composer:", STYLUS)
    return result


def copy_without(path: str, target: str, gone: Iterable[int]) -> None:
    """Copy a catalogue and delete pages from the copy: their words, vectors and records."""
    source = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    copy = sqlite3.connect(target)
    source.backup(copy)
    source.close()
    copy.execute("PRAGMA foreign_keys = ON")
    for page in gone:
        numbers = [(number,) for (number,) in copy.execute("SELECT id FROM adapter WHERE model_id = ?", (str(page),))]
        for column in COLUMNS:
            copy.executemany(f"DELETE FROM words_{column} WHERE rowid = ?", numbers)
        copy.executemany("DELETE FROM adapter WHERE id = ?", numbers)
    copy.commit()
    copy.close()


# ---------------------------------------------------------------- cost


def evenly(queries: Sequence[Query], count: int) -> list[str]:
    return [query.prompt for query in queries[:: max(1, len(queries) // count)]][:count]


def judge_cost(arguments: argparse.Namespace, queries: Sequence[Query]) -> dict[str, Any]:
    """Print and return the time of choosing, and the tokens that a language model would read."""
    print(f"\nload of the machine {os.getloadavg()[0]:.2f}; goal: less than {GOAL_SECONDS * 1000:.0f} ms")
    result: dict[str, Any] = {"load": round(os.getloadavg()[0], 2)}
    for name, resident in (("a process that stays", True), ("the same, not resident", False)):
        with open_catalogue(arguments, resident=resident) as velatura:
            result[name] = timed(velatura, evenly(queries, TIMED))
        for what, parts in result[name].items():
            print(f"  {name}, {what}:", "  ".join(f"{part} {value:.1f} ms" for part, value in parts.items()))
    result["cold"] = cold(arguments.db, evenly(queries, COLD))
    print(f"  a new process, `velatura compose`: {result['cold']}")
    with open_catalogue(arguments) as velatura:
        result["tokens"] = tokens(velatura, evenly(queries, TOLD))
    print(f"  the language model's question, goal less than {GOAL_TOKENS} tokens: {result['tokens']}")
    return result


def timed(velatura: Velatura, prompts: Sequence[str]) -> dict[str, dict[str, float]]:
    """Return milliseconds of search and composing, one prompt at a time."""
    for prompt in prompts[:WARMING]:
        next(velatura.compose_all([prompt]))
    wall, processor = [], []
    for prompt in prompts:
        started, busy = time.perf_counter(), time.process_time()
        next(velatura.compose_all([prompt]))
        wall.append(time.perf_counter() - started)
        processor.append(time.process_time() - busy)
    return {"wall": percentiles(wall), "processor": percentiles(processor)}


def cold(db: str, prompts: Sequence[str]) -> dict[str, float]:
    """Return seconds of the command in a new process, the median of some."""
    wall, busy = [], []
    for prompt in prompts:
        before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        command = [sys.executable, "-m", "velatura", "compose", prompt, "--db", db, "--json"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        wall.append(time.perf_counter() - started)
        busy.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return {"wall_s": round(median(wall), 2), "processor_s": round(median(busy), 2)}


def tokens(velatura: Velatura, prompts: Sequence[str]) -> dict[str, float]:
    """Return what is asked of a language model for a prompt: tokens as estimated, and at four characters each."""
    estimates, quarters, shown = [], [], []
    for prompt, found in zip(
        prompts, velatura.retriever.search_all(prompts, None, velatura.composing.reads), strict=True
    ):
        asked, cards = question(plain_text(prompt), found)
        whole = [INSTRUCTIONS, json.dumps(FORM), asked]
        estimates.append(sum(map(estimated_tokens, whole)))
        quarters.append(sum(map(len, whole)) / 4)
        shown.append(cards)
    return {
        "estimated": round(mean(estimates)),
        "estimated_most": max(estimates),
        "characters_by_4": round(mean(quarters)),
        "cards": round(mean(shown), 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser)
    parser.add_argument("--captions", type=Path, help="a file of prompts, as captions.py reads them")
    parser.add_argument("--most-captions", type=int, default=500, help="take so many of them, the first")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, help="what is measured")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    queries = read_queries(arguments.choices, arguments.every)
    result: dict[str, Any] = {"prompts": len(queries), "goals": GOALS | {"picks": GOAL_PICKS}, "stylus": STYLUS}
    if "choices" in arguments.parts:
        captions = read_captions(arguments.captions, arguments.most_captions) if arguments.captions else []
        with open_catalogue(arguments, resident=True) as velatura:
            result["choices"] = judge_choices(velatura, queries, captions)
    if "absent" in arguments.parts:
        result["absent"] = judge_absent(arguments, queries)
    if "cost" in arguments.parts:
        result["cost"] = judge_cost(arguments, queries)
    if arguments.json:
        print(json.dumps(result))


if __name__ == "__main__":
    main()
