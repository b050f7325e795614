"""What the command line shows: tables for people on stdout, JSON for programs, progress on stderr."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import TYPE_CHECKING, Any, Self

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars
from rich.table import Table

from ..addresses import without_secrets
from ..families import TITLES
from ..plain import from_plain, to_plain
from ..records import (
    AdapterRecord,
    BaseNorms,
    BlockNorm,
    Candidate,
    Composition,
    GenerationRequest,
    RefinedAdapter,
    Refinement,
    Rejection,
    WeightMeasure,
)

if TYPE_CHECKING:
    from ..db import Stats, Store, SyncReport
    from ..doctor import Finding
    from ..generation.adapters.check import Checked
    from ..refiner.embed import EmbedReport
    from ..refiner.pictures import PictureReport
    from ..refiner.weights import MeasureReport, NearDuplicate
    from ..settings import Explained

_LEFT_OUT = {
    "installed": "not on this machine",
    "family": "made for another base",
    "kinds": "of another kind",
    "nsfw": "rated otherwise, or not rated",
    "commercial": "licence does not allow it, or is not known",
    "real_people": "depicts a real person",
    "minor": "depicts a minor",
    "missing": "gone from its source",
}
_MARKS = {"good": "[green]good[/]", "missing": "[yellow]missing[/]", "broken": "[red]broken[/]"}
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
"""Unicode's category Cc, but for the line's end and the tab."""
_SURROGATES = re.compile(r"[\ud800-\udfff]")
"""Halves of characters, which no terminal takes; JSON may spell them."""


class Progress:
    """A line of progress on stderr; silent where nobody is watching."""

    def __init__(self, title: str) -> None:
        self._bars = Bars(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.fields[detail]}", markup=False),
            TimeElapsedColumn(),
            console=Console(stderr=True, emoji=False),
            transient=True,
            disable=not sys.stderr.isatty(),
        )
        self._task: TaskID = self._bars.add_task(_printable(title), total=None, detail="")

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def synced(self, report: SyncReport) -> None:
        """Show how far an index run is."""
        detail = f"{report.offered:,} seen, {report.added:,} new, {report.rejected:,} rejected"
        self._bars.update(self._task, detail=detail)

    def painted(self, done: float) -> None:
        """Show how far the pictures are, 0 to 1."""
        self._bars.update(self._task, total=1.0, completed=done, detail=f"{done:.0%}")

    def embedded(self, report: EmbedReport) -> None:
        """Show how far an embed run is."""
        detail = f"{report.done:,} of {report.adapters:,}"
        self._bars.update(self._task, total=report.adapters, completed=report.done, detail=detail)

    def pictured(self, report: PictureReport) -> None:
        """Show of how many adapters the pictures are embedded."""
        self.compared(report.done, report.adapters)

    def measured(self, report: MeasureReport) -> None:
        """Show how many files are measured."""
        self.compared(report.done, report.files)

    def told(self, detail: str, done: int, whole: int) -> None:
        """Show how far a run is, in words of its own."""
        self._bars.update(self._task, total=whole, completed=done, detail=_printable(detail))

    def compared(self, done: int, whole: int) -> None:
        """Show how many of some things are done."""
        self._bars.update(self._task, total=whole, completed=done, detail=f"{done:,} of {whole:,}")


def print_reports(
    reports: Sequence[SyncReport],
    embedded: EmbedReport | None,
    measured: MeasureReport | None = None,
    base: BaseNorms | None = None,
    *,
    pictures: PictureReport | None = None,
    as_json: bool,
) -> None:
    """Print what index runs, runs over the texts and the pictures, and a run over the weights did."""
    if as_json:
        done = {"embedded": embedded, "pictures": pictures, "measured": measured, "base": base}
        plain = {name: None if report is None else asdict(report) for name, report in done.items()}
        _json({"indexed": [asdict(report) for report in reports], **plain})
        return
    for report in reports:
        changes = ", ".join(
            f"{count:,} {name}"
            for name, count in (
                ("added", report.added),
                ("updated", report.updated),
                ("moved", report.moved),
                ("missing", report.missing),
                ("rejected", report.rejected),
            )
            if count
        )
        out(f"{shown(report.source)}: {report.offered:,} seen, {changes or 'nothing changed'} ({report.seconds:.1f} s)")
        if report.rejected:
            out("[dim]why: velatura rejected[/]")
    if embedded is not None and embedded.adapters:
        out(f"embedded {embedded.adapters:,} adapters, {embedded.texts:,} texts ({embedded.seconds:.1f} s)")
    if pictures is not None and pictures.adapters:
        out(f"embedded {pictures.pictures:,} pictures and {pictures.texts:,} cards ({pictures.seconds:.1f} s)")
        _print_failed(pictures.failed, "read")
    if base is not None:
        out(f"measured the checkpoint {shown(base.model)}, {TITLES[base.family]}")
    if measured is not None and measured.files:
        good = measured.done - len(measured.failed)
        out(f"measured the weights of {good:,} files ({measured.seconds:.1f} s)")
        _print_failed(measured.failed, "measured")


def _print_failed(failed: Sequence[Rejection], what: str) -> None:
    for failure in failed[:5]:
        out(f"  {shown(failure.locator)}: {shown(failure.reason)}")
    if len(failed) > 5:
        out(f"[dim]and {len(failed) - 5:,} more could not be {what}; --json lists them[/]")


def print_checked(answers: Iterable[Checked], *, details: bool, as_json: bool) -> bool:
    """Print which adapter files work on a model, a line each as the answers come, or all that is known of each.

    Returns:
        Whether all work.
    """
    found = []
    for answer in answers:
        found.append(answer)
        if not as_json:
            _print_checked(answer, details=details)
    if as_json:
        _json([_plain_checked(answer) for answer in found])
    elif not found:
        out("there is no .safetensors file")
    elif len(found) > 1:
        good = sum(answer.problem is None for answer in found)
        out(f"{good:,} of {len(found):,} work")
    return bool(found) and all(answer.problem is None for answer in found)


def _print_checked(answer: Checked, *, details: bool) -> None:
    found, mark = answer.coverage, "[green]works[/]" if answer.problem is None else "[red]does not work[/]"
    if answer.problem is not None:
        about = answer.problem
    else:
        about = "" if found is None else f"{found.parameters:.0%} on {TITLES.get(found.model_family, 'the model')}"
        about += "" if found is None else f", {', '.join(found.kinds)}" + "".join(f"; {w}" for w in found.warnings)
    out(f"{shown(str(answer.path))}: {mark} [dim]({shown(about)})[/]")
    if found is None or not details:
        return
    rows = [
        ("made for", f"{TITLES.get(found.family, found.family)}: {found.evidence}"),
        ("model", TITLES.get(found.model_family, found.model_family)),
        (
            "fits",
            f"{found.mapped:,} of {found.networks:,} networks, {found.parameters:.1%} of the values; "
            f"{len(found.missing):,} missing, {len(found.mismatched):,} of another shape",
        ),
        ("kinds", ", ".join(f"{count:,} {kind}" for kind, count in found.kinds.items())),
        ("blocks", ", ".join(f"{block} {share.fitted}/{share.of}" for block, share in found.blocks.items())),
        ("text encoder", found.text_encoder),
        ("tokens", _few(found.tokens)),
        ("missing", _few(found.missing)),
        ("other shape", _few(found.mismatched)),
        ("not asked", _few(found.left_out)),
        ("dropped keys", _few(found.dropped)),
        ("note", "; ".join(found.warnings)),
    ]
    for title, text in rows:
        if text:
            out(f"  [dim]{title:13}[/] {shown(text)}")


def _plain_checked(answer: Checked) -> dict[str, Any]:
    coverage = None if answer.coverage is None else answer.coverage.to_plain()
    return {"path": str(answer.path), "works": answer.problem is None, "problem": answer.problem, "coverage": coverage}


def _few(names: Sequence[str]) -> str:
    shown = ", ".join(name if len(name) <= 80 else f"{name[:80]}..." for name in names[:3])
    return f"{shown}, and {len(names) - 3:,} more" if len(names) > 3 else shown


def print_likened(adapter: RefinedAdapter, others: Sequence[int]) -> None:
    """Print what adapter others are like, and what else answers to its name."""
    also = f" [dim](not {', '.join(map(str, others[:20]))})[/]" if others else ""
    out(f"like [bold]{adapter.id}[/] {_name(adapter.record, 0)}{also}")


def print_candidates(candidates: Sequence[Candidate], excluded: Mapping[str, int], *, score: str = "likely") -> None:
    """Print a table of candidates; `score` is what their score says."""
    table = Table(box=None, pad_edge=False)
    for number in (score, "no."):
        table.add_column(number, justify="right")
    for text in ("adapter", "base", "why"):
        table.add_column(text, overflow="fold")
    for candidate in candidates:
        table.add_row(
            f"{candidate.score:.0%}",
            str(candidate.adapter.id),
            _name(candidate.adapter.record, len(candidate.alternatives)),
            TITLES[candidate.adapter.record.family],
            shown("; ".join(candidate.because[:4])),
        )
    console().print(table if candidates else "nothing found")
    for reason, count in excluded.items():
        if count:
            out(f"[dim]{count:,} left out: {_LEFT_OUT.get(reason, reason)}[/]")


def print_composition(composition: Composition) -> None:
    """Print what was chosen for which words, what was refused, and what a person should know."""
    if not composition.choices:
        out("no adapter fits; the prompt is painted as it is")
    for choice in composition.choices:
        serves = f" for “{shown(choice.span)}”" if choice.span else ""
        out(f"[bold]{shown(choice.adapter.title)}[/] at {choice.weight:g}{serves}")
        if choice.reason:
            out(f"  {shown(choice.reason)}")
        if choice.triggers:
            out(f"  triggers: {shown(', '.join(choice.triggers))}")
    for refusal in composition.refused[:5]:
        out(f"[dim]not {shown(refusal.adapter.title)}: {shown(refusal.reason)}[/]")
    if len(composition.refused) > 5:
        out(f"[dim]and {len(composition.refused) - 5} more refused; --json lists them[/]")
    for note in composition.notes:
        out(f"[yellow]note[/] {shown(note)}")


def print_paths(composition: Composition, paths: Sequence[Path], *, as_json: bool) -> None:
    """Print where the pictures are."""
    if as_json:
        _json({**to_plain(composition), "images": [str(path) for path in paths]})
        return
    for path in paths:
        out(f"[green]{shown(str(path))}[/]")


def print_adapter(
    adapter: RefinedAdapter,
    measure: WeightMeasure | None = None,
    base: BaseNorms | None = None,
    *,
    others: Sequence[int],
    probes: Mapping[str, Any] = MappingProxyType({}),
    as_json: bool,
) -> None:
    """Print all that is known of an adapter; `probes` tells what it really does, by the base it was tried on."""
    record = adapter.record
    if as_json:
        known = {"id": adapter.id, "others": list(others), **asdict(record), "refined": asdict(adapter.refinement)}
        strength = None if measure is None else _plain_strength(measure, base)
        _json({**known, "strength": strength, "probes": dict(probes)})
        return
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    origins = dict(record.provenance)
    for field, value in _rows(record):
        origin = f" [dim]({shown(origins[field])})[/]" if field in origins else ""
        table.add_row(field.replace("_", " "), shown(value) + origin)
    for field, value in _described(adapter.refinement):
        table.add_row(field, shown(value))
    for field, value in _strength(measure, base, record.family) if measure else ():
        table.add_row(field, shown(value))
    for family, probe in probes.items():
        table.add_row("probe", shown(f"on {TITLES.get(family, family)}: {probe['summary']}"))
    console().print(f"[bold]{adapter.id}[/] {_name(record, 0)}")
    console().print(table)
    if others:
        out(f"[dim]also: {', '.join(map(str, others[:20]))}[/]")


def print_story(story: Mapping[str, Any], *, as_json: bool) -> None:
    """Print why a picture looks as it does: the adapters on it and their reasons, then how it was painted."""
    if as_json:
        _json(story)
        return
    if "request" in story:
        request = from_plain(GenerationRequest, story["request"])
        out(f"[bold]{shown(request.composition.prompt)}[/]")
        print_composition(replace(request.composition, choices=request.choices))
        size = f"{request.width}x{request.height}"
        seed = shown(str(story.get("seed")))
        out(f"[dim]{shown(request.model)} ({shown(request.backend)}), seed {seed},[/]")
        out(f"[dim]{request.steps} steps, guidance {request.guidance or 0:g},[/]")
        out(f"[dim]{size}, {shown(request.scheduler or 'its own scheduler')}[/]")
    parameters = story.get("parameters")
    if isinstance(parameters, Mapping):
        for name in ("prompt", "negative"):
            if parameters.get(name):
                out(f"[dim]{name}:[/] {shown(str(parameters[name]))}")
        settings = parameters.get("settings")
        for name, value in settings.items() if isinstance(settings, Mapping) else ():
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            out(f"[dim]{shown(str(name))}:[/] {shown(text)}")


def print_stats(stats: Stats, *, as_json: bool) -> None:
    """Print what the catalogue holds."""
    if as_json:
        _json(asdict(stats))
        return
    for name, value in asdict(stats).items():
        if isinstance(value, Mapping):
            value = ", ".join(f"{key} {count:,}" for key, count in value.items()) or "-"
        out(f"[dim]{name.replace('_', ' '):>12}[/]  {shown(f'{value:,}' if isinstance(value, int) else str(value))}")


def print_rejections(rejections: Sequence[Rejection], *, as_json: bool) -> None:
    """Print what could not be catalogued."""
    if as_json:
        _json([asdict(rejection) for rejection in rejections])
        return
    for rejection in rejections:
        out(f"{shown(rejection.locator)}\n  [dim]{shown(rejection.reason)}[/]")
    if not rejections:
        out("nothing was rejected")


def print_duplicates(store: Store, *, as_json: bool) -> None:
    """Print groups of adapters that are one."""
    groups = store.duplicates()
    if as_json:
        _json([asdict(group) for group in groups])
        return
    for group in groups:
        out(f"[bold]{shown(group.why)}[/]")
        for adapter in store.adapters(list(group.adapters)):
            out(f"  {adapter.id}  {_name(adapter.record, 0)}  [dim]{shown(adapter.record.path or '')}[/]")
    if not groups:
        out("no duplicates")


def print_near_duplicates(store: Store, pairs: Sequence[NearDuplicate], *, as_json: bool) -> None:
    """Print pairs of adapters that do the same to weights."""
    if as_json:
        _json([asdict(pair) for pair in pairs])
        return
    for pair in pairs:
        notes = ["" if pair.is_exact else "estimated", "without what needs a model" if pair.is_partial else ""]
        note = ", ".join(part for part in notes if part)
        out(
            f"[bold]overlap {pair.overlap:.4f}[/], the second {pair.ratio:.3g} times as strong"
            + (f" [dim]({note})[/]" if note else "")
        )
        for adapter in store.adapters(pair.adapters):
            out(f"  {adapter.id}  {_name(adapter.record, 0)}  [dim]{shown(adapter.record.path or '')}[/]")
    if not pairs:
        out("no near-duplicates")


def print_settings(settings: Sequence[Explained], *, as_json: bool) -> None:
    """Print every setting with its origin; passwords in addresses are left out."""
    if as_json:
        _json({setting.name: {"value": _bare(setting.value), "origin": setting.origin} for setting in settings})
        return
    table = Table(box=None, pad_edge=False)
    for name in ("setting", "value", "from"):
        table.add_column(name, overflow="fold")
    for setting in settings:
        table.add_row(setting.name, shown(str(_bare(setting.value))), shown(setting.origin))
    console().print(table)


def print_findings(findings: Sequence[Finding], *, as_json: bool) -> None:
    """Print what the doctor found."""
    if as_json:
        _json([asdict(finding) for finding in findings])
        return
    for finding in findings:
        out(f"{_MARKS[finding.state]}  {shown(finding.what)}: {shown(finding.detail)}")


# -------------------------------------------------------------------- pieces


def console() -> Console:
    """Return where tables go."""
    return Console(highlight=False, emoji=False)


def out(text: str) -> None:
    """Print a line of markup, which the terminal may wrap."""
    console().print(text, soft_wrap=True)


def shown(text: str) -> str:
    """Return text of files and sites as it is safe to print: no markup, nothing that steers a terminal."""
    return escape(_printable(text))


def _printable(text: str) -> str:
    return _SURROGATES.sub("\ufffd", _CONTROLS.sub("", text))


def _json(value: object) -> None:
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, indent=2)
    sys.stdout.write(_SURROGATES.sub(lambda found: f"\\u{ord(found[0]):04x}", text) + "\n")


def _name(record: AdapterRecord, versions: int) -> str:
    name = f"[bold]{shown(record.title)}[/]"
    if record.version_name and record.version_name != record.title:
        name += f" {shown(record.version_name)}"
    return name + (f" [dim]+{versions}[/]" if versions else "")


def _bare(value: object) -> object:
    return without_secrets(value) if isinstance(value, str) else value


def _said(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return (", ".join(map(str, value)) or "none") if isinstance(value, tuple) else str(value)


def _rows(record: AdapterRecord) -> list[tuple[str, str]]:
    """Return the known fields as text, in the record's order."""
    rows = []
    for field, value in asdict(record).items():
        if field in ("title", "version_name", "provenance", "examples", "weights") or value in (None, (), ""):
            continue
        if isinstance(value, Mapping):
            value = "; ".join(
                f"{key.replace('_', ' ')}: {_said(item)}" for key, item in value.items() if item is not None
            )
        elif field == "triggers":
            value = " | ".join(", ".join(group) for group in value)
        elif field == "training_tags":
            value = ", ".join(f"{tag} ({count})" for tag, count in value[:20])
        elif isinstance(value, tuple):
            value = _said(value)
        if value != "":
            rows.append((field, str(value)))
    used = sorted({(evidence.weight, evidence.source) for evidence in record.weights})
    rows += [("weights", ", ".join(f"{weight:g} ({source})" for weight, source in used[:12]))] if used else []
    rows += [("prompt", example.prompt) for example in record.examples[:3] if example.prompt]
    return rows


def _described(said: Refinement) -> Iterator[tuple[str, str]]:
    """Yield the rows of what a describer said, and who it was."""
    weight = None if said.weight is None else f"{said.weight:g}" + (f" ({said.evidence})" if said.evidence else "")
    rows = (
        ("what it is", said.category),
        *((facet, words) for facet, words in said.facets),
        ("what it does", said.description),
        ("not for", said.avoid),
        ("worth using", " | ".join(", ".join(group) for group in said.triggers)),
        ("lay it on at", weight),
        ("described by", said.writer),
    )
    yield from ((name, value) for name, value in rows if value)


def _plain_strength(measure: WeightMeasure, base: BaseNorms | None) -> dict[str, Any]:
    """Return what was measured, each block with its strength relative to the checkpoint's weights there."""
    relative = measure.relative_to(base) if base else {}

    def plain(block: BlockNorm) -> dict[str, Any]:
        known = {"norm": block.norm, "values": block.values, "rms": block.rms}
        return {**known, "relative": relative.get(block.block)}

    return {
        **plain(measure.whole),
        "base": base.model if base else None,
        "blocks": {block.block: plain(block) for block in measure.blocks},
        "unmeasured": dict(measure.unmeasured),
        "failure": measure.failure,
    }


def _strength(measure: WeightMeasure, base: BaseNorms | None, family: str) -> Iterator[tuple[str, str]]:
    """Yield the rows that tell how strong an adapter is."""
    if measure.failure is not None:
        yield "strength", f"could not be measured: {measure.failure}"
        return
    relative = measure.relative_to(base) if base else {}
    whole = measure.whole
    text = f"{whole.norm:.4g} over {whole.values:,} values (RMS {whole.rms:.2e})"
    if base:
        text += f", {relative['all']:.2%} of {base.model}" if "all" in relative else ""
    else:
        text += f"; no checkpoint of {TITLES[family]} was measured to tell it relative to"
    yield "strength", text
    parts = [
        f"{block.block} {block.norm:.3g}" + (f" ({relative[block.block]:.2%})" if block.block in relative else "")
        for block in measure.blocks
    ]
    if parts:
        yield "by block", ", ".join(parts)
    if measure.unmeasured:
        counts = ", ".join(f"{count:,} {kind}" for kind, count in measure.unmeasured)
        yield "not measured", f"{counts}: what they do depends on the model's weights"
