"""How near are advised weights to those that people laid adapters on at?

    python benchmarks/weights.py [--fit] [--json]

For every adapter of every prompt whose writer's own weight is known: the mean absolute error of each rule, by kind of
prompt, with a 95 % interval from resampling adapters. People name a page; of its versions the one is taken whose names,
triggers and examples hold most words of the prompt, of equal ones the newest. Evidence from a picture whose prompt is
the very prompt is left out, and how much that was is printed. In prompts for several adapters the budget is applied,
too.

With --fit, from the evidence on pages that no prompt asks for: what `Usual` holds, each author counting once; and from
the prompts for several adapters, split in five so that an adapter is in one part: the budget's bound.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from statistics import median

import numpy as np
from human_choices import KINDS, data_folder, mean

from velatura.catalog import open_source
from velatura.composer import budget
from velatura.composer.budget import Load, within_budget
from velatura.composer.weights import Usual, advise
from velatura.records import AdapterRecord, Choice, RefinedAdapter
from velatura.syntax import pinned, without_tags
from velatura.words import words

GRID = (0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 1.0)
BOUNDS = (1.4, 1.5, 1.6, 1.75, 1.9, 2.0, 2.25, 2.5)
USED = ("civitaiResources", "resources", "prompt")
FOLDS = 5
DRAWS = 1000
AUTHORS = 20
"""A category has a weight of its own where so many authors tell it, and ..."""
GAIN = 0.02
"""... where it brings the mean of its authors so much nearer."""


@dataclass(frozen=True, kw_only=True)
class Use:
    """An adapter, the prompt it was used for, and how a person laid it on."""

    prompt: int
    kind: str
    page: int
    record: AdapterRecord
    versions: tuple[AdapterRecord, ...]
    weight: float
    together: int

    def choice(self, weight: float) -> Choice:
        """Return it laid on at a weight."""
        return Choice(adapter=self.record, weight=weight, span="")


Pages = dict[int, list[AdapterRecord]]
Rule = Callable[[Use], float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    folder = data_folder() / "civitai"
    parser.add_argument("--models", type=Path, default=folder / "models.jsonl.gz", help="a dump in Civitai's form")
    parser.add_argument("--choices", type=Path, default=folder / "human_choices_dev.jsonl", help="JSON Lines")
    parser.add_argument("--fit", action="store_true", help="also print what the constants are taken from")
    parser.add_argument("--json", action="store_true", help="print one JSON object last")
    arguments = parser.parse_args()
    pages = read_pages(arguments.models)
    rows = [json.loads(row) for row in arguments.choices.read_text(encoding="utf-8").splitlines()]
    uses, dropped = read_uses(rows, pages)
    print(f"{len(uses)} weights of {len(rows)} prompts; {dropped} pieces of evidence are from the very prompt")
    result = {"weights": len(uses), "left_out": dropped, "all": judge(uses, "every weight")}
    plain = [use for use in uses if 0 < use.weight <= 2]
    result["plain"] = judge(plain, "weights above 0 and up to 2, which leaves out most sliders")
    result["budget"] = judge_budget(uses)
    if arguments.fit:
        asked = {item["model_id"] for row in rows for item in row["gold"]}
        result["usual"] = fit_usual(
            record for page, records in pages.items() if page not in asked for record in records
        )
        result["bound"] = fit_bound(uses)
    if arguments.json:
        print(json.dumps(result))


# ---------------------------------------------------------------- reading


def read_pages(path: Path) -> Pages:
    """Return the records of each page, the newest version first."""
    pages: Pages = defaultdict(list)
    for entry in open_source(path).entries():
        for record in entry.read() if hasattr(entry, "read") else ():
            if isinstance(record, AdapterRecord) and isinstance(record.model_id, int):
                pages[record.model_id].append(record)
    return pages


def read_uses(rows: Sequence[dict], pages: Pages) -> tuple[list[Use], int]:
    """Return the uses whose weight is known, and how much evidence was from the same prompt and is left out."""
    uses: list[Use] = []
    dropped = 0
    for number, row in enumerate(rows):
        for item in row["gold"]:
            if item["weight"] is None or item["model_id"] not in pages:
                continue
            cut = frozenset(words(without_tags(row["prompt"])))
            versions = [unseen(record, cut) for record in pages[item["model_id"]]]
            dropped += sum(
                len(before.weights) - len(after.weights)
                for before, after in zip(pages[item["model_id"]], versions, strict=True)
            )
            uses.append(
                Use(
                    prompt=number,
                    kind=row["kind"],
                    page=item["model_id"],
                    record=max(versions, key=lambda record: len(cut & vocabulary(record))),
                    versions=tuple(versions),
                    weight=item["weight"],
                    together=len(row["gold"]),
                )
            )
    return uses, dropped


def unseen(record: AdapterRecord, cut: frozenset[str]) -> AdapterRecord:
    """Return the record without the evidence of pictures that the prompt of these words made."""
    same = {
        example.image
        for example in record.examples
        if example.image and example.prompt and set(words(without_tags(example.prompt))) == cut
    }
    return replace(record, weights=tuple(seen for seen in record.weights if seen.image not in same)) if same else record


@cache
def vocabulary(record: AdapterRecord) -> frozenset[str]:
    """Return the words of what tells one version from another."""
    texts = [record.version_name or "", record.file_name or ""]
    texts += [phrase for group in record.triggers for phrase in group]
    texts += [without_tags(example.prompt) for example in record.examples if example.prompt]
    return frozenset(word for text in texts for word in words(text))


# ---------------------------------------------------------------- judging


def rules() -> dict[str, Rule]:
    """Return every rule by name."""

    def of(name: str, *, shared: bool = True) -> Rule:
        return lambda use: advise(_refined(use), use.together if shared else 1, name).weight

    return {
        "constant 0.8": lambda use: 0.8,
        "constant 0.9": lambda use: 0.9,
        "median of the card's evidence, else 0.8": lambda use: _median([use.record]),
        "median of all versions' evidence, else 0.8": lambda use: _median(use.versions),
        "Stylus, each adapter a task of its own": of("stylus", shared=False),
        "Stylus, all for one task": of("stylus"),
        "Stylus as released, a task of its own": of("stylus-released", shared=False),
        "Stylus as released, all for one task": of("stylus-released"),
        "ours": of("evidence"),
    }


def judge(uses: Sequence[Use], title: str) -> dict[str, dict[str, list[float]]]:
    """Print and return (error, low, high) of each rule by kind."""
    counts = ", ".join(f"{kind} {sum(use.kind == kind for use in uses)}" for kind in KINDS)
    print(f"\n{title} ({counts}): mean absolute error [95 %]")
    result = {}
    for name, rule in rules().items():
        errors = [abs(rule(use) - use.weight) for use in uses]
        result[name] = {kind: interval(uses, errors, kind) for kind in KINDS}
        print(f"  {name:43}", "  ".join(told(result[name][kind]) for kind in KINDS))
    return result


def interval(uses: Sequence[Use], errors: Sequence[float], kind: str) -> list[float]:
    """Return the mean of a kind's errors with a 95 % interval, drawing adapters with replacement."""
    by_page: dict[int, list[float]] = defaultdict(list)
    for use, error in zip(uses, errors, strict=True):
        if use.kind == kind:
            by_page[use.page].append(error)
    sums = np.array([(sum(found), len(found)) for found in by_page.values()])
    if not len(sums):
        return [0.0, 0.0, 0.0]
    generator = np.random.default_rng(0)
    drawn = sums[generator.integers(0, len(sums), (DRAWS, len(sums)))].sum(axis=1)
    low, high = np.quantile(drawn[:, 0] / drawn[:, 1], (0.025, 0.975))
    return [round(float(value), 4) for value in (sums[:, 0].sum() / sums[:, 1].sum(), low, high)]


def told(figures: Sequence[float]) -> str:
    return f"{figures[0]:.3f} [{figures[1]:.3f}, {figures[2]:.3f}]"


def _refined(use: Use) -> RefinedAdapter:
    return RefinedAdapter(id=0, record=use.record)


def _median(records: Iterable[AdapterRecord]) -> float:
    weights = [seen.weight for record in records for seen in record.weights]
    return median(weights) if weights else 0.8


# ---------------------------------------------------------------- the budget


def by_prompt(uses: Sequence[Use]) -> list[list[Use]]:
    """Return the uses of each prompt for several adapters."""
    found: dict[int, list[Use]] = defaultdict(list)
    for use in uses:
        if use.together > 1:
            found[use.prompt].append(use)
    return list(found.values())


def lowered(group: Sequence[Use], bound: float | None) -> list[float]:
    """Return the advised weights within the budget; partners whose own weight is unknown count, too."""
    choices = [use.choice(advise(_refined(use), use.together).weight) for use in group]
    choices += [group[0].choice(Usual().several)] * (group[0].together - len(group))
    kept = budget.BOUNDS["sd1"]
    try:
        budget.BOUNDS["sd1"] = kept if bound is None else bound
        laid = within_budget(choices, [Load()] * len(choices))
    finally:
        budget.BOUNDS["sd1"] = kept
    return [choice.weight for choice in laid[: len(group)]]


def judge_budget(uses: Sequence[Use]) -> dict[str, dict[str, float]]:
    """Print and return the errors of several together, before and after the budget, by how many they are."""
    print("\nseveral adapters in one prompt: error before and after the budget")
    result: dict[str, dict[str, float]] = {}
    groups = by_prompt(uses)
    for name, wanted in (("2", [2]), ("3 and more", range(3, 99)), ("all", range(2, 99))):
        mine = [group for group in groups if group[0].together in wanted]
        before = [abs(advise(_refined(use), use.together).weight - use.weight) for group in mine for use in group]
        after = errors_of(mine, None)
        result[name] = {"weights": len(after), "before": round(mean(before), 4), "after": round(mean(after), 4)}
        print(f"  {name:10}", "  ".join(f"{key} {value:g}" for key, value in result[name].items()))
    return result


def errors_of(groups: Sequence[Sequence[Use]], bound: float | None) -> list[float]:
    return [
        abs(weight - use.weight) for group in groups for use, weight in zip(group, lowered(group, bound), strict=True)
    ]


def fit_bound(uses: Sequence[Use]) -> dict[str, object]:
    """Print and return what people's own weights come to, the error by bound, and that of bounds chosen elsewhere."""
    groups = by_prompt(uses)
    print("\nwhat people's own weights come to, by how many they are (whole prompts; 50, 75, 90, 95 %)")
    totals: dict[int, list[float]] = defaultdict(list)
    for group in groups:
        if len(group) == group[0].together:
            choices = [use.choice(use.weight) for use in group]
            totals[len(group)].append(budget.total_of(choices, [Load()] * len(choices)))
    people = {
        count: [len(found), *np.quantile(found, (0.5, 0.75, 0.9, 0.95)).round(2).tolist()]
        for count, found in sorted(totals.items())
    }
    for count, (prompts, *figures) in people.items():
        print(f"  {count}: {prompts} prompts,", *figures)
    fold = {id(group): part % FOLDS for group, part in zip(groups, parts(groups), strict=True)}
    errors = {bound: [errors_of([group], bound) for group in groups] for bound in BOUNDS}
    whole = {bound: round(mean([error for found in errors[bound] for error in found]), 4) for bound in BOUNDS}
    chosen, held_out = [], []
    for number in range(FOLDS):
        mine = [at for at, group in enumerate(groups) if fold[id(group)] == number]
        rest = [at for at in range(len(groups)) if at not in set(mine)]
        best = min(BOUNDS, key=lambda bound: mean([error for at in rest for error in errors[bound][at]]))
        chosen.append(best)
        held_out += [error for at in mine for error in errors[best][at]]
    print("bound: error", whole, "chosen without each fold", chosen, f"held out {mean(held_out):.4f}")
    return {"people": people, "error": whole, "chosen": chosen, "held_out": round(mean(held_out), 4)}


def parts(groups: Sequence[Sequence[Use]]) -> list[int]:
    """Return a number for each prompt: the same for those that share an adapter, by however many others."""
    first: dict[int, int] = {}

    def root(page: int) -> int:
        while first.setdefault(page, page) != page:
            page = first[page]
        return page

    for group in groups:
        lowest = min(root(use.page) for use in group)
        for use in group:
            first[root(use.page)] = lowest
    return [root(group[0].page) for group in groups]


# ---------------------------------------------------------------- what is usual


def fit_usual(records: Iterable[AdapterRecord]) -> dict[str, dict[str, float]]:
    """Print and return, for pictures with one adapter, with several, and by category, the nearest weight."""
    by_name: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for record in records:
        count = {example.image: len(pinned(example.prompt or "")) for example in record.examples}
        used = [seen for seen in record.weights if seen.source in USED and 0 < seen.weight <= 2]
        for seen in used:
            by_name["several" if count.get(seen.image, 0) > 1 else "alone"][record.creator or ""].append(seen.weight)
        if used:
            for category in dict(Usual().categories) | {"style": 0, "character": 0, "concept": 0, "background": 0}:
                if category in record.tags:
                    by_name[category][record.creator or ""].append(median(seen.weight for seen in used))
    print(
        "\nwhat is usual on pages that no prompt asks for: the weight nearest to all authors' own, each counting once"
    )
    result = {}
    base = Usual().alone
    for name, authors in by_name.items():
        errors = {
            weight: mean([mean([abs(seen - weight) for seen in own]) for own in authors.values()]) for weight in GRID
        }
        best = min(errors, key=lambda weight: errors[weight])
        result[name] = {"authors": len(authors), "best": best, "error": errors[best], "at_usual": errors[base]}
        own = name in ("alone", "several") or (len(authors) >= AUTHORS and errors[base] - errors[best] >= GAIN)
        print(
            f"  {name:10} {best:g} (error {errors[best]:.3f}, at {base:g} {errors[base]:.3f}; {len(authors)} authors)",
            "" if own else "not told apart",
        )
    return result


if __name__ == "__main__":
    main()
