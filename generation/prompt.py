"""Prompts of any length to CLIP embeddings, as A1111 reads them.

A text encoder sees 75 tokens at a time; longer prompts are cut into pieces of 75, at a comma where one is near, each
encoded by itself, and the results stand one behind the other. `BREAK` starts a new piece. Tags such as
`<lora:name:0.8>` never reach the encoder.
"""

from __future__ import annotations

import re
from typing import Any

import torch
from torch import Tensor

from ..syntax import without_tags

_BREAK = re.compile(r"\bBREAK\b")
_BACKTRACK = 20
"""How many tokens before the cut a comma may stand for the cut to move behind it (A1111's default)."""


def encode(
    prompt: str, negative: str | None, *, tokenizer: Any, encoder: Any, clip_skip: int = 0
) -> tuple[Tensor, Tensor | None]:
    """Return the embeddings of a prompt and of a negative prompt, each of shape (1, 77 * pieces, width).

    The shorter one is filled up with empty pieces, because the model takes both in one batch.

    Args:
        prompt: What to paint.
        negative: What to keep out; None where no guidance asks for it.
        tokenizer: A CLIP tokenizer.
        encoder: A CLIP text model.
        clip_skip: How many of the encoder's last layers to leave out; its final normalisation is kept.
    """
    texts = [prompt] if negative is None else [prompt, negative]
    size = min(tokenizer.model_max_length, encoder.config.max_position_embeddings)
    pieces = [_pieces(without_tags(_encodable(text)), tokenizer, size - 2) for text in texts]
    longest = max(len(piece) for piece in pieces)
    embedded = [_embed(piece + [[]] * (longest - len(piece)), tokenizer, encoder, size, clip_skip) for piece in pieces]
    return embedded[0], embedded[1] if negative is not None else None


def _encodable(text: str) -> str:
    """Replace lone surrogates, which JSON may hold and no tokenizer reads."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _pieces(text: str, tokenizer: Any, size: int) -> list[list[int]]:
    comma = tokenizer.convert_tokens_to_ids(",</w>")
    pieces = []
    for part in _BREAK.split(text):
        ids = list(tokenizer(part.strip(), add_special_tokens=False, truncation=False, verbose=False).input_ids)
        while len(ids) > size:
            cut = size
            commas = [place for place in range(max(0, size - _BACKTRACK), size) if ids[place] == comma]
            if commas and ids[size] != comma:
                cut = commas[-1] + 1
            pieces.append(ids[:cut])
            ids = ids[cut:]
        pieces.append(ids)
    return pieces


def _embed(pieces: list[list[int]], tokenizer: Any, encoder: Any, size: int, clip_skip: int) -> Tensor:
    start, end = tokenizer.bos_token_id, tokenizer.eos_token_id
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else end
    rows = [[start, *piece, end] + [pad] * (size - 2 - len(piece)) for piece in pieces]
    with torch.no_grad():
        output = encoder(torch.tensor(rows, device=encoder.device), output_hidden_states=clip_skip > 0)
        if clip_skip:
            # Transformers 5.6 took away the wrapper `text_model`.
            inner = getattr(encoder, "text_model", encoder)
            states = inner.final_layer_norm(output.hidden_states[-(clip_skip + 1)])
        else:
            states = output.last_hidden_state
    flat: Tensor = states.reshape(1, -1, states.shape[-1])
    return flat
