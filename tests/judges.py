"""Judges that are no good, and the pictures that they are shown."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from velatura.eval.judge.records import Answer, Exhibit
from velatura.eval.records import Sample
from velatura.records import Usage


@dataclass
class StandIn:
    """A judge that answers by a function of criterion, prompt and both sides, and keeps what it was asked."""

    answers: Callable[..., Any]
    name: str = "stand-in"
    asked: list[tuple[str, str, tuple[str, ...], tuple[str, ...]]] = field(default_factory=list)

    def choose(self, criterion: str, prompt: str, first: Sequence[Exhibit], second: Sequence[Exhibit]) -> Answer:
        sides = [tuple(exhibit.digest for exhibit in side) for side in (first, second)]
        self.asked.append((criterion, prompt, *sides))
        choice = self.answers(criterion, prompt, first, second)
        return choice if isinstance(choice, Answer) else Answer(choice=choice, usage=Usage(calls=1, read=700))


def coin(seed: int = 0) -> StandIn:
    """Throws a coin for each question."""
    throws = random.Random(seed)
    return StandIn(lambda *_: throws.choice(("first", "second")), name="coin")


def position() -> StandIn:
    """Names whatever stands first."""
    return StandIn(lambda *_: "first", name="position")


def refusing() -> StandIn:
    """Will not look."""
    return StandIn(lambda *_: Answer(choice="refused", reason="cannot assist"), name="refusing")


def bright() -> StandIn:
    """Names the brighter side."""

    def answer(_: str, __: str, first: Sequence[Exhibit], second: Sequence[Exhibit]) -> str:
        light = [sum(exhibit.open().getpixel((0, 0))[0] for exhibit in side) for side in (first, second)]
        return "first" if light[0] > light[1] else "second" if light[1] > light[0] else "tie"

    return StandIn(answer, name="bright")


class Colours:
    """Features that are the colour of the first point; a text's is red."""

    name = "clip"
    width = 3

    def __init__(self) -> None:
        self.seen = 0
        self.fingerprint = self.signature = "colours"

    def prepare(self, image: Image.Image) -> np.ndarray:
        return np.asarray(image.convert("RGB").getpixel((0, 0)), np.float32)

    def extract(self, prepared: np.ndarray) -> np.ndarray:
        self.seen += len(prepared)
        return prepared

    def read(self, texts: Sequence[str]) -> np.ndarray:
        return np.array([[1.0, 0, 0]] * len(texts), np.float32)

    def truncated(self, _: Sequence[str]) -> int:
        return 0


def paint(folder: Path, prompts: int, *, each: int = 1, size: int = 8, win: float = 1.0) -> tuple[Sample, ...]:
    """Paint pictures of the methods `stylus` and `base`; the former's are brighter in so many of the prompts."""
    samples = []
    for number in range(prompts):
        for index in range(each):
            light = 200 if number < win * prompts else 40
            for method, grey in (("stylus", light), ("base", 120)):
                name = f"{method}-{number}-{index}.png"
                Image.new("RGB", (size, size), (grey, number, index)).save(folder / name)
                samples.append(
                    Sample(
                        prompt_id=f"p{number}", prompt=f"a fox, number {number}", method=method, image=name,
                        index=index, guidance=6.0, sha256=hashlib.sha256((folder / name).read_bytes()).hexdigest(),
                    )
                )  # fmt: skip
    return tuple(samples)
