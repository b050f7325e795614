"""A large catalogue made of a small one: its adapters, and copies of them that are adapters of their own.

First come the adapters as they are, then copies of them, round after round, drawn from a seed. In each round the
versions of a page stay versions of one page, which gets an own made-up word. A copy has

- the keys and ids of its round, a SHA-256 of its own and no other hash, and its creator's name with the round's number;
- one word of the page's title replaced by one of another adapter's title;
- in each trigger phrase that calls one page alone, one word replaced by the page's own, in its prompts and description
  too; phrases that call several pages stay, so that common ones become commoner;
- three words in ten of the example prompts and of the description replaced by words of the same field of another
  adapter, one for each text; tags stay;
- the original's vectors, card and example prompts, with noise as in `scale.py`.
"""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from velatura.protocols import Entry
from velatura.records import AdapterRecord, Example, Hashes

KEPT, OTHER = "sdxl", "sd1"
"""The base that a filter keeps, and that of all others."""
EXCHANGED = 0.3


@dataclass
class Pages:
    """A source that offers records page by page."""

    pages: list[tuple[str, list[AdapterRecord]]]
    name: str = "civitai"
    scope: str = "scale"
    complete: bool = False

    def entries(self) -> Iterator[Entry]:
        """Offer every page."""
        for locator, records in self.pages:
            yield Entry(locator=locator, stamp="1", read=partial(list, records))


class Copier:
    """Makes adapters that are like the real ones and none of them."""

    def __init__(self, records: Sequence[AdapterRecord], keep: float) -> None:
        self._keep = keep
        self._titles = [record.title.split() or ["untitled"] for record in records]
        self._said = [
            cut for record in records if (cut := " ".join(example.prompt or "" for example in record.examples).split())
        ]
        self._told = [cut for record in records if (cut := (record.description or "").split())]
        pages: dict[str, set[Any]] = {}
        for record in records:
            for phrase in (phrase for group in record.triggers for phrase in group):
                pages.setdefault(phrase, set()).add(record.model_id)
        self._alone = {phrase for phrase, owners in pages.items() if len(owners) == 1}

    def page(self, records: Sequence[AdapterRecord], copy: int) -> list[AdapterRecord]:
        """Return the versions of a page as those of its copy; copy 0 is the page itself, on a base dealt to it."""
        chance = random.Random(f"{records[0].model_id} {copy}")
        family = KEPT if chance.random() < self._keep else OTHER
        if not copy:
            return [replace(record, family=family) for record in records]
        own = "".join(chance.choice("bdfgklmnprstvz") + chance.choice("aeiou") for _ in range(4)) + str(copy)
        place, word = chance.random(), chance.choice(chance.choice(self._titles))
        phrases = {
            phrase: _with_word(phrase, chance.random(), own)
            for record in records
            for group in record.triggers
            for phrase in group
            if phrase in self._alone
        }
        return [
            self._record(record, copy, chance, family, phrases, _with_word(record.title, place, word))
            for record in records
        ]

    def _record(
        self,
        record: AdapterRecord,
        copy: int,
        chance: random.Random,
        family: str,
        phrases: dict[str, str],
        title: str,
    ) -> AdapterRecord:
        def spoken(text: str | None, others: list[list[str]]) -> str | None:
            if text is None:
                return None
            for phrase, mine in phrases.items():
                text = text.replace(phrase, mine)
            other = chance.choice(others)
            return " ".join(chance.choice(other) if chance.random() < EXCHANGED else word for word in text.split(" "))

        examples = tuple(
            Example(
                image=example.image,
                prompt=spoken(example.prompt, self._said),
                negative=example.negative,
                nsfw=example.nsfw,
            )
            for example in record.examples
        )
        key = f"{record.key}-{copy}"
        return replace(
            record,
            key=key,
            title=title,
            model_id=f"{record.model_id}-{copy}",
            version_id=f"{record.version_id}-{copy}",
            file_id=f"{record.file_id}-{copy}",
            creator=f"{record.creator}{copy}",
            hashes=Hashes(sha256=sha256(key.encode()).hexdigest()),
            fingerprint=None,
            family=family,
            triggers=tuple(tuple(phrases.get(phrase, phrase) for phrase in group) for group in record.triggers),
            examples=examples,
            description=spoken(record.description, self._told),
        )


def _with_word(text: str, place: float, word: str) -> str:
    """Return a text with another word at a place, 0 to 1."""
    cut = text.split() or [""]
    cut[int(place * len(cut))] = word
    return " ".join(cut)


@dataclass
class Later:
    """Adapters that come when the catalogue is there already."""

    pages: list[tuple[str, list[AdapterRecord]]]
    keys: dict[str, int]
    vectors: tuple[np.ndarray, np.ndarray, np.ndarray]
    """(place, field, vector) of their passages; the places are those that `keys` tells."""


class Dealer:
    """Deals out the pages of the catalogue that is made, round by round, and remembers which copy is which."""

    def __init__(self, records: Sequence[AdapterRecord], keep: float) -> None:
        self._copier = Copier(records, keep)
        self._count = len(records)
        self._together: dict[str, list[tuple[int, AdapterRecord]]] = {}
        for place, record in enumerate(records):
            self._together.setdefault(str(record.model_id), []).append((place, record))

    def round(self, copy: int, count: int, keys: dict[str, int]) -> list[tuple[str, list[AdapterRecord]]]:
        """Return (name, versions) of the pages of a round's first adapters, and add the place of each by its key."""
        pages = []
        for page, members in self._together.items():
            places = [place for place, _ in members if place < count]
            if places:
                versions = self._copier.page([record for place, record in members if place < count], copy)
                keys.update((one.key, copy * self._count + at + 1) for one, at in zip(versions, places, strict=True))
                pages.append((f"{page}-{copy}", versions))
        return pages


def encoder_of(path: str | Path) -> dict[str, str]:
    """Return the model whose vectors a catalogue has."""
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    model, revision = connection.execute("SELECT model, revision FROM encoder").fetchone()
    connection.close()
    return {"model": model, "revision": revision}


def fill(
    path: Path,
    encoder: dict[str, str],
    keys: dict[str, int],
    owners: np.ndarray,
    fields: np.ndarray,
    rows: np.ndarray,
) -> None:
    """Write the vectors of adapters that are there already."""
    connection = sqlite3.connect(path)
    number_of = {keys[key]: number for number, key in connection.execute("SELECT id, key FROM adapter") if key in keys}
    connection.execute(
        "INSERT INTO encoder (model, revision, dimension, stamp) VALUES (?, ?, ?, 'x')",
        (*encoder.values(), rows.shape[1]),
    )
    connection.executemany(
        "INSERT INTO embedding (encoder_id, digest, vector) VALUES (1, ?, ?)",
        ((f"{place:064d}", row.tobytes()) for place, row in enumerate(rows)),
    )
    connection.executemany(
        "INSERT INTO passage (adapter_id, field, ordinal, digest) VALUES (?, ?, ?, ?)",
        (
            (number_of[owner], name, place, f"{place:064d}")
            for place, (owner, name) in enumerate(zip(owners.tolist(), fields.tolist(), strict=True))
        ),
    )
    connection.commit()
    connection.close()
