"""What our own API answers, for its documentation: answers are plain values, and tests hold them to these."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict


class Told(BaseModel):
    """The body of an answer."""

    model_config = ConfigDict(extra="forbid")


class AdapterTold(BaseModel):
    """An adapter in brief; what is not known of it is left out."""

    model_config = ConfigDict(extra="allow")

    id: int | None
    """Its number in the catalogue; null where the catalogue does not know it."""
    source: str
    key: str
    title: str
    model_id: int | str | None
    version_id: int | str | None
    preview: str | None
    """Where a small picture of it is, on this server."""
    page: str | None
    """Its page on its site."""


class MatchTold(Told):
    """One reason why an adapter was found."""

    by: str
    text: str
    score: float


class CandidateTold(AdapterTold):
    """An adapter that was found."""

    id: int
    score: float
    """How likely it is meant, 0 to 1."""
    matched: list[MatchTold]
    because: list[str]
    """What matched, in words."""
    alternatives: list[int]
    """Numbers of other versions and copies."""


class SearchTold(Told):
    """What was found, the best first."""

    prompt: str | None
    candidates: list[CandidateTold]
    excluded: dict[str, int]
    """How many adapters each reason keeps out."""
    notes: list[str]


class ChoiceTold(AdapterTold):
    """An adapter that is laid on."""

    weight: float
    span: str
    """The words of the prompt that it serves."""
    triggers: list[str]
    reason: str


class RefusalTold(AdapterTold):
    """An adapter that came close and was not taken."""

    reason: str


class CompositionTold(BaseModel):
    """A prompt and the adapters for it."""

    model_config = ConfigDict(extra="allow")

    prompt: str
    choices: list[ChoiceTold]
    refused: list[RefusalTold]
    composer: str
    painted_prompt: str
    """The prompt with the triggers, which is what the model reads."""


class WeightTold(Told):
    """The weight of a choice before and after the others were considered."""

    id: int | None
    title: str
    alone: float
    laid: float
    strength: float
    is_measured: bool
    share: float


class ConflictTold(Told):
    """Something that does not go together."""

    kind: str
    severity: Literal["error", "warning", "note"]
    places: list[int]
    explanation: str
    drop: list[int]
    stay: int | None
    weights: list[tuple[int, float]]
    triggers: list[str]


class ComposeTold(CompositionTold):
    """A composition, and what is to be known of it."""

    weights: list[WeightTold]
    masks: list[list[bool]]
    mask_weights: list[list[float]]
    conflicts: list[ConflictTold]
    unembedded: int


class ValidateTold(Told):
    """What does not go together, errors first."""

    adapters: list[str]
    conflicts: list[ConflictTold]


class ExportTold(Told):
    """A composition in another tool's form."""

    form: str
    text: str
    notes: list[str]
    """What the form cannot say."""
    file_name: str
    media_type: str


class UsedTold(Told):
    """An adapter on a picture."""

    id: int | None
    title: str
    weight: float


class PictureTold(Told):
    """A painted picture."""

    place: int
    seed: int
    url: str
    is_kept: bool
    """Whether it can still be fetched: the oldest are forgotten first."""
    choices: list[UsedTold]
    prompt: str
    label: str | None
    panel: str | None


class PreviewTold(Told):
    """What a picture is so far."""

    place: int
    picture: str
    """A data URL."""


class JobBrief(Told):
    """Pictures that somebody waits for."""

    id: str
    state: Literal["waiting", "painting", "done", "failed", "cancelled"]
    ahead: int
    """How many jobs come before it."""
    progress: float
    pictures: list[PictureTold]
    count: int
    """How many pictures there will be."""
    error: str | None
    prompt: str
    asked_at: float
    """Seconds since 1970, as the next ones."""
    started_at: float | None
    ended_at: float | None


class JobTold(JobBrief):
    """A job, whole."""

    preview: PreviewTold | None
    composition: CompositionTold


class JobAnswer(Told):
    """A job."""

    job: JobTold


class JobsTold(Told):
    """The client's own jobs, the newest first."""

    jobs: list[JobBrief]


class AdaptersTold(Told):
    """A page of the adapters that pass, by number."""

    total: int
    adapters: list[AdapterTold]


class KnownTold(AdapterTold):
    """All that is known of an adapter."""

    refined: dict[str, Any]
    strength: dict[str, Any] | None
    probes: dict[str, Any]
    alternatives: list[int]


class LimitsTold(Told):
    """The most of everything that a request may ask for."""

    pictures: int
    steps: int
    side: int
    body_mb: int
    queue: int
    prompt: int


class AboutTold(Told):
    """What this server can do, and what it allows."""

    version: str
    model: str | None
    family: str | None
    backend: str | None
    painter: bool
    """Whether it can paint."""
    loading: bool
    """Whether the checkpoint is still being loaded, so that nothing can be said of it; only with `wait=false`."""
    trouble: str | None
    """Why it cannot, where a checkpoint is named."""
    own_size: tuple[int, int] | None
    defaults: dict[str, Any]
    limits: LimitsTold
    composers: list[str]
    composer: str
    gates: dict[str, Any]
    forms: list[str]
    families: dict[str, str]
    uses: list[str]
    kinds: dict[str, int]
    search_by_picture: bool
    adapters: int
    installed: int
    schedulers: list[str]


class HealthTold(Told):
    """Whether the server works."""

    status: Literal["ok"]
    version: str
    adapters: int
    model: str | None
    waiting: int
    painting: int
