"""Tell the category of pages whose authors tagged one, with that tag hidden, and print who was taken for what.

    python benchmarks/categories.py DUMP [--show GOLD TOLD] [--json]

The dump is anything that `velatura index` takes for Civitai. The first file of each page counts. Pages with tags of
two categories are left out; what authors tag is itself not always right.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from velatura.catalog import CivitaiDump
from velatura.categories import category_of, is_person
from velatura.protocols import Entry
from velatura.records import CATEGORIES, AdapterRecord

SITE = {
    **{name: name for name in CATEGORIES},
    "styles": "style", "poses": "pose", "buildings": "building", "objects": "object",
}  # fmt: skip
HIDDEN = {*SITE, "characters", "celebrities", "assets"}
NONE = "none"


def pages(dump: Path) -> Iterator[AdapterRecord]:
    """Yield the first record of each page."""
    seen = set()
    for offered in CivitaiDump(dump).entries():
        for record in offered.read() if isinstance(offered, Entry) else ():
            if isinstance(record, AdapterRecord) and record.model_id not in seen:
                seen.add(record.model_id)
                yield record


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dump", type=Path)
    parser.add_argument("--show", nargs=2, metavar=("GOLD", "TOLD"), help="also print the pages of one cell")
    parser.add_argument("--json", action="store_true", help="print one JSON object last")
    arguments = parser.parse_args()
    counts: Counter[tuple[str, str]] = Counter()
    untagged: Counter[str] = Counter()
    agreed, seconds = 0, 0.0
    for record in pages(arguments.dump):
        gold = {SITE[tag.casefold()] for tag in record.tags if tag.casefold() in SITE}
        hidden = replace(record, tags=tuple(tag for tag in record.tags if tag.casefold() not in HIDDEN))
        started = time.perf_counter()
        found = category_of(hidden)
        seconds += time.perf_counter() - started
        told = found.name if found is not None else NONE
        if not gold:
            untagged[told] += 1
        if len(gold) == 1:
            counts[min(gold), told] += 1
            seen = category_of(record)
            agreed += seen is not None and seen.name in gold
            if arguments.show == [min(gold), told]:
                print(f"{record.title}: {found.because if found is not None else 'nothing'}")
    show(counts, untagged, agreed, seconds)
    if arguments.json:
        print(json.dumps({f"{gold} as {told}": count for (gold, told), count in sorted(counts.items())}))


def show(counts: Counter[tuple[str, str]], untagged: Counter[str], agreed: int, seconds: float) -> None:
    """Print the table, a row for what authors tag."""
    told = [name for name in (*CATEGORIES, NONE) if any(counts[gold, name] for gold in CATEGORIES)]
    print(" " * 12 + "".join(f"{name[:7]:>8}" for name in told) + f"{'pages':>8}{'recall':>8}")
    for gold in CATEGORIES:
        if total := sum(counts[gold, name] for name in told):
            row = "".join(f"{counts[gold, name] or '.':>8}" for name in told)
            print(f"{gold:12}{row}{total:>8}{counts[gold, gold] / total:>8.2f}")
    sums = {name: sum(counts[gold, name] for gold in CATEGORIES) for name in told}
    print(f"{'precision':12}" + "".join(f"{counts[name, name] / sums[name]:>8.2f}" for name in told if name != NONE))
    whole = sum(counts.values())
    right = sum(counts[name, name] for name in CATEGORIES)
    persons = [count for (gold, name), count in counts.items() if is_person(gold) and is_person(name)]
    print(f"right {right / whole:.3f} of {whole}, with the tag to be seen {agreed / whole:.3f}")
    print(
        f"persons: recall {sum(persons) / sum(n for (gold, _), n in counts.items() if is_person(gold)):.3f}, "
        f"precision {sum(persons) / sum(n for (_, name), n in counts.items() if is_person(name)):.3f}"
    )
    print(f"pages without such a tag: {dict(untagged.most_common())}")
    print(f"{1000 * seconds / (whole + sum(untagged.values())):.3f} ms a record")


if __name__ == "__main__":
    main()
