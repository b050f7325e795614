"""The card of a dataset: `README.md`, with a front matter as hubs read it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Final

import yaml

from ..catalog.text import clean_line
from .manifest import Manifest
from .tally import Tally

_SIZES: Final = (
    (1_000, "n<1K"),
    (10_000, "1K<n<10K"),
    (100_000, "10K<n<100K"),
    (1_000_000, "100K<n<1M"),
    (10_000_000, "1M<n<10M"),
)
_SHOWN: Final = 20
_LONGEST: Final = 120
_MARKS: Final = re.compile(r"([!-/:-@\[-`{-~])")
_GATES: Final = {
    "image": "sell pictures",
    "rentcivit": "run on Civitai",
    "rent": "run on other sites",
    "sell": "sell the model",
}


def plain(text: str) -> str:
    r"""Return a foreign text for one line of Markdown, in which nothing of it is a mark, a link or HTML.

    >>> plain("<b>[x](http://y)|\n# z")
    '\\<b\\>\\[x\\]\\(http\\:\\/\\/y\\)\\| \\# z'
    """
    return _MARKS.sub(r"\\\1", clean_line(text, _LONGEST) or "?")


def card(manifest: Manifest, tally: Tally, kept_out: Sequence[str]) -> str:
    """Return the card.

    Args:
        manifest: The manifest, whose list of files need not be whole.
        tally: What the dataset holds.
        kept_out: In words, what was not let into it.
    """
    return "\n".join([
        "---",
        yaml.safe_dump(_front(tally), sort_keys=False, allow_unicode=True).strip(),
        "---",
        "",
        "# A refined catalogue of adapters",
        "",
        f"{tally.adapters:,} adapters for diffusion models: what each is, what it does, how it is called, under which "
        "licence. The adapters themselves are not in here; `url` says where each is to be had.",
        "",
        *_licences(tally),
        *_counts(tally, kept_out),
        *_vectors(manifest),
        *_loading(manifest),
    ])  # fmt: skip


def _front(tally: Tally) -> dict[str, object]:
    size = next((name for most, name in _SIZES if tally.adapters < most), "10M<n<100M")
    return {
        "pretty_name": "A refined catalogue of adapters",
        "license": "other",
        "license_name": "each-adapter-keeps-its-own",
        "task_categories": ["text-to-image"],
        "tags": ["velatura", "lora", "adapters", "stable-diffusion"],
        "size_categories": [size],
        "configs": [{"config_name": "adapters", "data_files": "adapters*.parquet"}],
    }


def _licences(tally: Tally) -> list[str]:
    named = [f"{plain(name)} {count:,}" for name, count in _ranked(tally.licences)]
    return [
        "## Licences",
        "",
        "Each adapter keeps its own licence, and what its page says of it is its author's. Each row tells it: "
        "`licence_name`, `licence_commercial` (the uses that are allowed; empty is none, null is not known and not a "
        "yes), `licence_no_credit`, `licence_derivatives`, `licence_different`.",
        "",
        "| commercial use | adapters |",
        "| --- | ---: |",
        *(
            f"| {name if name not in _GATES else f'{name}: {_GATES[name]}'} | {tally.uses[name]:,} |"
            for name in (*_GATES, "none", "not known")
            if tally.uses[name]
        ),
        "",
        f"By name: {', '.join(named)}.",
        "",
    ]


def _counts(tally: Tally, kept_out: Sequence[str]) -> list[str]:
    tables = {
        "family": tally.families,
        "kind": tally.kinds,
        "source": tally.sources,
        "most explicit rating": tally.ratings,
        "described by": tally.writers,
    }
    lines = ["## What is in it", ""]
    for title, counter in tables.items():
        lines += [f"| {title} | adapters |", "| --- | ---: |"]
        lines += [f"| {plain(name)} | {count:,} |" for name, count in _ranked(counter)]
        lines.append("")
    left_out = ["what is known to depict a minor, and what its source offers no more", *kept_out]
    return [*lines, f"Left out: {'; '.join(left_out)}.", ""]


def _vectors(manifest: Manifest) -> list[str]:
    if not manifest.embedded:
        return []
    return [
        "## Vectors",
        "",
        "Texts are known by their digests: column `passages` names those of an adapter, and the tensors `digests` and "
        "`vectors` of these files tell the vector of each. All are of length 1.",
        "",
        "| model | revision | numbers | vectors | file |",
        "| --- | --- | ---: | ---: | --- |",
        *(
            f"| {plain(one.model)} | {plain(one.revision)} | {one.dimension} | {one.vectors:,} | "
            f"`{one.files[0]}`{f' and {len(one.files) - 1} more' if len(one.files) > 1 else ''} |"
            for one in manifest.embedded
        ),
        "",
    ]


def _loading(manifest: Manifest) -> list[str]:
    lines = [
        "## Loading it",
        "",
        "Nothing in here can run: it is Parquet, safetensors, JSON and this page.",
        "",
        "```",
        "velatura dataset import . --db catalogue.db",
        "```",
        "",
        "```python",
        "from pathlib import Path",
        "",
        "import pandas",
        *(["from safetensors.numpy import load_file"] if manifest.embedded else []),
        "",
        'adapters = pandas.concat(map(pandas.read_parquet, sorted(Path().glob("adapters*.parquet"))))',
        'sellable = adapters[adapters.licence_commercial.map(lambda uses: uses is not None and "sell" in uses)]',
    ]
    if manifest.embedded:
        lines += [
            "",
            f'file = load_file("{manifest.embedded[0].files[0]}")',
            'rows = {bytes(digest).hex(): row for row, digest in enumerate(file["digests"])}',
            'first = adapters.passages.iloc[0][0]["digest"]',
            'vector = file["vectors"][rows[first]]',
        ]
    lines += ["", "# or: datasets.load_dataset(REPOSITORY), which reads the front matter above"]
    return [*lines, "```", ""]


def _ranked(counter: Counter[str]) -> list[tuple[str, int]]:
    """Return the commonest, then the alphabet; what is beyond twenty is one line."""
    ranked = sorted(counter.items(), key=lambda pair: (-pair[1], pair[0]))
    rest = sum(count for _, count in ranked[_SHOWN:])
    return [*ranked[:_SHOWN], *([("all others", rest)] if rest else [])]
