"""What a survey is drawn from: a seed, the pictures, and a salt that the key alone knows.

A rater has the page and may have this code, and seeds are guessed easily: of a seed alone, whose pictures are which
could be drawn again.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np


@dataclass(frozen=True, slots=True, kw_only=True)
class Lot:
    """Draws the same of the same seed, pictures and salt, and something else of any other."""

    seed: int
    salt: str = field(default_factory=lambda: secrets.token_hex(32), repr=False)
    """256 bits of chance; stands in the key alone."""
    pictures: tuple[str, ...] = ()
    """The sorted SHA-256 of the original files, as far as they are known."""

    def of(self, digests: Iterable[str]) -> Lot:
        """Return the lot that depends on these files as well."""
        return replace(self, pictures=tuple(sorted(digests)))

    def draw(self, what: Literal["samples", "tasks", "pictures"]) -> np.random.Generator:
        """Return the generator for one purpose."""
        told = json.dumps([what, self.seed, self.salt, *self.pictures])
        return np.random.default_rng(int.from_bytes(hashlib.sha256(told.encode()).digest(), "big"))
