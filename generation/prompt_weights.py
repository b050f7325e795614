r"""Weights of a prompt's words: `(word)`, `(word:1.3)`, `[word]`, read as A1111 reads them, and what they do.

`(x)` multiplies by 1.1, `[x]` divides by it, `(x:1.3)` multiplies by that number; brackets may nest, and one that is
never closed reaches to the end. `\(`, `\)`, `\[` and `\]` are the characters themselves, and `\\` is one backslash.
`BREAK` parts the prompt, and brackets reach across it. What is no number after the colon is text.

Two ways lead from weights to embeddings, by what a model takes from its text encoders:

- Normalised states (SD 1, SD 2): `scaled`, each token's vector times its weight, and the mean of the piece restored,
  A1111's rule, with which the field's SD 1 prompts were written.
- States of a layer within, which no norm follows (SDXL): `interpolated`, each vector moved on the line from what the
  empty prompt has at its place: `empty + weight * (state - empty)`, as ComfyUI and compel do. A1111's rule fails here.
  The mean of such states lies near zero, so that to restore it may multiply the whole piece by any number, of either
  sign (AUTOMATIC1111/stable-diffusion-webui#14874, since when A1111 can leave the mean alone). And to multiply alone
  scales also the large part that every vector of a place has in common and that says nothing of the word. On the line,
  1 is the word as it is, 0 is no word, and what lies near is near what the model was trained with.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise

from torch import Tensor

STRONGEST = 10.0
"""The largest weight, of either sign; beyond it a picture falls apart long since."""

_ROUND, _SQUARE = 1.1, 1 / 1.1
_DEEPEST = 32
"""Brackets within brackets that count; 25 reach the largest weight, and with a bound reading takes linear time."""

_BREAK = re.compile(r"\bBREAK\b")
_MARK = re.compile(
    r"\\[()\[\]\\]|:\s*(?P<weight>[+-]?(?:\d+(?:\.\d*)?|\.\d+))\s*\)|[()\[\]]|[^\\()\[\]:]+|[\\:]", re.ASCII
)


@dataclass(frozen=True, slots=True)
class Run:
    """Words in a row that have one weight."""

    text: str
    weight: float = 1.0


def weighed(prompt: str, names: re.Pattern[str] | None = None) -> list[list[Run]]:
    r"""Read a prompt: for each part between `BREAK`s its runs.

    Args:
        prompt: Without tags.
        names: What is text whatever brackets it holds.

    >>> weighed("a (red:1.3) fox")
    [[Run(text='a ', weight=1.0), Run(text='red', weight=1.3), Run(text=' fox', weight=1.0)]]
    >>> weighed(r"[snow] BREAK fox \(animal\)")
    [[Run(text='snow', weight=0.9090909090909091), Run(text=' ', weight=1.0)], [Run(text=' fox (animal)', weight=1.0)]]
    """
    reading = _Reading()
    end = 0
    for name in names.finditer(prompt) if names else ():
        reading.take(prompt[end : name.start()])
        reading.say(name[0])
        end = name.end()
    reading.take(prompt[end:])
    return reading.parts()


def less_weights(prompt: str) -> str:
    r"""Return the words of a prompt for an encoder that takes no weights.

    >>> less_weights(r"a (red:1.3) fox, [[snow]] BREAK fox \(animal\)")
    'a red fox, snow fox (animal)'
    """
    text = ""
    for part in weighed(prompt):
        for run in part:
            apart = text[-1:].isalnum() and run.text[:1].isalnum()
            text += f" {run.text}" if apart else run.text
        text += " "
    return " ".join(text.split())


def scaled(states: Tensor, weights: Tensor) -> Tensor:
    """Multiply states by weights and restore the mean of each piece, where one of about its size is left.

    Args:
        states: Shape (pieces, length, width).
        weights: Shape (pieces, length).
    """
    whole = states.float()
    moved = whole * weights.unsqueeze(-1)
    ratio = whole.mean((1, 2), keepdim=True) / moved.mean((1, 2), keepdim=True)
    # Weights of both signs may leave any mean, or none.
    kept = (ratio >= 1 / STRONGEST) & (ratio <= STRONGEST)
    return (moved * ratio.where(kept, 1.0)).to(states.dtype)


def interpolated(states: Tensor, weights: Tensor, empty: Tensor) -> Tensor:
    """Move states on the line from those of the empty prompt.

    Args:
        states: Shape (pieces, length, width).
        weights: Shape (pieces, length).
        empty: Shape (1, length, width).
    """
    base = empty.float()
    moved = (base + (states.float() - base) * weights.unsqueeze(-1)).to(states.dtype)
    # Exactly what they are where nothing is weighed.
    return states.where((weights == 1).unsqueeze(-1), moved)


class _Reading:
    """What was read of a prompt so far: runs, the brackets that are open, and where `BREAK`s stand."""

    def __init__(self) -> None:
        self._texts: list[list[str]] = []
        self._weights: list[float] = []
        self._breaks: list[int] = []
        self._opened: dict[str, list[int | None]] = {"(": [], "[": []}
        self._whole = True  # whether the next text begins a run

    def take(self, text: str) -> None:
        """Read text with its brackets."""
        for mark in _MARK.finditer(text):
            found, weight = mark[0], mark["weight"]
            if found in self._opened:
                opened = self._opened[found]
                opened.append(len(self._weights) if len(opened) < _DEEPEST else None)
                self._whole = True
            elif weight is not None and self._opened["("]:
                self._close("(", max(-STRONGEST, min(STRONGEST, float(weight))))
            elif found == ")" and self._opened["("]:
                self._close("(", _ROUND)
            elif found == "]" and self._opened["["]:
                self._close("[", _SQUARE)
            elif len(found) == 2 and found[0] == "\\":
                self.say(found[1])
            else:
                first, *others = _BREAK.split(found)
                self.say(first)
                for other in others:
                    self._breaks.append(len(self._weights))
                    self._whole = True
                    self.say(other)

    def say(self, text: str) -> None:
        """Add text as it is."""
        if not text:
            return
        if self._whole:
            self._texts.append([])
            self._weights.append(1.0)
            self._whole = False
        self._texts[-1].append(text)

    def parts(self) -> list[list[Run]]:
        """Close what is open, and return what was read."""
        for kind, factor in (("(", _ROUND), ("[", _SQUARE)):
            while self._opened[kind]:
                self._close(kind, factor)
        weights = (max(-STRONGEST, min(STRONGEST, weight)) for weight in self._weights)
        runs = [Run("".join(texts), weight) for texts, weight in zip(self._texts, weights, strict=True)]
        edges = [0, *self._breaks, len(runs)]
        return [runs[first:last] for first, last in pairwise(edges)]

    def _close(self, kind: str, factor: float) -> None:
        start = self._opened[kind].pop()
        self._whole = True
        if start is not None:
            for place in range(start, len(self._weights)):
                self._weights[place] *= factor
