"""What our own API is asked, checked before anything is done with it."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, JsonValue, model_validator

from ..studio import LONGEST_PROMPT, Wishes

MOST_FOUND: Final = 200
"""Adapters of one answer."""
MOST_MASKS: Final = 1000

Number = Annotated[int, Field(ge=1, lt=2**63)]
"""An adapter's number in the catalogue."""
Weight = Annotated[float, Field(ge=-100, le=100, allow_inf_nan=False)]
Prompt = Annotated[str, Field(max_length=LONGEST_PROMPT, description="A prompt, as you would paint it.")]
DataUrl = Annotated[
    str, Field(description="A PNG, JPEG, WebP or GIF file as a data URL or base64; addresses and paths are not opened.")
]
CompositionAnswer = Annotated[
    dict[str, Any],
    Field(description="A composition as `/compose` gives it, which may have been edited: weights, triggers, choices."),
]
_FILTER: Final[dict[str, JsonValue]] = {"family": "sd1", "safe": True, "installed": True}


class Asked(BaseModel):
    """The body of a request; a field that is not known is refused."""

    model_config = ConfigDict(extra="forbid")


class FilterAsked(Asked):
    """Which adapters may be found; the settings of the server can only be narrowed."""

    family: str | None = Field(
        default=None, max_length=100, description="The base family of the model that wears them."
    )
    whole: bool = Field(default=False, description="With `family`: only what it wears whole.")
    unknown_family: bool = Field(default=False, description="With `family`: also adapters whose family is not known.")
    kinds: tuple[Annotated[str, Field(max_length=100)], ...] = Field(
        default=(), max_length=50, description="Only these kinds, such as `lora`; empty for all."
    )
    commercial: str | None = Field(
        default=None, max_length=100, description="A use that the licence must allow: image, rentcivit, rent or sell."
    )
    safe: bool = Field(default=False, description="Only what is rated PG or PG13.")
    no_real_people: bool = Field(default=False, description="Nothing that depicts a real person.")
    installed: bool = Field(default=False, description="Only files on the server's machine.")
    banned: tuple[Number, ...] = Field(default=(), max_length=10_000, description="Numbers of adapters to leave out.")

    def wishes(self) -> Wishes:
        """Return them as the studio takes them."""
        return Wishes(**dict(self))


class SearchAsked(Asked):
    """What to find adapters for: a prompt, a trigger phrase, a picture, or another adapter."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"prompt": "a fox in the snow, ink painting", "limit": 5, "filter": _FILTER},
                {"similar_to": 12},
            ]
        }
    )

    prompt: Prompt | None = None
    limit: int = Field(default=10, ge=1, le=MOST_FOUND, description="How many.")
    filter: FilterAsked = FilterAsked()
    trigger: bool = Field(default=False, description="`prompt` is a trigger phrase, or the beginning of one.")
    picture: DataUrl | None = None
    similar_to: Number | None = Field(default=None, description="The number of an adapter that others shall be like.")

    @model_validator(mode="after")
    def _one(self) -> Self:
        if sum(given is not None for given in (self.prompt, self.picture, self.similar_to)) != 1:
            raise ValueError("give a prompt, a picture or similar_to, one alone")
        if self.trigger and self.prompt is None:
            raise ValueError("with trigger, prompt is the phrase")
        return self


class ComposeAsked(Asked):
    """What to choose adapters for."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"prompt": "a fox in the snow, ink painting", "locked": {"12": 0.8, "15": None}, "masks": 4}]
        }
    )

    prompt: Prompt
    filter: FilterAsked = FilterAsked()
    locked: dict[Number, Weight | None] = Field(
        default={},
        max_length=100,
        description="Weights by number of adapters that are laid on in any case; null takes the advised weight.",
    )
    masks: int = Field(default=0, ge=0, le=MOST_MASKS, description="Draw so many masks: which are on in one picture.")
    seed: int = Field(default=0, ge=0, lt=2**63, description="Draws the masks.")
    scheme: Literal["paper", "power-set", "all"] = Field(
        default="paper", description="Which masks there are: per task none, one or all on; any on; or always all."
    )
    for_painting: bool = Field(
        default=True, description="Choose only what is on the server's machine and fits its checkpoint, if it has one."
    )


class NamedAsked(Asked):
    """An adapter and its weight."""

    id: Number
    weight: Weight = 1.0


class ValidateAsked(Asked):
    """A set of adapters that somebody chose: a composition, or numbers and weights."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"adapters": [{"id": 12, "weight": 0.8}, {"id": 15, "weight": 1.0}], "family": "sd1"}]
        }
    )

    composition: CompositionAnswer | None = None
    adapters: list[NamedAsked] | None = Field(default=None, max_length=100)
    prompt: Prompt | None = None
    family: str | None = Field(default=None, max_length=100)
    steps: int | None = Field(default=None, ge=1, le=1000)

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.composition is None) == (self.adapters is None):
            raise ValueError("give a composition or adapters, one of them")
        return self


class ExportAsked(Asked):
    """A composition for another tool."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"composition": {"prompt": "a fox", "choices": []}, "form": "a1111"}]}
    )

    composition: CompositionAnswer
    form: str = Field(default="a1111", max_length=100, description="One of `forms` of `/about`.")
    negative: str = Field(default="", max_length=LONGEST_PROMPT)
    checkpoint: str | None = Field(default=None, max_length=1000, description="With comfyui: the file's name there.")
    workflow: dict[str, Any] | None = Field(default=None, description="With comfyui: lay the adapters into this one.")
    loras: str | None = Field(
        default=None,
        max_length=4096,
        description="Where the other tool looks for LoRAs: keeps the subfolders' names. For this machine alone.",
    )


class ImportAsked(Asked):
    """What another tool wrote: a text, a picture, or a file."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"text": "a fox, ink painting <lora:ink_wash:0.8>"}]},
    )

    text: str | None = None
    picture: DataUrl | None = None
    file: str | None = Field(default=None, description="A file's content as base64.")
    name: str = Field(default="the file", max_length=1000, description="What to call the file in messages.")

    @model_validator(mode="after")
    def _one(self) -> Self:
        if sum(given is not None for given in (self.text, self.picture, self.file)) != 1:
            raise ValueError("give a text, a picture or a file, one alone")
        return self


class StartAsked(Asked):
    """A picture that painting starts from."""

    picture: DataUrl
    strength: float | None = Field(
        default=None, ge=0, le=1, allow_inf_nan=False, description="How far it is painted anew; 0.75 where left out."
    )
    mask: DataUrl | None = Field(default=None, description="Painted anew where this is white, kept where it is black.")


class PaintAsked(Asked):
    """What is painted, and how: what is left out is the model's own."""

    composition: CompositionAnswer | None = None
    prompt: Prompt | None = None
    filter: FilterAsked = Field(default=FilterAsked(), description="With `prompt`: what may be chosen.")
    locked: dict[Number, Weight | None] = Field(default={}, max_length=100, description="With `prompt`; see /compose.")
    seed: int | None = Field(default=None, ge=0, lt=2**62, description="Of the first picture; null draws one.")
    negative: str | None = Field(default=None, max_length=LONGEST_PROMPT)
    steps: int | None = Field(default=None, ge=1, le=1000)
    guidance: float | None = Field(default=None, ge=0, le=100, allow_inf_nan=False)
    width: int | None = Field(default=None, ge=8, le=16_384)
    height: int | None = Field(default=None, ge=8, le=16_384)
    scheduler: str | None = Field(default=None, max_length=100, description="One of `schedulers` of `/about`.")
    clip_skip: int | None = Field(default=None, ge=0, le=11)
    start: StartAsked | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.composition is None) == (self.prompt is None):
            raise ValueError("give a composition or a prompt, one of them")
        if self.composition is not None and (self.locked or self.filter != FilterAsked()):
            raise ValueError("filter and locked go with a prompt: a composition has its adapters already")
        return self

    def fields(self) -> dict[str, object]:
        """Return the fields of a request for painting that are plain values, and given."""
        names = ("negative", "steps", "guidance", "width", "height", "scheduler", "clip_skip")
        return {name: value for name in names if (value := getattr(self, name)) is not None}


class GenerateAsked(PaintAsked):
    """Pictures to paint."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"prompt": "a fox in the snow, ink painting", "count": 4, "seed": 7, "steps": 20, "masks": True}
            ]
        }
    )

    count: int = Field(default=1, ge=1, le=10_000, description="How many pictures; their seeds count up.")
    masks: bool = Field(default=False, description="Have other adapters on in each picture.")
    mask: tuple[bool, ...] | None = Field(
        default=None, max_length=100, description="Which choices of the composition are on, in their order."
    )

    @model_validator(mode="after")
    def _one_mask(self) -> Self:
        if self.mask is not None and (self.masks or self.composition is None):
            raise ValueError("mask goes with a composition, and without masks")
        return self


class CompareAsked(PaintAsked):
    """A prompt to paint without adapters, with all, with each alone, and over their weights."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"prompt": "a fox in the snow, ink painting", "seed": 7, "sweep": [0.5, 1.0]}]}
    )

    sweep: tuple[Annotated[float, Field(ge=-10, le=10, allow_inf_nan=False)], ...] | None = Field(
        default=None,
        max_length=20,
        description="Each alone at these weights, and all at these times theirs; null sweeps nothing.",
    )


class LoginAsked(Asked):
    """The server's token."""

    token: str = Field(max_length=1000)
