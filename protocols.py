"""The verbs of Velatura: every seam as a Protocol. An implementation is one file and one registry row."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from .records import (
    AdapterRecord,
    Candidate,
    Choice,
    Composition,
    GeneratedImage,
    GenerationRequest,
    RefinedAdapter,
    Refinement,
    Rejection,
    Usage,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image

    Vectors = NDArray[np.float32]
    Ids = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One readable thing of a source: a file with its sidecars, or a page.

    The catalogue keeps `stamp` and calls `read` only when it has changed, so unchanged input costs one comparison.
    """

    locator: str
    """Unique and stable within the source: a path, or a page's id."""
    stamp: str
    """Changes whenever anything that `read` would look at changes."""
    read: Callable[[], Sequence[AdapterRecord | Rejection]]
    """Raises `InputError` when nothing of the entry can be read; the caller turns that into a rejection."""
    bookmark: str | None = None
    """Where a source read page by page goes on after this entry, should the run end here."""


class Source(Protocol):
    """Where adapters come from."""

    @property
    def name(self) -> str:
        """`folder`, `civitai` or `huggingface`."""

    @property
    def scope(self) -> str:
        """What this run covers, such as the folder's path: entries known for it and no longer offered are gone."""

    @property
    def complete(self) -> bool:
        """Whether everything in scope is offered, so that what is not offered no longer exists."""

    def entries(self) -> Iterator[Entry | Rejection]:
        """Yield everything that the source offers; a part that cannot be offered at all is a rejection."""


class TextEmbedder(Protocol):
    """Turns texts into vectors whose dot product is their likeness."""

    @property
    def model(self) -> str:
        """The model's id, kept beside every vector."""

    @property
    def revision(self) -> str:
        """The model's revision, kept beside every vector."""

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Return one L2-normalised float32 row per text, shape (len(texts), dimension)."""


class ImageEmbedder(TextEmbedder, Protocol):
    """Turns pictures, and texts, into vectors of one space, whose dot product is their likeness."""

    def embed_images(self, images: Sequence[Image]) -> Vectors:
        """Return one L2-normalised float32 row per picture, shape (len(images), dimension)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """What a describer wrote, and what it took."""

    refinement: Refinement
    usage: Usage = Usage()  # noqa: RUF009 - frozen


Method = Literal["fused", "dense", "bm25", "rerank", "tfidf", "overlap", "random"]
"""How adapters are ranked for a prompt. `fused` is ours, `dense` Stylus's retriever (its section 3.2), `rerank` the
same with a reranker over its best, `bm25` the words alone; the others are what other tools do, and chance."""


class Index(Protocol):
    """Finds the nearest vectors by dot product."""

    def search(self, queries: Vectors, k: int, allowed: Ids | None = None) -> tuple[Vectors, Ids]:
        """Return (scores, ids), both of shape (len(queries), k), best first, padded with -inf and -1.

        `allowed` restricts the answer exactly: what is not in it never takes a place.
        """


class NearestPassages(Protocol):
    """Finds the adapters whose passages, texts or pictures, are nearest to a vector, as the catalogue is now."""

    def __len__(self) -> int:
        """Return how many passages can be found."""

    @property
    def passages(self) -> Ids:
        """The passages' ids, ascending."""

    @property
    def adapters(self) -> Ids:
        """The adapter of each of `passages`."""

    def refresh(self) -> bool:
        """Bring the index up to date with the catalogue, whoever changed it; return whether anything had changed.

        A copy made before goes on answering as it did.
        """

    def best(self, vector: Vectors, field: str, k: int, allowed: Ids | None = None) -> dict[int, float]:
        """Return the adapters with the k nearest passages of a field, and the cosine of each one's nearest.

        Args:
            vector: Shape (dimension,), of length 1.
            field: `card`, `prompt` or `image`.
            k: Passages looked at; several may belong to one adapter.
            allowed: Sorted catalogue numbers; None allows all. What is not in it never takes a place.
        """


class Reranker(Protocol):
    """Reads a prompt beside what is known of each adapter, and says how well it serves the prompt."""

    @property
    def name(self) -> str:
        """Told with what it ranked."""

    def score(self, prompt: str, adapters: Sequence[RefinedAdapter]) -> Sequence[float] | None:
        """Return a number for each adapter, between 0 and 1; higher serves better. None leaves them in their order."""


class Describer(Protocol):
    """Says what an adapter does, from all that is known of it."""

    @property
    def name(self) -> str:
        """Kept as the writer of what it wrote; another one whenever the same adapter would be described anew."""

    def origin(self, adapter: RefinedAdapter) -> str:
        """Return the address of all that it would read of the adapter, pictures too: equal ones are described once."""

    def describe(self, adapter: RefinedAdapter) -> Described:
        """Describe one adapter; may be called by several threads at once.

        Raises:
            LanguageModelError: It refuses this one, or gives no answer of use.
        """


class Composer(Protocol):
    """Chooses which candidates serve which words of a prompt, and at which weight."""

    @property
    def name(self) -> str:
        """Kept with what it composed."""

    def compose(self, prompt: str, candidates: Sequence[Candidate], fixed: Sequence[Choice] = ()) -> Composition:
        """Choose, beside what is fixed; an empty choice is a valid answer."""


@dataclass(slots=True, kw_only=True)
class Watch:
    """Looks on while pictures are painted, and may stop it."""

    progress: Callable[[float], None] | None = None
    """Called after every step with the share of all the pictures that is done, 0 to 1."""
    preview: Callable[[int, Image], None] | None = None
    """Called every few steps with a picture's place among those asked for, and a small picture of what it is so far."""
    every: int = 5
    """Steps between two previews."""
    stopped: Callable[[], bool] | None = None
    """Asked before every step; True ends the painting with `Cancelled`."""


class Backend(Protocol):
    """Paints."""

    @property
    def name(self) -> str:
        """The name that requests use."""

    @property
    def family(self) -> str:
        """The base family of the loaded checkpoint, which decides what it can wear."""

    def complete(self, request: GenerationRequest) -> GenerationRequest:
        """Check a request and fill in what it leaves to the model, without painting.

        Raises:
            InputError: it asks for what cannot be; one sentence.
        """

    def generate(
        self, request: GenerationRequest, count: int = 1, *, watch: Watch | None = None
    ) -> Iterator[GeneratedImage]:
        """Yield `count` images with the seeds `request.seed`, `request.seed + 1`, ..., as they come.

        Raises:
            InputError: the request asks for what cannot be; told before anything is painted.
            Cancelled: `watch` stopped it; what was yielded before is whole.
        """

    def generate_each(
        self, requests: Sequence[GenerationRequest], *, watch: Watch | None = None
    ) -> Iterator[tuple[int, GeneratedImage]]:
        """Yield one image of each request with its place among them, in whatever order is the cheapest."""
