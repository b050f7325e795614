"""The backend `sdxl`: SDXL and what is trained from it (Pony, Illustrious, NoobAI), as the backend `sd` paints."""

from __future__ import annotations

from typing import ClassVar

from .sd import StableDiffusionBackend


class StableDiffusionXLBackend(StableDiffusionBackend):
    """Paints with an SDXL checkpoint; see `StableDiffusionBackend`."""

    name = "sdxl"
    kinds: ClassVar[tuple[str, ...]] = ("sdxl", "sdxl-inpaint")
    own_steps = 30
    own_guidance = 6.0
