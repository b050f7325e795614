"""A process that fetches one file from a site of the tests, to be killed at any byte: FOLDER PORT SHA256 SIZE."""

from __future__ import annotations

import sys
from pathlib import Path

from public_site import PUBLIC, Site

from velatura.fetching import Order, fetch
from velatura.fetching.origin import origin_of
from velatura.records import AdapterRecord, Hashes


def order_of(name: str, sha256: str | None, size: int | None, **fields: object) -> Order:
    """Return an order of a file of Civitai."""
    told = {"title": "Fox", "model_id": 1, "version_id": 2, "hashes": Hashes(sha256=sha256), **fields}
    record = AdapterRecord(source="civitai", key="1/2", file_name=name, size=size, **told)  # type: ignore[arg-type]
    return Order(number=1, record=record, file_name=name, origin=origin_of(record))


if __name__ == "__main__":
    folder, port, sha256, size = sys.argv[1:]
    site = Site(port=int(port), names={"civitai.com": [PUBLIC], "storage.example": [PUBLIC]})
    list(fetch([order_of("fox.safetensors", sha256, int(size))], Path(folder), session=site.safe_session))
