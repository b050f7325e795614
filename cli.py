"""The command line: one verb per stage. Results go to stdout, progress and messages to stderr.

Exit codes: 0 done, 1 could not be done (one sentence says why), 2 wrong usage.
"""

from __future__ import annotations

import os
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from . import __version__
from .commands import (
    assisting,
    choosing,
    comparing,
    databases,
    datasets,
    describing,
    evaluating,
    fetching,
    finding,
    generating,
    initialising,
    probing,
    pushing,
    running,
    serving,
    watching,
)
from .commands.embedding import embed_pictures, embed_texts, embed_what_can_be
from .commands.options import (
    Address,
    Db,
    Engine,
    Json,
    PictureModel,
    engine_flags,
    folders_of,
    open_velatura,
    print_json,
    read_settings,
    refuse_missing,
)
from .errors import VelaturaError
from .playground.cli import app as playground

if TYPE_CHECKING:
    from .pipeline import Velatura
    from .records import BaseNorms
    from .refiner.weights import MeasureReport


class _Verbs(TyperGroup):
    """The commands; what ends one early becomes one sentence and an exit code."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except VelaturaError as error:
            typer.echo(f"error: {error}", err=True)
            raise typer.Exit(1) from None
        except KeyboardInterrupt:
            typer.echo("stopped; what was finished is kept, and the same command goes on from there", err=True)
            raise typer.Exit(130) from None
        except BrokenPipeError:
            # The reader of our output went away; Python would complain once more when it flushes at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(0) from None


app = typer.Typer(
    name="velatura",
    cls=_Verbs,
    help="A prompt in, the right adapters out of thousands, laid on the model, with the reason for each.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"velatura {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


@app.command()
def index(
    what: Annotated[
        list[str] | None,
        typer.Argument(
            help="Folders, dumps (.json, .jsonl, .gz), or civitai / huggingface; the settings' folders by default."
        ),
    ] = None,
    db: Db = None,
    kind: Annotated[str | None, typer.Option(help="folder, civitai or huggingface, where it cannot be told.")] = None,
    hash_files: Annotated[bool, typer.Option("--hash", help="Also compute SHA-256, AutoV2 and AutoV3.")] = False,
    with_prompts: Annotated[
        bool, typer.Option("--with-prompts", help="From the live Civitai, also fetch pictures' prompts.")
    ] = False,
    embed: Annotated[bool, typer.Option(help="Embed the texts too, so that search goes by meaning.")] = True,
    weights: Annotated[
        bool, typer.Option("--weights", help="Also measure how strong local files are, and which do the same.")
    ] = False,
    model: Annotated[
        str | None, typer.Option(help="With --weights: also measure a checkpoint, to tell strengths relative to it.")
    ] = None,
    engine: Engine = None,
    address: Address = None,
    as_json: Json = False,
) -> None:
    """Bring the catalogue into step with folders, dumps or sites. Nothing is written into your folders."""
    from .catalog import open_source
    from .commands.screen import Progress, print_reports

    if model is not None and not weights:
        raise typer.BadParameter("it is only measured with --weights", param_hint="--model")
    with open_velatura(db=db, model=model, **engine_flags(engine, address)) as velatura:
        sources = folders_of(velatura, what)
        for source in sources:  # a wrong name is told before anything is read
            open_source(source, kind=kind)
        reports = []
        for source in sources:
            with Progress(f"index {source}") as progress:
                report = velatura.index(
                    source, kind=kind, hash_files=hash_files, with_prompts=with_prompts, progress=progress.synced
                )
                reports.append(report)
        embedded, pictures = embed_what_can_be(velatura) if embed else (None, None)
        measured, base = _measure(velatura, again=model is not None) if weights else (None, None)
        print_reports(reports, embedded, measured, base, pictures=pictures, as_json=as_json)


app.command()(watching.watch)
app.command(name="init")(initialising.init)


@app.command()
def embed(
    picture_model: PictureModel = None,
    engine: Engine = None,
    address: Address = None,
    db: Db = None,
    as_json: Json = False,
) -> None:
    """Embed what has no vector yet; can be stopped at any moment and goes on where it was."""
    from .commands.screen import print_reports

    with open_velatura(db=db, picture_model=picture_model, **engine_flags(engine, address)) as velatura:
        refuse_missing(velatura.settings.db)
        embedded = embed_texts(velatura)
        print_reports([], embedded, pictures=embed_pictures(velatura, needed=True), as_json=as_json)


app.command()(describing.refine)
app.command()(finding.search)
app.command()(finding.similar)


app.command()(choosing.compose)
app.command()(choosing.validate)
app.command()(choosing.export)
app.command(name="import")(choosing.import_)
app.command()(pushing.push)
app.command()(fetching.fetch)


app.command()(generating.generate)
app.command()(generating.repaint)
app.command()(generating.plan)
app.command()(generating.checkpoints)
app.command()(comparing.compare)
app.command()(probing.probe)
app.command()(running.run)
app.command()(running.sheet)
app.command()(running.interrogate)
app.command()(serving.serve)
app.command()(assisting.mcp)


@app.command()
def check(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Adapter files, or folders of them.")],
    model: Annotated[
        str | None,
        typer.Option(
            help="A diffusers folder, a .safetensors checkpoint, or a base family: sd1, sd2, sdxl, flux1. "
            "Default: the standard model of each file's own family."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Say which adapter files work on a model, and how much of each."""
    from .commands.screen import print_checked
    from .pipeline import Velatura

    with Velatura(read_settings()) as velatura:
        details = len(files) == 1 and files[0].is_file()
        if not print_checked(velatura.check(files, model), details=details, as_json=as_json):
            raise typer.Exit(1)


app.command()(finding.show)


@app.command()
def stats(db: Db = None, as_json: Json = False) -> None:
    """Count what the catalogue holds."""
    from .commands.screen import print_stats

    with open_velatura(db=db, read_only=True) as velatura:
        print_stats(velatura.store.stats(), as_json=as_json)


@app.command()
def rejected(
    db: Db = None,
    limit: Annotated[int | None, typer.Option("--limit", "-n", min=1, help="At most so many.")] = None,
    as_json: Json = False,
) -> None:
    """List what could not be catalogued, with the reason for each."""
    from .commands.screen import print_rejections

    with open_velatura(db=db, read_only=True) as velatura:
        print_rejections(velatura.store.rejections(limit), as_json=as_json)


app.command()(finding.duplicates)


@app.command()
def demo(
    folder: Annotated[Path, typer.Argument(help="Where everything is made.")] = Path("velatura-demo"),
    weights: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="The trained playground; by default the one that comes with the package."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Show the whole path: a library of adapters, three prompts, and each painted with and without its picks."""
    from .plain import to_plain
    from .playground.demo import show

    shown = show(folder, lambda line: typer.echo(line, err=as_json), weights=weights)
    if as_json:
        compositions = [to_plain(composition) for composition in shown.compositions]
        print_json({"compositions": compositions, "sheet": str(shown.sheet), "page": str(shown.page)})


app.add_typer(databases.app, name="db")
app.add_typer(datasets.app, name="dataset")
app.add_typer(evaluating.app, name="eval")
app.add_typer(playground, name="playground")


@app.command()
def config(as_json: Json = False) -> None:
    """Show every setting, its value, and where the value comes from."""
    from .commands.screen import print_settings
    from .settings import explain

    print_settings(explain(), as_json=as_json)


@app.command()
def doctor(db: Db = None, as_json: Json = False) -> None:
    """Check this installation: packages, models, catalogue, devices. Exits with 1 when something is broken."""
    from .commands.screen import print_findings
    from .doctor import examine

    findings = examine(read_settings(db=db))
    print_findings(findings, as_json=as_json)
    if any(finding.state == "broken" for finding in findings):
        raise typer.Exit(1)


def main() -> None:
    """Run the command line; ends the process with its exit code."""
    warnings.showwarning = _note
    app()


def _note(message: Warning | str, *_: Any, **__: Any) -> None:
    typer.echo(f"note: {message}", err=True)


# -------------------------------------------------------------------- what several verbs need


def _measure(velatura: Velatura, *, again: bool) -> tuple[MeasureReport, BaseNorms | None]:
    """Measure the checkpoint, if one is named, then the files; `again` is that the command itself named it."""
    from .commands.screen import Progress

    base = None
    if velatura.settings.model is not None:
        try:
            base = velatura.measure_base(again=again)
        except VelaturaError as error:
            if again:
                raise
            typer.echo(f"note: the checkpoint of the settings is not measured: {error}", err=True)
    with Progress("measure") as progress:
        return velatura.measure(progress.measured), base
