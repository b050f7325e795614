"""What every backend checks in a request, and fills in, before anything is painted: one sentence for each fault."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from ..errors import InputError
from ..records import GenerationRequest
from .few_steps import advised, departures
from .known import Known


@dataclass(frozen=True, slots=True)
class Sides:
    """The widths and heights that a backend paints, in pixels."""

    multiple: int
    """Of which they must be multiples."""
    most: int
    least: int | None = None
    """None for one multiple."""

    def bear(self, pixels: int) -> bool:
        """Whether a picture may be so wide or high."""
        return pixels % self.multiple == 0 and (self.least or self.multiple) <= pixels <= self.most

    def __str__(self) -> str:
        start = "" if self.least is None else f"from {self.least} "
        return f"multiples of {self.multiple} {start}{'up ' if self.least is None else ''}to {self.most}"


def check_held(request: GenerationRequest, model: str) -> None:
    """Check that a request is whole, and for the checkpoint that a backend holds.

    Raises:
        InputError: its mask is of another length than its choices, or it names another checkpoint.
    """
    choices = len(request.composition.choices)
    if request.mask is not None and len(request.mask) != choices:
        raise InputError(f"the mask must be as long as the {choices} choices")
    if request.model not in ("", model):
        raise InputError(f"this backend holds {model}, not {request.model}")


def check_count(request: GenerationRequest, count: int) -> None:
    """Check how many pictures are asked for, whose seeds follow each other.

    Raises:
        InputError: it is none, or their seeds do not fit into 63 bits.
    """
    if count < 1:
        raise InputError(f"the count must be at least 1, not {count}")
    if not 0 <= request.seed < 2**63 - count:
        raise InputError(f"the seed must be between 0 and 2^63, not {request.seed}")


def filled(
    request: GenerationRequest,
    known: Known | None,
    *,
    model: str,
    backend: str,
    steps: int,
    guidance: float,
    scheduler: str | None = None,
) -> GenerationRequest:
    """Fill in steps, guidance and scheduler: those of an adapter that needs its own (LCM and the like) go first.

    Args:
        request: What is asked for stays.
        known: What is known of the checkpoint; next.
        model: The checkpoint.
        backend: The backend's name.
        steps: The backend's own; last.
        guidance: The same.
        scheduler: The same; None leaves it to the model.
    """
    rule = advised([choice.adapter for choice in request.choices])
    return replace(
        request,
        model=model,
        backend=backend,
        steps=_first(request.steps, rule and rule.steps, known and known.steps, steps),
        guidance=_first(request.guidance, rule and rule.guidance, known and known.guidance, guidance),
        scheduler=_first(request.scheduler, rule and rule.scheduler, known and known.scheduler, scheduler),
    )


def departures_of(request: GenerationRequest) -> tuple[str, ...]:
    """Say what of a request an adapter that needs its own steps and guidance does not bear."""
    rule = advised([choice.adapter for choice in request.choices])
    return departures(rule, request) if rule else ()


def check(request: GenerationRequest, sides: Sides) -> None:
    """Check the numbers of a request that is filled in.

    Raises:
        InputError: one of them cannot be.
    """
    steps, guidance = request.steps or 0, request.guidance or 0.0
    for wrong, sentence in (
        (not 1 <= steps <= 1000, f"the steps must be between 1 and 1000, not {request.steps}"),
        (not 0 <= request.seed < 2**63, f"the seed must be between 0 and 2^63, not {request.seed}"),
        (not 0 <= guidance <= 100, f"the guidance must be between 0 and 100, not {request.guidance}"),
        *(
            (not sides.bear(pixels), f"width and height must be {sides}, not {pixels}")
            for pixels in (request.width or 0, request.height or 0)
        ),
    ):
        if wrong:
            raise InputError(sentence)


def _first(*values: Any) -> Any:
    """Return the first value that is told."""
    return next((value for value in values if value is not None), None)
