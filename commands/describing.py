"""The command that has it said what adapters do: by rules, by a picture model, by a language model, or by none."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ..errors import InputError, LanguageModelUnavailable, VelaturaError
from ..records import Filter
from .embedding import embed_what_can_be
from .options import Address, Db, Engine, Json, engine_flags, open_velatura, print_json, refuse_missing

if TYPE_CHECKING:
    from ..pipeline import Velatura
    from ..protocols import Describer
    from ..refiner.refine_report import RefineReport
    from ..settings import Settings
    from .describing_screen import Outcome

Batch = Literal["submit", "collect"]


def refine(
    describer: Annotated[
        Literal["card", "pictures", "vlm", "local", "none"] | None,
        typer.Option(
            help="Who describes: card (rules, no model), pictures (the same, and the picture model), vlm (the language "
            "model), local (a model on this machine); none takes away what was described."
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only tell what would be asked, and about what it takes and costs.")
    ] = False,
    limit: Annotated[int | None, typer.Option("--limit", "-n", min=1, help="Ask about at most so many.")] = None,
    workers: Annotated[int | None, typer.Option(min=1, max=256, help="How many are asked about at once.")] = None,
    retry: Annotated[
        bool, typer.Option("--retry", help="Also ask again about those that it failed at or refused.")
    ] = False,
    spend: Annotated[
        float | None,
        typer.Option(min=0, metavar="MONEY", help="With vlm: ask no more once it has cost so much, by the set prices."),
    ] = None,
    batch: Annotated[
        Batch | None,
        typer.Option(help="With vlm: submit sends all in batches, which cost less; collect reads what has come back."),
    ] = None,
    failures: Annotated[
        bool, typer.Option("--failures", help="Also list those that it failed at or refused, with the reasons.")
    ] = False,
    embed: Annotated[bool, typer.Option(help="Embed the texts that have changed, so that search sees them.")] = True,
    engine: Engine = None,
    address: Address = None,
    db: Db = None,
    as_json: Json = False,
) -> None:
    """Have a describer say what each adapter does. It goes on where it was stopped, and asks nothing twice."""
    from .describing_screen import plain_outcome, print_outcome
    from .screen import print_reports

    given = {"--limit": limit is not None, "--retry": retry, "--spend": spend is not None, "--failures": failures}
    flags = engine_flags(engine, address)
    with open_velatura(read_only=dry_run, db=db, describer=describer, workers=workers, **flags) as velatura:
        refuse_missing(velatura.settings.db)
        _check(velatura.settings, batch, dry_run, [option for option, is_given in given.items() if is_given])
        if not len(velatura.store.select(Filter())):
            raise InputError(f"the catalogue {velatura.store.name} is empty; run `velatura index FOLDER` first")
        if velatura.settings.describer == "none":
            outcome = _clear(velatura, dry_run=dry_run)
        else:
            asked = velatura.describer()
            if dry_run:
                outcome = _estimate(velatura, asked, limit, retry=retry)
            elif batch is not None:
                outcome = _batch(velatura, asked, batch, limit, retry=retry)
            else:
                outcome = _describe(velatura, asked, limit, spend, retry=retry, as_json=as_json)
            if failures:
                outcome = replace(outcome, failures=_failures(velatura, asked))
        if not as_json:
            print_outcome(outcome)
        embedded, pictures = embed_what_can_be(velatura) if embed and not dry_run else (None, None)
        if as_json:
            print_json(plain_outcome(outcome, embedded, pictures))
        else:
            print_reports([], embedded, pictures=pictures, as_json=False)
        if outcome.problem is not None:
            raise LanguageModelUnavailable(outcome.problem)


def _check(settings: Settings, batch: Batch | None, dry_run: bool, given: list[str]) -> None:
    """Refuse options that do not go together; `given` are those that only some describers have."""
    from .describing_screen import PRICES

    name = settings.describer
    asked = [*given, "--batch"] if batch else given
    if name != "vlm":
        senseless = asked if name == "none" else [option for option in asked if option in ("--batch", "--spend")]
        if senseless:
            raise typer.BadParameter(f"it means nothing to the describer {name}", param_hint=senseless[0])
    if batch and "--spend" in given:
        raise typer.BadParameter("what a batch costs is known when it is back; give --limit", param_hint="--spend")
    if batch == "collect" and (dry_run or "--limit" in given or "--retry" in given):
        raise typer.BadParameter("collect reads all that has come back, and asks nothing", param_hint="--batch")
    if "--spend" in given and (settings.price_read is None or settings.price_written is None):
        raise InputError(f"what is spent cannot be told; {PRICES}")


def _clear(velatura: Velatura, *, dry_run: bool) -> Outcome:
    from .describing_screen import cleared

    count = velatura.store.stats().described
    if not dry_run:
        velatura.store.clear_refinements()
    return cleared(count, is_done=not dry_run)


def _estimate(velatura: Velatura, asked: Describer, limit: int | None, *, retry: bool) -> Outcome:
    from ..refiner.undescribed import estimate
    from ..refiner.vlm import VlmDescriber
    from ..wiring import under_way
    from .describing_screen import estimated

    tokens = asked.tokens if isinstance(asked, VlmDescriber) else None
    sent = under_way(velatura.store, asked.name)
    told = estimate(velatura.store, asked, retry=retry, limit=limit, under_way=sent, tokens=tokens)
    return estimated(asked.name, told, velatura.settings)


def _describe(
    velatura: Velatura, asked: Describer, limit: int | None, spend: float | None, *, retry: bool, as_json: bool
) -> Outcome:
    """Describe; when that breaks off, tell what was done until then."""
    from .describing_screen import detail, plain_outcome, print_outcome, refined
    from .screen import Progress

    settings = velatura.settings
    enough = None if spend is None else lambda usage: (settings.cost(usage) or 0.0) >= spend
    last: list[RefineReport] = []
    try:
        with Progress(f"refine {asked.name}") as progress:

            def tell(report: RefineReport) -> None:
                last[:] = [report]
                progress.told(detail(report, settings), report.done, report.adapters)

            report = velatura.refine(asked, limit=limit, retry=retry, spend=enough, progress=tell)
    except (VelaturaError, KeyboardInterrupt) as error:
        for report in last:
            stopped = replace(report, stopped=str(error) or "it was interrupted; what was done is kept")
            outcome = refined(asked.name, stopped, settings)
            print_json(plain_outcome(outcome)) if as_json else print_outcome(outcome)
        raise
    return refined(asked.name, report, settings)


def _batch(velatura: Velatura, asked: Describer, what: Batch, limit: int | None, *, retry: bool) -> Outcome:
    from ..refiner.batch import collect, submit
    from ..refiner.vlm import VlmDescriber
    from ..wiring import BATCHES
    from .describing_screen import batched
    from .screen import Progress

    if not isinstance(asked, VlmDescriber):
        raise InputError(f"{asked.name} takes no batches")
    ledger = velatura.store.beside(BATCHES)
    with Progress(f"{what} batches of {asked.name}"):
        if what == "submit":
            report = submit(velatura.store, asked, ledger, limit=limit, retry=retry)
        else:
            report = collect(velatura.store, asked, ledger)
    return batched(asked.name, what, report, velatura.settings)


def _failures(velatura: Velatura, asked: Describer) -> list[tuple[int, str, str, bool]]:
    """Return (number, title, reason, whether it is a refusal) of what a describer left undescribed, in any run."""
    known = velatura.store.unrefined_failures(asked.name)
    titles = {found.id: found.record.title for found in velatura.store.adapters([number for number, _, _ in known])}
    return [(number, titles.get(number, ""), reason, is_refusal) for number, reason, is_refusal in known]
