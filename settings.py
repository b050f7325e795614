"""Every knob on one page.

A value comes from the first place that has it: a command's own flag, the environment (`VELATURA_MODEL`), the
settings file (`settings.toml` in `VELATURA_HOME`, by default `~/.velatura`), the default below. Secrets are not
settings: `CIVITAI_API_TOKEN`, `HF_TOKEN`, `OPENAI_API_KEY`, `VELATURA_LLM_KEYS`, `VELATURA_MILVUS_TOKEN` and
`VELATURA_TOKEN` are read from the environment where they are used, and never stored.
"""

from __future__ import annotations

import os
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

from .errors import InputError
from .records import PG, PG13, Usage


def home() -> Path:
    """Return the folder of the person's own catalogue and settings."""
    return Path(os.environ.get("VELATURA_HOME") or Path.home() / ".velatura").expanduser()


class Settings(BaseSettings):
    """The knobs, with their defaults."""

    model_config = SettingsConfigDict(env_prefix="VELATURA_", extra="forbid", frozen=True)

    # Catalogue
    db: str = Field(default_factory=lambda: str(home() / "catalogue.db"))
    """The catalogue: a SQLite file, or `postgresql://USER@HOST/DATABASE`."""
    folders: tuple[str, ...] = ()
    """The folders that `index` and `watch` look through where none is named."""

    # Finding
    embedder: str = "sentence-transformers/all-MiniLM-L6-v2"
    """A sentence-transformers model: a hub id or a folder."""
    resident: bool = False
    """Whether a process stays and answers one prompt after another: torch embeds them then, in half the time."""
    candidates: int = Field(default=50, ge=1, le=10_000)
    """How many candidates the reranker and the composer look at."""
    reranker: str | None = None
    """What orders the candidates anew: a cross-encoder's hub id or folder, or `llm` for the language model; unset for
    none."""
    picture_model: str | None = None
    """A CLIP model, for search by picture: a hub id or a folder; unset embeds no pictures."""
    nsfw: int | None = Field(default=None, ge=0)
    """The OR of the allowed bits: 1 PG, 2 PG13, 4 R, 8 X, 16 XXX. Unset allows all."""
    commercial: Literal["image", "rentcivit", "rent", "sell"] | None = None
    """A use that every adapter's licence must allow."""
    real_people: bool = True
    """Whether adapters that depict real people may be found."""
    blocked: tuple[str, ...] = ()
    """Adapters that may never be found: numbers, files, titles, hashes or civitai ids."""

    index: Literal["faiss", "milvus"] = "faiss"
    """Where vectors are searched: in files beside the catalogue, or in Milvus."""
    milvus: str | None = None
    """With the index milvus: `http(s)://HOST:PORT`, with `/NAME` for a database of its own, or a path that ends in
    `.db`, where milvus-lite keeps a folder for one process at a time."""

    # Language model
    llm: str | None = None
    """Its name, as its server has it; unset for none."""
    llm_url: str | None = None
    """An OpenAI-compatible server, such as `http://127.0.0.1:11434/v1`; several of the same model with commas between
    them; unset takes OpenAI's."""
    llm_rate: float | None = Field(default=None, gt=0)
    """The most requests a minute that each server is sent; unset as many as it answers."""
    llm_tokens: float | None = Field(default=None, gt=0)
    """The most tokens a minute of each server, of questions and answers."""
    llm_spend: float | None = Field(default=None, ge=0)
    """How much a process may spend on it by the two prices, in their money; nothing is asked beyond that."""
    llm_deadline: float = Field(default=60.0, gt=0, le=3600)
    """Seconds after which a question is given up."""
    temperature: float = Field(default=0.0, ge=0, le=2)
    """Of the composer's question: 0 for the likeliest choice, higher for more diverse ones."""
    price_read: float | None = Field(default=None, ge=0)
    """What a million tokens cost that it reads, in whatever money; unset tells no cost."""
    price_written: float | None = Field(default=None, ge=0)
    """What a million tokens cost that it writes."""

    # Describing
    describer: Literal["none", "card", "pictures", "vlm", "local"] = "card"
    """Who says what an adapter does: rules over its card, these and the picture model over its pictures, the language
    model (which must see pictures), or a local image-text-to-text model."""
    picture_words: str | None = None
    """With the describer `pictures`: a folder of word lists, as `velatura interrogate` takes it; unset takes ours."""
    describer_model: str | None = None
    """The local model: a folder or a hub id."""
    shown_pictures: int = Field(default=3, ge=0, le=10)
    """How many pictures of an adapter a model is shown; none above the rating that `nsfw` allows."""
    fetch_pictures: bool = True
    """Whether pictures are fetched from sites where none lies beside the file."""
    workers: int = Field(default=8, ge=1, le=256)
    """How many adapters are asked about at once."""

    # Choosing
    composer: Literal["builtin", "llm", "stylus"] = "builtin"
    """Who chooses: rules, the language model, or the language model as the Stylus paper asks it."""
    most: int = Field(default=3, ge=0, le=20)
    """The most adapters laid on for one prompt."""
    least: float = Field(default=0.06, ge=0, le=1)
    """The least probability at which the built-in composer lays an adapter on."""
    per_task: int = Field(default=2, ge=1, le=10)
    """How many adapters may share the same words of the prompt, and their strength."""
    weighing: Literal["evidence", "stylus", "stylus-released", "constant"] = "evidence"
    """How weights are set: by what people used and advised, by the paper's rule or its code's, or 0.8 for all."""
    budget: bool = True
    """Whether weights are lowered together to what the model bears."""
    add_triggers: bool = True
    """Whether missing trigger words are added to the prompt."""
    emphasis: float | None = Field(default=None, gt=0, le=2)
    """How much words without an adapter are stressed (Stylus's restore_concepts: 1.1); unset leaves them."""
    debias: str | None = None
    """Words added to every prompt to keep the checkpoint's own look; `auto` takes those known for it."""

    # Painting
    model: str | None = None
    """The checkpoint: a name of `velatura checkpoints`, a diffusers folder, a `.safetensors` file, or a hub id."""
    backend: str | None = None
    """Who paints: sd, sdxl, sdxl-turbo, sdxs, demofusion, fusion, flux, a1111, comfyui; unset takes what paints with
    the checkpoint."""
    device: str | None = None
    """`cpu`, `cuda`, `mps`; unset takes the best there is."""
    dtype: Literal["float32", "float16", "bfloat16"] | None = None
    """The precision of the weights; unset takes half precision on a GPU and float32 on the CPU."""
    batch: int = Field(default=1, ge=1, le=256)
    """How many pictures are drawn at once."""
    offline: bool = False
    """Whether model hubs are never asked."""
    steps: int | None = Field(default=None, ge=1, le=1000)
    """Denoising steps; unset takes the model's own."""
    guidance: float | None = Field(default=None, ge=0, le=100)
    """Classifier-free guidance; unset takes the model's own."""
    scheduler: str | None = None
    """A scheduler's name; unset keeps the model's own."""
    laying: Literal["weights", "beside"] | None = None
    """Where adapters go: on the model's weights, or beside them; unset takes what is cheaper."""
    force: bool = False
    """Lay adapters even where only a part of them fits the model, or they are of another family."""
    parts: str | None = None
    """With a single-file FLUX: the folder or hub id of a FLUX.1 that brings the text encoders and the autoencoder."""
    tokenizer: str | None = None
    """With a single file of SD or SDXL: a folder or hub id with CLIP's tokenizer; unset looks beside the file, in the
    cache and on the hub."""
    prediction: Literal["epsilon", "v_prediction"] | None = None
    """With a single file that does not tell what it was trained to predict."""
    server: str | None = None
    """Where A1111 or ComfyUI runs, such as `http://127.0.0.1:7860`; unset takes its usual place on this machine."""
    compiled: bool = False
    """With the backend demofusion: whether the denoiser is compiled, which takes minutes once."""
    sketcher: str | None = None
    """With the backend fusion: the SDXS checkpoint whose pictures steer."""
    fusion: Literal["v1", "v2"] = "v1"
    """With the backend fusion: how much they steer, 0.8 or 1.4, where no IP-Adapter is named."""
    output: str = "."
    """The folder that pictures are written to."""

    # Scaling out
    engine: Literal["local", "ray"] = "local"
    """Where models work that embed, describe, paint and look at pictures: in this process, or in workers on Ray."""
    ray_address: str | None = None
    """With the engine ray: the cluster, `host:port`, `ray://host:port` or `auto`; unset starts one on this machine."""

    # Serving
    host: str = "127.0.0.1"
    """The address that `serve` listens on; any but this machine's own needs a token."""
    port: int = Field(default=7870, ge=0, le=65_535)
    """The port that `serve` listens on; 0 takes one that is free."""
    devices: tuple[str, ...] = ()
    """The devices that `serve` paints on at once, such as `cuda:0` and `cuda:1`; none takes `device` alone."""
    public_hosts: tuple[str, ...] = ()
    """Names that `serve` may be called by, beside the address that it listens on, such as `pictures.example.org`."""
    most_pictures: int = Field(default=16, ge=1, le=10_000)
    """The most pictures of one request."""
    most_steps: int = Field(default=150, ge=1, le=1000)
    """The most denoising steps of one request."""
    largest_side: int = Field(default=2048, ge=8, le=16_384)
    """The longest side of a picture that a request may ask for, in pixels."""
    largest_body: int = Field(default=32, ge=1, le=1024)
    """The most megabytes of one request."""
    queue: int = Field(default=100, ge=1, le=100_000)
    """How many jobs may wait to be painted."""
    kept_megabytes: int = Field(default=256, ge=1, le=1_000_000)
    """How many megabytes of painted pictures are kept to be fetched; the oldest go first."""

    def cost(self, usage: Usage) -> float | None:
        """Return what tokens cost, those that were cached at the full price; None where no price is set."""
        if self.price_read is None and self.price_written is None:
            return None
        return (usage.read * (self.price_read or 0.0) + usage.written * (self.price_written or 0.0)) / 1e6

    def ratings(self, *, safe: bool) -> int | None:
        """Return the ratings that may be found, of these at most PG and PG13 where it must be safe; None for all.

        >>> Settings.model_construct(nsfw=None).ratings(safe=True), Settings.model_construct(nsfw=5).ratings(safe=True)
        (3, 1)
        """
        if not safe:
            return self.nsfw
        return PG | PG13 if self.nsfw is None else self.nsfw & (PG | PG13)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Flags before the environment before the file; no .env files and no secret folders."""
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, home() / "settings.toml")


def load_settings(**flags: object) -> Settings:
    """Return the settings; a flag that is None was not given.

    Raises:
        InputError: a value is wrong or a name is unknown; says which and where it stands.
    """
    try:
        given: dict[str, Any] = {name: value for name, value in flags.items() if value is not None}
        return Settings(**given)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = ".".join(str(part) for part in first["loc"])
        raise InputError(
            f"setting {name}: {first['msg']}; look at VELATURA_{name.upper()} and {home() / 'settings.toml'}"
        ) from None
    except OSError as error:
        raise InputError(f"{home() / 'settings.toml'} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:  # tomllib's own
        raise InputError(f"{home() / 'settings.toml'} is not TOML: {error}") from None


def default_settings(**values: object) -> Settings:
    """Return the defaults with some values, whatever environment and file say: for what comes out alike everywhere."""
    return Settings.model_construct(**values)  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True, kw_only=True)
class Explained:
    """One setting, its value, and where the value comes from."""

    name: str
    value: Any
    origin: str


def explain() -> list[Explained]:
    """Return every setting with its value and origin.

    Raises:
        InputError: as `load_settings`.
    """
    settings = load_settings()
    path = home() / "settings.toml"
    in_file = tomllib.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    environment = {name.upper() for name in os.environ}
    return [
        Explained(
            name=name,
            value=getattr(settings, name),
            origin=f"environment, VELATURA_{name.upper()}"
            if f"VELATURA_{name.upper()}" in environment
            else f"file, {path}"
            if name in in_file
            else "default",
        )
        for name in Settings.model_fields
    ]
