"""Does a probe tell what the playground's adapters really are?

    python benchmarks/probe.py FOLDER [--steps 10] [--prompts FILE] [--people] [--json]

Makes the playground's library in a folder, probes every file that its model wears as `velatura probe --all` does
(48 pictures each; what is in the folder already is not painted again), and holds what is found against the library's
own table of what each file really is:

weights  how far the best weight lies from the one at which the file does what it was trained to, over good files;
         beside it the usual weight that the composer takes where nothing is known, for each share of the highest gain
         that could be called enough
people   with --people: how far single adapters' weights by each kind of evidence, and the usual one where there is
         none, lie from those that the writers of other prompts set (`benchmarks/weights.py` tells how that is judged)
flags    how often `no effect` stands at the files of noise and at no other, and `too strong` at the over-trained one
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import mean

import human_choices
import weights as people

from velatura import Velatura
from velatura.composer.weights import MOST, Usual, advise
from velatura.eval import probe as formulas
from velatura.playground.cards import HARMLESS, Truth, read_truth
from velatura.playground.library import GUIDANCE, find_weights, make_library
from velatura.probes import Grid
from velatura.records import Filter, Probe, RefinedAdapter
from velatura.settings import default_settings

ENOUGHS = (0.5, 0.6, 0.7, 0.75, 0.8, 0.9, 1.0)
NEAR = 0.25


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--prompts", type=Path)
    parser.add_argument("--people", action="store_true")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    weights = find_weights()
    loras = make_library(weights / "loras", given.folder)
    settings = default_settings(
        db=str(given.folder / "catalogue.db"),
        model=str(weights / "base"),
        picture_model=str(weights / "evaluator"),
        batch=8,
        laying="weights",
        steps=given.steps,
        guidance=GUIDANCE,
    )
    prompts = tuple(given.prompts.read_text("utf-8").splitlines()) if given.prompts else ()
    with Velatura(settings) as velatura:
        velatura.index(loras)
        started = time.process_time()
        numbers = distinct(velatura)
        velatura.probe(numbers, Grid(prompts=prompts))
        seconds = time.process_time() - started
        truth = read_truth()
        probes = velatura.store.probes(numbers)
        rows = [(truth[one.record.file_name or ""], probes[one.id][0]) for one in velatura.store.adapters(numbers)]
    told = {"load": os.getloadavg()[0], "seconds": round(seconds, 1), **flagged(rows), **weighed(rows)}
    if given.people:
        told |= by_evidence()
    if given.json:
        files = {really.file: asdict(really) | plain(found) for really, found in rows}
        sys.stdout.write(json.dumps(told | {"files": files}) + "\n")
        return
    for really, found in rows:
        show(really, found)
    for name, value in told.items():
        print(f"{name}: {value}")


def distinct(velatura: Velatura) -> list[int]:
    """Return the files that the playground's model wears; of copies and files saved anew the first alone."""
    numbers = velatura.store.select(Filter(family="miniature", installed=True)).tolist()
    truth = read_truth()
    records = velatura.store.adapters(numbers)
    return [one.id for one in records if truth[one.record.file_name or ""].trouble not in HARMLESS]


def flagged(rows: Sequence[tuple[Truth, Probe]]) -> dict[str, str]:
    """Return how often each flag stands where it should, and where it should not."""
    told = {}
    for flag, trouble in (("no effect", "noise"), ("too strong", "overtrained")):
        meant = [flag in found.flags for really, found in rows if really.trouble == trouble]
        others = [flag in found.flags for really, found in rows if really.trouble != trouble]
        told[flag] = f"{sum(meant)} of {len(meant)} found, {sum(others)} of {len(others)} flagged wrongly"
    return told


def weighed(rows: Sequence[tuple[Truth, Probe]]) -> dict[str, str]:
    """Return how far the best weights of good files lie from the true ones, for each share that may be enough."""
    good = [(really.full, found) for really, found in rows if really.trouble is None]
    usual = Usual().alone
    told = {f"usual weight {usual:g}": error([usual - full for full, _ in good], len(good))}
    kept = formulas.ENOUGH
    for enough in ENOUGHS:
        formulas.ENOUGH = enough  # type: ignore[misc]
        off = []
        for full, found in good:
            columns = ([getattr(one, name) for one in found.weights] for name in ("weight", "gain", "collapse"))
            best = formulas.best_weight(*columns)
            if found.best is not None and best is not None:
                off.append(best - full)
        told[f"best weight, {enough:g} enough{' (as it is)' if enough == kept else ''}"] = error(off, len(good))
    formulas.ENOUGH = kept  # type: ignore[misc]
    return told


def by_evidence() -> dict[str, str]:
    """Return the mean absolute error of weights by the evidence that there is, over prompts for one adapter."""
    folder = human_choices.data_folder()
    pages = people.read_pages(folder / "civitai" / "models.jsonl.gz")
    lines = (folder / "civitai" / "human_choices_dev.jsonl").read_text(encoding="utf-8").splitlines()
    errors: dict[str, list[float]] = {}
    for use in people.read_uses([json.loads(line) for line in lines], pages)[0]:
        if use.kind == "multi":
            continue
        known = [seen for seen in use.record.weights if 0 < abs(seen.weight) <= MOST]
        uses = sum(seen.source in people.USED for seen in known)
        kind = f"{min(uses, 4)} uses" + " and more" * (uses > 3) if uses else "advice" if known else "nothing known"
        weight = advise(RefinedAdapter(id=0, record=use.record)).weight
        errors.setdefault(kind, []).append(abs(weight - use.weight))
    return {f"people: {kind}": f"{mean(off):.3f} over {len(off)}" for kind, off in sorted(errors.items())}


def error(off: Sequence[float], of: int) -> str:
    near = sum(abs(one) <= NEAR + 1e-9 for one in off)
    return (
        f"{len(off)} of {of} told, mean absolute error {mean(map(abs, off)):.3f}, bias {mean(off):+.3f}, "
        f"{near} within {NEAR:g}, worst {max(map(abs, off)):.2f}"
    )


def plain(found: Probe) -> dict[str, object]:
    told = asdict(found)
    del told["direction"], told["model"], told["clip"]
    return told


def show(really: Truth, found: Probe) -> None:
    at = next(one for one in found.weights if one.weight == found.at)
    one = next(one for one in found.weights if one.weight == 1.0)
    best = "   -" if found.best is None else f"{found.best:4.2f}"
    value, low, high = found.consistency
    print(
        f"{really.file:32} {really.trouble or 'good':11} full {really.full:.1f} best {best}  "
        f"at {at.weight:4.2f}: change {at.change:5.2f}, consistency {value:5.2f} ({low:5.2f} to {high:4.2f}), "
        f"alignment {found.alignment:5.2f}; at 1: change {one.change:4.2f}, collapse {one.collapse:5.2f}  "
        f"{', '.join(found.flags)}"
    )


if __name__ == "__main__":
    main()
