"""Reads the rows of one Parquet file in a process of its own, which may take so much memory and no more.

A small file may claim billions of values, or one text a million times over: what its metadata says is looked at first,
and whatever it does not say ends this process and not the one that asked. Run as a script, without the package:

    python -P parquet_child.py FILE COLUMNS BYTES

`COLUMNS` is a JSON object of names and types, `BYTES` what may be taken. A line of JSON comes out for each row, an
object, or a text that says why there is none; the last line is `{"end": reason or null}`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any

ROWS_AT_ONCE = 64
MOST_ROWS = 20_000
"""Rows of one group; ours have a twentieth."""
MOST_GROUP = 1 << 30
"""Bytes that a group claims to be when unpacked."""
MOST_ROW = 8 << 20
"""Bytes of one row; the longest page of a site has a hundredth."""


def limit_memory(most: int) -> None:
    """Let this process have no more than so many bytes, where the system can."""
    try:
        import resource
    except ImportError:  # Windows
        return
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


def spelt(kind: Any) -> str:
    """Return a type as Arrow spells it, however the file's writer names a list's elements or stores long texts."""
    text = str(kind).replace("large_string", "string").replace("large_list", "list").replace("<item: ", "<element: ")
    return text.replace(" not null", "")


def look(file: Any, columns: dict[str, str]) -> list[str]:
    """Return the columns that the file has of these.

    Raises:
        ValueError: what it says of itself is not what a dataset holds.
    """
    told = file.metadata
    for number in range(told.num_row_groups):
        group = told.row_group(number)
        if group.num_rows > MOST_ROWS or group.total_byte_size > MOST_GROUP:
            raise ValueError(f"a group of it claims {group.num_rows:,} rows and {group.total_byte_size:,} bytes")
    found = {field.name: spelt(field.type) for field in file.schema_arrow}
    if len(found) != len(file.schema_arrow):
        raise ValueError("it has a column twice")
    for name, kind in columns.items():
        if name in found and found[name] != kind:
            raise ValueError(f"its column {name} holds {found[name]:.80} and not {kind}")
    for name in ("source", "key", "title"):
        if name not in found:
            raise ValueError(f"it has no column {name}")
    return [name for name in columns if name in found]


def rows(file: Any, columns: list[str]) -> Iterator[dict[str, Any] | str]:
    """Yield each row, or why there is none."""
    for batch in file.iter_batches(batch_size=ROWS_AT_ONCE, columns=columns, use_threads=False):
        if batch.nbytes <= MOST_ROW:
            try:
                yield from batch.to_pylist()
                continue
            except UnicodeDecodeError:
                pass
        for place in range(len(batch)):
            one = batch.slice(place, 1)
            if one.nbytes > MOST_ROW:
                yield f"it is {one.nbytes:,} bytes long"
                continue
            try:
                yield from one.to_pylist()
            except UnicodeDecodeError:
                yield "a text in it is not UTF-8"


def main(path: str, wanted: str, most: str) -> None:
    """Write the rows."""
    limit_memory(int(most))
    import pyarrow as pa
    from pyarrow import parquet

    reason: str | None = None
    try:
        with parquet.ParquetFile(path, thrift_string_size_limit=1 << 26, thrift_container_size_limit=1 << 20) as file:
            for row in rows(file, look(file, json.loads(wanted))):
                sys.stdout.write(json.dumps(row) + "\n")
    except MemoryError:
        reason = "it takes more memory to read than a dataset may"
    except (ValueError, OSError, NotImplementedError, pa.ArrowException) as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
    sys.stdout.write(json.dumps({"end": reason}) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
