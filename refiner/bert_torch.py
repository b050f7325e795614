"""A BERT in torch, on the processor: for many texts.

Faster than sentence-transformers because no token is padding, and because matrices are multiplied in bfloat16 where
the processor does that natively; sums, softmax, layer norms and means stay in float32.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import torch
from torch.nn.functional import gelu, layer_norm, linear, scaled_dot_product_attention

from .bert import TABLE, open_weights

if TYPE_CHECKING:
    from ..protocols import Vectors
    from .bert import Bert, Tokens

_Pair: TypeAlias = tuple[torch.Tensor, torch.Tensor]
"""A weight and its bias."""

_TOKENS = 2048
_PIECE, _PIECES = 32, 512
"""Fewer than so many tokens are multiplied in pieces of so many. oneDNN adds up long rows in another order for 50
tokens than for 40, and a text's vector is to be the same whatever it is embedded with."""


class _Linear:
    """A linear layer, with the activation that may follow it."""

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor, dtype: torch.dtype, *, then_gelu: bool) -> None:
        self._weight, self._bias = weight.to(dtype), bias.to(dtype)
        self._then_gelu = then_gelu
        self._packed = _packed(self._weight)
        self._is_long = weight.shape[1] > weight.shape[0]

    def __call__(self, states: torch.Tensor) -> torch.Tensor:
        if self._packed is None:
            result = linear(states, self._weight, self._bias)
            return gelu(result) if self._then_gelu else result
        if len(states) >= _PIECES or not self._is_long:
            return self._product(states)
        return torch.cat([self._product(states[at : at + _PIECE]) for at in range(0, len(states), _PIECE)])

    def _product(self, states: torch.Tensor) -> torch.Tensor:
        after: tuple[str, list[float], str] = ("gelu", [], "none") if self._then_gelu else ("none", [], "")
        product: torch.Tensor = torch.ops.mkldnn._linear_pointwise(states, self._packed, self._bias, *after)
        return product


def _packed(weight: torch.Tensor) -> torch.Tensor | None:
    """Return the weight in the order in which oneDNN multiplies bfloat16, or None where it is not to be had.

    Else every product would bring it into that order again. torch's compiler packs weights by the same operators.
    """
    operators = torch.ops.mkldnn
    if weight.dtype != torch.bfloat16:
        return None
    try:
        packed: torch.Tensor = operators._reorder_linear_weight(weight, _TOKENS)
        operators._linear_pointwise(weight[:1], packed, None, "gelu", [], "none")
    except (AttributeError, RuntimeError):  # a torch without oneDNN, or with other operators
        return None
    return packed


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layer:
    qkv: _Linear
    attended: _Linear
    norm: _Pair
    up: _Linear
    down: _Linear
    last_norm: _Pair


class TorchEncoder:
    """Computes in bfloat16 or float32 (implements `bert.Encoder`).

    Args:
        bert: The model.
        dtype: What matrices are multiplied in; None takes what is fast here.
    """

    tokens = _TOKENS

    def __init__(self, bert: Bert, dtype: torch.dtype | None = None) -> None:
        self._dtype = dtype or (torch.bfloat16 if _multiplies_bfloat16() else torch.float32)
        self._heads = bert.heads
        self._epsilon = bert.epsilon
        with open_weights(bert.path) as file:
            weights = {name: torch.from_numpy(file.get_tensor(name)) for name in list(file.keys())}
        self._table = weights[TABLE]
        first = weights["embeddings.token_type_embeddings.weight"][0]
        self._positions = weights["embeddings.position_embeddings.weight"] + first
        self._norm = _pair(weights, "embeddings.LayerNorm")
        self._layers = [self._layer(weights, f"encoder.layer.{layer}") for layer in range(bert.layers)]

    def _layer(self, weights: dict[str, torch.Tensor], name: str) -> _Layer:
        query, key, value = (_pair(weights, f"{name}.attention.self.{part}") for part in ("query", "key", "value"))
        scale = (len(query[0]) / self._heads) ** -0.5
        linears = {
            # The scale of attention is a part of the query's weights, which saves a pass.
            "qkv": (torch.cat([query[0] * scale, key[0], value[0]]), torch.cat([query[1] * scale, key[1], value[1]])),
            "attended": _pair(weights, f"{name}.attention.output.dense"),
            "up": _pair(weights, f"{name}.intermediate.dense"),
            "down": _pair(weights, f"{name}.output.dense"),
        }
        return _Layer(
            **{part: _Linear(*pair, self._dtype, then_gelu=part == "up") for part, pair in linears.items()},
            norm=_pair(weights, f"{name}.attention.output.LayerNorm"),
            last_norm=_pair(weights, f"{name}.output.LayerNorm"),
        )

    @torch.inference_mode()
    def encode(self, texts: Sequence[Tokens]) -> Vectors:
        """Return the mean over each text's tokens, shape (len(texts), dimension)."""
        runs = list(_runs([len(text) for text in texts]))
        ids = torch.from_numpy(np.concatenate(texts))
        where = torch.cat([torch.arange(len(text)) for text in texts])
        states = self._normalised(self._table[ids] + self._positions[where], self._norm)
        for layer in self._layers:
            attended = self._attention(layer.qkv(states.to(self._dtype)), runs)
            states = self._normalised(states + layer.attended(attended), layer.norm)
            inner = layer.up(states.to(self._dtype))
            states = self._normalised(states + layer.down(inner), layer.last_norm)
        means = [
            states[start : start + count * length].view(count, length, -1).mean(dim=1) for start, count, length in runs
        ]
        rows: Vectors = torch.cat(means).numpy()
        return rows

    def _attention(self, qkv: torch.Tensor, runs: Sequence[tuple[int, int, int]]) -> torch.Tensor:
        """Attend within each text; `qkv` has shape (tokens, 3 * dimension)."""
        attended = qkv.new_empty(len(qkv), qkv.shape[1] // 3)
        for start, count, length in runs:
            span = slice(start, start + count * length)
            parts = qkv[span].view(count, length, 3, self._heads, -1).permute(2, 0, 3, 1, 4)
            result = self._attend(*parts)
            attended[span] = result.transpose(1, 2).reshape(count * length, -1)
        return attended

    def _attend(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        """Attend; each has shape (texts, heads, tokens, width)."""
        if self._dtype == torch.float32:
            return scaled_dot_product_attention(query, key, value, scale=1.0)
        # In bfloat16 torch's fused attention is slower on processors than its parts.
        return torch.matmul(torch.matmul(query, key.transpose(2, 3)).softmax(dim=-1), value)

    def _normalised(self, states: torch.Tensor, norm: _Pair) -> torch.Tensor:
        return layer_norm(states, states.shape[1:], *norm, self._epsilon)


def _pair(weights: dict[str, torch.Tensor], name: str) -> _Pair:
    return weights[f"{name}.weight"], weights[f"{name}.bias"]


_TOGETHER = 512
"""Tokens that attend at once: their scores stay in the cache."""


def _runs(lengths: Sequence[int]) -> Iterator[tuple[int, int, int]]:
    """Yield (first token, texts, tokens of each) for neighbours of one length."""
    start = 0
    for length, group in groupby(lengths):
        left = len(list(group))
        while left:
            count = min(left, max(1, _TOGETHER // length))
            yield start, count, length
            start += count * length
            left -= count


def _multiplies_bfloat16() -> bool:
    """Return whether the processor multiplies bfloat16 natively: where it is emulated, float32 is faster."""
    tells = (getattr(torch.cpu, name, None) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"))
    return any(tell() for tell in tells if tell is not None)
