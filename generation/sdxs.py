"""The backend `sdxs`: SDXS, small models distilled to paint in one step without guidance (Song and others, 2024).

The one step is taken at the last time that the model was trained on, and at no other. `sdxs-512-dreamshaper` is of SD
1's shape and wears adapters of SD 1, `sdxs-512-0.9` is of SD 2's and wears those of SD 2: they are laid on the layers
that are left of it (see `adapters.sdxs`), and each time it is said that their effect is approximate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from ..errors import IncompatibleAdapter, InputError
from ..families import support
from ..records import Choice, GenerationRequest
from .adapters.plan import REMAPPED, AdapterPlan
from .batches import Laying
from .local import warn
from .schedulers import name_of, times_of
from .sd import StableDiffusionBackend


class SdxsBackend(StableDiffusionBackend):
    """Paints with an SDXS checkpoint; see `StableDiffusionBackend`."""

    name = "sdxs"
    kinds: ClassVar[tuple[str, ...]] = ("sdxs",)
    own_steps = 1
    own_guidance = 0.0

    def complete(self, request: GenerationRequest) -> GenerationRequest:
        """Check a request and fill in what it leaves to the model; an adapter for few steps changes nothing here."""
        return super().complete(
            replace(
                request,
                steps=self.own_steps if request.steps is None else request.steps,
                guidance=self.own_guidance if request.guidance is None else request.guidance,
                scheduler=request.scheduler or name_of(self._own_scheduler),
            )
        )

    def _doubts(self, request: GenerationRequest) -> tuple[str, ...]:
        if (request.guidance or 0.0) > 1:
            return (f"SDXS was distilled with its guidance in it; {request.guidance:g} on top spoils the picture",)
        return ()

    def _completed(self, request: GenerationRequest) -> GenerationRequest:
        for wrong, sentence in (
            (
                request.start is not None,
                "SDXS paints from pure noise in one step and never learned to go on from a picture; "
                "take the backend sd to start from one",
            ),
            (bool(request.controls), "there is no ControlNet of the shape of SDXS; take the backend sd"),
            (request.steps != 1, f"SDXS paints in 1 step, not in {request.steps}"),
        ):
            if wrong:
                raise InputError(sentence)
        request = super()._completed(request)
        last = self._own_scheduler.config.num_train_timesteps - 1
        if (times := times_of(self._own_scheduler, request.scheduler, 1)) != [last]:
            called = f"the scheduler {request.scheduler}" if request.scheduler else "its scheduler"
            raise InputError(
                f"SDXS paints at the time {last}, and {called} would ask it at {', '.join(map(str, times))}; "
                "take euler_sgm_uniform"
            )
        return request

    def plan(self, path: str | Path) -> AdapterPlan:
        """Say how an adapter file lies on this checkpoint; of one of its own family a part is enough.

        Raises:
            InputError: the file is not there.
            UnreadableFile: the file is damaged, or no adapter.
            IncompatibleAdapter: it does not fit.
        """
        try:
            return super().plan(path)
        except IncompatibleAdapter:
            found = self._plans.of(path, force=True)
            # Made for the model that this one was distilled from, whose middle is left out here.
            if found.coverage < REMAPPED or support(found.family.family, found.model_family) != "full":
                raise
            return found

    def _laying(self, choices: Sequence[Choice]) -> Laying:
        laying = super()._laying(choices)
        for plan in laying:
            share = len(plan.placed) / len(plan.file.networks)
            if plan.remapped or share < 1:
                warn(
                    f"{plan.file.name} was made for a larger model, and SDXS has places for {share:.0%} of it: its "
                    "effect is approximate"
                )
        return laying
