"""What the tools for language models are asked: flat, each field described, since a model reads nothing else."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any, Final, Self

from pydantic import Field, model_validator
from pydantic_core import from_json

from ..own.models import Asked, Number, Weight
from ..studio import LONGEST_PROMPT, Wishes

MOST_FOUND: Final = 50
"""Adapters of one answer: a language model reads all of them."""
MOST_NAMED: Final = 50

Prompt = Annotated[
    str,
    Field(min_length=1, max_length=LONGEST_PROMPT, description="What the picture shows, as an image model reads it."),
]


class ToolAsked(Asked):
    """The arguments of a tool; one that is not known is refused."""

    @model_validator(mode="before")
    @classmethod
    def _opened(cls, given: Any) -> Any:
        # Some models hand lists and objects over as JSON in a string.
        if not isinstance(given, dict):
            return given
        return {name: _opened(value) if _is_list(cls, name) else value for name, value in given.items()}


def _is_list(cls: type[Asked], name: object) -> bool:
    field = cls.model_fields.get(str(name))
    return field is not None and any(each in str(field.annotation) for each in ("list[", "tuple["))


def _opened(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return from_json(value)
    except ValueError:
        return value


class NarrowedAsked(ToolAsked):
    """Which adapters may be found; what the person's settings allow can only be narrowed."""

    family: str | None = Field(
        default=None,
        max_length=100,
        description="Only adapters that a model of this base family wears: sd1, sd2, sdxl, pony, flux1, ...",
    )
    commercial: str | None = Field(
        default=None, max_length=100, description="A use that the licence must allow: image, rentcivit, rent or sell."
    )
    safe: bool = Field(default=False, description="Only what is rated PG or PG13; what is not rated is left out.")
    no_real_people: bool = Field(default=False, description="Nothing that depicts a real person.")

    def wishes(self) -> Wishes:
        """Return them as the studio takes them."""
        return Wishes(
            family=self.family, commercial=self.commercial, safe=self.safe, no_real_people=self.no_real_people
        )


class SearchAdapters(NarrowedAsked):
    """What `search_adapters` is asked."""

    query: Annotated[str, Field(min_length=1, max_length=LONGEST_PROMPT)] = Field(
        description="A prompt, or what to look for. A phrase in double quotes must stand in an adapter's texts so."
    )
    limit: int = Field(default=10, ge=1, le=MOST_FOUND, description="How many.")
    kinds: list[Annotated[str, Field(max_length=100)]] = Field(
        default=[], max_length=50, description="Only these kinds, such as lora, locon, dora; empty for all."
    )
    installed: bool = Field(default=False, description="Only files on this machine.")

    def wishes(self) -> Wishes:
        """Return them as the studio takes them."""
        return replace(super().wishes(), kinds=tuple(self.kinds), installed=self.installed)


class SuggestAdapters(NarrowedAsked):
    """What `suggest_adapters` is asked."""

    prompt: Prompt
    most: int | None = Field(
        default=None, ge=1, le=20, description="At most so many adapters; null as the settings say."
    )
    family: str | None = Field(
        default=None,
        max_length=100,
        description="The base family of the model that will wear them: sd1, sd2, sdxl, pony, flux1, ... Null takes "
        "only what generate_image can lay on, where this machine has a checkpoint.",
    )
    without: list[Number] = Field(default=[], max_length=1000, description="Ids of adapters to leave out.")


class AdapterNamed(ToolAsked):
    """An adapter that the caller names, and its weight."""

    id: Number | None = Field(default=None, description="Its id, as the other tools tell it.")
    name: str | None = Field(
        default=None, min_length=1, max_length=300, description="Or its file's name, title, hash or civitai id."
    )
    weight: Weight | None = Field(default=None, description="Usually 0.4 to 1; null takes what is advised for it.")

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.id is None) == (self.name is None):
            raise ValueError("give id or name, one of them")
        return self


class ValidateCombination(ToolAsked):
    """What `validate_combination` is asked."""

    adapters: list[AdapterNamed] = Field(min_length=1, max_length=MOST_NAMED, description="The adapters of the set.")
    prompt: str | None = Field(
        default=None, max_length=LONGEST_PROMPT, description="The prompt, to look for triggers that it lacks."
    )
    family: str | None = Field(
        default=None, max_length=100, description="The base family of the model that will wear them: sd1, sdxl, ..."
    )


class GenerateImage(ToolAsked):
    """What `generate_image` is asked; what is left out is the model's own."""

    prompt: Prompt
    adapters: list[AdapterNamed] | None = Field(
        default=None,
        max_length=MOST_NAMED,
        description="Lay on exactly these, such as the edited choices of suggest_adapters; an empty list paints "
        "without any; null has adapters chosen for the prompt. Their triggers are added to the prompt.",
    )
    without: list[Number] = Field(
        default=[], max_length=1000, description="Ids of adapters not to choose, where they are chosen for the prompt."
    )
    count: int = Field(default=1, ge=1, le=10_000, description="How many pictures; their seeds count up.")
    vary: bool = Field(default=False, description="Have other ones of the adapters on in each picture.")
    seed: int | None = Field(
        default=None, ge=0, lt=2**53, description="Of the first picture; the same seed paints the same. Null draws one."
    )
    negative: str | None = Field(
        default=None, max_length=LONGEST_PROMPT, description="What to keep out of the picture."
    )
    steps: int | None = Field(default=None, ge=1, le=1000, description="Denoising steps.")
    guidance: float | None = Field(
        default=None, ge=0, le=100, allow_inf_nan=False, description="Classifier-free guidance; up to 1 is none."
    )
    width: int | None = Field(default=None, ge=8, le=16_384, description="Pixels.")
    height: int | None = Field(default=None, ge=8, le=16_384, description="Pixels.")
    scheduler: str | None = Field(default=None, max_length=100, description="A scheduler's name, such as euler_a.")

    @model_validator(mode="after")
    def _chosen(self) -> Self:
        if self.adapters is not None and self.without:
            raise ValueError("without goes with adapters that are chosen for the prompt, not with a list of them")
        return self

    def fields(self) -> dict[str, object]:
        """Return the fields of a request for painting that are given."""
        names = ("negative", "steps", "guidance", "width", "height", "scheduler")
        return {name: value for name in names if (value := getattr(self, name)) is not None}
