"""Has large catalogues described by OpenAI's Batch API: within a day, at half the price.

`submit` sends what is to be asked, in files, and remembers the batches; `collect`, at any later time, reads what has
come back. Both can be killed at any moment and called again. Before a batch is sent it is noted down, with a key that
the server keeps beside it; so after a kill the server tells whether it has it, and nothing is sent twice.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ..db.refinements import Reply
from ..errors import LanguageModelError, LanguageModelRefusal
from ..fenced import line
from ..llm import usage_of
from ..records import RefinedAdapter, Refinement, Usage
from .batch_files import BYTES, LINES, write_files
from .batch_ledger import BatchLedger, Planned
from .batch_service import BatchService, Gone

if TYPE_CHECKING:
    from ..db import Store
    from .vlm import VlmDescriber

_CHUNK: Final = 128
"""Adapters that are read at once."""
_READERS: Final = 8
"""Threads that fetch pictures."""
_KEPT: Final = 200
"""Answers that are read and kept at once."""
_OVER: Final = frozenset({"completed", "failed", "expired", "cancelled"})
_REFUSED: Final = frozenset({"content_filter", "content_policy_violation", "invalid_prompt", "moderation_blocked"})
_SHOWN: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchReport:
    """What `submit` or `collect` has done."""

    submitted: int = 0
    """Questions that were sent."""
    batches: int = 0
    """Batches that were sent, or that were read to their end."""
    under_way: int = 0
    """Questions that wait for their answers at the server."""
    described: int = 0
    """Adapters that are described now."""
    failed: int = 0
    """Answers of no use."""
    refused: int = 0
    """Questions that the model would not answer."""
    unanswered: int = 0
    """Questions that came back without an answer, or not at all; they can be sent again."""
    unknown: int = 0
    """Answers to no question of ours, or on adapters that have changed since."""
    usage: Usage = Usage()  # noqa: RUF009 - frozen
    """What the answers took."""
    notes: tuple[str, ...] = ()
    """What a person should know, in a sentence each: what could not be sent, what a server said of a batch."""


def submit(
    store: Store,
    describer: VlmDescriber,
    ledger: Path,
    *,
    limit: int | None = None,
    retry: bool = False,
    lines: int = LINES,
    size: int = BYTES,
    progress: Callable[[BatchReport], None] | None = None,
) -> BatchReport:
    """Send everything that the describer has not answered yet and that is not under way.

    Adapters on which it has answered before are described at once.

    Args:
        store: The catalogue.
        describer: Who is to describe; its model's server must offer files and batches.
        ledger: The file that remembers the batches; the same for every call on a catalogue.
        limit: The most questions that are sent now.
        retry: Also send again what failed or was refused.
        lines: The most questions of one batch.
        size: The most bytes of one batch's file.
        progress: Told what has been done so far, after every batch.

    Raises:
        LanguageModelError: The server does not take files or batches, or cannot be reached; what it has taken stays
            under way.
        InputError: It does not take the key.
        CatalogueError: The catalogue, or the ledger, cannot be read or written.
    """
    book, service = _open(describer, ledger)
    asked, described = _unasked(store, describer, book.open_origins(describer.name), retry=retry)
    report = BatchReport(described=described)
    wanted = dict(islice(asked.items(), limit))
    with tempfile.TemporaryDirectory() as folder:
        for file in write_files(_bodies(store, describer, wanted), Path(folder), lines=lines, size=size):
            notes = [f"adapter {wanted[origin][0]} is too long for a batch" for origin in file.too_long]
            report = replace(report, notes=(*report.notes, *notes))
            if file.origins:
                planned = book.plan(describer.name, {origin: tuple(wanted[origin]) for origin in file.origins})
                book.sent(planned.key, service.send(planned.key, file.path))
                report = replace(report, submitted=report.submitted + len(file.origins), batches=report.batches + 1)
            file.path.unlink()
            if progress is not None:
                progress(report)
    return replace(report, under_way=len(book.open_origins(describer.name)))


def collect(
    store: Store, describer: VlmDescriber, ledger: Path, *, progress: Callable[[BatchReport], None] | None = None
) -> BatchReport:
    """Read what has come back, and let the adapters have it; what is not finished stays under way.

    An answer is checked as a live one is, without a second try. Batches of other describers are left to these.

    Raises:
        LanguageModelError: The server cannot be reached; what was read is kept.
        InputError: It does not take the key.
        CatalogueError: The catalogue, or the ledger, cannot be read or written.
    """
    book, service = _open(describer, ledger)
    store.stale_refinements(describer.name)  # so that the catalogue knows of which records these answers came
    report = BatchReport()
    for planned in book.planned:
        if planned.writer != describer.name or planned.batch is None:
            continue
        try:
            batch = service.batch(planned.batch)
        except Gone as error:
            told = f"{error}; if it is gone for good, take it out of {ledger}"
            report = replace(report, notes=(*report.notes, told))
            continue
        if getattr(batch, "status", None) in _OVER:
            report = _Collection(store, describer, planned, report).read(service, batch)
            book.drop(planned.key)
            if progress is not None:
                progress(report)
    return replace(report, under_way=len(book.open_origins(describer.name)))


def _open(describer: VlmDescriber, ledger: Path) -> tuple[BatchLedger, BatchService]:
    """Open the ledger, and find out about the batches that a killed run was about to send."""
    book, service = BatchLedger(ledger), BatchService(describer.model)
    doubtful = [one.key for one in book.planned if one.batch is None]
    known = service.find(doubtful) if doubtful else {}
    for key in doubtful:
        if key in known:
            book.sent(key, known[key])
        else:
            book.drop(key)
    return book, service


def _unasked(
    store: Store, describer: VlmDescriber, under_way: set[str], *, retry: bool
) -> tuple[dict[str, list[int]], int]:
    """Describe the adapters on which there is an answer; return the adapters by origin of the others, and how many."""
    asked: dict[str, list[int]] = {}
    described = 0
    numbers = store.stale_refinements(describer.name)
    for start in range(0, len(numbers), _CHUNK):
        adapters = [(describer.origin(adapter), adapter) for adapter in store.adapters(numbers[start : start + _CHUNK])]
        known = store.replies(describer.name, {origin for origin, _ in adapters})
        rows: list[tuple[int, Refinement, str]] = []
        for origin, adapter in adapters:
            reply = known.get(origin)
            if reply is not None and reply.refinement is not None:
                rows.append((adapter.id, reply.refinement, origin))
            elif origin not in under_way and (reply is None or retry):
                asked.setdefault(origin, []).append(adapter.id)
        store.put_refinements(rows)
        described += len(rows)
    return asked, described


def _bodies(
    store: Store, describer: VlmDescriber, wanted: Mapping[str, list[int]]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (origin, body of the question), with pictures fetched some at a time."""
    left = iter(wanted.items())
    with ThreadPoolExecutor(_READERS) as readers:
        while chunk := [(numbers[0], origin) for origin, numbers in islice(left, _CHUNK)]:
            origins = dict(chunk)
            adapters = store.adapters(list(origins))
            for adapter, body in zip(adapters, readers.map(describer.body, adapters), strict=True):
                yield origins[adapter.id], body


class _Collection:
    """Reads the answers of one batch."""

    def __init__(self, store: Store, describer: VlmDescriber, planned: Planned, report: BatchReport) -> None:
        self._store = store
        self._describer = describer
        self._planned = planned
        self._report = report
        self._missing = set(planned.origins)

    def read(self, service: BatchService, batch: Any) -> BatchReport:
        """Read what it holds, and keep it; return the report with it."""
        notes = [f"batch {batch.id}: {told}" for told in _faults(batch)]
        for file in (getattr(batch, "output_file_id", None), getattr(batch, "error_file_id", None)):
            if not isinstance(file, str) or not file:
                continue
            lines = service.lines(file)
            try:
                while chunk := list(islice(lines, _KEPT)):
                    self._keep(chunk)
            except Gone as error:
                notes.append(str(error))
        return replace(
            self._report,
            batches=self._report.batches + 1,
            unanswered=self._report.unanswered + len(self._missing),
            notes=(*self._report.notes, *notes),
        )

    def _keep(self, lines: Iterable[Mapping[str, Any]]) -> None:
        """Check some answers, and keep them."""
        given = {str(plain.get("custom_id")): plain for plain in lines}
        known = {origin: plain for origin, plain in given.items() if origin in self._missing}
        numbers = [number for origin in known for number in self._planned.origins[origin]]
        adapters = {adapter.id: adapter for adapter in self._store.adapters(numbers)}
        replies: list[Reply] = []
        described: list[tuple[int, Refinement, str]] = []
        undescribed: list[tuple[int, str]] = []
        outdated = 0
        for origin, plain in known.items():
            same = [
                adapters[number]
                for number in self._planned.origins[origin]
                if number in adapters and self._describer.origin(adapters[number]) == origin
            ]
            if not same:
                self._missing.discard(origin)
                outdated += 1
                continue
            if (reply := self._reply(same[0], origin, plain)) is None:
                continue
            self._missing.discard(origin)
            replies.append(reply)
            if reply.refinement is not None:
                described += [(adapter.id, reply.refinement, origin) for adapter in same]
            else:
                undescribed += [(adapter.id, origin) for adapter in same]
        # The replies first: they are paid for.
        self._store.put_replies(self._describer.name, replies)
        self._store.put_refinements(described)
        self._store.put_unrefined(self._describer.name, undescribed)
        self._count(replies, len(described), len(given) - len(known) + outdated)

    def _reply(self, adapter: RefinedAdapter, origin: str, plain: Mapping[str, Any]) -> Reply | None:
        """Return what a line holds; None where the question was not put to the model, or its server failed."""
        response = plain.get("response")
        status = response.get("status_code") if isinstance(response, dict) else None
        body = response.get("body") if isinstance(response, dict) else None
        if status == 200:
            usage = usage_of(body)
            try:
                return Reply(origin=origin, refinement=self._describer.read(adapter, body), usage=usage)
            except LanguageModelError as error:
                refused = isinstance(error, LanguageModelRefusal)
                return Reply(origin=origin, failure=str(error), refused=refused, usage=usage)
        if not isinstance(status, int) or status in (408, 409, 429) or status >= 500:
            return None
        fault = body.get("error") if isinstance(body, dict) else None
        code, message = (fault.get(name) if isinstance(fault, dict) else None for name in ("code", "message"))
        told = line(message, _SHOWN) if isinstance(message, str) else f"HTTP {status}"
        return Reply(origin=origin, failure=f"the server refuses the question: {told}", refused=code in _REFUSED)

    def _count(self, replies: Iterable[Reply], described: int, unknown: int) -> None:
        report = self._report
        bare = [reply for reply in replies if reply.refinement is None]
        self._report = replace(
            report,
            described=report.described + described,
            failed=report.failed + sum(not reply.refused for reply in bare),
            refused=report.refused + sum(reply.refused for reply in bare),
            unknown=report.unknown + unknown,
            usage=sum((reply.usage for reply in replies), report.usage),
        )


def _faults(batch: Any) -> list[str]:
    """Return what the server says is wrong with a batch as a whole, a few sentences."""
    data = getattr(getattr(batch, "errors", None), "data", None)
    told = [getattr(error, "message", None) for error in data[:3]] if isinstance(data, list) else []
    lines = [line(text, _SHOWN) for text in told if isinstance(text, str) and text]
    return lines or (["the server calls it failed"] if getattr(batch, "status", None) == "failed" else [])
