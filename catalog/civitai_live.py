"""Civitai pages from the site itself."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from ..errors import InputError, SourceError, SourceUnavailable
from ..protocols import Entry
from ..records import AdapterRecord, Rejection
from .civitai import locate
from .civitai_files import read_id
from .civitai_json import READER_VERSION, read_page
from .http_json import JsonClient
from .json_dump import canonical, stamp

if TYPE_CHECKING:
    import requests

TOKEN = "CIVITAI_API_TOKEN"  # noqa: S105 - the variable's name
SITE = "https://civitai.com"
TYPES = ("LORA", "LoCon", "DoRA")
_PICTURES = 40
_EMPTY_PAGES = 1_000
_CURSOR_LENGTH = 2_000


class CivitaiLive:
    """Models from `/api/v1/models`, cursor by cursor.

    A cursor is opaque. A page without items but with a cursor is no end, for the site filters after it has paged;
    no cursor, or one that was there before, is the end. What is not offered is not gone, so the source is never
    `complete`. Every entry's `bookmark` is the cursor of the page that it stands on: a run that went on from there
    reads that page again and loses nothing. An entry of the first page has none.
    """

    name = "civitai"
    complete = False

    def __init__(
        self,
        session: requests.Session | None = None,
        *,
        base_url: str = SITE,
        types: Sequence[str] = TYPES,
        params: Mapping[str, Any] | None = None,
        page_size: int = 100,
        resume_from: str | None = None,
        with_prompts: bool = False,
        tries: int = 8,
        timeout: float = 60.0,
        sleep: Callable[[float], object] = time.sleep,
        rng: random.Random | None = None,
    ) -> None:
        """Prepare to ask; nothing is sent yet. The token comes from `CIVITAI_API_TOKEN`, where that is set.

        Args:
            session: What sends the requests.
            base_url: The site, or a mirror of it.
            types: Civitai's types of models.
            params: Further parameters of the endpoint: `tag`, `username`, `baseModels`, `sort`, `period`, ...
            page_size: Models a page, at most 100.
            resume_from: The bookmark to go on from.
            with_prompts: Also fetch up to 40 pictures of each version with their prompts, which the list of models
                no longer tells. One question more for each version that is new or changed.
            tries: How often one question is asked in all.
            timeout: Seconds until an answer must begin.
            sleep: Waits for some seconds.
            rng: Where the chance in the pauses comes from.
        """
        self._url = base_url.rstrip("/")
        self._client = JsonClient(
            "Civitai",
            session=session,
            token=os.environ.get(TOKEN),
            token_variable=TOKEN,
            tries=tries,
            timeout=timeout,
            sleep=sleep,
            rng=rng,
        )
        # Without `nsfw` the site shows PG alone; what may be found is decided by the person's filter, not here.
        self._params = {"types": list(types), "nsfw": "true", **(params or {}), "limit": page_size}
        self._cursor = resume_from
        self._with_prompts = with_prompts
        asked = "&".join(f"{name}={value}" for name, value in sorted(self._params.items()) if name != "limit")
        self.scope = f"{self._url}/api/v1/models?{asked}"

    def entries(self) -> Iterator[Entry | Rejection]:
        """Yield the models, page by page.

        Raises:
            SourceUnavailable: the site does not answer; a later run goes on from the last bookmark.
            SourceError: the site refuses the question or the token, or answers with something else than models.
        """
        cursor, visited, empty = self._cursor, set[str](), 0
        stamps: dict[str, str] = {}
        while True:
            page = self._client.get(
                f"{self._url}/api/v1/models", self._params | ({"cursor": cursor} if cursor is not None else {})
            )
            if not isinstance(page, dict) or not isinstance(page.get("items"), list):
                raise SourceError("Civitai answered with something else than a page of models")
            for number, item in enumerate(page["items"], 1):
                result = self._entry(item, f"{self.scope}#{cursor or 'first'}#{number}", cursor)
                # The site repeats models at the seams of pages.
                if isinstance(result, Rejection) or stamps.get(result.locator) != result.stamp:
                    if isinstance(result, Entry):
                        stamps[result.locator] = result.stamp
                    yield result
            empty = 0 if page["items"] else empty + 1
            visited.add(cursor or "")
            cursor = _next_cursor(page)
            if cursor is None or cursor in visited:
                return
            if empty >= _EMPTY_PAGES:
                raise SourceError(f"Civitai sent {empty} empty pages in a row; ask for something else")

    def _entry(self, item: Any, where: str, cursor: str | None) -> Entry | Rejection:
        try:
            locator = locate(item)
        except InputError as error:
            return Rejection(source=self.name, locator=where, reason=str(error))
        version = READER_VERSION + ("+prompts" if self._with_prompts else "")
        return Entry(
            locator=locator, stamp=stamp(canonical(item), version), read=partial(self._read, item), bookmark=cursor
        )

    def _read(self, item: dict[str, Any]) -> list[AdapterRecord | Rejection]:
        versions = item.get("modelVersions")
        if self._with_prompts and isinstance(versions, list):
            item = {**item, "modelVersions": [self._with_pictures(version) for version in versions]}
        return read_page(item)

    def _with_pictures(self, version: Any) -> Any:
        version_id = read_id(version.get("id")) if isinstance(version, dict) else None
        if version_id is None:
            return version
        params = {"modelVersionId": version_id, "withMeta": "true", "limit": _PICTURES, "nsfw": "X"}
        try:
            answer = self._client.get(f"{self._url}/api/v1/images", params)
        except SourceUnavailable:
            raise
        except SourceError:
            return version  # this version's pictures are not for us; the rest of the page is
        pictures = answer.get("items") if isinstance(answer, dict) else None
        shown = version.get("images")
        return {**version, "images": _merged(shown, pictures)}


def _merged(shown: Any, pictures: Any) -> list[Any]:
    """Return the page's own pictures and the site's, those with prompts in the place of the same without."""
    with_prompts = [picture for picture in pictures if isinstance(picture, dict)] if isinstance(pictures, list) else []
    known = {str(picture.get("id")) for picture in with_prompts if picture.get("id") is not None}
    own = shown if isinstance(shown, list) else []
    return with_prompts + [image for image in own if not (isinstance(image, dict) and str(image.get("id")) in known)]


def _next_cursor(page: dict[str, Any]) -> str | None:
    metadata = page.get("metadata")
    cursor = metadata.get("nextCursor") if isinstance(metadata, dict) else None
    if isinstance(cursor, bool) or not isinstance(cursor, str | int | float):
        return None
    text = str(cursor)
    return text if 0 < len(text) <= _CURSOR_LENGTH else None
