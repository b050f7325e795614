"""Engines: where models work. `local` is this process; `ray` is workers on this machine or on a cluster.

Stages cut their work into batches as they always do, and hand these to whoever works: in this process their own loop,
else `workers`, of which each has opened the model by a `recipe`. What comes back is kept by the stage, in this process
alone, so that a picture, a vector or a reply is written once, whoever made it and however often it was made.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..eval.extract.run import Through
    from ..eval.protocols import FeatureExtractor
    from ..settings import Settings
    from .on_ray import RayEngine

__all__ = ["look_elsewhere", "open_engine"]


def open_engine(settings: Settings) -> RayEngine | None:
    """Return the engine that the settings name; None for this process. Nothing is started before it is needed."""
    if settings.engine == "local":
        return None
    from .on_ray import RayEngine

    return RayEngine(settings.ray_address)


@contextmanager
def look_elsewhere(
    settings: Settings, specs: Sequence[str], extractors: Sequence[FeatureExtractor]
) -> Iterator[Through]:
    """Have the settings' engine look at pictures, by extractors that are open here (see `eval.opening.Elsewhere`).

    Raises:
        VelaturaError: as `RayEngine.workers`.
    """
    from .on_ray import RayEngine
    from .recipes import Looking, here

    recipe = Looking(
        specs=tuple(specs),
        fingerprints=tuple(extractor.fingerprint for extractor in extractors),
        device=settings.device,
        offline=settings.offline,
        files=here(*(spec.partition(":")[2] for spec in specs)),
    )
    with closing(RayEngine(settings.ray_address)) as engine:
        yield engine.workers(recipe).each
