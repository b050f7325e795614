"""`velatura db`: the catalogue's database itself."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from .options import Json, print_json

app = typer.Typer(help="The catalogue's database itself.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    pass


@app.command()
def copy(
    source: Annotated[str, typer.Argument(help="The catalogue: a path or a URL.")],
    target: Annotated[str, typer.Argument(help="Where to: a path or a URL, empty or not there yet.")],
    as_json: Json = False,
) -> None:
    """Copy a catalogue into another database, SQLite or PostgreSQL: as a whole, checked, or not at all."""
    from ..db.copy import copy_catalogue
    from .screen import Progress, out, shown

    with Progress("copy") as progress:
        report = copy_catalogue(source, target, progress=progress.told)
    if as_json:
        print_json(asdict(report))
        return
    rows = sum(report.rows.values())
    out(f"{shown(report.target)}: {rows:,} rows of {len(report.rows)} tables, equal in both ({report.seconds:.1f} s)")
    out(f"  {report.rows['adapter']:,} adapters, {report.rows['embedding']:,} vectors")
