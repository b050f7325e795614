"""The backend `fusion`: a picture that SDXS paints in one step steers another checkpoint as the words do.

CLIP looks at that picture, and an IP-Adapter (Ye and others, 2023) puts what it sees beside the words in every cross
attention of the painter; what is seen of several pictures stands one behind the other. So the painter, such as
DreamShaper, paints what the one model makes of the prompt in the other's manner. The numbers are those of the study
that tried it: weight 0.8 in its first version and 1.4 in its second, 30 steps of DPM++ 3M SDE at uniform times,
guidance 6.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator, Sequence, Sized
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch

from ..errors import IncompatibleAdapter, InputError
from ..records import Choice, Composition, GenerationRequest, ImagePrompt
from . import open_backend
from .batches import Row
from .extras import Extras
from .image_prompt import Shown
from .known import exists
from .sd import StableDiffusionBackend

if TYPE_CHECKING:
    from ..protocols import Backend

IP_ADAPTER = "h94/IP-Adapter/models/ip-adapter_sd15.safetensors"
"""That of the authors for SD 1.5."""
WEIGHTS = {"v1": 0.8, "v2": 1.4}
"""How much the picture counts beside the words: in the second version it leads."""
SCHEDULER = "dpmpp_3m_sde_sgm_uniform"


class FusionBackend(StableDiffusionBackend):
    """Paints with an SD checkpoint that a picture of another's steers; see `StableDiffusionBackend`.

    A request's image prompts add pictures of their own to the sketch, whose place is before those of the first; that
    one's adapter and weight are then used for all of these. Without a sketcher they steer alone.

    Args:
        model: The painter: a name of `known`, a diffusers folder, a `.safetensors` checkpoint, or a hub id.
        sketcher: Who paints the picture that steers: an SDXS checkpoint, or any other that a backend paints with; None
            where requests bring the pictures.
        ip_adapter: The IP-Adapter for requests that name none: a `.safetensors` file, or one on the hub.
        encoder: Its CLIP vision model; None takes the one beside it.
        version: Whose weight is taken: `v1` leaves more to the painter, `v2` follows the sketch.
        weight: Of the sketch, in place of the version's.
        **options: What `StableDiffusionBackend` takes.

    Raises:
        InputError: a checkpoint or an option cannot be used; one sentence.
    """

    name = "fusion"
    own_steps = 30
    own_guidance = 6.0

    def __init__(
        self,
        model: str,
        *,
        sketcher: str | None = None,
        ip_adapter: str = IP_ADAPTER,
        encoder: str | None = None,
        version: Literal["v1", "v2"] = "v1",
        weight: float | None = None,
        device: str | None = None,
        dtype: torch.dtype | None = None,
        local_files_only: bool = False,
        **options: Any,
    ) -> None:
        if version not in WEIGHTS:
            raise InputError(f"there is no version {version!r} of fusion; take v1 or v2")
        shared: dict[str, Any] = {"device": device, "dtype": dtype, "local_files_only": local_files_only}
        super().__init__(model, **shared, **options)
        self._known = None  # what suits the checkpoint was found out without a picture beside the words
        self._extras = _SketchedExtras(self._pipe, local_files_only=local_files_only)
        self._steering = ImagePrompt(
            model=ip_adapter, pictures=(), weight=WEIGHTS[version] if weight is None else weight, encoder=encoder
        )
        self._sketcher: Backend | None = None
        self._sketched_by = ""
        if sketcher is not None:
            self._sketcher = open_backend(None, sketcher, **shared)
            self._sketched_by = Path(sketcher).expanduser().resolve().name if exists(sketcher) else sketcher

    @property
    def stamp(self) -> str:
        """What decides pixels and stands in no request: the painter's own, and who sketches how strongly."""
        if self._sketcher is None:
            return super().stamp
        return f"{super().stamp}, sketched by {self._sketched_by} at {self._steering.weight:g}"

    def _completed(self, request: GenerationRequest) -> GenerationRequest:
        prompts = tuple(
            prompt if prompt.model else replace(prompt, model=self._steering.model) for prompt in request.image_prompts
        )
        if self._sketcher is None and not any(prompt.pictures for prompt in prompts):
            raise InputError(
                "the backend fusion needs a picture that steers: name a sketcher, such as sdxs-dreamshaper, or give an "
                "image prompt"
            )
        for prompt in prompts if self._sketcher is None else prompts[1:]:
            if not prompt.pictures:
                why = "" if self._sketcher is None else "; the sketch is the first image prompt's alone"
                raise InputError(f"{prompt.model} is given no picture to steer with{why}")
        if self._sketcher is not None:
            prompts = prompts or (self._steering,)
            request = replace(request, composition=self._told(request))
        request = super()._completed(replace(request, image_prompts=prompts, scheduler=request.scheduler or SCHEDULER))
        if self._sketcher is not None:
            self._sketcher.complete(self._sketch(request, request.seed))
        return request

    def _told(self, request: GenerationRequest) -> Composition:
        """Return the composition with a note of what the sketcher wears."""
        composition, choices = request.composition, request.choices
        left = [choice.adapter.title for choice in choices if not self._wears(choice)]
        note = f"the picture that steers is painted by {self._sketched_by}"
        if choices:
            note += f", without {', '.join(left)}" if left else ", which wears the same adapters"
        if note in composition.notes:
            return composition
        return replace(composition, notes=(*composition.notes, note))

    def _wears(self, choice: Choice) -> bool:
        """Whether an adapter fits the sketcher."""
        plan = getattr(self._sketcher, "plan", None)
        if plan is None or choice.adapter.path is None:
            return False
        try:
            plan(choice.adapter.path)
        except IncompatibleAdapter:
            return False
        return True

    def _alike(self, row: Row) -> Hashable:
        """Each image has a sketch of its own, so that each is painted alone."""
        return super()._alike(row), None if self._sketcher is None else row.place

    def _shown(self, rows: Sequence[Row]) -> Sequence[Shown]:
        [row, *_] = rows
        if self._sketcher is None:
            return ()
        sketch = next(iter(self._sketcher.generate(self._sketch(row.request, row.seed))))
        return (Shown(row.request.image_prompts[0], (sketch.image,)),)

    def _sketch(self, request: GenerationRequest, seed: int) -> GenerationRequest:
        """Return what is asked of the sketcher: the same prompt and the adapters that fit, all else its own."""
        worn = tuple(choice for choice in request.choices if self._wears(choice))
        return GenerationRequest(composition=replace(request.composition, choices=worn), model="", seed=seed)


class _SketchedExtras(Extras):
    """Extras in which an image prompt may have no pictures, since one is yet to be painted."""

    def completed(self, request: GenerationRequest) -> GenerationRequest:
        """Check all that a request names beside words; see `Extras.completed`."""
        prompts = request.image_prompts
        completed = super().completed(replace(request, image_prompts=tuple(one for one in prompts if one.pictures)))
        whole = iter(completed.image_prompts)
        return replace(
            completed, image_prompts=tuple(next(whole) if one.pictures else self._bare(one) for one in prompts)
        )

    @contextmanager
    def pipeline(
        self, request: GenerationRequest, rows: Sized, *, shown: Sequence[Shown] = ()
    ) -> Iterator[tuple[Any, dict[str, Any]]]:
        """Make the pipeline that paints a request, a sketch before the pictures of the first image prompt."""
        steering = [self._shown(prompt) for prompt in request.image_prompts]
        for sketch in shown:
            steering[0] = replace(steering[0], pictures=(*sketch.pictures, *steering[0].pictures))
        with super().pipeline(replace(request, image_prompts=()), rows, shown=steering) as made:
            yield made

    def _bare(self, prompt: ImagePrompt) -> ImagePrompt:
        if not math.isfinite(prompt.weight):
            raise InputError(f"the weight of {prompt.model} must be a finite number, not {prompt.weight}")
        self.image_prompts.check(prompt)
        return prompt
