"""The nouns of Velatura: plain frozen values, each holding the one before.

    AdapterRecord   one file of one version of one page, as its source tells it
      -> RefinedAdapter   + a Refinement: what it does, in words, and who wrote them
        -> Candidate      + how well it fits a prompt, and what matched
          -> Composition  a prompt, the adapters chosen for its words, and the refusals
            -> GenerationRequest   + mask, seed, steps, guidance, size, backend
              -> GeneratedImage    the pixels and the request that made them

Embeddings stay out of records. `None` always means "not known", never "no".
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from .syntax import escaped
from .words import FUNCTION_WORDS, words

if TYPE_CHECKING:
    from PIL.Image import Image

PG, PG13, R, X, XXX, BLOCKED = 1, 2, 4, 8, 16, 32
"""Civitai's rating bits. An adapter's rating is the OR over its pictures."""

USES = ("image", "rentcivit", "rent", "sell")
"""Commercial uses that a licence may allow: sell pictures, run on Civitai, run on other sites, sell the model."""

CATEGORIES = (
    "character", "celebrity", "style", "concept", "pose", "clothing", "background", "building", "vehicle", "animal",
    "action", "object", "tool",
)  # fmt: skip
"""What an adapter is for. `celebrity` is any real person, `character` any invented one; `tool` changes the whole
picture or how it is painted, such as detail sliders, LCM and Lightning."""

FACETS = ("subject", "style", "medium", "setting", "mood", "era")
"""Sides of a picture that an adapter may decide, in words."""

Mode = Literal["demofusion", "multidiffusion", "scalecrafter", "upscale"]
"""How a picture larger than the model's own is painted; see `Enlargement`."""

ProbeFlag = Literal["no effect", "too strong"]
"""What is wrong with an adapter at weight 1: pictures hardly change, or are nearly one picture."""

Id = int | str
"""A site's own id of a page, a version or a file: Civitai counts, Hugging Face names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hashes:
    """Digests of one file, lower-case hexadecimal.

    `autov2` is `sha256[:10]`; `autov3` is the first 12 digits of the SHA-256 over the tensors alone, which
    survives a rewritten header.
    """

    sha256: str | None = None
    autov1: str | None = None
    autov2: str | None = None
    autov3: str | None = None
    crc32: str | None = None
    blake3: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Licence:
    """What the author allows. A missing answer is unknown, not yes."""

    name: str | None = None
    """A licence's SPDX-like name, where the source uses one."""
    no_credit: bool | None = None
    """May be used without naming the author."""
    commercial: tuple[str, ...] | None = None
    """Allowed uses, of `USES`; `()` allows none, None is unknown."""
    derivatives: bool | None = None
    different_licence: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightEvidence:
    """One weight that somebody used or advised, and where that was seen."""

    weight: float
    source: str
    """`prompt`, `resources`, `civitaiResources`, `tips`, `preferred`, `prose` or `header`."""
    image: str | None = None
    """The image it was used for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One picture shown for the adapter, with the prompt that made it where that is known."""

    image: str | None = None
    """A URL or a local path."""
    prompt: str | None = None
    negative: str | None = None
    nsfw: int | None = None
    """A rating bit. None is unrated, which is not safe."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterRecord:
    """One file of one version of one page, as its source tells it."""

    source: str
    """The name of the source: `folder`, `civitai` or `huggingface`."""
    key: str
    """Unique within the source and stable: `page/version/file`, or a local path."""
    title: str
    version_name: str | None = None
    file_name: str | None = None
    model_id: Id | None = None
    version_id: Id | None = None
    file_id: Id | None = None
    creator: str | None = None

    path: str | None = None
    """Where the file lies on this machine; None when it is only known from a site."""
    url: str | None = None
    """Where it can be downloaded."""
    size: int | None = None
    """Bytes."""
    format: str | None = None
    """`safetensors`, `pickle` (never opened), or None."""
    hashes: Hashes = Hashes()
    fingerprint: str | None = None
    """A cheap digest of the tensor layout and of samples of the data: the same after a rename or a new header."""

    kind: str = "lora"
    """The network: `lora`, `locon`, `loha`, `lokr`, `dora`, `full`, `oft`, `ia3`, `glora`, `embedding`, ..."""
    layout: str | None = None
    """How the keys are spelt: `kohya`, `diffusers`, `diffusers-old`, `peft`, `safeloras`, ..."""
    rank: int | None = None
    alpha: float | None = None
    family: str = "unknown"
    """The base family, a name of `velatura.families`."""
    base_model: str | None = None
    """The base as the source spells it: `SD 1.5`, `sdxl_base_v1-0`, a Hugging Face id."""

    triggers: tuple[tuple[str, ...], ...] = ()
    """Alternative groups of trigger phrases; the phrases of one group are meant together."""
    tags: tuple[str, ...] = ()
    training_tags: tuple[tuple[str, int], ...] = ()
    """The commonest captions or tags of the training set with their counts, all folders summed."""
    description: str | None = None
    """Cleaned prose of the page and of the version: no HTML, no advertisements."""
    notes: str | None = None
    """What the owner of the file wrote about it."""
    negative: str | None = None
    """A negative prompt that the author or owner advises."""
    examples: tuple[Example, ...] = ()
    weights: tuple[WeightEvidence, ...] = ()
    previews: tuple[str, ...] = ()
    """Local pictures beside the file."""

    licence: Licence = Licence()
    nsfw: int | None = None
    """The OR of rating bits. None is unrated, which is not safe."""
    real_person: bool | None = None
    minor: bool | None = None
    available: bool | None = None
    """False when the site has archived it, taken it down, or only generates with it."""
    downloads: int | None = None
    published: str | None = None
    """ISO 8601."""
    provenance: tuple[tuple[str, str], ...] = ()
    """(field, where its value came from) for each field that more than one place could have told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejection:
    """A thing that a source offered and that could not become a record."""

    source: str
    locator: str
    """The file, page or line."""
    reason: str
    """One sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Which adapters may be found at all. The default lets everything through."""

    family: str | None = None
    """The base family of the model that will wear them."""
    partial: bool = True
    """With `family`: also adapters of families that it wears in part."""
    unknown_family: bool = False
    """With `family`: also adapters whose family is not known."""
    nsfw: int | None = None
    """The OR of the bits that are allowed; an unrated adapter has none and stays out. None allows all."""
    commercial: str | None = None
    """A use that the licence must allow: `image`, `rentcivit`, `rent` or `sell`. Unknown is not allowed."""
    kinds: tuple[str, ...] = ()
    """Only these kinds; empty for all."""
    installed: bool = False
    """Only files on this machine."""
    real_people: bool = True
    """Also adapters that depict a real person; False keeps those out that are flagged."""
    blocked: tuple[int, ...] = ()
    """Catalogue numbers that may never be found."""

    def __post_init__(self) -> None:
        """Take lists for tuples, so that a filter can be remembered."""
        object.__setattr__(self, "kinds", tuple(self.kinds))
        object.__setattr__(self, "blocked", tuple(self.blocked))


@dataclass(frozen=True, slots=True, kw_only=True)
class Refinement:
    """What an adapter does, as a describer tells it; whatever it cannot tell is None or empty."""

    description: str | None = None
    category: str | None = None
    """One of `CATEGORIES`."""
    facets: tuple[tuple[str, str], ...] = ()
    """(facet, words): what it decides of each side of a picture, of `FACETS`."""
    avoid: str | None = None
    """What it must not be used for."""
    triggers: tuple[tuple[str, ...], ...] = ()
    """The groups of trigger phrases that are worth using, cleaned; empty where all of the record's are."""
    weight: float | None = None
    """The weight to lay it on at."""
    evidence: str | None = None
    """Where the weight comes from, in words."""
    writer: str | None = None
    """Who wrote this: a describer's name, prompt version and model; None when nobody has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RefinedAdapter:
    """A catalogued adapter and what it does, in words."""

    id: int
    """The catalogue's number for it."""
    record: AdapterRecord
    refinement: Refinement = Refinement()


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """One reason why an adapter was found."""

    by: str
    """What found it: `phrase` (a whole trigger phrase), words of a field (`title`, `triggers`, `tags`, `description`,
    `prompts`, `names`), `meaning`, `picture`, or `reranker`."""
    text: str
    """The words of the prompt that matched there; for `meaning` and `picture`, what of the adapter was near; for
    `reranker`, its name."""
    score: float
    """For a phrase its rarity, for words how many matched, for meaning the cosine, for a picture how near it is, for a
    reranker what it gave, 0 to 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """An adapter that could serve a prompt."""

    adapter: RefinedAdapter
    score: float
    """Between 0 and 1; higher is better."""
    matched: tuple[Match, ...] = ()
    alternatives: tuple[int, ...] = ()
    """Catalogue numbers of other versions and copies that this candidate stands for."""

    @property
    def because(self) -> tuple[str, ...]:
        """What matched, in words, the surest first; a word is named once, and articles and the like never.

        >>> fox = RefinedAdapter(id=1, record=AdapterRecord(source="folder", key="fox", title="Red Fox"))
        >>> matched = (Match(by="phrase", text="red fox", score=1), Match(by="title", text="a, red, fox", score=3))
        >>> Candidate(adapter=fox, score=0.5, matched=matched).because
        ('trigger “red fox”',)
        >>> Candidate(adapter=fox, score=0.5, matched=(Match(by="tags", text="赛, 博, 赛博", score=3),)).because
        ('tags “赛博”',)
        """
        parts: list[str] = []
        told: set[str] = set()
        for match in self.matched:
            if match.by == "meaning":
                parts.append(f"{match.text} is near in meaning ({match.score:.2f})")
                continue
            if match.by == "picture":
                parts.append(f"{match.text} is near ({match.score:.2f})")
                continue
            if match.by == "reranker":
                parts.append(f"placed by {match.text} ({match.score:.2f})")
                continue
            spoken = [word for word in match.text.replace(",", " ").split() if word not in FUNCTION_WORDS]
            # Of a script without spaces, a pair of characters tells both.
            pairs = {letter for word in spoken if len(word) == 2 and not word.isascii() for letter in word}
            spoken = [word for word in spoken if word not in pairs]
            if not told.issuperset(spoken):
                parts.append(f"trigger “{match.text}”" if match.by == "phrase" else f"{match.by} “{' '.join(spoken)}”")
                told.update(spoken)
        return tuple(parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What was asked of a language model, as its server counts."""

    calls: int = 0
    read: int = 0
    """Tokens of what it was told."""
    cached: int = 0
    """Of these, tokens that the server had read before."""
    written: int = 0
    """Tokens of its answers."""

    def __add__(self, other: Usage) -> Usage:
        """Return both together."""
        return Usage(
            calls=self.calls + other.calls,
            read=self.read + other.read,
            cached=self.cached + other.cached,
            written=self.written + other.written,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """An adapter laid on for some words of the prompt."""

    adapter: AdapterRecord
    weight: float
    span: str
    """The user's own words that it serves."""
    triggers: tuple[str, ...] = ()
    """Words added to the prompt so that the adapter takes effect."""
    reason: str = ""
    advised: float | None = None
    """The weight that it would have alone, where the other adapters change it; None where they do not."""
    sure: float | None = None
    """How sure it is that it is meant, 0 to 1; None where a person chose it."""
    kept: bool = False
    """Whether a person keeps it as it is, whatever a composer thinks of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """An adapter that came close and was not taken."""

    adapter: AdapterRecord
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Composition:
    """A prompt, the adapters chosen for its words, and the refusals."""

    prompt: str
    choices: tuple[Choice, ...] = ()
    refused: tuple[Refusal, ...] = ()
    composer: str = ""
    """Who chose: a composer's name and version."""
    tasks: tuple[str, ...] = ()
    """The prompt's own words, cut into what can be asked of adapters; some have none."""
    notes: tuple[str, ...] = ()
    """What happened on the way that a person should know: what was repaired, dropped, or done another way."""
    emphasis: float | None = None
    """How much the words of a task are stressed that no adapter serves, since adapters may crowd it out of the picture
    (Stylus's `restore_concepts`, with 1.1); None leaves them as they are."""
    suffix: str = ""
    """Words that close the prompt, such as those that hold a checkpoint to its own look (Stylus's de-bias prompt)."""
    usage: Usage = Usage()
    """What a language model read and wrote for it."""

    @property
    def painted_prompt(self) -> str:
        """The prompt with the missing trigger words added, which is what the model reads.

        >>> record = AdapterRecord(source="folder", key="fox.safetensors", title="Fox")
        >>> choice = Choice(adapter=record, weight=0.8, span="fox", triggers=("foxy", "red fox"))
        >>> Composition(prompt="a Red Fox at a foxyard", choices=(choice,)).painted_prompt
        'a Red Fox at a foxyard, foxy'
        """
        parts = [self._stressed()]
        present = _padded(self.prompt)
        for choice in self.choices:
            for trigger in choice.triggers:
                if _padded(trigger) not in present:
                    parts.append(trigger)
                    present += _padded(trigger)
        if self.suffix and _padded(self.suffix) not in present:
            parts.append(self.suffix)
        return ", ".join(part for part in parts if part)

    def _stressed(self) -> str:
        """Return the prompt, the words of each task without an adapter stressed; brackets have weights of their own."""
        if self.emphasis is None or any(bracket in self.prompt for bracket in "([{"):
            return self.prompt
        served = {word for choice in self.choices for word in words(choice.span)}
        left = {task for task in self.tasks if served.isdisjoint(words(task))}
        # The longest first, whole words alone, and nothing of a tag; each task once.
        asked = "|".join(map(re.escape, sorted(left, key=len, reverse=True)))
        if not asked:
            return self.prompt

        def stress(found: re.Match[str]) -> str:
            task = found[0]
            if task not in left:
                return task
            left.remove(task)
            return f"({task}:{self.emphasis:g})"

        return re.sub(rf"<[^<>]*>|(?<!\w)(?:{asked})(?!\w)", stress, self.prompt)


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A picture file that something is painted from."""

    path: str
    sha256: str | None = None
    """Of the whole file. A backend fills it in; where it is given, another file of that name is refused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """A picture that painting starts from in place of noise: img2img, and with a mask inpainting."""

    picture: Picture
    strength: float | None = None
    """How far it is painted anew, 0 to 1: the share of the steps that are made. None takes 0.75; DemoFusion, which
    holds every step to the picture, makes them all."""
    mask: Picture | None = None
    """Where it is white the picture is painted anew, where it is black it is kept."""

    @property
    def share(self) -> float:
        """The strength, and 0.75 where it is left open."""
        return 0.75 if self.strength is None else self.strength


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """A picture whose form is followed (ControlNet; Zhang and others, 2023)."""

    model: str
    """The ControlNet: a diffusers folder, a `.safetensors` file, or a hub id."""
    picture: Picture
    reading: Literal["canny"] | None = None
    """What is read from the picture: its edges; None where it is a map already, of a pose or of depths."""
    weight: float = 1.0
    begin: float = 0.0
    """The share of the steps before it acts."""
    end: float = 1.0
    """The share of the steps after which it acts no more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImagePrompt:
    """Pictures that steer as words do (IP-Adapter; Ye and others, 2023)."""

    model: str
    """The IP-Adapter: a `.safetensors` file, or one on the hub, `owner/name/path/in/it.safetensors`."""
    pictures: tuple[Picture, ...]
    weight: float = 1.0
    encoder: str | None = None
    """Its CLIP vision model: a folder or a hub id; None takes the one beside the file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Enlargement:
    """How a picture larger than the model's own is painted: None takes what suits the model.

    Lengths are in cells of the latents.
    """

    mode: Mode = "demofusion"
    """DemoFusion (Du and others, 2024); MultiDiffusion (Bar-Tal and others, 2023), windows alone; ScaleCrafter (He and
    others, 2024), dilated convolutions; or a plain upscaler over a picture of the model's own size."""
    stride: int | None = None
    """From window to window: half of a window, but three quarters with SDXL-Turbo."""
    views: int | None = None
    """How many windows pass through the model at once: 16, but 12 with SDXL-Turbo."""
    scales: tuple[int, ...] = ()
    """The multiples of the model's own size that are gone through, ascending; none takes 2, 3, ... to the last."""
    later_steps: int | None = None
    """Steps of every phase after the first, 1 to 1000; None makes as many as in the first."""
    skip: float = 0.0
    """Parts of a step that weigh less than this are left out; 0 is exact."""
    cosine: tuple[float, float, float] | None = None
    """The exponents of the skip residual, of the dilated views' share, and of their blur (DemoFusion, eq. 4 to 7): 3,
    1 and 1, but 0.5, 0.5 and 1 with models of fewer than 64 cells."""
    sigma: float | None = None
    """Of that blur, at its strongest: 0.8."""
    saving: bool = False
    """Whether memory is saved where it costs time: what is not at work leaves the GPU."""
    upscaler: str | None = None
    """With `upscale`: the upscaling model's `.safetensors` file; None interpolates (Lanczos)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationRequest:
    """All that decides the pixels."""

    composition: Composition
    model: str
    """A diffusers folder, a single-file checkpoint, a hub id, or a name of `velatura checkpoints`."""
    backend: str = ""
    """Who paints; empty takes what paints with the model."""
    mask: tuple[bool, ...] | None = None
    """Which choices are on, in their order; None means all (Stylus, section 3.3). Not a spatial mask."""
    negative: str = ""
    seed: int = 0
    steps: int | None = None
    """None takes those that the model needs, or an adapter that needs its own (LCM, Lightning, ...)."""
    guidance: float | None = None
    """Classifier-free guidance; up to 1 is none, None as `steps`."""
    width: int | None = None
    """Pixels; None takes the model's own size, that of the picture to start from, or, of an enlargement, twice that."""
    height: int | None = None
    scheduler: str | None = None
    """A scheduler's name; None keeps the model's own."""
    clip_skip: int = 0
    start: Start | None = None
    controls: tuple[Control, ...] = ()
    image_prompts: tuple[ImagePrompt, ...] = ()
    embeddings: tuple[str, ...] = ()
    """Textual inversions that the prompts may name: `.safetensors` files."""
    freeu: tuple[float, float, float, float] | None = None
    """FreeU's s1, s2, b1 and b2 (Si and others, 2024); None leaves it off."""
    enlargement: Enlargement | None = None

    @property
    def choices(self) -> tuple[Choice, ...]:
        """The choices that the mask leaves on."""
        if self.mask is None:
            return self.composition.choices
        return tuple(choice for choice, on in zip(self.composition.choices, self.mask, strict=True) if on)

    @property
    def prompt(self) -> str:
        """What the model reads: the prompt and the triggers of the choices that are on, whose brackets are names'."""
        choices = tuple(replace(choice, triggers=tuple(map(escaped, choice.triggers))) for choice in self.choices)
        return replace(self.composition, choices=choices).painted_prompt


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneratedImage:
    """The pixels and the request that made them."""

    image: Image
    request: GenerationRequest
    seed: int
    """This image's own seed; a batch counts up from the request's."""
    model_hash: str | None = None
    """AutoV2 of a single-file checkpoint."""
    seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockNorm:
    """How large the weights, or the differences of weights, of one block of a model are."""

    block: str
    """`down.0`, `mid`, `up.3`, `text`, `text_2`, `double`, `single`, or `other` for what lies in no block."""
    norm: float
    """The square root of the sum of squares (Frobenius)."""
    values: int
    """How many values that covers."""

    @property
    def rms(self) -> float:
        """The root mean square of a value."""
        return self.norm / math.sqrt(self.values) if self.values else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightMeasure:
    """What an adapter's file does to weights at weight 1, told from the file alone."""

    method: str
    """The version of what measured it; sketches of one method alone may be compared."""
    blocks: tuple[BlockNorm, ...] = ()
    """The differences by block."""
    unmeasured: tuple[tuple[str, int], ...] = ()
    """(kind, networks) of what depends on the weights of a model and cannot be told without one."""
    sketch: tuple[float, ...] = ()
    """A short vector whose cosines estimate the overlap with other adapters; empty where nothing is changed."""
    failure: str | None = None
    """Why nothing could be measured: one sentence."""

    @property
    def whole(self) -> BlockNorm:
        """All blocks as one."""
        norm = math.sqrt(sum(part.norm**2 for part in self.blocks))
        return BlockNorm(block="all", norm=norm, values=sum(part.values for part in self.blocks))

    def relative_to(self, base: BaseNorms) -> dict[str, float]:
        """Return the norm of each block, over that of the checkpoint's weights there; `all` over the blocks reached.

        >>> one = WeightMeasure(method="1", blocks=(BlockNorm(block="mid", norm=3.0, values=9),))
        >>> one.relative_to(BaseNorms(family="sd1", model="m", blocks=(BlockNorm(block="mid", norm=60.0, values=9),)))
        {'mid': 0.05, 'all': 0.05}
        """
        norms = {block.block: block.norm for block in base.blocks if block.norm > 0}
        reached = [block for block in self.blocks if block.block in norms]
        relative = {block.block: block.norm / norms[block.block] for block in reached}
        if reached:
            mine = math.sqrt(sum(block.norm**2 for block in reached))
            relative["all"] = mine / math.sqrt(sum(norms[block.block] ** 2 for block in reached))
        return relative


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbedWeight:
    """What an adapter does at one weight: its pictures beside the same without it, as a CLIP model sees them."""

    weight: float
    change: float
    """How far pictures move, as a share of how far apart those of two seeds lie."""
    consistency: float
    """How much they move the same way whatever the prompt: a mean cosine, 1 where all move alike."""
    gain: float
    """How much better they fit what the adapter is said to do: a difference of cosines."""
    collapse: float
    """How much less they differ from each other, of 1; at 1 all are the same picture."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """What an adapter really does, told from pictures painted with and without it; see `velatura.eval.probe`."""

    method: str
    """The version of what measured it."""
    family: str
    """The base family of the checkpoint."""
    model: str
    clip: str
    told: str
    """What the adapter is said to do, which its pictures are held against."""
    prompts: int
    seeds: int
    """Pictures of each prompt at each weight."""
    weights: tuple[ProbedWeight, ...]
    """By weight, ascending."""
    at: float
    """The weight that the direction, the consistency and the alignment are of."""
    direction: tuple[float, ...] = ()
    """The way that pictures move in the CLIP model's space, of length 1; empty where they do not."""
    consistency: tuple[float, float, float] = (0.0, -1.0, 1.0)
    """(value, low, high): a 95 % interval over prompts."""
    alignment: float = 0.0
    """The cosine of the direction with what the adapter is said to do."""
    best: float | None = None
    """The weight that it is best laid on at; None where none makes pictures fit better what it is said to do."""
    flags: tuple[ProbeFlag, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseNorms:
    """How large the weights of a checkpoint are, by block."""

    family: str
    model: str
    """The checkpoint, as it was named."""
    blocks: tuple[BlockNorm, ...]


def _padded(text: str) -> str:
    """Return the text's words between spaces, so that `in` compares whole words."""
    return f" {' '.join(words(text))} "
