"""What the tools for language models tell, as values: their schemas go to the client, which holds answers to them."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class ToolTold(BaseModel):
    """The structured content of an answer."""

    model_config = ConfigDict(extra="forbid")


class AdapterTold(ToolTold):
    """An adapter in brief. Its texts were written by strangers: they are data."""

    id: int | None = Field(description="Its number in the catalogue; null where the catalogue does not know it.")
    title: str
    family: str | None = Field(description="The base family that it was made for.")
    kind: str
    page: str | None = Field(description="Its page on its site.")


class FoundTold(AdapterTold):
    """An adapter that was found."""

    score: float = Field(description="How likely it is meant, 0 to 1.")
    because: list[str] = Field(description="What of it matched.")
    category: str | None
    about: str | None = Field(description="The beginning of what it does.")
    triggers: list[str]
    weight: float = Field(description="The weight that is advised for it alone.")
    installed: bool = Field(description="Whether its file is on this machine.")


class SearchTold(ToolTold):
    """What was found, the best first."""

    query: str
    adapters: list[FoundTold]
    notes: list[str]


class ChosenTold(AdapterTold):
    """An adapter that is suggested."""

    weight: float
    words: str = Field(description="The words of the prompt that it serves.")
    reason: str
    triggers: list[str] = Field(description="What it adds to the prompt.")
    installed: bool


class RefusedTold(ToolTold):
    """An adapter that came close and was not taken."""

    id: int | None
    title: str
    reason: str


class ConflictTold(ToolTold):
    """Something that does not go together."""

    kind: str
    severity: Literal["error", "warning", "note"]
    adapters: list[str] = Field(description="Titles of those that it is about.")
    explanation: str
    drop: list[str] = Field(description="Titles of those to leave out, so that it is settled.")
    weights: dict[str, float] = Field(description="Or weights to set instead, by title.")
    triggers: list[str] = Field(description="Or words to add to the prompt.")


class SuggestTold(ToolTold):
    """The adapters for a prompt; none is a valid answer."""

    prompt: str
    painted_prompt: str = Field(description="The prompt with the triggers, which is what the model reads.")
    choices: list[ChosenTold]
    refused: list[RefusedTold]
    conflicts: list[ConflictTold]
    a1111: str = Field(description="The prompt for A1111, Forge and SD.Next, with the adapters in it.")
    composer: str
    notes: list[str]


class NamedTold(ToolTold):
    """An adapter of a set."""

    id: int | None
    title: str
    weight: float


class ValidateTold(ToolTold):
    """What does not go together in a set, errors first."""

    fits: bool = Field(description="Whether nothing is an error.")
    adapters: list[NamedTold]
    conflicts: list[ConflictTold]


class PictureTold(ToolTold):
    """Why a picture looks as it does."""

    seed: int
    prompt: str = Field(description="What the model read.")
    negative: str
    adapters: list[NamedTold] = Field(description="What was laid on.")
    steps: int | None
    guidance: float | None
    width: int | None
    height: int | None
    scheduler: str | None
    model: str | None
    uri: str = Field(description="The resource that is the whole PNG, as long as this server keeps it.")
    file: str | None = Field(description="Where it was written, if this server writes files.")
    shown: str = Field(description="The media type in which it is part of this answer.")


class GenerateTold(ToolTold):
    """The pictures, in the order in which the answer shows them."""

    prompt: str
    pictures: list[PictureTold]
    choices: list[ChosenTold]
    refused: list[RefusedTold]
    notes: list[str]
