"""Files of questions as the Batch API takes them: one JSON object a line, within its limits."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, Final

ENDPOINT: Final = "/v1/chat/completions"
LINES: Final = 50_000
BYTES: Final = 190_000_000
"""A server takes 200 MB a file; pictures count, as they stand in it."""


@dataclass(slots=True)
class BatchFile:
    """The questions of one batch."""

    path: Path
    origins: list[str] = field(default_factory=list)
    """What is asked, in the order of the lines."""
    too_long: list[str] = field(default_factory=list)
    """What cannot be asked, since it alone is longer than a file may be."""
    size: int = 0
    """Bytes."""


def write_files(
    questions: Iterable[tuple[str, Mapping[str, Any]]], folder: Path, *, lines: int = LINES, size: int = BYTES
) -> Iterator[BatchFile]:
    """Write questions, (custom id, body) each, into files, and yield each file when it is full.

    Questions are taken one by one, so that no more of them is in memory.
    """
    asked = ((origin, _line(origin, body)) for origin, body in questions)
    waiting = next(asked, None)
    for number in count(1):
        if waiting is None:
            return
        file = BatchFile(folder / f"{number}.jsonl")
        with file.path.open("wb") as out:
            while waiting is not None and len(file.origins) < lines:
                origin, line = waiting
                if len(line) > size:
                    file.too_long.append(origin)
                elif file.size + len(line) > size:
                    break
                else:
                    out.write(line)
                    file.size += len(line)
                    file.origins.append(origin)
                waiting = next(asked, None)
        yield file


def _line(origin: str, body: Mapping[str, Any]) -> bytes:
    asked = {"custom_id": origin, "method": "POST", "url": ENDPOINT, "body": body}
    return json.dumps(asked, separators=(",", ":")).encode() + b"\n"
