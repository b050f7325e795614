"""A record without anything of the machine that it was catalogued on."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Final
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from ..addresses import is_fetchable
from ..db.codec import storable
from ..records import AdapterRecord, Example, RefinedAdapter, Refinement, WeightEvidence

SOURCE: Final = "dataset"
"""The source of records that came of a dataset: whoever takes one over changes no record of another source."""

_KEPT: Final = frozenset({"type", "format", "size", "fp", "modelVersionId", "width", "download"})
"""What of an address's query is kept; anything else may be a token."""

_HIDDEN_HOST: Final = re.compile(
    r"(?:localhost|.*\.(?:local|lan|internal|home|localdomain)|[\d.]+|\[?[0-9a-f:]+\]?|[^.]+)\.?"
)
"""Hosts that only this machine or its network knows by that name: no dot, a number, a domain of the house."""

_PLACE: Final = re.compile(
    r"""(?<![\w.])(?:
        (?:[A-Za-z]:\\|\\\\)(?:[^\\/\n,;"'<>|]*\\)*[^\s\\/,;"'<>|]*
      | (?:~|[A-Za-z]:|/(?:home|Users|Volumes|mnt|media|root|srv|opt|var|tmp|data|run|content|workspace|kaggle))
        /(?:[^\\/\n,;"'<>|]+/)*[^\s\\/,;"'<>|]*
    )""",
    re.VERBOSE,
)
"""A place on a machine: `C:\\...`, a share, or a path below the usual roots."""


def shareable(adapter: RefinedAdapter, *, notes: bool = False) -> tuple[AdapterRecord, Refinement]:
    """Return (record, refinement) as strangers may see them, every text such as a file can hold.

    No path, no picture of the disk, no address with a secret or of the house; of a file's name the last part. Where
    the record is of a local file, places that its texts name are cut to their last part too, and its key is made of
    its hashes. A record that came of a dataset itself gets back the source and the key that it had there.

    Args:
        adapter: The adapter.
        notes: Keep what the owner of the file wrote about it.
    """
    record = adapter.record
    is_local = record.path is not None or record.source == "folder"
    source, key = _identity(record, is_local=is_local)
    text: Callable[[str | None], str | None] = _without_places if is_local else _storable
    examples = (
        Example(image=public_address(one.image), prompt=text(one.prompt), negative=text(one.negative), nsfw=one.nsfw)
        for one in record.examples
    )
    shared = replace(
        record,
        source=storable(source),
        key=storable(key),
        title=text(record.title) or "untitled",
        version_name=text(record.version_name),
        file_name=bare_name(record.file_name),
        creator=text(record.creator),
        path=None,
        url=public_address(record.url),
        base_model=text(record.base_model),
        triggers=tuple(tuple(text(phrase) or "" for phrase in group) for group in record.triggers),
        tags=tuple(text(tag) or "" for tag in record.tags),
        training_tags=tuple((text(tag) or "", count) for tag, count in record.training_tags),
        description=text(record.description),
        notes=text(record.notes) if notes else None,
        negative=text(record.negative),
        examples=tuple(example for example in examples if example.image or example.prompt),
        weights=tuple(
            WeightEvidence(weight=one.weight, source=storable(one.source), image=public_address(one.image))
            for one in record.weights
        ),
        previews=(),
        provenance=() if is_local else tuple((storable(field), storable(place)) for field, place in record.provenance),
    )
    said = adapter.refinement
    return shared, replace(
        said,
        description=text(said.description),
        facets=tuple((facet, text(words) or "") for facet, words in said.facets),
        avoid=text(said.avoid),
        triggers=tuple(tuple(text(phrase) or "" for phrase in group) for group in said.triggers),
        evidence=text(said.evidence),
        writer=_storable(said.writer),
    )


def public_address(url: str | None) -> str | None:
    """Return an address without what may be a secret in it; None for what is no address that strangers could ask.

    >>> public_address("https://civitai.com/api/download/models/7?type=Model&token=secret#x")
    'https://civitai.com/api/download/models/7?type=Model'
    >>> public_address("http://nas.lan/fox.png"), public_address("/home/ada/fox.png"), public_address("http://10.0.0.1")
    (None, None, None)
    """
    if url is None or not is_fetchable(url):
        return None
    parts = urlsplit(url)
    if _HIDDEN_HOST.fullmatch((parts.hostname or "").lower()):
        return None
    query = urlencode([(name, value) for name, value in parse_qsl(parts.query) if name in _KEPT])
    return urlunsplit((parts.scheme, parts.netloc, parts.path, query, ""))


def bare_name(name: str | None) -> str | None:
    r"""Return a file's name without its folders.

    >>> bare_name("styles/ink.safetensors"), bare_name("C:\\loras\\fox.safetensors")
    ('ink.safetensors', 'fox.safetensors')
    """
    return _storable(re.split(r"[\\/]", name)[-1]) or None if name else None


def _identity(record: AdapterRecord, *, is_local: bool) -> tuple[str, str]:
    if record.source == SOURCE and ":" in record.key:
        source, _, key = record.key.partition(":")
        return source, key
    if not is_local:
        return record.source, record.key
    hashes = record.hashes
    known = hashes.sha256 or record.fingerprint or hashes.autov3 or hashes.autov2 or "unhashed"
    return record.source, f"{known}/{bare_name(record.file_name) or record.title}"


def _storable(text: str | None) -> str | None:
    return None if text is None else storable(text)


def _without_places(text: str | None) -> str | None:
    r"""Return a text in which each place on a machine is its last part.

    >>> _without_places("from C:\\Users\\Ada\\sd 1.5\\base.ckpt and /home/ada/x/fox.safetensors, see a.org/home/b")
    'from base.ckpt and fox.safetensors, see a.org/home/b'
    """
    if text is None:
        return None
    return storable(_PLACE.sub(lambda place: re.split(r"[\\/]", place[0].rstrip("\\/"))[-1], text))
