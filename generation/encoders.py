"""What a model reads in place of words: the outputs of its text encoders, kept for as long as they hold.

SD has one CLIP text encoder. SDXL has two, whose states stand side by side, and takes from the second the pooled
embedding of the first piece as well. FLUX reads through its own pipeline, which takes no weights.
"""

from __future__ import annotations

import threading
import warnings
import weakref
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..errors import IncompatibleAdapter, InputError
from . import PaintingWarning
from .adapters.embeddings import LearnedToken, read_embedding, worn
from .prompt import Layer, Piece, PromptReader, cleaned, filled, states_of
from .prompt_weights import interpolated, less_weights, scaled

if TYPE_CHECKING:
    Reading = tuple["_Encoder", PromptReader, list[tuple[Piece, ...]]]

_KEPT_BYTES = 64 * 2**20
"""What one model's outputs may take: those of some fifty prompts of SDXL."""


@dataclass(frozen=True, slots=True, eq=False)
class Encoded:
    """What a model reads: of one prompt, or of those of a batch."""

    prompt: Tensor
    """Shape (rows, length, width)."""
    negative: Tensor | None = None
    """Of the same shape; None where no guidance asks for it."""
    pooled: Tensor | None = None
    """Shape (rows, width); None where the model takes none."""
    negative_pooled: Tensor | None = None

    @staticmethod
    def joined(rows: Sequence[Encoded]) -> Encoded:
        """Return the rows of a batch as one.

        Raises:
            ValueError: they differ in length or in what they have.
        """

        def join(parts: Sequence[Tensor | None]) -> Tensor | None:
            there = [part for part in parts if part is not None]
            if len(there) not in (0, len(parts)) or len({part.shape[1:] for part in there}) > 1:
                raise ValueError("the rows of a batch must be equally long, with negative prompts or without")
            return torch.cat(there) if there else None

        prompt = join([row.prompt for row in rows])
        if prompt is None:
            raise ValueError("a batch must have rows")
        return Encoded(
            prompt=prompt,
            negative=join([row.negative for row in rows]),
            pooled=join([row.pooled for row in rows]),
            negative_pooled=join([row.negative_pooled for row in rows]),
        )


@dataclass(frozen=True, slots=True)
class _Encoder:
    name: str
    tokenizer: Any
    model: Any


class TextEncoders:
    """The CLIP text encoders of a pipeline of SD or SDXL.

    They are looked up in the pipeline whenever they are used, so it may be moved, cast or compiled.

    Args:
        pipe: A pipeline with `tokenizer` and `text_encoder`; SDXL's also with `tokenizer_2` and `text_encoder_2`.
    """

    def __init__(self, pipe: Any) -> None:
        self._pipe = pipe
        self._kept = _Recent(_KEPT_BYTES)

    @property
    def widths(self) -> dict[str, int]:
        """The width of the token vectors of each text encoder, by its name."""
        return {one.name: one.model.get_input_embeddings().weight.shape[1] for one in self._encoders}

    @property
    def layers(self) -> int:
        """The layers of the shortest text encoder; `clip_skip` must be less."""
        return min(int(one.model.config.num_hidden_layers) for one in self._encoders)

    def pieces(self, prompt: str, negative: str | None, learned: Sequence[LearnedToken] = ()) -> int:
        """Return how many pieces of 75 tokens the longer of two prompts takes, by the encoder that takes more.

        Prompts with as many can be painted in one batch.
        """
        return _longest(self._read(self._texts(prompt, negative), learned))

    def encode(
        self,
        prompt: str,
        negative: str | None,
        *,
        clip_skip: int = 0,
        learned: Sequence[LearnedToken] = (),
        state: Hashable | None = (),
    ) -> Encoded:
        """Return what the model reads of a prompt and of a negative prompt, filled up to one length.

        What an encoder was given before it is not given again. The tensors are the caller's own.

        Args:
            prompt: What to paint.
            negative: What to keep out; None where no guidance asks for it. Where a model of SDXL is trained to take
                zeros for no words (`force_zeros_for_empty_prompt`), an empty one is zeros.
            clip_skip: How many of the encoders' last layers to leave out: SD from the last, and its final normalisation
                is kept; SDXL from the last but one, where it reads, as diffusers counts.
            learned: The learned tokens that prompts may name (see `adapters.embeddings.worn`).
            state: Tells what lies on the text encoders now, such as adapters with their weights; None where that
                cannot be told, so that nothing is kept.

        Raises:
            InputError: `clip_skip` leaves no layer.
            VelaturaError: an encoder looks tokens up in a way in which learned ones cannot take part.
        """
        if not 0 <= clip_skip < self.layers:
            raise InputError(f"clip_skip must be below {self.layers}, not {clip_skip}")
        texts = self._texts(prompt, negative)
        read = self._read(texts, learned)
        longest = _longest(read)
        rows = []
        for place in range(len(texts)):
            parts = [
                self._embedded(one, reader, filled(pieces[place], longest), clip_skip, state)
                for one, reader, pieces in read
            ]
            rows.append((torch.cat([states for states, _ in parts], dim=-1), parts[-1][1] if self._two else None))
        (states, pooled), *others = rows
        if negative is None:
            return Encoded(states, pooled=pooled)
        zeros = torch.zeros_like(states), None if pooled is None else torch.zeros_like(pooled)
        away, away_pooled = others[0] if others else zeros
        return Encoded(states, away, pooled, away_pooled)

    @property
    def _two(self) -> bool:
        return getattr(self._pipe, "text_encoder_2", None) is not None

    @property
    def _encoders(self) -> tuple[_Encoder, ...]:
        pipe = self._pipe
        first = _Encoder("text_encoder", pipe.tokenizer, pipe.text_encoder)
        return (first, _Encoder("text_encoder_2", pipe.tokenizer_2, pipe.text_encoder_2)) if self._two else (first,)

    def _texts(self, prompt: str, negative: str | None) -> list[str]:
        """Return what the encoders are to read."""
        if negative is None:
            return [prompt]
        zeros = self._two and self._pipe.config.force_zeros_for_empty_prompt and not cleaned(negative).strip()
        return [prompt] if zeros else [prompt, negative]

    def _read(self, texts: Sequence[str], learned: Sequence[LearnedToken]) -> list[Reading]:
        readers = [(one, PromptReader(one.tokenizer, one.model, learned, part=one.name)) for one in self._encoders]
        return [(one, reader, [reader.pieces(text) for text in texts]) for one, reader in readers]

    def _embedded(
        self, one: _Encoder, reader: PromptReader, pieces: Sequence[Piece], clip_skip: int, state: Hashable | None
    ) -> tuple[Tensor, Tensor | None]:
        """Return the embeddings of a prompt, shape (1, length, width), and the pooled one of its first piece."""
        states, pooled = self._states(one, reader, pieces, clip_skip, state)
        if not all(piece.plain for piece in pieces):
            weights = torch.tensor([reader.weights(piece) for piece in pieces], device=states.device)
            if self._two:
                states = interpolated(states, weights, self._states(one, reader, [Piece()], clip_skip, state)[0])
            else:
                states = scaled(states, weights)
        return states.reshape(1, -1, states.shape[-1]), None if pooled is None else pooled[:1].clone()

    def _states(
        self, one: _Encoder, reader: PromptReader, pieces: Sequence[Piece], clip_skip: int, state: Hashable | None
    ) -> tuple[Tensor, Tensor | None]:
        layer: Layer = "penultimate" if self._two else "last"
        model = one.model
        # The numbers tell all that was written: two prompts that differ in tags or weights alone are one.
        numbers = tuple(piece.numbers for piece in pieces)
        key = (one.name, numbers, reader.digest(pieces), clip_skip, state, str(model.device), model.dtype)
        states, *rest = self._kept.of(
            None if state is None else key,
            lambda: _there(states_of(pieces, reader, model, clip_skip=clip_skip, layer=layer)),
        )
        return states, rest[0] if rest else None


def tokens_of(paths: Iterable[str | Path], widths: Mapping[str, int]) -> tuple[LearnedToken, ...]:
    """Return the learned tokens of textual inversions, called by their files' names; warn of what is used in part.

    Args:
        paths: `.safetensors` files.
        widths: The width of the token vectors of each of the model's text encoders, by its name.

    Raises:
        InputError: a file is not there, or two have one name.
        UnreadableFile: a file is a pickle, damaged, or no textual inversion.
        IncompatibleAdapter: a file was made for another model.
    """
    found: dict[str, tuple[Path, LearnedToken]] = {}
    for path in dict.fromkeys(Path(path) for path in paths):
        for token in _tokens_of(path, widths):
            other, _ = found.setdefault(token.name.lower(), (path, token))
            if other is not path:
                raise InputError(f"{other} and {path} are both called {token.name!r} in prompts; rename one of them")
    return tuple(token for _, token in found.values())


def encode_flux(
    pipe: Any, prompt: str, *, state: Hashable | None = (), length: int = 512
) -> tuple[Tensor, Tensor, Tensor]:
    """Return what FLUX reads of a prompt: T5's states, CLIP's pooled embedding, and the places of the words.

    Tags and the brackets of weights are taken away. What the encoders were given before they are not given again.

    Args:
        pipe: A `FluxPipeline`.
        prompt: What to paint.
        state: Tells what lies on the text encoders now, as for `TextEncoders.encode`.
        length: Of T5's states; FLUX.1 schnell was trained with 256.

    Returns:
        Tensors of shape (1, length, width), (1, width) and (length, 3), the caller's own.
    """
    words = less_weights(cleaned(prompt))
    encoder, second = pipe.text_encoder, pipe.text_encoder_2
    key = (words, length, state, str(encoder.device), encoder.dtype, str(second.device), second.dtype)

    def read() -> tuple[Tensor, ...]:
        with torch.no_grad():
            found: tuple[Tensor, ...] = pipe.encode_prompt(words, max_sequence_length=length)
        return found

    states, pooled, places = _FLUX.setdefault(pipe, _Recent(_KEPT_BYTES)).of(None if state is None else key, read)
    return states.clone(), pooled.clone(), places.clone()


class _Recent:
    """Keeps the tensors that were made last.

    Args:
        most: Bytes of all of them at most.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._kept: OrderedDict[Hashable, tuple[Tensor, ...]] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def of(self, key: Hashable | None, make: Callable[[], tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
        """Return what was made for a key, or make it; without a key, always."""
        if key is None:
            return make()
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        made = make()
        with self._lock:
            if key not in self._kept:
                self._kept[key] = made
                self._bytes += _size(made)
            while self._bytes > self._most:
                self._bytes -= _size(self._kept.popitem(last=False)[1])
        return made


_FLUX: weakref.WeakKeyDictionary[Any, _Recent] = weakref.WeakKeyDictionary()


def _tokens_of(path: Path, widths: Mapping[str, int]) -> tuple[LearnedToken, ...]:
    try:
        there = path.is_file()
    except OSError:  # such as a name that is too long
        there = False
    if not there:
        raise InputError(f"there is no textual inversion {str(path)[:200]!r}")
    learned = read_embedding(path)
    tokens = worn([learned], widths).tokens
    if not tokens:
        has = " and ".join(str(vectors.shape[1]) for _, vectors in sorted(learned.tokens[0].vectors.items()))
        reads = " and ".join(str(width) for width in widths.values())
        raise IncompatibleAdapter(
            f"{path.name} was made for another model: its vectors have {has} values, and this model reads {reads}"
        )
    told = list(learned.left_out)
    if missing := [part for part in widths if part not in tokens[0].vectors]:
        told.append(f"{path.name} has no vectors for {missing[0]}, which reads its name as a word")
    for sentence in told:
        warnings.warn(sentence, PaintingWarning, stacklevel=3)
    return tokens


def _longest(read: Sequence[Reading]) -> int:
    return max(len(pieces) for _, _, each in read for pieces in each)


def _there(parts: Iterable[Tensor | None]) -> tuple[Tensor, ...]:
    return tuple(part for part in parts if part is not None)


def _size(tensors: Iterable[Tensor]) -> int:
    return sum(tensor.nbytes for tensor in tensors)
