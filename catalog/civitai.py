"""Civitai pages from a dump: the answers of its API as people have saved them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..protocols import Entry
from ..records import AdapterRecord, Rejection
from .civitai_files import read_id
from .civitai_json import READER_VERSION, read_page
from .json_dump import MOST_BROKEN, Broken, Item, check_dump, dump_files, given_up, read_items, stamp

# The page's id stands first in every answer of the site; with it, unchanged lines are never parsed at all.
_FIRST_ID = re.compile(rb'\{\s*"id"\s*:\s*([1-9]\d{0,17})\s*,')


class CivitaiDump:
    """Models of Civitai's API in a file or a folder.

    One model, one version with its model (as `by-hash` answers it), a page `{"items": [...]}`, a list, or JSON Lines
    of any of these; each of them plain or gzipped; or a folder with such files at any depth. A page that stands
    twice is offered once, as it stands first. A dump that is broken somewhere is not `complete` once that was seen:
    the page that could not be read is not gone.
    """

    name = "civitai"

    def __init__(self, path: str | Path) -> None:
        """Open a dump; nothing is read yet.

        Raises:
            InputError: there is nothing at that path.
        """
        self.path = check_dump(path)
        self.scope = str(self.path)
        self.complete = True

    def entries(self) -> Iterator[Entry | Rejection]:
        """Yield each page, unread, and a rejection for each part of the dump that holds none."""
        self.complete = True
        seen: dict[str, str] = {}
        found = False
        for file in dump_files(self.path):
            broken = 0
            for item in read_items(file):
                found = True
                if broken == MOST_BROKEN:
                    yield given_up(self.name, item)
                    break
                if isinstance(item, Broken):
                    self.complete = False
                    broken += 1
                    yield Rejection(source=self.name, locator=item.where, reason=item.reason)
                    continue
                result = _entry(item)
                if isinstance(result, Entry):
                    if (first := seen.get(result.locator)) is not None:
                        if first != result.stamp:
                            yield _repeated(item, result.locator)
                        continue
                    seen[result.locator] = result.stamp
                else:
                    self.complete = False
                    broken += 1
                yield result
        if not found:
            reason = "holds no .json, .jsonl or .gz file"
            yield Rejection(source=self.name, locator=self.scope, reason=reason)


def locate(page: Any) -> str:
    """Return the locator of a page: `civitai:<model>`, or `civitai:<model>@<version>` for a version on its own.

    Raises:
        InputError: it has no id, or is no page.
    """
    if isinstance(page, dict):
        if "modelVersions" in page or "modelId" not in page:
            if (model_id := read_id(page.get("id"))) is not None:
                return f"civitai:{model_id}"
        elif (model_id := read_id(page["modelId"])) is not None:
            return f"civitai:{model_id}@{read_id(page.get('id')) or '-'}"
    raise InputError("it is no Civitai page with an id")


def _entry(item: Item) -> Entry | Rejection:
    match = _FIRST_ID.match(item.raw) if item.value is None else None
    if match is not None and b'"modelVersions"' in item.raw:
        locator = f"civitai:{int(match.group(1))}"
    else:
        try:
            value = item.load()
            locator = locate(value)
        except InputError as error:
            reason = str(error).removeprefix(f"{item.where}: ")
            return Rejection(source="civitai", locator=item.where, reason=reason)
        item = Item(item.where, item.raw, value)
    return Entry(locator=locator, stamp=stamp(item.raw, READER_VERSION), read=partial(_read, item))


def _read(item: Item) -> list[AdapterRecord | Rejection]:
    try:
        return read_page(item.load())
    except InputError as error:
        where = "" if str(error).startswith(item.where) else f"{item.where}: "
        raise InputError(f"{where}{error}") from None


def _repeated(item: Item, locator: str) -> Rejection:
    return Rejection(
        source="civitai", locator=item.where, reason=f"{locator} stands in the dump before, and differently"
    )
