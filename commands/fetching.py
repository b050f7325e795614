"""The command that fetches the files of adapters that the catalogue knows from their sites alone."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import VelaturaError
from .options import Db, Json, make_filter, open_velatura

if TYPE_CHECKING:
    from ..fetching import Fetched, Order


def fetch(
    what: Annotated[
        list[str], typer.Argument(metavar="WHAT...", help="Adapters (number, file, title, hash, civitai id).")
    ],
    to: Annotated[Path, typer.Option("--to", metavar="FOLDER", help="The folder that they are written into.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what would be fetched and from where.")] = False,
    unverified: Annotated[
        bool, typer.Option("--unverified", help="Also what the catalogue knows no SHA-256 of to check it by.")
    ] = False,
    db: Db = None,
    as_json: Json = False,
) -> None:
    """Fetch adapters from Civitai or Hugging Face: safetensors alone, checked, and resumed where it stopped."""
    from ..fetching import order
    from .fetching_screen import print_fetched, print_orders

    orders: dict[int, Order] = {}
    refused: list[tuple[str, str]] = []
    with open_velatura(read_only=True, db=db) as velatura:
        gates = make_filter(velatura)
        for name in what:
            try:
                made = order(velatura.store, name, gates, unverified=unverified)
                orders[made.number] = made
            except VelaturaError as error:
                refused.append((name, str(error)))
    if dry_run:
        print_orders(list(orders.values()), refused, as_json=as_json)
    else:
        done = _fetch(list(orders.values()), to) if orders else []
        indexed = _index(to, db) if any(each.state == "fetched" for each in done) else None
        print_fetched(done, refused, indexed, as_json=as_json)
        refused += [(each.order.record.title, each.reason or "") for each in done if each.state == "failed"]
    if refused:
        raise typer.Exit(1)


def _fetch(orders: list[Order], folder: Path) -> list[Fetched]:
    from .. import fetching
    from .screen import Progress

    def told(done: int, due: int) -> None:
        progress.told(f"{done / 1e6:,.1f} of {due / 1e6:,.1f} MB", done, due)

    with Progress("fetch") as progress:
        return list(fetching.fetch(orders, folder, progress=told))


def _index(folder: Path, db: str | None) -> str | None:
    """Bring the catalogue into step with the indexed folder that a folder lies in; return which, or None for none."""
    place = folder.expanduser().resolve()
    with open_velatura(db=db) as velatura:
        roots = [
            *velatura.store.scopes("folder"),
            *(str(Path(each).expanduser()) for each in velatura.settings.folders),
        ]
        around = [root for root in roots if place.is_relative_to(Path(root).resolve()) and Path(root).is_dir()]
        if not around:
            return None
        # The nearest: of a folder that is indexed by itself as well, no more than that is read.
        root = max(around, key=len)
        try:
            velatura.index(root, kind="folder")
        except VelaturaError as error:
            typer.echo(f"note: what was fetched is not indexed: {error}", err=True)
            return None
        return root
