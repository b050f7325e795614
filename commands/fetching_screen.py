"""What `velatura fetch` prints."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich.table import Table

from ..records import USES
from .options import print_json
from .screen import console, out, shown

if TYPE_CHECKING:
    from ..fetching import Fetched, Order

_RATINGS = ("PG", "PG13", "R", "X", "XXX", "blocked")


def print_orders(orders: Sequence[Order], refused: Sequence[tuple[str, str]], *, as_json: bool) -> None:
    """Print what would be fetched, and what not and why."""
    if as_json:
        plain = [plain_order(each) | {"state": "here" if each.here else "wanted"} for each in orders]
        print_json({"adapters": plain, "refused": _plain_refused(refused)})
        return
    table = Table(box=None, pad_edge=False)
    for name in ("adapter", "file", "MB", "from", "licence", "rating"):
        table.add_column(name, overflow="fold", justify="right" if name == "MB" else "left")
    for each in orders:
        told = plain_order(each)
        size = "?" if told["bytes"] is None else f"{told['bytes'] / 1e6:,.1f}"
        where = told["path"] or told["file"]
        table.add_row(
            shown(told["title"]), shown(where), size, told["host"] or "here already", told["licence"], told["rating"]
        )
    if orders:
        console().print(table)
    _print_others(orders)
    _print_refused(refused)


def print_fetched(
    done: Sequence[Fetched], refused: Sequence[tuple[str, str]], indexed: str | None, *, as_json: bool
) -> None:
    """Print what became of each adapter."""
    if as_json:
        told = [
            plain_order(each.order)
            | {"state": each.state, "path": each.path, "sha256": each.sha256, "reason": each.reason}
            | ({} if each.size is None else {"bytes": each.size})
            for each in done
        ]
        print_json({"adapters": told, "refused": _plain_refused(refused), "indexed": indexed})
    for each in done if not as_json else ():
        if each.state != "failed":
            out(f"{'fetched' if each.state == 'fetched' else 'here already'}  {shown(each.path or '')}")
    _print_others([each.order for each in done])
    _print_refused([*refused, *((each.order.record.title, each.reason or "") for each in done if each.reason)])
    fetched = [each for each in done if each.state == "fetched" and each.path]
    if fetched and indexed is None:
        folder = Path(str(fetched[0].path)).parent
        typer.echo(f"note: {folder} is not among the indexed folders; `velatura index FOLDER` makes it known", err=True)
    elif fetched:
        typer.echo("note: run `velatura embed` to find what is new by its meaning too", err=True)
    bare = sum(each.order.sha256 is None for each in fetched)
    if bare:
        typer.echo(f"note: {bare} of the files could not be checked: the catalogue knows no SHA-256 of them", err=True)


def plain_order(order: Order) -> dict[str, Any]:
    """Return an order as plain JSON. Of the address only the host is told."""
    record = order.record
    return {
        "id": order.number,
        "title": record.title,
        "others": list(order.others),
        "file": order.file_name or None,
        "path": order.here,
        "bytes": record.size,
        "sha256": order.sha256,
        "host": None if order.origin is None else order.origin.host,
        "licence": _licence(record.licence.name, record.licence.commercial),
        "rating": _rating(record.nsfw),
    }


def _licence(name: str | None, uses: tuple[str, ...] | None) -> str:
    allowed = None if uses is None else ", ".join(use for use in USES if use in uses) or "no commercial use"
    return "; ".join(part for part in (name, allowed) if part) or "unknown"


def _rating(bits: int | None) -> str:
    return "unrated" if not bits else ", ".join(name for place, name in enumerate(_RATINGS) if bits >> place & 1)


def _plain_refused(refused: Sequence[tuple[str, str]]) -> list[dict[str, str]]:
    return [{"asked": name, "reason": reason} for name, reason in refused]


def _print_others(orders: Sequence[Order]) -> None:
    for each in orders:
        if each.others:
            listed = ", ".join(map(str, each.others[:10])) + (", ..." if len(each.others) > 10 else "")
            typer.echo(f"note: number {each.number} was taken; {listed} may be meant too", err=True)


def _print_refused(refused: Sequence[tuple[str, str]]) -> None:
    for name, reason in refused:
        typer.echo(_one_line(f"error: {name}: {reason}"), err=True)


def _one_line(text: str) -> str:
    return "".join(letter if letter.isprintable() else " " for letter in text)
