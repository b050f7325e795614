"""A BERT in numpy: for a handful of texts, where importing torch would cost more than all the rest."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from threadpoolctl import ThreadpoolController

from .bert import TABLE, open_weights

if TYPE_CHECKING:
    from ..protocols import Vectors
    from .bert import Bert, Tokens


class NumpyEncoder:
    """Computes in float32, on one core (implements `bert.Encoder`).

    Of the table of words only the rows that occur are read.
    """

    tokens = 512

    def __init__(self, bert: Bert) -> None:
        self._bert = bert
        # Matrices as small as a prompt's gain nothing from a second core, and waiting for it costs as much again.
        self._threads = ThreadpoolController()
        with open_weights(bert.path) as file:
            self._table = file.get_slice(TABLE)
            names = [name for name in list(file.keys()) if name != TABLE]
            self._weights: dict[str, Vectors] = {name: file.get_tensor(name) for name in names}

    def encode(self, texts: Sequence[Tokens]) -> Vectors:
        """Return the mean over each text's tokens, shape (len(texts), dimension)."""
        ends = np.cumsum([len(text) for text in texts])
        spans = [slice(end - len(text), end) for text, end in zip(texts, ends.tolist(), strict=True)]
        states = self._embeddings(texts)
        with self._threads.limit(limits=1, user_api="blas"):
            for layer in range(self._bert.layers):
                states = self._layer(f"encoder.layer.{layer}", states, spans)
        return np.stack([states[span].mean(axis=0) for span in spans])

    def _embeddings(self, texts: Sequence[Tokens]) -> Vectors:
        ids, places = np.unique(np.concatenate(texts), return_inverse=True)
        words = np.concatenate([self._table[number : number + 1] for number in ids.tolist()])
        positions = self._weights["embeddings.position_embeddings.weight"]
        first = self._weights["embeddings.token_type_embeddings.weight"][0]
        where = np.concatenate([np.arange(len(text)) for text in texts])
        return self._normalised("embeddings.LayerNorm", words[places] + positions[where] + first)

    def _layer(self, name: str, states: Vectors, spans: Sequence[slice]) -> Vectors:
        attended = self._attention(f"{name}.attention.self", states, spans)
        attended = self._linear(f"{name}.attention.output.dense", attended)
        states = self._normalised(f"{name}.attention.output.LayerNorm", states + attended)
        inner = _gelu(self._linear(f"{name}.intermediate.dense", states))
        return self._normalised(f"{name}.output.LayerNorm", states + self._linear(f"{name}.output.dense", inner))

    def _attention(self, name: str, states: Vectors, spans: Sequence[slice]) -> Vectors:
        heads = self._bert.heads
        query, key, value = (
            self._linear(f"{name}.{part}", states).reshape(len(states), heads, -1).swapaxes(0, 1)
            for part in ("query", "key", "value")
        )
        query *= 1 / math.sqrt(query.shape[-1])
        attended = np.empty((len(states), heads, query.shape[-1]), dtype=np.float32)
        for span in spans:
            scores = query[:, span] @ key[:, span].swapaxes(1, 2)
            scores -= scores.max(axis=-1, keepdims=True)
            np.exp(scores, out=scores)
            scores /= scores.sum(axis=-1, keepdims=True)
            attended[span] = (scores @ value[:, span]).swapaxes(0, 1)
        return attended.reshape(len(states), -1)

    def _linear(self, name: str, states: Vectors) -> Vectors:
        result: Vectors = states @ self._weights[f"{name}.weight"].T
        result += self._weights[f"{name}.bias"]
        return result

    def _normalised(self, name: str, states: Vectors) -> Vectors:
        states -= states.mean(axis=-1, keepdims=True)
        states /= np.sqrt((states * states).mean(axis=-1, keepdims=True) + self._bert.epsilon)
        states *= self._weights[f"{name}.weight"]
        states += self._weights[f"{name}.bias"]
        return states


_ERF = (1.061405429, -1.453152027, 1.421413741, -0.284496736, 0.254829592)
"""Abramowitz and Stegun 7.1.26: within 1.5e-7 of the error function, which is float32's own precision."""


def _gelu(values: Vectors) -> Vectors:
    """Return x * (1 + erf(x / sqrt 2)) / 2; numpy itself has no error function."""
    size = np.abs(values)
    scaled = size * np.float32(math.sqrt(0.5))
    step = np.reciprocal(scaled * np.float32(0.3275911) + np.float32(1))
    tail = np.zeros_like(step)
    for factor in _ERF:
        tail += np.float32(factor)
        tail *= step
    tail *= np.exp(-scaled * scaled)  # 1 - erf(|x| / sqrt 2)
    result: Vectors = np.maximum(values, np.float32(0)) - size * tail * np.float32(0.5)
    return result
