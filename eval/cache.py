"""What is extracted and measured is kept, by content: nothing is looked at, or reckoned, twice."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from ..errors import InputError, UnreadableFile
from ..whole_file import sweep
from .estimates import Estimate
from .shards import SUFFIX, read_keys, read_rows, write_shard
from .whole import write_whole

if TYPE_CHECKING:
    from .cells import Features
    from .records import Sample

_LARGEST: Final = 1 << 25
"""Bytes up to which shards are made one."""
_MANY: Final = 8
"""Shards that are not worth making one."""
_VERSION: Final = "1"
"""Of what a score depends on; another one makes kept scores worthless."""
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_SHA256: Final = re.compile(r"[0-9a-fA-F]{64}")


class FeatureCache:
    """Features by the picture's SHA-256 and the extractor's fingerprint.

    A folder for each fingerprint, with shards of many rows in it. A shard holds its own keys and a checksum, is written
    as a whole under a name of its own, and never changed: processes may read and write at once and be killed at any
    time, and a damaged shard costs its own rows, which are extracted again. What lies where is learnt from the shards
    when a fingerprint is first asked for.

    Args:
        folder: Made when something is first kept.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder).expanduser()
        self._lock = threading.RLock()
        self._places: dict[str, dict[bytes, tuple[Path, int]]] = {}
        self._read: dict[str, set[Path]] = {}
        self._damaged: set[Path] = set()

    def has(self, fingerprint: str, shas: Sequence[str]) -> list[bool]:
        """Return of each picture whether its features are kept."""
        with self._lock:
            places = self._learn(fingerprint)
            return [_key(sha) in places for sha in shas]

    def get(self, fingerprint: str, shas: Sequence[str]) -> tuple[Features, tuple[str, ...]]:
        """Return the features of pictures, and which are not kept.

        Args:
            fingerprint: The extractor's.
            shas: The pictures' SHA-256 digests, in any order; one may be there more than once.

        Returns:
            A row for each of `shas` that is kept, in their order, shape (kept, width), and those that are not.
        """
        keys = [_key(sha) for sha in shas]
        with self._lock:
            places = self._learn(fingerprint)
            if any(key not in places for key in keys):
                places = self._learn(fingerprint, again=True)
            while True:
                try:
                    rows = _gather(keys, places)
                except _Lost as lost:
                    places = self._learn_without(fingerprint, lost)
                else:
                    return rows, tuple(sha for key, sha in zip(keys, shas, strict=True) if key not in places)

    def put(self, fingerprint: str, shas: Sequence[str], rows: Features) -> None:
        """Keep the features of pictures; what is kept already stays as it is.

        Args:
            fingerprint: The extractor's.
            shas: The pictures' SHA-256 digests.
            rows: Their features, shape (len(shas), width).

        Raises:
            InputError: they cannot be written.
            ValueError: there is not one finite row for each.
        """
        if rows.ndim != 2 or len(rows) != len(shas) or not np.isfinite(rows).all():
            raise ValueError(f"there must be a row of finite numbers for each of {len(shas)} pictures")
        with self._lock:
            places = self._learn(fingerprint)
            new = {_key(sha): place for place, sha in enumerate(shas)}
            new = {key: place for key, place in new.items() if key not in places}
            if new:
                path = write_shard(self.folder / fingerprint, list(new), rows[list(new.values())])
                self._note(fingerprint, path, list(new))

    def compact(self, fingerprint: str) -> None:
        """Make many small shards a few large ones, and remove what killed processes left unfinished.

        Raises:
            InputError: the folder cannot be written.
        """
        with self._lock:
            self._learn(fingerprint, again=True)
            small = [path for path in sorted(self._read[fingerprint]) if _size(path) < _LARGEST // 2]
            for group in _groups(small) if len(small) > _MANY else ():
                self._merge(fingerprint, group)
        sweep(self.folder / fingerprint)

    def _merge(self, fingerprint: str, paths: Sequence[Path]) -> None:
        """Make shards one; a damaged one stays where it is, and another process may have taken one away."""
        rows: dict[bytes, Features] = {}
        merged: list[Path] = []
        for path in paths:
            with suppress(OSError, UnreadableFile):
                keys, part = read_rows(path)
                rows |= zip(keys, part, strict=True)
                merged.append(path)
        if len(merged) < 2 or len({len(row) for row in rows.values()}) != 1:
            return
        write_shard(self.folder / fingerprint, list(rows), np.stack(list(rows.values())))
        for path in merged:
            path.unlink(missing_ok=True)
        self._drop(fingerprint)

    def _learn(self, fingerprint: str, *, again: bool = False) -> dict[bytes, tuple[Path, int]]:
        """Return in which shard's which row lies what; `again` looks whether there are more shards."""
        if _NAME.fullmatch(fingerprint) is None:
            raise ValueError(f"{fingerprint!r} is no fingerprint")
        if again or fingerprint not in self._places:
            read = self._read.setdefault(fingerprint, set())
            self._places.setdefault(fingerprint, {})
            for path in sorted((self.folder / fingerprint).glob(f"*{SUFFIX}")):
                if path not in read and path not in self._damaged:
                    with suppress(OSError, UnreadableFile):
                        self._note(fingerprint, path, read_keys(path))
        return self._places[fingerprint]

    def _learn_without(self, fingerprint: str, lost: _Lost) -> dict[bytes, tuple[Path, int]]:
        """Learn anew what lies where: a shard is gone, as another process made it one with others, or damaged."""
        if lost.damaged:
            self._damaged.add(lost.path)
        self._drop(fingerprint)
        return self._learn(fingerprint)

    def _drop(self, fingerprint: str) -> None:
        self._places.pop(fingerprint, None)
        self._read.pop(fingerprint, None)

    def _note(self, fingerprint: str, path: Path, keys: Sequence[bytes]) -> None:
        self._read[fingerprint].add(path)
        places = self._places[fingerprint]
        for row, key in enumerate(keys):
            places.setdefault(key, (path, row))


class _Lost(Exception):
    """A shard cannot be read any more."""

    def __init__(self, path: Path, *, damaged: bool) -> None:
        super().__init__(str(path))
        self.path = path
        self.damaged = damaged


def _gather(keys: Sequence[bytes], places: dict[bytes, tuple[Path, int]]) -> Features:
    """Return the rows of those keys that have a place, in order."""
    by_shard: dict[Path, list[tuple[int, int]]] = {}
    count = 0
    for key in keys:
        if key in places:
            path, row = places[key]
            by_shard.setdefault(path, []).append((count, row))
            count += 1
    found: Features | None = None
    for path, pairs in by_shard.items():
        try:
            _, rows = read_rows(path)
        except FileNotFoundError:
            raise _Lost(path, damaged=False) from None
        except UnreadableFile:
            raise _Lost(path, damaged=True) from None
        if found is None:
            found = np.empty((count, rows.shape[1]), np.float32)
        if rows.shape[1] != found.shape[1]:
            raise _Lost(path, damaged=True)
        here, there = zip(*pairs, strict=True)
        found[list(here)] = rows[list(there)]
    return np.empty((0, 0), np.float32) if found is None else found


def _groups(paths: Sequence[Path]) -> list[list[Path]]:
    """Return shards in groups that are not too large to be one."""
    groups: list[list[Path]] = [[]]
    filled = 0
    for path in paths:
        if filled and filled + _size(path) > _LARGEST:
            groups.append([])
            filled = 0
        groups[-1].append(path)
        filled += _size(path)
    return groups


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _key(sha256: str) -> bytes:
    if _SHA256.fullmatch(sha256) is None:
        raise ValueError(f"{sha256!r} is no SHA-256 digest")
    return bytes.fromhex(sha256)


class ScoreCache:
    """Estimates by what was measured and how: re-scoring what is finished reads a small file for each.

    Args:
        folder: Made when something is first kept.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder).expanduser()
        self._last: tuple[Sequence[Sample], str] = (), ""

    def key(self, signature: str, samples: Sequence[Sample]) -> str:
        """Return the address of an estimate: of the metric's signature, and of all of the samples that it may read.

        Args:
            signature: The metric's.
            samples: The cell's, in order.

        Raises:
            InputError: a sample's picture has no digest, so that nobody can say whether it is the same.
        """
        # Metric after metric asks for one cell's samples.
        if self._last[0] is not samples:
            self._last = samples, _digest(samples)
        told = f"{_VERSION}\n{self._last[1]}\n{signature}"
        return hashlib.blake2b(told.encode("utf-8", "surrogatepass"), digest_size=20).hexdigest()

    def get(self, key: str) -> Estimate | None:
        """Return what is kept; None where there is nothing, or it is damaged."""
        from safetensors import safe_open

        try:
            with safe_open(self._path(key), framework="np") as file:
                told = json.loads((file.metadata() or {})["estimate"])
                value = file.get_tensor("value")
                pulls = file.get_tensor("pulls") if told["pulls"] else None
            estimate = Estimate(
                value=float(value[0]),
                prompts=tuple(told["prompts"]),
                pulls=pulls,
                n=told["n"],
                comparable=told["comparable"],
                is_mean=told["is_mean"],
                notes=tuple(told["notes"]),
            )
        except Exception:  # missing, or damaged in whatever way: it is measured again
            return None
        return estimate if pulls is None or pulls.shape == (len(estimate.prompts),) else None

    def put(self, key: str, estimate: Estimate) -> None:
        """Keep an estimate.

        Raises:
            InputError: it cannot be written.
        """
        from safetensors.numpy import save

        arrays = {"value": np.array([estimate.value], np.float64)}
        if estimate.pulls is not None:
            arrays["pulls"] = np.ascontiguousarray(estimate.pulls, np.float64)
        told = {
            "pulls": estimate.pulls is not None,
            "prompts": estimate.prompts,
            "n": estimate.n,
            "comparable": estimate.comparable,
            "is_mean": estimate.is_mean,
            "notes": estimate.notes,
        }
        write_whole(self._path(key), save(arrays, {"estimate": json.dumps(told)}))

    def _path(self, key: str) -> Path:
        if _NAME.fullmatch(key) is None:
            raise ValueError(f"{key!r} is no key")
        return self.folder / key[:2] / f"{key}{SUFFIX}"


def _digest(samples: Sequence[Sample]) -> str:
    for sample in samples:
        if sample.sha256 is None:
            raise InputError(f"{sample.image} has no SHA-256 yet; extract its features first")
    told = [(one.prompt_id, one.index, one.prompt, one.category, one.challenge, one.sha256) for one in samples]
    return hashlib.blake2b(json.dumps(told).encode(), digest_size=20).hexdigest()
