"""The whole system on one page: index -> embed -> search -> compose -> generate."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from types import ModuleType, TracebackType
from typing import TYPE_CHECKING, Literal, Self

from .errors import InputError, MissingDependency
from .gates import KeptOut
from .only_one import only_one
from .records import (
    AdapterRecord,
    BaseNorms,
    Candidate,
    Choice,
    Composition,
    Filter,
    GeneratedImage,
    GenerationRequest,
    Usage,
    WeightMeasure,
)
from .resolve import composition_of
from .settings import Settings, load_settings

if TYPE_CHECKING:
    from PIL.Image import Image

    from .composer.masks import Mask, Scheme
    from .composer.worn import Conflict
    from .composing import Composing
    from .db import Store, SyncReport
    from .engines.on_ray import RayEngine
    from .generation.adapters.check import Checked
    from .llm import LanguageModel
    from .painting import Painting
    from .probes import Grid, ProbeReport
    from .protocols import Backend, Describer, ImageEmbedder, Reranker, TextEmbedder, Watch
    from .refiner.embed import EmbedReport
    from .refiner.interrogate import Interrogation
    from .refiner.pictures import PictureReport
    from .refiner.refine import RefineReport
    from .refiner.weights import MeasureReport, NearDuplicate
    from .retriever import Retriever
    from .retriever.milvus_client import Milvus
    from .retriever.pictured import PictureIndex

LLM = "llm"
"""The reranker's name that means the settings' language model."""


class Velatura:
    """A catalogue of adapters, and all that is done with it.

    Every part is opened when it is first needed: looking at statistics loads no model.

    Args:
        settings: see `velatura.settings`; None reads them from the environment and the settings file.
        read_only: refuse to make or change a catalogue.
    """

    def __init__(self, settings: Settings | None = None, *, read_only: bool = False) -> None:
        self.settings = settings or load_settings()
        self._read_only = read_only

    @classmethod
    def open(cls, **settings: object) -> Self:
        """Open a catalogue with some settings given by name: `Velatura.open(db="my.db", model="sd15")`."""
        return cls(load_settings(**settings))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the catalogue, and end the workers of an engine."""
        engine: RayEngine | None = self.__dict__.get("engine")
        if engine is not None:
            engine.close()
        if (milvus := self.__dict__.get("_milvus")) is not None:
            milvus.close()
        if "store" in self.__dict__:
            self.store.close()

    @cached_property
    def engine(self) -> RayEngine | None:
        """Where models work that have much to do; None for this process."""
        from .engines import open_engine

        return open_engine(self.settings)

    @cached_property
    def store(self) -> Store:
        """The catalogue's database."""
        from .db import open_store

        return open_store(self.settings.db, read_only=self._read_only)

    @cached_property
    def embedder(self) -> TextEmbedder:
        """The model that turns texts into vectors."""
        from .refiner.embedders import SentenceEmbedder

        return SentenceEmbedder(self.settings.embedder, device=self.settings.device, resident=self.settings.resident)

    @cached_property
    def language_model(self) -> LanguageModel:
        """The language model; its `usage` says how many tokens it has read and written.

        Raises:
            InputError: the settings name none, its address is none, there is no key for it, or money is set for it and
                no prices.
            MissingDependency: openai is not installed.
        """
        from .wiring import open_language_model

        return open_language_model(self.settings)

    @cached_property
    def picture_embedder(self) -> ImageEmbedder:
        """The model that turns pictures, and cards, into vectors.

        Raises:
            InputError: the settings name none, or it cannot be opened.
            MissingDependency: a package that it needs is not installed.
        """
        from .wiring import open_picture_model

        return open_picture_model(self.settings)

    # ---------------------------------------------------------------- index

    def index(
        self,
        what: str | Path,
        *,
        kind: str | None = None,
        hash_files: bool = False,
        with_prompts: bool = False,
        progress: Callable[[SyncReport], None] | None = None,
    ) -> SyncReport:
        """Bring the catalogue into step with a source: a folder, a dump, or a live site.

        Args:
            what: a path, or `civitai` or `huggingface` for the live site.
            kind: `folder`, `civitai` or `huggingface`, where looking at it does not tell.
            hash_files: also compute SHA-256, AutoV2 and AutoV3 of local files.
            with_prompts: from Civitai's live site, also fetch the pictures' prompts, one request a version.
            progress: called after every batch.
        """
        from .catalog import open_source

        open_again = partial(open_source, what, kind=kind, hash_files=hash_files, with_prompts=with_prompts)
        source = open_again()
        bookmark = self.store.bookmark(source.name, source.scope)
        if bookmark is not None:
            source = open_again(resume_from=bookmark)
        return self.store.sync(source, progress=progress)

    def embed(self, progress: Callable[[EmbedReport], None] | None = None) -> EmbedReport:
        """Embed what has no vector yet. Can be stopped at any moment and goes on where it was."""
        from .refiner.embed import embed

        if self._milvus is not None:
            from .db.catalogue_name import catalogue_name

            catalogue_name(self.store)  # a search, which only reads, could give it none
        if self.engine is None:
            return embed(self.store, self.embedder, progress=progress)
        from .engines.recipes import Embedding

        with self.engine.workers(Embedding.of(self.settings, self.embedder)) as workers:
            return embed(self.store, self.embedder, through=workers.each, progress=progress)

    def embed_pictures(self, progress: Callable[[PictureReport], None] | None = None) -> PictureReport:
        """Embed the pictures beside local adapters, and every card, with the picture model, where that was not done.

        Can be stopped at any moment and goes on where it was. A picture that cannot be read is reported, and left out.

        Raises:
            InputError: the settings name no picture model, or it cannot be opened.
            MissingDependency: a package that it needs is not installed.
        """
        from .refiner.pictures import embed_pictures

        return embed_pictures(self.store, self.picture_embedder, progress=progress)

    def lacking_embedder(self) -> str | None:
        """Return why texts cannot be embedded here, or None when they can."""
        try:
            self.embedder  # noqa: B018 - opening it is the question
        except (MissingDependency, InputError) as error:
            return str(error)
        return None

    def unembedded(self) -> tuple[int, int]:
        """Return how many adapters there are, and how many of them are found by their words alone."""
        from .refiner.passages import VERSION

        present = len(self.store.select(Filter()))
        if not self.store.has_vectors() or self.lacking_embedder() is not None:
            return present, present
        return present, len(self.store.unembedded(VERSION, self.embedder.model, self.embedder.revision))

    # ---------------------------------------------------------------- weights

    def measure(self, progress: Callable[[MeasureReport], None] | None = None) -> MeasureReport:
        """Measure what new and changed files do to weights. Can be stopped at any moment and goes on where it was.

        Raises:
            MissingDependency: torch is not installed.
        """
        from .refiner.weights import measure

        return measure(self.store, _measures().measure, _measures().METHOD, progress=progress)

    def unmeasured(self) -> tuple[int, int]:
        """Return how many local files there are that may hold weights, and how many of them are not measured."""
        files = self.store.weight_files(_measures().METHOD)
        return len(files), sum(file.stamp is None for file in files)

    def measure_base(self, *, again: bool = True) -> BaseNorms | None:
        """Measure the weights of the settings' checkpoint, against which the strength of its family's adapters is told.

        Args:
            again: Measure even a checkpoint whose measure is kept already; else return None for it.
        """
        if self.settings.model is None:
            raise InputError("no checkpoint is named; give --model, or set VELATURA_MODEL")
        if not again and any(norms.model == self.settings.model for norms in self.store.base_norms().values()):
            return None
        try:
            norms: BaseNorms = _measures().checkpoint_norms(self.settings.model)
        except ModuleNotFoundError as error:
            raise MissingDependency(error.name or "diffusers", extra="generate") from None
        self.store.put_base_norms(norms)
        return norms

    def strength(self, number: int) -> tuple[WeightMeasure | None, BaseNorms | None]:
        """Return what was measured of an adapter, and of a checkpoint of its family; None where nothing was."""
        family = self.store.adapter(number).record.family
        return self.store.measure(number), self.store.base_norms().get(family)

    def near_duplicates(
        self, *, at_least: float = 0.95, progress: Callable[[int, int], None] | None = None
    ) -> list[NearDuplicate]:
        """Return pairs of measured files of different bytes that do the same to weights, or nearly.

        Args:
            at_least: The least overlap, 0.8 to 1.
            progress: called with (pairs looked at, pairs on the shortlist).

        Raises:
            InputError: the overlap is out of its range.
            MissingDependency: torch is not installed.
        """
        from .refiner.weights import near_duplicates

        if not 0.8 <= at_least <= 1:
            raise InputError(f"the overlap must be between 0.8 and 1, not {at_least:g}")
        return near_duplicates(
            self.store,
            _measures().overlap,
            _measures().METHOD,
            at_least=at_least,
            shortlist=_measures().least_cosine(at_least),
            progress=progress,
        )

    # ---------------------------------------------------------------- search

    @cached_property
    def retriever(self) -> Retriever:
        """The retriever over this catalogue; where texts cannot be embedded it searches by words alone."""
        from .retriever import Retriever

        embedder = self.embedder if self.lacking_embedder() is None else None
        path = self.store.beside("faiss")
        return Retriever(
            self.store,
            embedder,
            path,
            milvus=self._milvus,
            reranker=self.reranker,
            reranked=self.settings.candidates,
        )

    @cached_property
    def _milvus(self) -> Milvus | None:
        """Where vectors are kept; None for files beside the catalogue.

        Raises:
            InputError: the settings want it in Milvus, and name none, or nothing that can be one.
        """
        if self.settings.index != "milvus":
            return None
        from .retriever.milvus_client import Milvus

        if self.settings.milvus is None:
            raise InputError("the index is to be in Milvus, and no Milvus is named; set VELATURA_MILVUS to its address")
        return Milvus(self.settings.milvus)

    @cached_property
    def reranker(self) -> Reranker | None:
        """What orders candidates anew, a cross-encoder or the language model; None where the settings name none."""
        if self.settings.reranker is None:
            return None
        if self.settings.reranker == LLM:
            from .retriever.llm_rerank import LlmReranker

            return LlmReranker(self.language_model)
        from .refiner.embedders import locate
        from .refiner.passages import card
        from .retriever.rerank import CrossEncoder

        folder = locate(self.settings.reranker, "reranker")
        return CrossEncoder(folder, card, name=Path(self.settings.reranker).name, device=self.settings.device)

    def search(self, prompt: str, *, filter: Filter | None = None, limit: int = 10) -> list[Candidate]:
        """Return the adapters that could serve a prompt, best first; what stands in double quotes must be there so."""
        return self.retriever.search(prompt, filter, limit, quotes=True)

    def find(self, what: str) -> list[int]:
        """Return the catalogue numbers of what a name means, the likeliest first; see `Store.find`.

        Raises:
            InputError: nothing is called so.
        """
        numbers = self.store.find(what)
        if not numbers:
            raise InputError(f"nothing in the catalogue answers to {what!r}; try `velatura search {what!r}`")
        return numbers

    def blocked(self, names: Iterable[str] = ()) -> tuple[int, ...]:
        """Return the catalogue numbers of what these names mean, and those that the settings block where they are here.

        Raises:
            InputError: nothing is called so.
        """
        always = (number for name in self.settings.blocked for number in self.store.find(name))
        return tuple(sorted({*always, *(number for name in names for number in self.find(name))}))

    def similar(self, what: str | int, *, filter: Filter | None = None, limit: int = 10) -> list[Candidate]:
        """Return the adapters that do what another one does, best first; its page and its copies are left out.

        Args:
            what: the adapter's catalogue number, or whatever `find` understands.
            filter: what may be found.
            limit: how many.

        Raises:
            InputError: there is no such adapter.
        """
        number = what if isinstance(what, int) else self.find(what)[0]
        return self.retriever.similar(number, filter, limit)

    def by_trigger(self, phrase: str, *, filter: Filter | None = None, limit: int = 10) -> list[Candidate]:
        """Return the adapters that a trigger phrase calls, then those that a phrase calls which begins with it.

        Raises:
            InputError: the phrase has no words.
        """
        return self.retriever.by_trigger(phrase, filter, limit)

    def by_image(
        self, picture: str | Path | Image, *, filter: Filter | None = None, limit: int = 10
    ) -> list[Candidate]:
        """Return the adapters whose look or subject a picture shows, best first.

        Args:
            picture: a PNG, JPEG, WebP or GIF file, or a picture.
            filter: what may be found.
            limit: how many.

        Raises:
            InputError: the settings name no picture model, it cannot be opened, or nothing is embedded by it.
            UnreadableFile: the file is no picture, is damaged, or larger than 50 MB or 100 million pixels.
            MissingDependency: a package that the picture model needs is not installed.
        """
        from .refiner.picture_file import read_picture_file

        embedder = self.picture_embedder
        shown = read_picture_file(Path(picture)).decode() if isinstance(picture, str | Path) else picture
        [vector] = embedder.embed_images([shown])
        return self.retriever.by_image(vector, self._picture_index, filter, limit)

    @cached_property
    def _picture_index(self) -> PictureIndex:
        from .retriever.pictured import PictureIndex

        path = self.store.beside("pictures.faiss")
        return PictureIndex(self.store, self.picture_embedder, path, self._milvus)

    def interrogate(
        self,
        picture: str | Path | Image,
        *,
        by: Literal["clip", "llm"] = "clip",
        lists: Path | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> Interrogation:
        """Put a picture into words: the prompt that would paint one like it.

        Args:
            picture: a PNG, JPEG, WebP or GIF file, or a picture.
            by: who looks: the picture model over lists of words, or the language model.
            lists: a folder of words of one's own, `subjects.txt` and so on; None takes ours.
            progress: called with (words read, all of them) while they are read for the first time.

        Raises:
            InputError: the settings name no such model, or it cannot be opened.
            UnreadableFile: the file is no picture, is damaged, or too large.
            MissingDependency: a package that the model needs is not installed.
        """
        from .refiner.interrogate import interrogator
        from .refiner.picture_file import read_picture_file
        from .settings import home

        shown = read_picture_file(Path(picture)).decode() if isinstance(picture, str | Path) else picture
        looks = interrogator(
            by,
            embedder=lambda: self.picture_embedder,
            language_model=lambda: self.language_model,
            lists=lists,
            cache=home() / "words",
            told=progress,
        )
        return looks.interrogate(shown)

    # ---------------------------------------------------------------- compose

    def compose(
        self, prompt: str, *, filter: Filter | None = None, locked: Mapping[int, Choice] | None = None
    ) -> Composition:
        """Choose the adapters for a prompt, with their weights and the reasons; none is a valid answer.

        Args:
            prompt: the prompt.
            filter: what may be chosen.
            locked: choices with `kept`, by catalogue number; the others are chosen beside them.

        Raises:
            KeptOut: the filter keeps a locked one out.
            InputError: as `compose_all`.
        """
        return next(self.compose_all([prompt], filter=filter, locked=locked))

    def compose_all(
        self,
        prompts: Iterable[str],
        *,
        filter: Filter | None = None,
        locked: Mapping[int, Choice] | None = None,
    ) -> Iterator[Composition]:
        """Compose for each prompt, in order.

        Raises:
            InputError: the settings' composer asks a language model, and none is named or it refuses the key.
            MissingDependency: a package that it needs is not installed.
        """
        prompts = list(prompts)
        wanted = filter or Filter()
        allowed = self.retriever.allowed(wanted)
        for number, choice in (locked or {}).items():
            if number not in allowed:
                raise KeptOut(choice.adapter.title, "it is locked, and the filter leaves it out")
        found = self.retriever.search_all(prompts, wanted, self.composing.reads, least=self.composing.least)
        for prompt, candidates in zip(prompts, found, strict=True):
            yield self.composing.compose(prompt, candidates, allowed, family=wanted.family, locked=locked)

    @cached_property
    def composing(self) -> Composing:
        """What makes compositions of candidates, and looks at those of others.

        Raises:
            InputError: the settings' composer asks a language model, and none is named.
            MissingDependency: openai is not installed.
        """
        from .composing import Composing

        return Composing(self.store, self.settings, lambda: self.language_model)

    def validate(
        self, composition: Composition, *, family: str | None = None, steps: int | None = None
    ) -> tuple[Conflict, ...]:
        """Return what does not go together in a set of adapters, whoever chose it; errors first.

        Args:
            composition: the set; its prompt may be empty.
            family: the base family of the model that will wear them.
            steps: how many steps are to be made, where that is known.
        """
        return self.composing.validate(composition, family=family, steps=steps)

    def read_composition(self, content: str | bytes | Mapping[str, str], name: str = "this") -> Composition:
        """Return what another tool's text, workflow or picture says, as a composition of the catalogue's adapters.

        Args:
            content: a prompt, a file's content, or the texts of a picture by their keywords.
            name: what to call it in messages.

        Raises:
            InputError: no adapters and no prompt can be read from it.
        """
        from .composer.formats import read

        return composition_of(self.store, read(content, name))

    # ---------------------------------------------------------------- refine

    def describer(self, name: str | None = None) -> Describer:
        """Return the describer of a name (`card`, `pictures`, `vlm`, `local`), by default that of the settings.

        Raises:
            InputError: there is none of this name, or what it needs is not named.
            MissingDependency: a package that it needs is not installed.
        """
        from .wiring import describer

        return describer(
            self.settings,
            lambda: self.language_model,
            self.store,
            name=name,
            picture_embedder=lambda: self.picture_embedder,
        )

    def refine(
        self,
        describer: Describer,
        *,
        limit: int | None = None,
        retry: bool = False,
        spend: Callable[[Usage], bool] | None = None,
        progress: Callable[[RefineReport], None] | None = None,
    ) -> RefineReport:
        """Have every adapter described that is new or changed. Can be stopped at any moment and goes on where it was.

        Args:
            describer: who describes.
            limit: ask about so many at the most.
            retry: ask again about those that it failed at or refused before.
            spend: says of what was used so far whether it is enough.
            progress: called as answers come.

        Raises:
            InputError: another process on this machine describes this catalogue's adapters.
        """
        from .refiner.refine import refine
        from .wiring import under_way

        crew = None
        if self.engine is not None:
            from .engines.describing import open_crew

            crew = open_crew(self.engine, self.settings, describer)
        # Two at once would ask, and pay for, everything twice.
        taken = f"another process describes the adapters of {self.store.name} now; wait for it"
        with only_one(self.store.beside("refine.lock"), taken):
            return refine(
                self.store,
                describer,
                under_way=under_way(self.store, describer.name),
                crew=crew,
                workers=self.settings.workers,
                limit=limit,
                retry=retry,
                spend=spend,
                progress=progress,
            )

    # ---------------------------------------------------------------- generate

    @cached_property
    def painting(self) -> Painting:
        """What paints with the checkpoint of the settings."""
        from .painting import Painting

        return Painting(self.settings, self.localised, self.engine)

    @property
    def backend(self) -> Backend:
        """The backend that paints, with the checkpoint of the settings.

        Raises:
            InputError: no checkpoint is named, or it cannot be used.
            MissingDependency: a package that it needs is not installed.
        """
        return self.painting.backend

    def probe(
        self,
        numbers: Sequence[int] | None = None,
        grid: Grid | None = None,
        *,
        again: bool = False,
        watch: Watch | None = None,
        progress: Callable[[ProbeReport], None] | None = None,
    ) -> ProbeReport:
        """Find out what adapters really do, by painting with and without them; see `probes.Probing.probe`."""
        from .probes import Grid, Probing

        probing = Probing(self.store, self.painting, lambda: self.picture_embedder)
        return probing.probe(numbers, grid or Grid(), again=again, watch=watch, progress=progress)

    def check(self, paths: Iterable[Path], model: str | None = None) -> Iterator[Checked]:
        """Say of each adapter file whether it works on a model, and how much of it.

        Args:
            paths: Files, and folders of them.
            model: The model: a checkpoint, or a base family; None takes the settings', else the standard model of
                each file's own family.
        """
        from .generation.adapters.check import check
        from .generation.structure import standard, structure

        return check(paths, structure, model or self.settings.model, standard())

    def request(self, composition: Composition, **fields: object) -> GenerationRequest:
        """Return a request for a composition, with the settings' values where a field is not given."""
        return self.painting.request(composition, **fields)

    def masks(
        self, composition: Composition, count: int, seed: int, *, scheme: Scheme = "paper", weighted: bool = False
    ) -> list[Mask]:
        """Return which of a composition's choices are on in each of several pictures; in the first all are.

        Args:
            composition: the choices.
            count: how many masks.
            seed: draws them.
            scheme: which masks there are: `paper` has per task none, one or all on (Stylus, section 3.3), `power-set`
                any, `all` always all.
            weighted: have on oftener what is surer to be meant; else all masks have equal chances.
        """
        chances = [1.0 if choice.sure is None else choice.sure for choice in composition.choices] if weighted else None
        return self.composing.masks(composition, count, seed, chances=chances, scheme=scheme)

    def varied(
        self, request: GenerationRequest, count: int, *, scheme: Scheme = "paper", weighted: bool = False
    ) -> list[GenerationRequest]:
        """Return a request for each of several pictures, with other adapters on in each and its own seed.

        Each adapter has the weight that it has without those that are off; which are on: see `masks`.
        """
        drawn = self.masks(request.composition, count, request.seed, scheme=scheme, weighted=weighted)
        return [
            replace(
                request,
                composition=self.composing.masked(request.composition, mask),
                mask=mask,
                seed=request.seed + number,
            )
            for number, mask in enumerate(drawn)
        ]

    def generate(
        self, request: GenerationRequest, *, count: int = 1, watch: Watch | None = None
    ) -> Iterator[GeneratedImage]:
        """Paint `count` images, with the seeds counting up from the request's."""
        return self.painting.generate(request, count=count, watch=watch)

    def paint(
        self, request: GenerationRequest, *, count: int = 1, overwrite: bool = False, watch: Watch | None = None
    ) -> Iterator[tuple[Path, GeneratedImage]]:
        """Generate, and write each picture with its story into the output folder as it comes.

        Raises:
            InputError: a picture of that name is there already and `overwrite` is not given.
        """
        return self.painting.paint(request, count=count, overwrite=overwrite, watch=watch)

    def localised(self, composition: Composition) -> Composition:
        """Return the composition with each adapter's file on this machine, where there is one."""
        choices = tuple(
            replace(choice, adapter=replace(choice.adapter, path=choice.adapter.path or self._file_of(choice.adapter)))
            for choice in composition.choices
        )
        return replace(composition, choices=choices)

    def _file_of(self, adapter: AdapterRecord) -> str | None:
        """Find the file of a record that names none: by its hashes and ids, or, of a folder, by its name."""
        path = self.store.installed(adapter)
        if path is None and adapter.source == "folder":
            named = [self.store.adapter(number).record for number in self.store.find(adapter.key)]
            paths = [record.path for record in named if record.source == "folder"]
            path = paths[0] if len(paths) == 1 else None
        return path


def _measures() -> ModuleType:
    """Return the module that measures files; it loads torch."""
    try:
        from .generation.adapters import measure
    except ModuleNotFoundError as error:
        raise MissingDependency(error.name or "torch", extra="generate") from None
    return measure
