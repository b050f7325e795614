"""Prompts of any length to CLIP embeddings, as A1111 reads them.

A text encoder sees 75 tokens at a time; longer prompts are cut into pieces of 75, at a comma where one is near, each
encoded by itself, and the results stand one behind the other. `BREAK` starts a new piece. Tags such as
`<lora:name:0.8>` never reach the encoder.

Where a prompt names a learned token (see `adapters.embeddings`), its vectors stand in place of vectors of the
vocabulary, and are never cut apart. Neither the tokenizer nor the encoder learns of it, so nothing is left behind.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from ..errors import VelaturaError
from ..syntax import encodable, without_tags

if TYPE_CHECKING:
    from .adapters.embeddings import LearnedToken

_BREAK = re.compile(r"\bBREAK\b")
_BACKTRACK = 20
"""How many tokens before the cut a comma may stand for the cut to move behind it (A1111's default)."""


def encode(
    prompt: str,
    negative: str | None,
    *,
    tokenizer: Any,
    encoder: Any,
    clip_skip: int = 0,
    learned: Sequence[LearnedToken] = (),
    part: str = "text_encoder",
) -> tuple[Tensor, Tensor | None]:
    """Return the embeddings of a prompt and of a negative prompt, each of shape (1, 77 * pieces, width).

    The shorter one is filled up with empty pieces, because the model takes both in one batch.

    Args:
        prompt: What to paint.
        negative: What to keep out; None where no guidance asks for it.
        tokenizer: A CLIP tokenizer.
        encoder: A CLIP text model.
        clip_skip: How many of the encoder's last layers to leave out; its final normalisation is kept.
        learned: The learned tokens that prompts may name, of the encoder's width (see `adapters.embeddings.worn`). A
            token is named by its name in any case, as a whole word, or as `<name>` or `embedding:name`; where the name
            is an ordinary word, which prompts hold by chance, by the last two only (see `ambiguous`).
        part: The encoder's name, whose vectors are taken.

    Raises:
        VelaturaError: the encoder looks tokens up in a way in which learned ones cannot take part.
    """
    texts = [prompt] if negative is None else [prompt, negative]
    size = min(tokenizer.model_max_length, encoder.config.max_position_embeddings)
    reader = _Reader(tokenizer, [token for token in learned if part in token.vectors])
    pieces = [_pieces(_cleaned(text), reader, size - 2) for text in texts]
    longest = max(len(piece) for piece in pieces)
    vectors = [token.vectors[part] for token in reader.tokens]
    embedded = [
        _embed(piece + [[]] * (longest - len(piece)), vectors, tokenizer, encoder, size, clip_skip) for piece in pieces
    ]
    return embedded[0], embedded[1] if negative is not None else None


def ambiguous(text: str, learned: Iterable[LearnedToken], tokenizer: Any) -> tuple[str, ...]:
    """Say which words of a prompt name learned tokens and are read as the ordinary words that they are, too.

    A name is an ordinary word where the tokenizer has a number for it, or for each of its words.

    Returns:
        A sentence about each such token.
    """
    cleaned, reader = _cleaned(text), _Reader(tokenizer, learned)
    told = []
    for token in reader.tokens:
        if reader.ordinary(token.name) and re.search(_whole(token.name), reader.less_learned(cleaned), re.IGNORECASE):
            told.append(
                f"“{token.name}” keeps its ordinary meaning, though {token.source} brings a learned token of the same "
                f"name; write <{token.name}> to mean that"
            )
    return tuple(told)


class _Reader:
    """Reads a text to the tokenizer's numbers, and to numbers below zero for learned vectors: -1 is the first row."""

    def __init__(self, tokenizer: Any, learned: Iterable[LearnedToken]) -> None:
        self._tokenizer = tokenizer
        self.comma = tokenizer.convert_tokens_to_ids(",</w>")
        # The longest first, so that no name hides another that it begins.
        self.tokens = sorted(learned, key=lambda token: -len(token.name))
        self._rows: list[range] = []
        for token in self.tokens:
            first = self._rows[-1].stop if self._rows else -1
            self._rows.append(range(first, first - token.length, -1))
        self._starts = {rows.start for rows in self._rows}
        spellings = (_spelling(token.name, ordinary=self.ordinary(token.name)) for token in self.tokens)
        self._names = re.compile("|".join(f"({spelling})" for spelling in spellings), re.IGNORECASE)

    def ordinary(self, name: str) -> bool:
        """Whether a name is made of words that the tokenizer has numbers for."""
        return all(len(self._plain(word)) == 1 for word in name.split())

    def less_learned(self, text: str) -> str:
        """Return a text without the learned tokens that it names."""
        return self._names.sub(" ", text) if self.tokens else text

    def read(self, text: str) -> list[int]:
        if not self.tokens:
            return self._plain(text)
        ids: list[int] = []
        end = 0
        for match in self._names.finditer(text):
            ids += self._plain(text[end : match.start()])
            ids += self._rows[int(match.lastindex or 0) - 1]
            end = match.end()
        return ids + self._plain(text[end:])

    def splits(self, number: int) -> bool:
        """Whether a cut before this number would part the vectors of one token."""
        return number < 0 and number not in self._starts

    def _plain(self, text: str) -> list[int]:
        return list(self._tokenizer(text.strip(), add_special_tokens=False, truncation=False, verbose=False).input_ids)


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


def _cleaned(text: str) -> str:
    """Drop tags, compose letters as CLIP does, and replace lone surrogates, which no tokenizer reads."""
    return without_tags(unicodedata.normalize("NFC", encodable(text)))


def _pieces(text: str, reader: _Reader, size: int) -> list[list[int]]:
    pieces = []
    for part in _BREAK.split(text):
        ids = reader.read(part)
        while len(ids) > size:
            cut = next((place for place in range(size, 0, -1) if not reader.splits(ids[place])), size)
            commas = [place for place in range(max(0, size - _BACKTRACK), size) if ids[place] == reader.comma]
            if commas and ids[size] != reader.comma:
                cut = commas[-1] + 1
            pieces.append(ids[:cut])
            ids = ids[cut:]
        pieces.append(ids)
    return pieces


def _embed(
    pieces: list[list[int]], vectors: list[Tensor], tokenizer: Any, encoder: Any, size: int, clip_skip: int
) -> Tensor:
    start, end = tokenizer.bos_token_id, tokenizer.eos_token_id
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else end
    rows = torch.tensor([[start, *piece, end] + [pad] * (size - 2 - len(piece)) for piece in pieces])
    with torch.no_grad():
        output = _run(encoder, rows, vectors, output_hidden_states=clip_skip > 0)
        if clip_skip:
            # Transformers 5.6 took away the wrapper `text_model`.
            inner = getattr(encoder, "text_model", encoder)
            states = inner.final_layer_norm(output.hidden_states[-(clip_skip + 1)])
        else:
            states = output.last_hidden_state
    flat: Tensor = states.reshape(1, -1, states.shape[-1])
    return flat


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
