"""What the commands that change texts do after it: embed what is new, by the models that there are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from ..errors import VelaturaError

if TYPE_CHECKING:
    from ..pipeline import Velatura
    from ..refiner.embed import EmbedReport
    from ..refiner.pictures import PictureReport


def embed_what_can_be(velatura: Velatura) -> tuple[EmbedReport | None, PictureReport | None]:
    """Embed texts and pictures; what no model is there for is noted on stderr."""
    lacking = velatura.lacking_embedder()
    if lacking:
        typer.echo(f"note: nothing is embedded, and search goes by words alone: {lacking}", err=True)
    embedded = None if lacking else embed_texts(velatura)
    return embedded, embed_pictures(velatura, needed=False)


def embed_texts(velatura: Velatura) -> EmbedReport:
    """Embed the texts that have no vector yet, with progress."""
    from .screen import Progress

    with Progress("embed") as progress:
        return velatura.embed(progress.embedded)


def embed_pictures(velatura: Velatura, *, needed: bool) -> PictureReport | None:
    """Embed the pictures beside adapters, where the settings name a model; `needed` is that nothing else was asked."""
    from .screen import Progress

    if velatura.settings.picture_model is None:
        return None
    try:
        velatura.picture_embedder  # noqa: B018 - opening it is the question
    except VelaturaError as error:
        if needed:
            raise
        typer.echo(f"note: no pictures are embedded: {error}", err=True)
        return None
    with Progress("pictures") as progress:
        return velatura.embed_pictures(progress.pictured)
