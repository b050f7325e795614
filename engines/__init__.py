"""Engines: where models work. `local` is this process; `ray` is workers on this machine or on a cluster.

Stages cut their work into batches as they always do, and hand these to whoever works: in this process their own loop,
else `workers`, of which each has opened the model by a `recipe`. What comes back is kept by the stage, in this process
alone, so that a picture, a vector or a reply is written once, whoever made it and however often it was made.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..settings import Settings
    from .on_ray import RayEngine

__all__ = ["open_engine"]


def open_engine(settings: Settings) -> RayEngine | None:
    """Return the engine that the settings name; None for this process. Nothing is started before it is needed.

    Raises:
        MissingDependency: ray is not installed.
    """
    if settings.engine == "local":
        return None
    from .on_ray import RayEngine

    return RayEngine(settings.ray_address)
