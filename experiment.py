"""An experiment: every prompt painted by every method at every guidance, into a folder that can be scored.

The folder holds `compositions.jsonl` (what each method chose; nothing is asked twice), `pictures/` (a run, see
`velatura run`), `samples.jsonl` (the manifest that `velatura eval score` reads) and `methods.json` (what each method
was). Killed at any moment, the same experiment goes on; one with other prompts, methods or guidances adds what is
lacking, and what was there stays in the manifest.
"""

from __future__ import annotations

import gc
import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from .errors import InputError
from .eval.former import Place, read_methods, standing, write_methods
from .eval.grid import PLANS, Plan, Variant, seed_of
from .eval.manifest import Manifest, manifest_of, write_manifest
from .eval.records import CellName, Prompt, Sample, Worn
from .eval.whole import append_line
from .methods import Composed, Methods
from .plain import from_plain, to_plain
from .records import Composition, Enlargement, GenerationRequest

if TYPE_CHECKING:
    from .generation.runs import RunReport
    from .painting import Painting
    from .pipeline import Velatura
    from .protocols import Backend, Watch
    from .settings import Settings

COMPOSITIONS: Final = "compositions.jsonl"
PICTURES: Final = "pictures"
SAMPLES: Final = "samples"

_OF_A_MODEL: Final = ("backend", "steps", "guidance", "scheduler", "prediction")
"""Settings that suit one checkpoint, and are not carried over to another's variant."""
_OF_A_REQUEST: Final = ("steps", "guidance", "scheduler")
"""Settings that requests tell a backend, so that one backend paints whatever they are."""

_LEFT_OUT: Final = "left out: no words are known that hold the checkpoint to its look; give them with --debias"

Told = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and how much there is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What an experiment came to."""

    manifest: Manifest
    """Of this plan; the file has what stands of former ones beside it."""
    painted: int
    kept: int
    failed: tuple[tuple[str, str], ...]
    """(method and prompt, why) of what could not be composed or painted."""
    methods: tuple[tuple[str, str], ...]
    """(method, what it was here, or why it was left out)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    sample: Sample
    """Without its picture."""
    variant: Variant
    request: GenerationRequest


class Experiment:
    """A plan over some prompts.

    Args:
        velatura: The catalogue, and the settings of what the plan leaves open.
        plan: What is compared.
        prompts: The prompts.
        folder: Where it all goes.
        methods: Composes.
        fields: Fields of every request, such as `width`, but where a variant has its own.
        name: Of the manifest, where several experiments share a folder.
        pictures: The folder within it that holds the pictures; two processes cannot paint into one.
    """

    def __init__(
        self,
        velatura: Velatura,
        plan: Plan,
        prompts: Sequence[Prompt],
        folder: Path,
        *,
        methods: Methods,
        fields: dict[str, Any] | None = None,
        name: str = SAMPLES,
        pictures: str = PICTURES,
    ) -> None:
        if not prompts:
            raise InputError("an experiment needs prompts")
        self._velatura = velatura
        as_it_comes = any(plan.methods == known.methods for known in PLANS.values())
        # What nobody asked for by name is left out where it cannot be had, and costs the others nothing.
        self._left_out = [method for method in plan.methods if as_it_comes and methods.lacks_words(method)]
        self._plan = replace(plan, methods=tuple(name for name in plan.methods if name not in self._left_out))
        self._prompts = list(prompts)
        self._folder = folder
        self._methods = methods
        self._fields = fields or {}
        self._name = name
        self._pictures = pictures
        self._paintings: dict[str, Painting] = {}
        self._opened: tuple[Settings, Painting] | None = None
        for method in self._plan.methods:
            methods.check(method)

    def run(self, *, told: Told | None = None, watch: Watch | None = None) -> Report:
        """Compose, paint what is not there yet, and write the manifest.

        Raises:
            InputError: the folder cannot be written to, or something asked for cannot be.
        """
        told = told or (lambda _what, _done, _of: None)
        composed, failed = self._composed(told)
        jobs = list(self._jobs(composed))
        painted, kept, samples = 0, 0, []
        for variant in self._plan.variants:
            own = [job for job in jobs if job.variant is variant]
            report = self._paint(variant, own, told, watch)
            painted, kept = painted + report.painted, kept + report.kept
            for job, entry in zip(own, report.of_requests, strict=True):
                if entry.file is None:
                    failed.append((f"{job.sample.cell}: {job.sample.prompt}", entry.error or ""))
                    continue
                timings = (*job.sample.timings, ("paint", entry.seconds))
                image = f"{self._pictures}/{entry.file}"
                samples.append(replace(job.sample, image=image, sha256=entry.sha256, timings=timings))
        if not samples:
            raise InputError(f"nothing could be painted: {failed[0][1] if failed else 'there is nothing to paint'}")
        self._write(samples)
        return Report(
            manifest=manifest_of(samples, self._folder),
            painted=painted,
            kept=kept,
            failed=tuple(failed),
            methods=(
                *((method, self._methods.described(method)) for method in self._plan.methods),
                *((method, _LEFT_OUT) for method in self._left_out),
            ),
        )

    def _write(self, samples: Sequence[Sample]) -> None:
        """Write the manifest, and what its methods are, with what stands of former runs."""
        path = self._folder / f"{self._name}.jsonl"
        merged = [*standing(path, samples, self._places()), *samples]
        write_manifest(merged, path)
        said = read_methods(path.parent) | {
            _named(variant, method, self._plan): _said(self._methods.described(method), variant)
            for variant in self._plan.variants
            for method in self._plan.methods
        }
        there = {sample.method for sample in merged}
        write_methods(path.parent, {name: what for name, what in said.items() if name in there})

    def _places(self) -> set[Place]:
        """Return the place of every sample that the plan asks for."""
        return {
            (CellName(method=_named(variant, method, self._plan), guidance=guidance), (prompt.id, index))
            for variant in self._plan.variants
            for method in self._plan.methods
            for guidance in self._plan.guidances
            for prompt in self._prompts
            for index in range(self._plan.samples)
        }

    # ---------------------------------------------------------------- compose

    def compose(self, *, told: Told | None = None) -> None:
        """Compose everything, and paint nothing yet.

        Raises:
            InputError: the folder cannot be written to, or a method cannot be had.
        """
        self._composed(told or (lambda _what, _done, _of: None))

    def _composed(self, told: Told) -> tuple[dict[tuple[str, str], Composed], list[tuple[str, str]]]:
        """Return what each method lays on for each prompt, and (method and prompt, why) where it could not choose.

        What was composed before is read, not composed again; where a method could not choose, nothing is kept, and it
        is asked again by the next run.
        """
        kept = _Kept(self._folder / COMPOSITIONS)
        found: dict[tuple[str, str], Composed] = {}
        failed: list[tuple[str, str]] = []
        whole = len(self._plan.methods) * len(self._prompts)
        for place, method in enumerate(self._plan.methods):
            address = self._methods.address(method)
            names = {prompt.id: _address(address, prompt.text) for prompt in self._prompts}
            left = {names[prompt.id]: prompt.text for prompt in self._prompts if names[prompt.id] not in kept.known}
            new = self._methods.compose(method, list(left.values()))
            why: dict[str, str] = {}
            for done, prompt in enumerate(self._prompts):
                told("compose", place * len(self._prompts) + done, whole)
                name = names[prompt.id]
                if name not in kept.known and name not in why:
                    composed = next(new)
                    if composed.failed is None:
                        kept.add(name, composed)
                    else:
                        why[name] = composed.failed
                if name in why:
                    failed.append((f"{method}: {prompt.text}", why[name]))
                else:
                    found[method, prompt.id] = kept.known[name]
        told("compose", whole, whole)
        return found, failed

    # ---------------------------------------------------------------- paint

    def _jobs(self, composed: dict[tuple[str, str], Composed]) -> Iterator[_Job]:
        for variant in self._plan.variants:
            for method in self._plan.methods:
                for prompt in self._prompts:
                    if (method, prompt.id) not in composed:
                        continue
                    laid = self._laid(method, prompt, composed[method, prompt.id])
                    for guidance in self._plan.guidances:
                        for index, (composition, mask) in enumerate(laid):
                            yield self._job(variant, method, prompt, guidance, index, composition, mask, composed)

    def _laid(
        self, method: str, prompt: Prompt, composed: Composed
    ) -> list[tuple[Composition, tuple[bool, ...] | None]]:
        """Return what is laid on for each sample of a prompt."""
        if not self._methods.is_masked(method):
            return [(composed.composition, None)] * self._plan.samples
        return list(self._methods.masked(composed.composition, self._plan.samples, seed_of(prompt.id, 0)))

    def _job(
        self,
        variant: Variant,
        method: str,
        prompt: Prompt,
        guidance: float | None,
        index: int,
        composition: Composition,
        mask: tuple[bool, ...] | None,
        composed: dict[tuple[str, str], Composed],
    ) -> _Job:
        one = composed[method, prompt.id]
        sample = Sample(
            prompt_id=prompt.id,
            prompt=prompt.text,
            method=_named(variant, method, self._plan),
            image="",
            guidance=guidance,
            index=index,
            seed=seed_of(prompt.id, index),
            category=prompt.category,
            challenge=prompt.challenge,
            adapters=tuple(Worn(title=choice.adapter.title, weight=choice.weight) for choice in composition.choices),
            mask=mask,
            timings=(("retrieve", round(one.retrieve, 4)), ("compose", round(one.compose, 4))),
        )
        own = dict(variant.settings)
        shared = {name: value for name, value in self._fields.items() if name not in own}
        fields: dict[str, Any] = {**shared, **dict(variant.fields), "seed": sample.seed}
        if guidance is not None:
            fields["guidance"] = guidance
        if variant.enlargement:
            fields["enlargement"] = Enlargement(**dict(variant.enlargement))
        return _Job(sample=sample, variant=variant, request=self._request(variant, composition, fields))

    def _request(self, variant: Variant, composition: Composition, fields: dict[str, Any]) -> GenerationRequest:
        return self._painting(variant).request(composition, **fields)

    def _painting(self, variant: Variant) -> Painting:
        """Return what makes a variant's requests."""
        from .painting import Painting

        if not variant.settings:
            return self._velatura.painting
        if variant.name not in self._paintings:
            settings, velatura = self._settings(variant), self._velatura
            self._paintings[variant.name] = Painting(settings, velatura.localised, velatura.engine)
        return self._paintings[variant.name]

    def _settings(self, variant: Variant) -> Settings:
        from pydantic import ValidationError

        from .settings import Settings

        own = dict(variant.settings)
        given = self._velatura.settings.model_dump()
        if "model" in own:
            given |= {name: Settings.model_fields[name].default for name in _OF_A_MODEL}
        try:
            return Settings.model_validate(given | own)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(map(str, first["loc"]))
            raise InputError(f"the variant {variant.name}: setting {where}: {first['msg']}") from None

    def _backend(self, variant: Variant) -> Backend:
        """Return what paints a variant: of several checkpoints only the last stays open, since each fills a GPU."""
        from .painting import Painting

        if not variant.settings:
            return self._velatura.backend
        opening = _opening(self._settings(variant))
        if opening == _opening(self._velatura.settings):
            return self._velatura.backend
        if self._opened is None or self._opened[0] != opening:
            if self._opened is not None:
                self._opened[1].close()
            self._opened = None
            gc.collect()
            self._opened = opening, Painting(opening, self._velatura.localised, self._velatura.engine)
        return self._opened[1].backend

    def _paint(self, variant: Variant, jobs: Sequence[_Job], told: Told, watch: Watch | None) -> RunReport:
        from .generation.runs import run

        what = f"paint {variant.name}".strip()
        return run(
            self._backend(variant),
            [job.request for job in jobs],
            self._folder / self._pictures,
            watch=watch,
            told=lambda done, of: told(what, done, of),
            sheets=False,
        )


class _Kept:
    """What was composed, by its address, in a file that grows by a line for each; a torn line is composed again."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.known: dict[str, Composed] = {}
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            content = path.read_bytes() if path.is_file() else b""
        except OSError as error:
            raise InputError(f"{path} cannot be read: {error.strerror}") from None
        for line in content.split(b"\n"):
            try:
                plain = json.loads(line)
                self.known[plain["address"]] = _composed(plain)
            except (ValueError, TypeError, KeyError, RecursionError, InputError):
                continue

    def add(self, address: str, composed: Composed) -> None:
        """Keep what was composed, as it will be read again.

        Raises:
            InputError: it cannot be written.
        """
        plain = {
            "address": address,
            "retrieve": round(composed.retrieve, 4),
            "compose": round(composed.compose, 4),
            "composition": to_plain(composed.composition),
        }
        append_line(self._path, (json.dumps(plain, ensure_ascii=False) + "\n").encode("utf-8", "backslashreplace"))
        self.known[address] = _composed(plain)


def _composed(plain: dict[str, Any]) -> Composed:
    return Composed(
        composition=from_plain(Composition, plain["composition"]),
        retrieve=float(plain["retrieve"]),
        compose=float(plain["compose"]),
    )


def _named(variant: Variant, method: str, plan: Plan) -> str:
    """Return the method's name that samples have."""
    if not variant.name:
        return method
    return f"{variant.name}, {method}" if len(plan.methods) > 1 else variant.name


def _said(described: str, variant: Variant) -> str:
    """Return what a method is, and what a variant sets, where that is said in a word."""
    own = [*variant.settings, *variant.fields, *variant.enlargement]
    return "; ".join([described, *(f"{name} {value}" for name, value in own if isinstance(value, str | int | float))])


def _opening(settings: Settings) -> Settings:
    """Return what of settings decides the backend."""
    return settings.model_copy(update=dict.fromkeys(_OF_A_REQUEST))


def _address(address: Sequence[object], prompt: str) -> str:
    return hashlib.sha256(json.dumps([*address, prompt]).encode("utf-8", "backslashreplace")).hexdigest()
