"""Which parts the settings name, put together: the composer, the manner of composing, the describer, the backend."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import InputError
from .records import Filter

if TYPE_CHECKING:
    from .composer.arrange import Manner
    from .composer.picks import Picker
    from .db import Store
    from .llm import LanguageModel
    from .protocols import Backend, Describer, ImageEmbedder
    from .refiner.shown import ShownPictures
    from .settings import Settings
    from .spending import Purse

BATCHES = "batches.json"
"""The list of batches that are under way at a language model's server, beside the catalogue."""
STYLUS = "stylus"
STYLUS_READS = 150
"""Candidates that the paper's composer reads (its K)."""


def open_language_model(settings: Settings) -> LanguageModel:
    """Return the language model that the settings name. All that a process opens spend of the same money.

    Raises:
        InputError: they name none, its address is none, there is no key for it, or money is set and no prices.
        MissingDependency: openai is not installed.
    """
    from .llm import LanguageModel

    if settings.llm is None:
        raise InputError("no language model is named; set VELATURA_LLM to its name, as its server has it")
    purse = None
    if settings.llm_spend is not None:
        if settings.price_read is None or settings.price_written is None:
            raise InputError(
                "what is spent cannot be told; set VELATURA_PRICE_READ and VELATURA_PRICE_WRITTEN to what a million "
                "tokens cost"
            )
        purse = _purse(settings.llm_spend, settings.price_read, settings.price_written)
    return LanguageModel(
        settings.llm, url=settings.llm_url, rate=settings.llm_rate, tokens=settings.llm_tokens, purse=purse
    )


@cache
def _purse(limit: float, read: float, written: float) -> Purse:
    from .spending import Purse

    return Purse(limit, read=read, written=written)


def picker(settings: Settings, language_model: Callable[[], LanguageModel], among: int) -> Picker:
    """Return the composer that the settings name.

    Args:
        settings: The settings.
        language_model: Opens the language model.
        among: How many adapters there are to choose from.

    Raises:
        InputError: it asks a language model, and none is named.
        MissingDependency: openai is not installed.
    """
    from .composer import BuiltinComposer, LlmComposer, StylusComposer
    from .settings import default_settings

    builtin = BuiltinComposer(most=settings.most, least=settings.least, per_task=settings.per_task, among=among)
    if settings.composer == "builtin":
        return builtin
    model = language_model()
    if settings.composer == STYLUS:
        # The paper limits the adapters of a topic alone: so does the default, and any other number is taken as meant.
        most = None if settings.most == default_settings().most else settings.most
        return StylusComposer(model, most=most, temperature=settings.temperature)
    return LlmComposer(
        model, fallback=builtin, most=settings.most, temperature=settings.temperature, deadline=settings.llm_deadline
    )


def manner(settings: Settings) -> Manner:
    """Return how the settings want picks made a composition."""
    from .composer import Manner

    return Manner(
        weighing=settings.weighing,
        budget=settings.budget,
        triggers=settings.add_triggers,
        emphasis=settings.emphasis,
        debias=settings.debias,
        model=settings.model,
    )


def painter(settings: Settings) -> Backend:
    """Return the backend that the settings name, by default the one that paints with their checkpoint.

    Raises:
        InputError: no checkpoint is named, or it cannot be used.
        MissingDependency: a package that it needs is not installed.
    """
    from .generation import REMOTE, backend_for, open_backend

    if settings.model is None:
        raise InputError("no checkpoint is named; give --model, or set VELATURA_MODEL")
    if settings.backend in REMOTE:
        return open_backend(settings.backend, settings.model, **({"url": settings.server} if settings.server else {}))
    name = settings.backend or backend_for(settings.model, local_files_only=settings.offline)
    options: dict[str, object] = {each: getattr(settings, each) for each in ("device", "dtype", "laying", "force")}
    options |= {"batch_size": settings.batch, "local_files_only": settings.offline}
    if name == "flux":
        options["parts"] = settings.parts
    else:
        options |= {"tokenizer": settings.tokenizer, "prediction": settings.prediction}
    if name == "demofusion":
        options["compiled"] = settings.compiled
    if name == "fusion":
        options |= {"sketcher": settings.sketcher, "version": settings.fusion}
    return open_backend(name, settings.model, **options)


def describer(
    settings: Settings,
    language_model: Callable[[], LanguageModel],
    store: Store | None,
    *,
    name: str | None = None,
    picture_embedder: Callable[[], ImageEmbedder] | None = None,
) -> Describer:
    """Return the describer of a name, by default the one that the settings name.

    Args:
        settings: The settings.
        language_model: Opens the language model.
        store: The catalogue; None where it is elsewhere.
        name: The describer's name.
        picture_embedder: Gives the picture model where it is open already; None opens that of the settings.

    Raises:
        InputError: the name is `none`, or what it needs is not named.
        MissingDependency: a package that it needs is not installed.
    """
    wanted = name or settings.describer
    if wanted == "card":
        from .refiner.card import CardDescriber

        return CardDescriber()
    if wanted == "pictures":
        from .refiner.interrogate import read_lists
        from .refiner.picture_words import PictureDescriber
        from .settings import home

        embedder = picture_embedder() if picture_embedder is not None else open_picture_model(settings)
        lists = None if settings.picture_words is None else read_lists(Path(settings.picture_words))
        return PictureDescriber(embedder, _pictures(settings, store), lists, cache=home() / "words")
    if wanted == "vlm":
        from .refiner.vlm import VlmDescriber

        return VlmDescriber(language_model(), _pictures(settings, store))
    if wanted == "local":
        from .refiner.local_vlm import LocalDescriber

        if settings.describer_model is None:
            raise InputError("no model is named; set VELATURA_DESCRIBER_MODEL to an image-text-to-text model's folder")
        return LocalDescriber(settings.describer_model, _pictures(settings, store), device=settings.device)
    raise InputError(f"there is no describer {wanted!r}; take card, pictures, vlm or local")


def open_picture_model(settings: Settings) -> ImageEmbedder:
    """Return the CLIP model that the settings name.

    Raises:
        InputError: they name none, or it cannot be opened.
        MissingDependency: a package that it needs is not installed.
    """
    from .refiner.clip import ClipEmbedder

    if settings.picture_model is None:
        raise InputError(
            "no picture model is named; give --picture-model, or set VELATURA_PICTURE_MODEL, "
            "to the hub id or the folder of a CLIP model"
        )
    return ClipEmbedder(settings.picture_model, device=settings.device)


def _pictures(settings: Settings, store: Store | None) -> ShownPictures:
    from .refiner.picture_fetch import PictureFetcher
    from .refiner.shown import ShownPictures
    from .settings import home

    if store is None:
        fetcher = PictureFetcher(home() / "pictures") if settings.fetch_pictures else None
        return ShownPictures(fetcher, most=settings.shown_pictures, nsfw=settings.nsfw)

    fetcher = PictureFetcher(store.beside("pictures")) if settings.fetch_pictures else None
    # Pictures that were embedded need not be read again to know whether they are the same.
    seen = store.pictures(store.select(Filter(installed=True)).tolist()) if settings.shown_pictures else {}
    digests = {one.stamp: one.digest for pictures in seen.values() for one in pictures if one.digest}
    return ShownPictures(fetcher, most=settings.shown_pictures, nsfw=settings.nsfw, digests=digests)


def under_way(store: Store, writer: str) -> set[str]:
    """Return the origins on which a describer's answer is under way in a batch.

    Raises:
        CatalogueError: the list of batches beside the catalogue cannot be read.
    """
    from .refiner.batch_ledger import BatchLedger

    return BatchLedger(store.beside(BATCHES)).open_origins(writer)
