"""All that a picture is painted from beside words: a picture to start from, forms to follow, pictures that steer.

Each request is painted by the pipeline of diffusers for what it asks, made around the very parts of the checkpoint's
own; afterwards those parts are what they were. A request for words alone is painted by the checkpoint's own pipeline.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence, Sized
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from typing import Any, Final

from PIL import Image

from ..errors import InputError
from ..records import Control, GenerationRequest, ImagePrompt, Picture, Start
from .canny import canny
from .checkpoint import quiet
from .control import ControlNets
from .image_prompt import ImagePrompts, Shown
from .pictures import cells, fitted, pasted, read_mask, read_picture, size_from

_KEPT: Final = 8
"""Pictures that stay decoded, in the size that they are painted in."""
_SEEN: Final = 1024
"""Pixels of the longer side of a picture that steers; an encoder looks at a quarter of that."""


class Extras:
    """What steers one pipeline beside words.

    Args:
        pipe: A `diffusers.StableDiffusionPipeline` or `StableDiffusionXLPipeline` of the checkpoint, on its device.
        local_files_only: Never ask the hub.

    Attributes:
        image_prompts: The IP-Adapters of its UNet.
    """

    def __init__(self, pipe: Any, *, local_files_only: bool = False) -> None:
        self._pipe = pipe
        # The pipelines correct the settings of a scheduler that they are made with; this one is corrected already.
        self._scheduler = pipe.scheduler
        self._controls = ControlNets(pipe.unet, local_files_only=local_files_only)
        self.image_prompts = ImagePrompts(pipe.unet, local_files_only=local_files_only)
        self._pictures: OrderedDict[Any, Image.Image] = OrderedDict()

    def completed(self, request: GenerationRequest) -> GenerationRequest:
        """Check all that a request names beside words, and fill in the digests of its pictures.

        Where neither width nor height is asked for, they become those of the picture to start from, and where one is,
        the other follows; both down to a multiple of 8.

        Raises:
            InputError: a picture or a model is not there, is none, does not fit, or a number cannot be; one sentence.
            UnreadableFile: a file is damaged.
        """
        if request.start is not None:
            request = self._started(request, request.start)
        controls = tuple(self._control(control) for control in request.controls)
        prompts = tuple(self._image_prompt(prompt) for prompt in request.image_prompts)
        if request.freeu is not None and not all(0 < number < math.inf for number in request.freeu):
            raise InputError(f"FreeU takes four positive numbers, not {', '.join(map(str, request.freeu))}")
        return replace(request, controls=controls, image_prompts=prompts)

    @contextmanager
    def pipeline(
        self, request: GenerationRequest, rows: Sized, *, shown: Sequence[Shown] = ()
    ) -> Iterator[tuple[Any, dict[str, Any]]]:
        """Make the pipeline that paints a request, and what its call takes beside words, noise and steps.

        A request for words alone gets the checkpoint's own pipeline and nothing beside. One without a start takes
        `latents`, `width` and `height` from the caller as ever; one with a start must be given none of them: noise
        comes from the generators, and the sizes, where the pipeline takes them, are among the arguments.

        Args:
            request: Completed, in size and steps too.
            rows: The images that are painted at once.
            shown: More image prompts, with pictures that no file holds.

        Yields:
            The pipeline, with the scheduler that the checkpoint's own has now, and the arguments by name.
        """
        pipe, names = self._pipe, list[str]()
        taken: dict[str, Any] = {}
        with ExitStack() as stack:
            if request.freeu is not None:
                stack.callback(pipe.disable_freeu)
                pipe.enable_freeu(*request.freeu)
            steering = [*(self._shown(prompt) for prompt in request.image_prompts), *shown]
            if steering:
                guided = (request.guidance or 0.0) > 1 and pipe.unet.config.time_cond_proj_dim is None
                taken["ip_adapter_image_embeds"] = stack.enter_context(self.image_prompts.worn(steering, guided=guided))
            parts: dict[str, Any] = {}
            if request.controls:
                names.append("ControlNet")
                nets = [self._controls.load(control.model) for control in request.controls]
                parts["controlnet"] = nets if len(nets) > 1 else nets[0]
                taken |= self._followed(request, "image" if request.start is None else "control_image")
            if request.start is not None:
                names.append("Img2Img" if request.start.mask is None else "Inpaint")
                taken |= self._begun(request, request.start, len(rows))
                if names != ["Img2Img"]:
                    taken |= {"width": request.width, "height": request.height}
                if request.start.mask is not None:
                    stack.enter_context(_plain_channels(pipe))
                stack.enter_context(quiet())  # of how SDXL's autoencoder is made precise for a moment, and back
            yield self._variant("".join(names), parts) if names else pipe, taken

    def finish(self, request: GenerationRequest, images: Sequence[Image.Image]) -> list[Image.Image]:
        """Return painted pictures with the original's own pixels wherever the mask keeps them; others as they are."""
        start = request.start
        if start is None or start.mask is None:
            return list(images)
        original, mask = self._fitted(start.picture, request), self._fitted_mask(start.mask, request)
        return [pasted(image, original, mask) for image in images]

    # ---------------------------------------------------------------- checking

    def _started(self, request: GenerationRequest, start: Start) -> GenerationRequest:
        if not 0 <= start.share <= 1:
            raise InputError(f"the strength must be between 0 and 1, not {start.share}")
        steps = request.steps or 0  # none are the backend's to fill in, or to refuse
        if steps >= 1 and int(steps * start.share) < 1:
            made = f"{steps} steps" if steps > 1 else "one step"
            more = f", or {math.ceil(1 / start.share)} steps" if start.share else ""
            raise InputError(
                f"a strength of {start.share:g} leaves none of {made} to be made; "
                f"take a strength of at least {math.ceil(100 / steps) / 100:g}{more}"
            )
        picture, digest = read_picture(start.picture)
        mask = start.mask
        if mask is not None:
            grey, mask_digest = read_mask(mask)
            if grey.size != picture.size:
                raise InputError(
                    f"the mask is {_by(grey.size)} and the picture {_by(picture.size)}: both must be of one size"
                )
            mask = replace(mask, sha256=mask_digest)
        width, height = self._sizes(request, picture)
        start = replace(start, picture=replace(start.picture, sha256=digest), strength=start.share, mask=mask)
        return replace(request, start=start, width=width, height=height)

    def _sizes(self, request: GenerationRequest, picture: Image.Image) -> tuple[int, int]:
        """Return the size that is asked for, or else the picture's own."""
        multiple = math.lcm(8, self._pipe.vae_scale_factor)
        return size_from(picture.size, request.width, request.height, multiple)

    def _control(self, control: Control) -> Control:
        if not math.isfinite(control.weight):
            raise InputError(f"the weight of {control.model} must be a finite number, not {control.weight}")
        if not 0 <= control.begin < control.end <= 1:
            raise InputError(
                f"{control.model} must begin before it ends, both between 0 and 1, not {control.begin:g} and "
                f"{control.end:g}"
            )
        self._controls.check(control.model)
        return replace(control, picture=_told(control.picture))

    def _image_prompt(self, prompt: ImagePrompt) -> ImagePrompt:
        if not math.isfinite(prompt.weight):
            raise InputError(f"the weight of {prompt.model} must be a finite number, not {prompt.weight}")
        if not prompt.pictures:
            raise InputError(f"{prompt.model} is given no picture to steer with")
        self.image_prompts.check(prompt)
        return replace(prompt, pictures=tuple(_told(picture) for picture in prompt.pictures))

    # ---------------------------------------------------------------- painting

    def _followed(self, request: GenerationRequest, name: str) -> dict[str, Any]:
        """Return what a ControlNet pipeline takes for the forms to follow."""
        maps = [self._map(control, request) for control in request.controls]
        numbers = [(control.weight, control.begin, control.end) for control in request.controls]
        weights, begins, ends = (list(each) for each in zip(*numbers, strict=True))
        several = len(maps) > 1
        return {
            name: maps if several else maps[0],
            "controlnet_conditioning_scale": weights if several else weights[0],
            "control_guidance_start": begins if several else begins[0],
            "control_guidance_end": ends if several else ends[0],
        }

    def _map(self, control: Control, request: GenerationRequest) -> Image.Image:
        picture = self._fitted(control.picture, request)
        return canny(picture) if control.reading == "canny" else picture

    def _begun(self, request: GenerationRequest, start: Start, count: int) -> dict[str, Any]:
        """Return what a pipeline takes for the picture to start from: one for each image, so that each is alone."""
        # One step at most is made of one step: what is left of a request when memory is tried out.
        strength = 1.0 if request.steps == 1 else start.share
        taken = {"image": [self._fitted(start.picture, request)] * count, "strength": strength}
        if start.mask is not None:
            mask = self._fitted_mask(start.mask, request)
            taken["mask_image"] = [cells(mask, self._pipe.vae_scale_factor)] * count
        return taken

    def _shown(self, prompt: ImagePrompt) -> Shown:
        pictures = tuple(self._kept((picture, _SEEN), partial(_small, picture)) for picture in prompt.pictures)
        return Shown(prompt, pictures)

    def _fitted(self, picture: Picture, request: GenerationRequest) -> Image.Image:
        size = int(request.width or 0), int(request.height or 0)
        return self._kept((picture, *size), lambda: fitted(read_picture(picture)[0], *size))

    def _fitted_mask(self, mask: Picture, request: GenerationRequest) -> Image.Image:
        size = int(request.width or 0), int(request.height or 0)
        return self._kept((mask, "mask", *size), lambda: fitted(read_mask(mask)[0], *size))

    def _kept(self, key: Any, read: Callable[[], Image.Image]) -> Image.Image:
        """Return a picture that was read before; its digest is part of the key."""
        if key not in self._pictures:
            self._pictures[key] = read()
            if len(self._pictures) > _KEPT:
                self._pictures.popitem(last=False)
        self._pictures.move_to_end(key)
        return self._pictures[key]

    def _variant(self, name: str, parts: dict[str, Any]) -> Any:
        """Make a pipeline around the parts of the checkpoint's own."""
        import diffusers

        pipe = self._pipe
        xl = isinstance(pipe, diffusers.StableDiffusionXLPipeline)
        cls = getattr(diffusers, f"StableDiffusion{'XL' if xl else ''}{name}Pipeline")
        options: dict[str, Any] = {"requires_safety_checker": False}
        if xl:
            zeros = bool(pipe.config.get("force_zeros_for_empty_prompt", True))
            options = {"force_zeros_for_empty_prompt": zeros, "add_watermarker": False}
        with quiet():
            variant = cls(**(pipe.components | parts | {"scheduler": self._scheduler}), **options)
        # Latents are asked for, and one of them makes the autoencoder precise all the same, and leaves it so.
        variant.upcast_vae = lambda: None
        variant.scheduler = pipe.scheduler
        variant.set_progress_bar_config(disable=True)
        return variant


@contextmanager
def _plain_channels(pipe: Any) -> Iterator[None]:
    """Have a UNet that paints from words count as one, however many channels its latents have.

    The library tells it by their number: 4, where one that was trained to fill masks has 9, and takes no other.
    """
    config = pipe.unet.config
    channels = config.in_channels
    if channels == pipe.vae.config.latent_channels:
        config.in_channels = 4
    try:
        yield
    finally:
        config.in_channels = channels


def _told(picture: Picture) -> Picture:
    """Read a picture for nothing but to see that it can be, and fill in its digest."""
    return replace(picture, sha256=read_picture(picture)[1])


def _small(picture: Picture) -> Image.Image:
    """Read a picture no larger than it is looked at."""
    found, _ = read_picture(picture)
    found.thumbnail((_SEEN, _SEEN), Image.Resampling.LANCZOS)
    return found


def _by(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"
