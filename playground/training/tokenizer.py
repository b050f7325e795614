"""A CLIP tokenizer for the painted world: each of its words is one token, and any other text is spelt in bytes."""

from __future__ import annotations

import json
from collections.abc import Iterable
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

from .checkpoint import save_json, write_whole

if TYPE_CHECKING:
    from pathlib import Path

LENGTH: Final = 32
"""Tokens of a prompt, with its beginning and end."""
START, END = "<|startoftext|>", "<|endoftext|>"
_LAST: Final = "</w>"
"""Marks the last token of a word."""


def byte_symbols() -> list[str]:
    """Return a printable character for each byte, as GPT-2 does it (Radford and others, 2019)."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in printable]
    return [chr(byte) for byte in printable] + [chr(256 + place) for place in range(len(others))]


def merges_for(words: Iterable[str]) -> list[tuple[str, str]]:
    """Return merges of byte-pair encoding, the first to be applied first, that make each word one token.

    A word's merges come after all those that make up the words before it, so they never undo one.

    >>> merges_for(["on", "one"])
    [('o', 'n</w>'), ('o', 'n'), ('on', 'e</w>')]
    """
    ranks: dict[tuple[str, str], int] = {}
    for word in words:
        pieces = _pieces(word, ranks)
        while len(pieces) > 1:
            ranks.setdefault((pieces[0], pieces[1]), len(ranks))
            pieces = _pieces(word, ranks)
    return list(ranks)


def _pieces(word: str, ranks: dict[tuple[str, str], int]) -> list[str]:
    pieces = [*word[:-1], word[-1] + _LAST]
    while True:
        pairs = [pair for pair in pairwise(pieces) if pair in ranks]
        if not pairs:
            return pieces
        first = min(pairs, key=ranks.__getitem__)
        merged: list[str] = []
        for piece in pieces:
            if merged and (merged[-1], piece) == first:
                merged[-1] += piece
            else:
                merged.append(piece)
        pieces = merged


def save_tokenizer(folder: Path, words: Iterable[str]) -> None:
    """Write a tokenizer's files that `transformers.CLIPTokenizer` loads."""
    merges = merges_for(words)
    symbols = byte_symbols()
    tokens = [*symbols, *(symbol + _LAST for symbol in symbols), *("".join(pair) for pair in merges), START, END]
    vocabulary = {token: number for number, token in enumerate(dict.fromkeys(tokens))}
    lines = ["#version: 0.2", *(" ".join(pair) for pair in merges)]
    save_json(folder / "vocab.json", vocabulary)
    write_whole(folder / "merges.txt", lambda file: file.write_text("\n".join(lines) + "\n", encoding="utf-8"))
    special = {"bos_token": START, "eos_token": END, "unk_token": END, "pad_token": END}
    save_json(folder / "special_tokens_map.json", special)
    settings = {"tokenizer_class": "CLIPTokenizer", "model_max_length": LENGTH, **special}
    save_json(folder / "tokenizer_config.json", settings)


def load_tokenizer(folder: Path) -> Any:
    """Load a tokenizer as transformers does."""
    from transformers import CLIPTokenizer

    return CLIPTokenizer.from_pretrained(folder, local_files_only=True)


def special_numbers(folder: Path) -> dict[str, int]:
    """Return what a text encoder's settings say about the vocabulary."""
    vocabulary = json.loads((folder / "vocab.json").read_text(encoding="utf-8"))
    return {
        "vocab_size": len(vocabulary),
        "bos_token_id": vocabulary[START],
        "eos_token_id": vocabulary[END],
        "pad_token_id": vocabulary[END],
    }
