"""Adapters, candidates and compositions as our own API tells them: to others than this machine without paths."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from ..gates import KeptOut
from ..generation.file_names import bare_file
from ..plain import brief, to_plain
from ..refiner.pictures import local_pictures
from .folders import without_folders
from .guard import is_loopback
from .known import Known
from .site_pages import page_of

if TYPE_CHECKING:
    from starlette.requests import Request

    from ..composer.masks import Scheme
    from ..db import Store
    from ..records import AdapterRecord, Candidate, Choice, Composition, Filter, Refusal
    from .studio import Studio


class Answers:
    """Tells of one catalogue; several threads may ask.

    Args:
        studio: The catalogue, its gates and its painters.
    """

    def __init__(self, studio: Studio) -> None:
        settings = studio.settings
        self._studio = studio
        self.is_local = is_loopback(settings.host) and not settings.public_hosts
        """Whether only this machine asks, so that it may be told where files lie on it."""
        self.known = Known(self._store)

    @property
    def _store(self) -> Store:
        return self._studio.velatura.store

    def sentence(self, error: Exception) -> str:
        """Return an error as this server's clients may read it."""
        if self.is_local:
            return str(error)
        return error.untitled if isinstance(error, KeptOut) else without_folders(str(error))

    # ---------------------------------------------------------------- counts

    def count(self, wanted: Filter) -> int:
        """Return how many adapters pass a filter."""
        return self.known.get(("count", wanted), lambda: len(self._store.select(wanted)))

    def excluded(self, wanted: Filter) -> dict[str, int]:
        """Return how many adapters each reason of a filter keeps out."""
        return self.known.get(("excluded", wanted), lambda: self._store.excluded(wanted))

    def unembedded(self) -> tuple[int, int]:
        """Return how many adapters there are, and how many of them are found by their words alone."""
        return self.known.get("unembedded", self._studio.velatura.unembedded)

    def notes(self) -> list[str]:
        """Return what whoever searches should know of the catalogue."""
        present, left = self.unembedded()
        if not present:
            return ["the catalogue is empty; run `velatura index FOLDER`"]
        if left:
            told = f"{left:,} of {present:,} adapters are not embedded and are found by their words alone"
            return [f"{told}; run `velatura embed`"]
        return []

    # ---------------------------------------------------------------- adapters

    def number(self, adapter: AdapterRecord) -> int | None:
        """Return the catalogue's number of an adapter, None where it has none."""
        question = ("number", adapter.source, adapter.key, adapter.hashes)
        return self.known.get(question, lambda: self._store.number_of(adapter))

    def brief(self, number: int, record: AdapterRecord) -> dict[str, Any]:
        """Return an adapter in brief."""
        return {"id": number, **self.shareable(brief(record)), **links(number, record)}

    def shareable(self, plain: dict[str, Any]) -> dict[str, Any]:
        """Return an adapter's plain form as this server's clients may see it."""
        if self.is_local:
            return plain
        plain.pop("path", None)
        if plain.get("source") == "folder":
            plain["key"] = bare_file(plain["key"])
        return plain

    def candidate(self, found: Candidate) -> dict[str, Any]:
        """Return a candidate, and in words what of it matched."""
        refined = found.adapter
        told = self.shareable(to_plain(found))
        return {**told, "because": list(found.because), **links(refined.id, refined.record)}

    # ---------------------------------------------------------------- compositions

    def composition(self, composition: Composition) -> dict[str, Any]:
        """Return a composition as `plain` tells it, each adapter with its number and where it can be looked at."""
        told = to_plain(composition)
        for plain, one in zip(told["choices"], composition.choices, strict=True):
            self._placed(plain, one)
        for plain, refusal in zip(told["refused"], composition.refused, strict=True):
            self._placed(plain, refusal)
        return told | {"painted_prompt": composition.painted_prompt}

    def _placed(self, plain: dict[str, Any], one: Choice | Refusal) -> None:
        number, record = self.number(one.adapter), one.adapter
        self.shareable(plain)
        plain |= {"id": number, "preview": None, "page": page_of(record)}
        if number is not None:
            # A record in brief does not tell its pictures.
            told = record.previews or record.examples
            plain |= links(number, record) if told else self.known.get(("links", number), lambda: self._links(number))

    def _links(self, number: int) -> dict[str, str | None]:
        return links(number, self._store.adapter(number).record)

    def judged(
        self,
        composition: Composition,
        *,
        family: str | None,
        masks: int = 0,
        seed: int = 0,
        scheme: Scheme = "paper",
    ) -> dict[str, Any]:
        """Return a composition with the table of its weights, what does not go together in it, and masks.

        Args:
            composition: Within the gates.
            family: The base family of the model that will wear it, where that is known.
            masks: How many are drawn.
            seed: Draws them.
            scheme: Which there are; see `Velatura.masks`.
        """
        velatura = self._studio.velatura
        told = self.composition(composition)
        drawn = velatura.masks(composition, masks, seed, scheme=scheme) if masks else []
        laid = [
            [choice.weight if on else 0.0 for choice, on in zip(under.choices, mask, strict=True)]
            for mask, under in ((mask, velatura.composing.masked(composition, mask)) for mask in drawn)
        ]
        rows, found = velatura.composing.judge(composition, family=family) if composition.choices else ((), ())
        return told | {
            "weights": [
                {
                    "id": plain["id"],
                    "title": row.title,
                    "alone": row.advised,
                    "laid": row.laid,
                    "strength": row.strength,
                    "is_measured": row.is_measured,
                    "share": row.share,
                }
                for plain, row in zip(told["choices"], rows, strict=True)
            ],
            "masks": [list(mask) for mask in drawn],
            "mask_weights": laid,
            "conflicts": [asdict(one) for one in found],
            "unembedded": self.unembedded()[1],
        }


def links(number: int, record: AdapterRecord) -> dict[str, str | None]:
    """Return where an adapter can be looked at: its picture here, and its page on its site."""
    shown = f"/adapters/{number}/preview" if local_pictures(record) else None
    return {"preview": shown, "page": page_of(record)}


def answers_of(request: Request) -> Answers:
    """Return what tells of the catalogue of the application that a request reached."""
    answers: Answers = request.app.state.answers
    return answers
