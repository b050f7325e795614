"""Prompts of any length to CLIP embeddings, as A1111 reads them.

A text encoder sees 75 tokens at a time; longer prompts are cut into pieces of 75, at a comma where one is near, each
encoded by itself, and the results stand one behind the other. `BREAK` starts a new piece. Tags such as
`<lora:name:0.8>` never reach the encoder, and brackets become weights (see `prompt_weights`).

Where a prompt names a learned token (see `adapters.embeddings`), its vectors stand in place of vectors of the
vocabulary, and are never cut apart. Neither the tokenizer nor the encoder learns of it, so nothing is left behind.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from ..errors import VelaturaError
from ..syntax import encodable, without_tags
from .prompt_weights import Run, weighed

if TYPE_CHECKING:
    from .adapters.embeddings import LearnedToken

Layer = Literal["last", "penultimate"]
"""What a model takes from a text encoder: the states of the last layer, normalised, or those of the last but one."""

_BACKTRACK = 20
"""How many tokens before the cut a comma may stand for the cut to move behind it (A1111's default)."""
_MARKS = re.compile(r"[()\[\]\\:]")
"""What a name may hold that the reading of weights would take for its own."""


@dataclass(frozen=True, slots=True)
class Piece:
    """What an encoder reads at once."""

    numbers: tuple[int, ...] = ()
    """The tokenizer's, and numbers below zero for learned vectors: -1 is the first row of `PromptReader.vectors`."""
    weights: tuple[float, ...] = ()

    @property
    def plain(self) -> bool:
        """Whether every word weighs 1."""
        return all(weight == 1 for weight in self.weights)


def cleaned(text: str) -> str:
    """Drop tags, compose letters as CLIP does, and replace lone surrogates, which no tokenizer reads."""
    return without_tags(unicodedata.normalize("NFC", encodable(text)))


def filled(pieces: Sequence[Piece], count: int) -> tuple[Piece, ...]:
    """Return that many pieces, the last of them empty."""
    return (*pieces, *[Piece()] * (count - len(pieces)))


def states_of(
    pieces: Sequence[Piece], reader: PromptReader, encoder: Any, *, clip_skip: int = 0, layer: Layer = "last"
) -> tuple[Tensor, Tensor | None]:
    """Return what an encoder makes of each piece, without weights.

    Args:
        pieces: Of `reader`.
        reader: What read them.
        encoder: A CLIP text model.
        clip_skip: How many more of the encoder's last layers to leave out. With `last`, its final normalisation is
            kept.
        layer: What the model takes.

    Returns:
        The states, shape (pieces, 77, width), and the projections, shape (pieces, width); None of an encoder that has
        no projection.

    Raises:
        VelaturaError: the encoder looks tokens up in a way in which learned ones cannot take part.
    """
    inside = layer == "penultimate"
    rows = torch.tensor([reader.row(piece) for piece in pieces])
    with torch.no_grad():
        output = _run(encoder, rows, reader.vectors, output_hidden_states=inside or clip_skip > 0)
        if inside:
            states = output.hidden_states[-(clip_skip + 2)]
        elif clip_skip:
            # Transformers 5.6 took away the wrapper `text_model`.
            inner = getattr(encoder, "text_model", encoder)
            states = inner.final_layer_norm(output.hidden_states[-(clip_skip + 1)])
        else:
            states = output.last_hidden_state
    return states, getattr(output, "text_embeds", None)


def ambiguous(text: str, learned: Iterable[LearnedToken], tokenizer: Any) -> tuple[str, ...]:
    """Say which words of a prompt name learned tokens and are read as the ordinary words that they are, too.

    A name is an ordinary word where the tokenizer has a number for it, or for each of its words.

    Returns:
        A sentence about each such token.
    """
    names = _Names(tokenizer, learned)
    rest = names.cut_from(cleaned(text))
    return tuple(
        f"“{token.name}” keeps its ordinary meaning, though {token.source} brings a learned token of the same name; "
        f"write <{token.name}> to mean that"
        for token in names.tokens
        if names.ordinary(token.name) and re.search(_whole(token.name), rest, re.IGNORECASE)
    )


class _Names:
    """Learned tokens by what prompts call them."""

    def __init__(self, tokenizer: Any, learned: Iterable[LearnedToken]) -> None:
        self._tokenizer = tokenizer
        # The longest first, so that no name hides another that it begins.
        self.tokens = sorted(learned, key=lambda token: -len(token.name))
        spellings = [_spelling(token.name, ordinary=self.ordinary(token.name)) for token in self.tokens]
        self.pattern = re.compile("|".join(f"({spelling})" for spelling in spellings) or r"(?!)", re.IGNORECASE)

    def ordinary(self, name: str) -> bool:
        """Whether a name is made of words that the tokenizer has numbers for."""
        return all(len(self.plain(word)) == 1 for word in name.split())

    def cut_from(self, text: str) -> str:
        """Return a text without the learned tokens that it names."""
        return self.pattern.sub(" ", text)

    def plain(self, text: str) -> list[int]:
        """Return the tokenizer's numbers for a text without learned tokens."""
        return list(self._tokenizer(text.strip(), add_special_tokens=False, truncation=False, verbose=False).input_ids)


class PromptReader:
    """Reads prompts to the pieces that one text encoder takes.

    Args:
        tokenizer: A CLIP tokenizer.
        encoder: Its CLIP text model.
        learned: The learned tokens that prompts may name, of the encoder's width (see `adapters.embeddings.worn`). A
            token is named by its name in any case, as a whole word, or as `<name>` or `embedding:name`; where the name
            is an ordinary word, which prompts hold by chance, by the last two only (see `ambiguous`).
        part: The encoder's name, whose vectors are taken.
    """

    def __init__(
        self, tokenizer: Any, encoder: Any, learned: Iterable[LearnedToken] = (), *, part: str = "text_encoder"
    ) -> None:
        self._tokenizer = tokenizer
        self._size = min(tokenizer.model_max_length, encoder.config.max_position_embeddings) - 2
        self._comma = tokenizer.convert_tokens_to_ids(",</w>")
        self._names = _Names(tokenizer, [token for token in learned if part in token.vectors])
        self._marked = _Names(tokenizer, [token for token in self._names.tokens if _MARKS.search(token.name)]).pattern
        self.vectors: list[Tensor] = [token.vectors[part] for token in self._names.tokens]
        self._rows: list[range] = []
        for token in self._names.tokens:
            first = self._rows[-1].stop if self._rows else -1
            self._rows.append(range(first, first - token.length, -1))
        self._starts = {rows.start for rows in self._rows}

    def pieces(self, prompt: str) -> tuple[Piece, ...]:
        """Return the pieces of a prompt, at least one."""
        return tuple(piece for part in weighed(cleaned(prompt), self._marked) for piece in self._cut(part))

    def row(self, piece: Piece) -> list[int]:
        """Return what the encoder is given, with the marks of start and end and filled up."""
        end, pad = self._tokenizer.eos_token_id, self._tokenizer.pad_token_id
        rest = self._size - len(piece.numbers)
        return [self._tokenizer.bos_token_id, *piece.numbers, end] + [end if pad is None else pad] * rest

    def digest(self, pieces: Iterable[Piece]) -> str:
        """Return a digest of the learned vectors that pieces name."""
        named = [-1 - number for piece in pieces for number in piece.numbers if number < 0]
        return hashlib.sha256(torch.cat(self.vectors)[named].numpy().tobytes() if named else b"").hexdigest()

    def weights(self, piece: Piece) -> list[float]:
        """Return a weight for each place of `row`."""
        return [1.0, *piece.weights] + [1.0] * (self._size + 1 - len(piece.weights))

    def _cut(self, runs: Sequence[Run]) -> Iterable[Piece]:
        numbers: list[int] = []
        weights: list[float] = []
        for run in runs:
            read = self._read(run.text)
            numbers += read
            weights += [run.weight] * len(read)
        start, size = 0, self._size
        while len(numbers) - start > size:
            end = start + size
            cut = next((place for place in range(end, start, -1) if not self._parts(numbers[place])), end)
            commas = [place for place in range(max(start, end - _BACKTRACK), end) if numbers[place] == self._comma]
            if commas and numbers[end] != self._comma:
                cut = commas[-1] + 1
            yield Piece(tuple(numbers[start:cut]), tuple(weights[start:cut]))
            start = cut
        yield Piece(tuple(numbers[start:]), tuple(weights[start:]))

    def _read(self, text: str) -> list[int]:
        numbers: list[int] = []
        end = 0
        for match in self._names.pattern.finditer(text):
            numbers += self._names.plain(text[end : match.start()])
            numbers += self._rows[int(match.lastindex or 0) - 1]
            end = match.end()
        return numbers + self._names.plain(text[end:])

    def _parts(self, number: int) -> bool:
        """Whether a cut before this number would part the vectors of one token."""
        return number < 0 and number not in self._starts


def _spelling(name: str, *, ordinary: bool) -> str:
    """Return the expression that finds a token's name in prompts, without groups.

    `<name>` is InvokeAI's way and `embedding:name` ComfyUI's, which may have the file's ending.
    """
    plain = _flexible(name)
    ways = [rf"(?<!\w)embedding:{plain}(?:\.(?:safetensors|pt|bin))?(?!\w)", f"<{plain}>"]
    return "|".join(ways if ordinary else [*ways, _whole(name)])


def _whole(name: str) -> str:
    """Return the expression that finds a name as a whole word; brackets and the like need nothing around them."""
    before, after = (r"(?<!\w)", r"(?!\w)")
    edges = re.match(r"\w", name[0]), re.match(r"\w", name[-1])
    return (before if edges[0] else "") + _flexible(name) + (after if edges[1] else "")


def _flexible(name: str) -> str:
    return r"\s+".join(re.escape(word) for word in name.split())


def _run(encoder: Any, rows: Tensor, vectors: list[Tensor], **options: Any) -> Any:
    places = rows < 0
    if not places.any():
        return encoder(rows.to(encoder.device), **options)
    ids = rows.masked_fill(places, 0).to(encoder.device)
    with _InPlace(ids, places, torch.cat(vectors)[-1 - rows[places]]) as mode:
        # What `torch.compile` has made of the encoder would be made again for the mode.
        output = getattr(encoder, "_orig_mod", encoder)(ids, **options)
    if not mode.done:
        raise VelaturaError("this text encoder looks tokens up in a way in which learned tokens cannot take part")
    return output


class _InPlace(TorchFunctionMode):
    """While it is entered, puts vectors in place of what a text encoder finds for its tokens.

    It acts on the calling thread alone and touches no module, so nothing has to be undone.

    Args:
        ids: What the encoder is given, shape (rows, length).
        places: Where learned vectors stand, boolean and of the same shape.
        vectors: One for each such place, in order, shape (places, width).
    """

    def __init__(self, ids: Tensor, places: Tensor, vectors: Tensor) -> None:
        super().__init__()
        self._ids, self._places, self._vectors = ids, places, vectors
        self.done = False

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        # The positions are looked up in the same way, but they are other numbers.
        if func is torch.nn.functional.embedding and not self.done and self._asks(args[0]):
            found[self._places.to(found.device)] = self._vectors.to(found)
            self.done = True
        return found

    def _asks(self, ids: Tensor) -> bool:
        return ids.shape == self._ids.shape and torch.equal(ids.to(self._ids.device), self._ids)
