"""The manifest: a line of JSON for each picture, which is all that is needed to measure a folder of pictures.

    {"image": "fox-0.png", "prompt": "a fox in the snow", "method": "base", "guidance": 6, "seed": 1}

Only `image` (or `file`, `file_name`) and `prompt` (or `text`, `caption`) must be there.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import cache
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, Final

from ..errors import InputError
from ..parameters import finite
from ..syntax import encodable
from .records import CellName, Sample
from .whole import write_whole

_OTHER_NAMES: Final = {
    "image": ("file", "file_name"),
    "prompt": ("text", "caption"),
    "guidance": ("guidance_scale", "cfg", "cfg_scale"),
}
"""How other tools call the fields that are asked for most."""
_METHOD: Final = "images"
"""The method of lines that name none."""
_LARGEST: Final = 1 << 30
"""Bytes of a manifest that are read."""
_LONGEST: Final = 500
"""Characters of a prompt's id and of a method: they stand in every table, file and kept score."""
_STRONGEST: Final = 1000.0
"""Guidance; what is painted with goes to about 30."""
_SHA256: Final = re.compile(r"[0-9a-fA-F]{64}")
_LOSSY: Final = (".jpg", ".jpeg")


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """The samples of a manifest, sorted by method, guidance, prompt and index."""

    samples: tuple[Sample, ...]
    folder: Path
    """Where relative names begin."""

    @property
    def digest(self) -> str:
        """Eight digits that change with anything that is measured: pictures, prompts, which belong together."""
        told = [[sample.cell.method, sample.guidance, *sample.pair, sample.prompt, sample.image, sample.sha256]
                for sample in self.samples]  # fmt: skip
        return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:8]

    def cells(self) -> dict[CellName, tuple[Sample, ...]]:
        """Return the samples by cell, in order."""
        by_name: dict[CellName, list[Sample]] = {}
        for sample in self.samples:
            by_name.setdefault(sample.cell, []).append(sample)
        return {name: tuple(samples) for name, samples in by_name.items()}

    def path(self, sample: Sample) -> Path:
        """Return where a sample's picture lies."""
        return self.folder / sample.image

    def warnings(self) -> tuple[str, ...]:
        """Return what may make figures of these samples misleading, in sentences."""
        return tuple(_warnings(self.cells()))


def read_manifest(path: str | Path, *, images: Path | None = None, method: str | None = None) -> Manifest:
    """Read a manifest and check that its samples can be told apart and compared.

    Args:
        path: A JSON Lines file, or a folder with `manifest.jsonl` or `metadata.jsonl` in it.
        images: The folder of the pictures; None takes the manifest's own.
        method: The method of lines that name none.

    Raises:
        InputError: it cannot be read; a line is no sample, names a picture outside the folder, or is there twice; or
            pictures of some cells were chosen from more than those of others.
    """
    file = _located(Path(path))
    folder = images or file.parent
    samples: list[Sample] = []
    counted: Counter[tuple[CellName, str]] = Counter()
    for number, plain in enumerate(_lines(file), 1):
        what = f"{file}, line {number}"
        if plain.get("state") == "failed":  # of `velatura run`: there is no picture
            continue
        sample = _sample(plain, what, method or _METHOD)
        if "index" not in plain:
            sample = replace(sample, index=counted[sample.cell, sample.prompt_id])
        counted[sample.cell, sample.prompt_id] += 1
        samples.append(sample)
    if not samples:
        raise InputError(f"{file} names no pictures")
    return manifest_of(samples, folder, name=str(file))


def manifest_of(samples: Iterable[Sample], folder: Path, *, name: str = "the manifest") -> Manifest:
    """Return samples as a manifest, checked and sorted; see `read_manifest`.

    Raises:
        InputError: see there.
    """
    ordered = tuple(sorted(samples, key=_place))
    _refuse_twins(ordered, name)
    _refuse_unequal_selection(ordered, name)
    return Manifest(samples=ordered, folder=folder)


def write_manifest(samples: Sequence[Sample], path: Path) -> Path:
    """Write a manifest, as a whole or not at all.

    Raises:
        InputError: it cannot be written.
    """
    text = "".join(json.dumps(_plain(sample), ensure_ascii=False) + "\n" for sample in sorted(samples, key=_place))
    write_whole(path, text.encode("utf-8", "backslashreplace"))
    return path


def prompt_id(text: str) -> str:
    """Return the id of a prompt that has none: a digest of its words, so that no two prompts share one."""
    return hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()[:16]


def _located(path: Path) -> Path:
    if not path.is_dir():
        return path
    found = [path / name for name in ("samples.jsonl", "manifest.jsonl", "metadata.jsonl") if (path / name).is_file()]
    if not found:
        raise InputError(f"{path} holds no manifest.jsonl; write one line of JSON a picture, with image and prompt")
    return found[0]


def _lines(file: Path) -> Iterable[dict[str, Any]]:
    try:
        if file.stat().st_size > _LARGEST:
            raise InputError(f"{file} is larger than any manifest")
        text = file.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InputError(f"{file} is not text in UTF-8") from None
    for number, line in enumerate((line for line in text.split("\n") if line.strip()), 1):
        try:
            plain = json.loads(line, parse_constant=finite, parse_float=finite)
        except (ValueError, RecursionError):
            plain = None
        if not isinstance(plain, dict):
            raise InputError(f"{file}, line {number}: not a JSON object")
        yield plain


def _sample(plain: Mapping[str, Any], what: str, method: str) -> Sample:
    from pydantic import ValidationError

    known = {field.name for field in fields(Sample)}
    given = {name: value for name, value in plain.items() if name in known and value is not None}
    for name, others in _OTHER_NAMES.items():
        if name not in given:
            told = next((plain[other] for other in others if plain.get(other) is not None), None)
            given |= {} if told is None else {name: told}
    for name in ("image", "prompt"):
        if not isinstance(given.get(name), str) or not given[name].strip():
            raise InputError(f'{what}: there is no "{name}"')
    given["prompt"] = encodable(given["prompt"])
    given.setdefault("method", method)
    given.setdefault("prompt_id", prompt_id(given["prompt"]))
    if isinstance(given["prompt_id"], int):
        given["prompt_id"] = str(given["prompt_id"])
    if isinstance(given.get("timings"), dict):
        given["timings"] = list(given["timings"].items())
    try:
        sample: Sample = _reader().validate_python(given)
    except (ValidationError, RecursionError) as error:
        if not isinstance(error, ValidationError):
            raise InputError(f"{what}: nested too deeply") from None
        first = error.errors(include_url=False)[0]
        raise InputError(f"{what}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    if not _is_inside(sample.image):
        raise InputError(
            f"{what}: the picture {sample.image} lies outside the manifest's folder; name the pictures' folder with "
            "--images, and the pictures relative to it"
        )
    if wrong := next(_wrong(sample), None):
        raise InputError(f"{what}: {wrong}")
    return sample


def _wrong(sample: Sample) -> Iterator[str]:
    """Yield what no sample can be."""
    for name, value in (("prompt_id", sample.prompt_id), ("method", sample.method)):
        if len(value) > _LONGEST:
            yield f"{name} is longer than {_LONGEST} characters; make it shorter"
    if not sample.method.strip():
        yield "method is empty; name it, or leave it out"
    if sample.guidance is not None and not 0 <= sample.guidance <= _STRONGEST:
        yield f"guidance is {sample.guidance:g}, and must be from 0 to {_STRONGEST:g}"
    if sample.best_of < 1:
        yield "best_of is below 1; it tells from how many pictures this one was chosen, itself among them"
    if sample.index < 0:
        yield "index is negative; a prompt's samples are counted from 0"
    if any(not math.isfinite(seconds) or seconds < 0 for _, seconds in sample.timings):
        yield "timings are seconds, none of them negative or infinite"
    if sample.sha256 is not None and _SHA256.fullmatch(sample.sha256) is None:
        yield "sha256 is no SHA-256, which has 64 hexadecimal digits"


def _is_inside(name: str) -> bool:
    """Say whether a name stays below the folder it is relative to, on any system."""
    for kind in (PurePosixPath, PureWindowsPath):
        path = kind(name)
        if path.is_absolute() or path.drive or path.root or ".." in path.parts:
            return False
    return "\0" not in name


@cache
def _reader() -> Any:
    from pydantic import TypeAdapter

    return TypeAdapter(Sample)


def _plain(sample: Sample) -> dict[str, Any]:
    defaults = {field.name: field.default for field in fields(Sample)}
    told = {name: value for name, value in asdict(sample).items() if value != defaults[name] or name == "index"}
    return told | ({"timings": dict(sample.timings)} if sample.timings else {})


def _place(sample: Sample) -> tuple[str, float, str, int]:
    return sample.method, -1.0 if sample.guidance is None else sample.guidance, sample.prompt_id, sample.index


def _refuse_twins(samples: Sequence[Sample], name: str) -> None:
    seen: set[tuple[CellName, tuple[str, int]]] = set()
    texts: dict[str, str] = {}
    for sample in samples:
        key = (sample.cell, sample.pair)
        if key in seen:
            raise InputError(
                f"{name} has two pictures of {sample.cell} for sample {sample.index} of prompt {sample.prompt_id}; "
                "give each its own index"
            )
        seen.add(key)
        if texts.setdefault(sample.prompt_id, sample.prompt) != sample.prompt:
            raise InputError(f"{name} has two different prompts of the id {sample.prompt_id}")


def _refuse_unequal_selection(samples: Sequence[Sample], name: str) -> None:
    """Refuse what cannot be compared: the best of eight beats the best of two without being better."""
    chosen = {sample.cell: (sample.best_of, sample.selector) for sample in samples}
    odd = next((sample for sample in samples if (sample.best_of, sample.selector) != chosen[sample.cell]), None)
    if odd is not None or len(set(chosen.values())) > 1:
        raise InputError(
            f"{name} has pictures that were chosen from more, or by another metric, than others (best_of, selector); "
            "such methods cannot be compared: paint equally many for each"
        )


def _warnings(cells: Mapping[CellName, Sequence[Sample]]) -> Iterable[str]:
    counts = {name: len(samples) for name, samples in cells.items()}
    if len(set(counts.values())) > 1:
        least, most = min(counts, key=counts.__getitem__), max(counts, key=counts.__getitem__)
        yield (
            f"the cells are of unequal size, {counts[least]:,} pictures of {least} and {counts[most]:,} of {most}: "
            "they are compared over what both have"
        )
    lossy = sum(sample.image.lower().endswith(_LOSSY) for samples in cells.values() for sample in samples)
    if lossy:
        yield f"{lossy:,} pictures are JPEG, whose traces change FID by more than methods differ; paint PNG"
    first = next(iter(cells.values()))[0]
    if first.best_of > 1:
        yield (
            f"every picture is the best of {first.best_of} by {first.selector or 'an unnamed metric'}: what is like "
            "that metric rewards methods whose pictures vary, not better ones"
        )
    seeds: dict[tuple[str, int], set[int]] = {}
    for samples in cells.values():
        for sample in samples:
            if sample.seed is not None:
                seeds.setdefault(sample.pair, set()).add(sample.seed)
    unpaired = sum(len(known) > 1 for known in seeds.values())
    if unpaired:
        yield f"{unpaired:,} pairs have different seeds in different methods: intervals of differences are wider for it"
