"""A backend that paints fields of colour at once, and a process that paints with it until it is killed."""

from __future__ import annotations

import hashlib
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from PIL import Image

from velatura.errors import BackendError, Cancelled, IncompatibleAdapter, InputError, VelaturaError
from velatura.generation.runs import run
from velatura.protocols import Watch
from velatura.records import AdapterRecord, Choice, Composition, GeneratedImage, GenerationRequest


class Painter:
    """Paints the colour that the prompt and the seed hash to, backwards; what it does is told by words of the prompt.

    `unfit` does not fit, `wrong` cannot be completed, `broken` breaks off in the middle, `gone` finds no server, and
    `silent` finds none as soon as it is to be completed.
    """

    name = "colours"
    family = "sd1"

    def __init__(self, *, side: int = 16, delay: float = 0.0, steps: int = 2, stamp: str = "") -> None:
        self.side, self.delay, self.steps, self.stamp = side, delay, steps, stamp
        self.completed: list[str] = []
        self.calls: list[list[str]] = []
        self.painted: list[str] = []

    def complete(self, request: GenerationRequest) -> GenerationRequest:
        self.completed.append(request.composition.prompt)
        if "silent" in request.composition.prompt:
            raise BackendError("it is silent")
        if request.mask is not None and len(request.mask) != len(request.composition.choices):
            raise InputError("the mask must be as long as the choices")
        if "wrong" in request.composition.prompt:
            raise InputError("the size must be a multiple of 8")
        steps = self.steps if request.steps is None else request.steps
        return replace(request, steps=steps, width=self.side, height=self.side)

    def generate(self, request: GenerationRequest, count: int = 1, *, watch: Watch | None = None) -> Iterator:
        raise AssertionError("a run asks for each")

    def generate_each(
        self, requests: Sequence[GenerationRequest], *, watch: Watch | None = None
    ) -> Iterator[tuple[int, GeneratedImage]]:
        self.calls.append([request.composition.prompt for request in requests])
        for request in requests:
            if "unfit" in request.composition.prompt:
                raise IncompatibleAdapter(f"{request.choices[0].adapter.path} does not fit")
        return self._painted(requests, watch)

    def _painted(
        self, requests: Sequence[GenerationRequest], watch: Watch | None
    ) -> Iterator[tuple[int, GeneratedImage]]:
        for done, (place, request) in enumerate(reversed(list(enumerate(requests)))):
            for word, error in (("broken", VelaturaError), ("gone", BackendError)):
                if word in request.composition.prompt:
                    raise error(f"it is {word}")
            if watch is not None and watch.stopped is not None and watch.stopped():
                raise Cancelled("it was stopped")
            time.sleep(self.delay)
            told = f"{request.prompt} {request.seed} {[choice.weight for choice in request.choices]}"
            colour = tuple(hashlib.sha256(told.encode("utf-8", "replace")).digest()[:3])
            self.painted.append(request.composition.prompt)
            if watch is not None and watch.preview is not None:
                watch.preview(place, Image.new("RGB", (4, 4), colour))
            if watch is not None and watch.progress is not None:
                watch.progress((done + 1) / len(requests))
            image = Image.new("RGB", (self.side, self.side), colour)
            yield place, GeneratedImage(image=image, request=request, seed=request.seed, seconds=time.perf_counter())


def asked(prompt: str = "a fox", *laid: tuple[Path, float], **fields: object) -> GenerationRequest:
    choices = tuple(
        Choice(
            adapter=AdapterRecord(source="folder", key=str(path), title=path.stem, path=str(path)),
            weight=weight,
            span="fox",
        )
        for path, weight in laid
    )
    composition = Composition(prompt=prompt, choices=choices)
    return GenerationRequest(composition=composition, **({"model": "painters/colours", "steps": 2} | fields))


if __name__ == "__main__":
    folder, count, delay = Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    report = run(Painter(side=64, delay=delay), [asked(seed=seed) for seed in range(count)], folder)
    sys.stdout.write(f"{report.painted} {report.kept}\n")
