"""How a worker opens what works: a text embedder, extractors of features, a describer, a backend that paints."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from ..errors import EngineError, VelaturaError
from ..protocols import Described
from ..records import RefinedAdapter
from .worker import Fault, fault_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..eval.cells import Features
    from ..protocols import Describer, TextEmbedder, Vectors
    from ..settings import Settings

Shown: TypeAlias = "tuple[Sequence[str], NDArray]"  # type: ignore[type-arg]
"""Extractors of one network, and a batch of prepared pictures."""
Questions: TypeAlias = Sequence[tuple[str, RefinedAdapter]]
Answers: TypeAlias = list[tuple[str, Described | Fault]]


def travelling(settings: Settings) -> Settings:
    """Return settings as a worker gets them: without the catalogue, whose address may hold a password."""
    return settings.model_copy(update={"db": "", "engine": "local", "ray_address": None})


def here(*names: str | None) -> tuple[str, ...]:
    """Return those names that are files or folders of this machine, as absolute paths."""
    found = (Path(name).expanduser() for name in names if name)
    return tuple(dict.fromkeys(str(path.absolute()) for path in found if _exists(path)))


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # no name of a file
        return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Embedding:
    """Texts in, vectors out."""

    settings: Settings
    model: str
    revision: str
    """What the vectors are kept under: another model's must not get in."""
    files: tuple[str, ...] = ()
    computes: bool = True

    @classmethod
    def of(cls, settings: Settings, embedder: TextEmbedder) -> Embedding:
        """Return the recipe of the settings' embedder, which is open here."""
        files = here(settings.embedder)
        return cls(settings=travelling(settings), model=embedder.model, revision=embedder.revision, files=files)

    @property
    def device(self) -> str | None:
        """The device that the settings name."""
        return self.settings.device

    def open(self) -> Callable[[Sequence[str]], Vectors]:
        """Open the model; see `SentenceEmbedder` for what is raised."""
        from ..refiner.embedders import SentenceEmbedder

        embedder = SentenceEmbedder(
            self.settings.embedder, device=self.settings.device, resident=self.settings.resident
        )
        _refuse_another("embedder", f"{embedder.model}@{embedder.revision}", f"{self.model}@{self.revision}")
        return embedder.embed


@dataclass(frozen=True, slots=True, kw_only=True)
class Looking:
    """Prepared pictures in, features out."""

    specs: tuple[str, ...]
    """As `open_extractors` takes them."""
    fingerprints: tuple[str, ...]
    device: str | None
    offline: bool
    files: tuple[str, ...]
    computes: bool = True

    def open(self) -> Callable[[Shown], list[Features]]:
        """Open the networks; see `open_extractors` for what is raised."""
        from ..eval.extract import open_extractors
        from ..eval.opening import usual_device

        opened = open_extractors(self.specs, device=usual_device(self.device), local_files_only=self.offline)
        for extractor, fingerprint in zip(opened, self.fingerprints, strict=True):
            _refuse_another(extractor.name, extractor.fingerprint, fingerprint)
        extractors = {extractor.name: extractor for extractor in opened}

        def look(shown: Shown) -> list[Features]:
            names, pictures = shown
            pictures.flags.writeable = False  # the outputs of one network know by that that it stays the same
            return [extractors[name].extract(pictures) for name in names]

        return look


@dataclass(frozen=True, slots=True, kw_only=True)
class Describing:
    """Adapters in, what they do out."""

    settings: Settings
    kind: str
    name: str
    """What the describer is called here: another one would write in its name."""
    threads: int
    """How many adapters it is asked about at once."""
    files: tuple[str, ...] = ()

    @classmethod
    def of(cls, settings: Settings, describer: Describer, *, most: int) -> Describing:
        """Return the recipe of a describer that is open here, for so many workers at the most.

        They share what a language model's server may be sent and may cost.
        """
        kind = describer.name.partition(" ")[0]
        models = {"pictures": (settings.picture_model, settings.picture_words), "local": (settings.describer_model,)}
        limits = {name: getattr(settings, name) for name in ("llm_rate", "llm_tokens", "llm_spend")}
        shares = {name: limit / most for name, limit in limits.items() if limit is not None}
        return cls(
            settings=travelling(settings).model_copy(update=shares),
            kind=kind,
            name=describer.name,
            threads=settings.workers if kind == "vlm" else 1,
            files=here(*models.get(kind, ())),
        )

    @property
    def computes(self) -> bool:
        """Whether a model works in it: rules need none, and a server's is not there."""
        return self.kind in ("pictures", "local")

    @property
    def device(self) -> str | None:
        """The device that the settings name."""
        return self.settings.device

    def open(self) -> Callable[[Questions], Answers]:
        """Open the describer; see `wiring.describer` for what is raised."""
        from ..wiring import describer, open_language_model

        opened = describer(self.settings, lambda: open_language_model(self.settings), None, name=self.kind)
        _refuse_another("describer", opened.name, self.name)
        pool = ThreadPoolExecutor(self.threads) if self.threads > 1 else None

        def describe(question: tuple[str, RefinedAdapter]) -> tuple[str, Described | Fault]:
            name, adapter = question
            try:
                return name, opened.describe(adapter)
            except VelaturaError as error:
                return name, fault_of(error)
            except Exception as error:  # told as where it is described in the same process
                return name, Fault(VelaturaError, f"it could not be described: {type(error).__name__} {error}".strip())

        return lambda questions: list(map(describe, questions) if pool is None else pool.map(describe, questions))


def _refuse_another(what: str, found: str, expected: str) -> None:
    """Refuse a model that is not the one of whoever asks.

    Raises:
        EngineError: it is another.
    """
    if found != expected:
        raise EngineError(f"the {what} is {found} there, and {expected} where the work is kept; install the same")
