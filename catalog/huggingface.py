"""Adapters on Hugging Face: from a saved listing, or from the hub itself."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, Protocol, cast

from ..errors import InputError, SourceError, SourceUnavailable
from ..protocols import Entry
from ..records import Rejection
from .huggingface_json import READER_VERSION, read_model, repository
from .json_dump import MOST_BROKEN, Broken, canonical, check_dump, dump_files, given_up, read_items, stamp


class HuggingFaceDump:
    """Models of a saved `list_models`: a list, JSON Lines, one model, or a folder of these, plain or gzipped.

    Each model is a `ModelInfo` as JSON, with the site's keys or the client's (`cardData` or `card_data`). What the
    listing has is used: files where it was asked for in `full`, the card's YAML where with `cardData`, and the text
    of the card where somebody added it as `readme`.
    """

    name = "huggingface"

    def __init__(self, path: str | Path) -> None:
        """Open a dump; nothing is read yet.

        Raises:
            InputError: there is nothing at that path.
        """
        self.path = check_dump(path)
        self.scope = str(self.path)
        self.complete = True

    def entries(self) -> Iterator[Entry | Rejection]:
        """Yield each model, and a rejection for each part of the dump that holds none."""
        self.complete = True
        seen: set[str] = set()
        for file in dump_files(self.path):
            broken = 0
            for item in read_items(file):
                if broken == MOST_BROKEN:
                    yield given_up(self.name, item)
                    break
                try:
                    if isinstance(item, Broken):
                        raise InputError(item.reason)
                    entry = _entry(item.load(), item.raw)
                except InputError as error:
                    self.complete = False
                    broken += 1
                    reason = str(error).removeprefix(f"{item.where}: ")
                    yield Rejection(source=self.name, locator=item.where, reason=reason)
                    continue
                if entry.locator not in seen:
                    seen.add(entry.locator)
                    yield entry


class ModelLister(Protocol):
    """What is needed of `huggingface_hub.HfApi`."""

    def list_models(self, **options: Any) -> Iterable[Any]:
        """Yield `ModelInfo`s."""


class HuggingFaceLive:
    """Models from the hub, through `huggingface_hub`.

    The hub's listing has no cursor to go on from, so no entry has a bookmark; what is unchanged is not read again.
    """

    name = "huggingface"
    complete = False

    def __init__(
        self,
        api: ModelLister | None = None,
        *,
        filters: Sequence[str] = ("lora",),
        task: str | None = "text-to-image",
        options: Mapping[str, Any] | None = None,
        limit: int | None = None,
    ) -> None:
        """Prepare to ask; nothing is sent yet. The client takes `HF_TOKEN` from the environment by itself.

        Args:
            api: What lists the models; a new `HfApi` when None.
            filters: Tags that a model must all have, such as `lora` and
                `base_model:adapter:stabilityai/stable-diffusion-xl-base-1.0`.
            task: The task that a model must be for; None for any.
            options: Further arguments of `list_models`: `author`, `search`, `sort`, ...
            limit: The most models; None for all.
        """
        self._api = api
        self._options: dict[str, Any] = {"filter": list(filters), "pipeline_tag": task, **(options or {})}
        self._limit = limit
        asked = "&".join(f"{name}={value}" for name, value in sorted(self._options.items()) if value is not None)
        self.scope = f"https://huggingface.co/api/models?{asked}"

    def entries(self) -> Iterator[Entry | Rejection]:
        """Yield each model, and a rejection for what the hub sends that is none.

        Raises:
            SourceUnavailable: the hub does not answer.
            SourceError: the hub refuses the question.
        """
        for number, model in enumerate(self._models(), 1):
            try:
                yield _entry(model, canonical(model))
            except InputError as error:
                yield Rejection(source=self.name, locator=f"{self.scope}#{number}", reason=str(error))

    def _models(self) -> Iterator[Any]:
        try:
            for model in self._lister().list_models(**self._options, full=True, cardData=True, limit=self._limit):
                yield plain_model(model)
        except (ValueError, KeyError, TypeError) as error:
            raise SourceError(f"Hugging Face's client cannot go on: {type(error).__name__}: {error}") from None
        except Exception as error:  # the client's errors are OSErrors, those of the transport below it are its own
            status = getattr(getattr(error, "response", None), "status_code", None)
            if isinstance(status, int) and status != 429 and status < 500:
                raise SourceError(f"Hugging Face refuses the question (HTTP {status})") from None
            trouble = f"HTTP {status}" if status else type(error).__name__
            raise SourceUnavailable(f"Hugging Face does not answer ({trouble}); run it again later") from None

    def _lister(self) -> ModelLister:
        if self._api is not None:
            return self._api
        from huggingface_hub import HfApi

        return cast(ModelLister, HfApi())


def plain_model(model: Any) -> Any:
    """Return a `ModelInfo` as the JSON that a saved listing holds.

    >>> from types import SimpleNamespace
    >>> plain_model(SimpleNamespace(id="a/b", siblings=[SimpleNamespace(rfilename="x.safetensors")], sha=None))
    {'id': 'a/b', 'siblings': [{'rfilename': 'x.safetensors'}]}
    """
    if model is None or isinstance(model, str | int | float | bool):
        return model
    if isinstance(model, datetime):
        return model.isoformat()
    if isinstance(model, list | tuple):
        return [plain_model(item) for item in model]
    if hasattr(model, "to_dict"):
        model = model.to_dict()
    if not isinstance(model, dict):
        model = _attributes(model)
    return {str(key): plain_model(value) for key, value in model.items() if value is not None}


def _attributes(thing: Any) -> dict[str, Any]:
    if dataclasses.is_dataclass(thing):
        return {field.name: getattr(thing, field.name, None) for field in dataclasses.fields(thing)}
    return {name: value for name, value in getattr(thing, "__dict__", {}).items() if not name.startswith("_")}


def _entry(model: Any, raw: bytes) -> Entry:
    return Entry(
        locator=f"huggingface:{repository(model)}", stamp=stamp(raw, READER_VERSION), read=partial(read_model, model)
    )
