"""Which batches are under way at a language model's server: a small file beside the catalogue, kept through a kill."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from ..errors import CatalogueError
from ..whole_file import whole_file

_VERSION: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """A batch that was sent to a server, or was about to be."""

    key: str
    """Ours; the server keeps it beside the batch."""
    writer: str
    """Who answers."""
    origins: Mapping[str, tuple[int, ...]]
    """What is asked, by the address of all that is read, and the adapters it is asked for."""
    batch: str | None = None
    """The server's; None until it is known that the server has it."""


class BatchLedger:
    """The batches under way, in a JSON file that is always written as a whole.

    Args:
        path: The file; it need not exist.

    Raises:
        CatalogueError: The file cannot be read, or is none of ours.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._serial, planned = _read(path)
        self._planned = {one.key: one for one in planned}

    @property
    def planned(self) -> tuple[Planned, ...]:
        """The batches under way, the oldest first."""
        return tuple(self._planned.values())

    def open_origins(self, writer: str) -> set[str]:
        """Return the addresses on which an answer by this writer is under way."""
        return {origin for one in self._planned.values() if one.writer == writer for origin in one.origins}

    def plan(self, writer: str, origins: Mapping[str, tuple[int, ...]]) -> Planned:
        """Note that a batch is about to be sent, before it is."""
        self._serial += 1
        told = "\n".join([str(self._serial), writer, *origins])
        key = hashlib.blake2b(told.encode("utf-8", "surrogatepass"), digest_size=12).hexdigest()
        planned = Planned(key=key, writer=writer, origins=dict(origins))
        self._planned[key] = planned
        self._write()
        return planned

    def sent(self, key: str, batch: str) -> None:
        """Note that the server has a batch, under this name."""
        self._planned[key] = replace(self._planned[key], batch=batch)
        self._write()

    def drop(self, key: str) -> None:
        """Forget a batch: it was read, or the server never had it."""
        del self._planned[key]
        self._write()

    def _write(self) -> None:
        plain = {
            "version": _VERSION,
            "serial": self._serial,
            "batches": [
                {"key": one.key, "writer": one.writer, "batch": one.batch, "origins": dict(one.origins)}
                for one in self._planned.values()
            ],
        }
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with whole_file(self._path) as unfinished, unfinished.open("w", encoding="utf-8") as file:
                json.dump(plain, file)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise CatalogueError(f"{self._path} cannot be written ({error.strerror or error})") from None


def _read(path: Path) -> tuple[int, list[Planned]]:
    try:
        plain = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return 0, []
    except OSError as error:
        raise CatalogueError(f"{path} cannot be read ({error.strerror or error})") from None
    except (ValueError, RecursionError):
        plain = None
    try:
        if plain["version"] != _VERSION:
            raise ValueError
        return int(plain["serial"]), [_planned(one) for one in plain["batches"]]
    except (TypeError, KeyError, ValueError, AttributeError, OverflowError):
        raise CatalogueError(
            f"{path} is no list of batches that this version reads; batches at the server are paid for, so look there "
            "for what is under way before you delete the file"
        ) from None


def _planned(plain: Mapping[str, Any]) -> Planned:
    batch = plain["batch"]
    if batch is not None and not isinstance(batch, str):
        raise ValueError
    return Planned(
        key=str(plain["key"]),
        writer=str(plain["writer"]),
        origins={str(origin): _numbers(numbers) for origin, numbers in plain["origins"].items()},
        batch=batch,
    )


def _numbers(plain: Iterable[Any]) -> tuple[int, ...]:
    return tuple(int(number) for number in plain)
