"""`velatura dataset`: a refined catalogue as a folder to give away, to take over, and on a hub."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from .options import Choose, Db, Json, filtered, open_velatura, print_json

app = typer.Typer(
    help="A refined catalogue as a dataset: written, taken over, shown, and on a hub.", no_args_is_help=True
)

Folder = Annotated[Path, typer.Argument(help="The dataset's folder.")]
Repository = Annotated[str, typer.Argument(help="A dataset repository of the hub: owner/name.")]
Revision = Annotated[str | None, typer.Option(help="A branch; for pull also a tag or a commit.")]


@app.command()
@filtered
def export(
    folder: Annotated[Path, typer.Argument(help="Where it is written: a folder that is empty or not there.")],
    source: Annotated[
        list[str] | None,
        typer.Option(help="Only of this source: civitai, huggingface, folder, dataset. May be repeated."),
    ] = None,
    notes: Annotated[bool, typer.Option("--notes", help="Also what you wrote about your files.")] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Take the place of a dataset that lies there.")
    ] = False,
    db: Db = None,
    as_json: Json = False,
    *,
    choose: Choose,
) -> None:
    """Write the catalogue as a dataset, with nothing of this machine; options and settings say what may be in it."""
    from ..dataset import export_dataset
    from .screen import Progress, out, shown

    with open_velatura(read_only=True, db=db) as velatura, Progress("export") as progress:
        report = export_dataset(
            velatura.store,
            folder,
            choose(velatura),
            sources=source or (),
            notes=notes,
            overwrite=overwrite,
            progress=progress.told,
        )
    if as_json:
        print_json(asdict(report))
        return
    kept_out = sum(report.kept_out.values())
    out(
        f"{shown(report.folder)}: {report.adapters:,} adapters, {report.described:,} described ({report.seconds:.1f} s)"
    )
    for model, count in report.vectors.items():
        out(f"  {count:,} vectors of {shown(model)}")
    out(f"  {report.files} files, {report.bytes / 1e6:,.1f} MB; {kept_out:,} adapters kept out")
    if report.notes_left_out:
        out(f"[dim]your notes on {report.notes_left_out:,} adapters are not in it; --notes puts them in[/]")


@app.command(name="import")
def import_(
    folder: Folder,
    vectors: Annotated[
        bool, typer.Option(help="Take the vectors too, on trust; else `velatura embed` makes them.")
    ] = True,
    db: Db = None,
    as_json: Json = False,
) -> None:
    """Take a dataset over into the catalogue: adapters, descriptions, vectors. A second time only what has changed."""
    from ..dataset import import_dataset, read_manifest
    from .screen import Progress, out, print_reports, shown

    read_manifest(folder)  # before a catalogue is made for it
    with open_velatura(db=db) as velatura:
        with Progress("import") as progress:
            report = import_dataset(velatura.store, folder, vectors=vectors, progress=progress.told)
        if as_json:
            print_json(asdict(report))
            return
        print_reports([report.sync], None, as_json=False)
        if report.held:
            out(f"{report.held:,} keep the stricter rating or licence that the catalogue knows from elsewhere")
        out(f"{report.refined:,} descriptions taken over ({report.seconds:.1f} s in all)")
        for model, count in report.vectors.items():
            out(f"{count:,} vectors of {shown(model)}")
        if report.refused_vectors:
            out(f"[yellow]left out[/] {report.refused_vectors:,} vectors that are of no text of it, or no vectors")
        for sentence in report.trouble:
            out(f"[red]not used[/] {shown(sentence)}")


@app.command()
def show(folder: Folder, as_json: Json = False) -> None:
    """Show what a dataset holds, and whether all of it is there and as it was written."""
    from ..dataset import read_manifest
    from ..dataset.manifest import check_files
    from .screen import Progress, out, shown

    manifest = read_manifest(folder)
    whole, done = sum(file.bytes for file in manifest.files), 0
    with Progress("check") as progress:
        for name, size in check_files(folder.expanduser(), manifest):
            done += size
            progress.told(name, done, whole)
    if as_json:
        print_json(asdict(manifest))
        return
    told = f"{manifest.adapters:,} adapters, {len(manifest.files) + 1} files, {whole / 1e6:,.1f} MB"
    out(f"{told}; all is as it was written")
    for one in manifest.embedded:
        out(f"  {one.vectors:,} vectors of {one.dimension} numbers by {shown(one.model)}@{shown(one.revision)}")


@app.command()
def push(
    folder: Folder,
    repository: Repository,
    revision: Revision = None,
    public: Annotated[bool, typer.Option("--public", help="Let everybody see it; else it is private.")] = False,
    as_json: Json = False,
) -> None:
    """Put a dataset on the hub, into a private repository unless you say otherwise. The token is HF_TOKEN's."""
    from ..dataset import push_dataset
    from .screen import Progress, out, shown

    _quiet()
    with Progress("push") as progress:
        report = push_dataset(folder, repository, revision=revision, public=public, progress=progress.told)
    if as_json:
        print_json(asdict(report))
        return
    seen = "you and yours" if report.is_private else "everybody"
    where = f"{shown(report.repository)} at {shown(report.commit)}"
    out(f"{report.adapters:,} adapters are in {where}, to be seen by {seen}")


@app.command()
def pull(repository: Repository, folder: Folder, revision: Revision = None, as_json: Json = False) -> None:
    """Bring a dataset from the hub into a folder, and check it; what was interrupted goes on."""
    from ..dataset import pull_dataset
    from .screen import Progress, out, shown

    _quiet()
    with Progress("pull") as progress:
        report = pull_dataset(repository, folder, revision=revision, progress=progress.told)
    if as_json:
        print_json(asdict(report))
        return
    out(
        f"{shown(report.folder)}: {report.adapters:,} adapters, {report.bytes / 1e6:,.1f} MB, at {shown(report.commit)}"
    )


def _quiet() -> None:
    """Keep the client's own bars off the screen, where ours are."""
    from huggingface_hub.utils.tqdm import disable_progress_bars

    disable_progress_bars()
