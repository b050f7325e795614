"""What does each kind of evidence bring to the search?

    python benchmarks/ablation.py --db build/civitai.db

Leaves out one kind at a time, fits the coefficients anew as `fit_fusion.py` does, and prints recall of the held-out
folds. The words of a field left out are not searched; its vectors are where that is said.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice

import numpy as np
from fit_fusion import NAMES, Judged, show
from human_choices import add_arguments, open_catalogue, read_queries

from velatura.retriever.corpus import Corpus
from velatura.retriever.fusion import features, found
from velatura.retriever.lists import Lists, look
from velatura.syntax import plain_text

Change = Callable[[Corpus, Lists], Lists]


def less_words(*fields: str) -> Change:
    """Return what leaves the words of fields out of the sum."""

    def change(corpus: Corpus, lists: Lists) -> Lists:
        left = lists.words - corpus.lexicon.bm25(corpus.lexicon.ask(lists.query_words), fields)
        return replace(lists, words=np.where(left > 1e-9, left, 0.0))

    return change


def nothing(*names: str) -> Change:
    """Return what empties some lists."""

    def change(corpus: Corpus, lists: Lists) -> Lists:
        empty = {name: {} if name in ("triggers", "phrases") else np.zeros(len(corpus.lexicon)) for name in names}
        left = replace(lists, **empty)
        return replace(left, meaning=np.maximum(left.prompts, left.card))

    return change


def both(*changes: Change) -> Change:
    """Return what makes several changes."""

    def change(corpus: Corpus, lists: Lists) -> Lists:
        for one in changes:
            lists = one(corpus, lists)
        return lists

    return change


LEFT_OUT: dict[str, Change] = {
    "nothing": lambda _, lists: lists,
    "title": both(less_words("title"), nothing("title")),
    "trigger words": less_words("triggers"),
    "called triggers": nothing("triggers", "phrases", "coverage"),
    "triggers altogether": both(less_words("triggers"), nothing("triggers", "phrases", "coverage")),
    "tags": less_words("tags"),
    "names of file, version": less_words("names"),
    "description": less_words("description"),
    "prompts' words": both(less_words("prompts"), nothing("said")),
    "prompts' vectors": nothing("prompts"),
    "cards' vectors": nothing("card"),
    "all vectors": nothing("prompts", "card"),
    "prompts altogether": both(less_words("prompts"), nothing("said", "prompts")),
}


def tables(arguments: argparse.Namespace) -> Iterator[tuple[str, Judged]]:
    """Yield (what is left out, what is known of every page found) for each change."""
    queries = read_queries(arguments.choices, arguments.every)
    with open_catalogue(arguments) as velatura:
        corpus = Corpus(velatura.store, velatura.embedder)
        everything: dict[str, list[tuple[list[object], np.ndarray]]] = {name: [] for name in LEFT_OUT}
        remaining = iter(queries)
        while batch := list(islice(remaining, 32)):
            vectors = velatura.embedder.embed([plain_text(query.prompt) for query in batch])
            for query, vector in zip(batch, vectors, strict=True):
                lists = look(corpus, query.prompt, vector=vector)
                for name, change in LEFT_OUT.items():
                    changed = change(corpus, lists)
                    pages = found(corpus, changed, corpus.all)
                    names = [corpus.page_names[page] for page in pages.pages.tolist()]
                    table = features(corpus, changed, pages).table().astype(np.float32)
                    everything[name].append((names, table))
    for name in LEFT_OUT:
        yield name, Judged(queries, everything.pop(name))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser)
    arguments = parser.parse_args()
    result = {}
    for name, judged in tables(arguments):
        result[name] = judged.recall(judged.held_out(np.arange(len(NAMES))))
        show(f"without {name}", result[name])
    if arguments.json:
        print(json.dumps({"without": result}))


if __name__ == "__main__":
    main()
