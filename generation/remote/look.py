"""Who looks on while another program paints: told of one picture at a time, by shares."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ...protocols import Watch

if TYPE_CHECKING:
    from PIL.Image import Image


class Look:
    """Tells a watch of one picture among several.

    Args:
        watch: Who looks on; None for nobody.
        place: The picture's place among those that were asked for.
        of: How many were asked for.
    """

    def __init__(self, watch: Watch | None, place: int, of: int) -> None:
        self._watch = watch or Watch()
        self._place, self._of = place, of
        self._told = 0.0
        self._shown = 0

    @property
    def asked(self) -> bool:
        """Whether anybody wants to hear of what is not finished."""
        return self._watch.progress is not None or self._watch.preview is not None

    @property
    def stopped(self) -> bool:
        """Whether painting is to stop."""
        return self._watch.stopped is not None and self._watch.stopped()

    def made(self, share: float) -> None:
        """Tell which share of the picture is made; it never goes back."""
        share = min(1.0, share) if math.isfinite(share) else 0.0
        if self._watch.progress is not None and share > self._told:
            self._told = share
            self._watch.progress((self._place + share) / self._of)

    def wants_preview(self, step: int) -> bool:
        """Whether a picture after so many steps is wished for."""
        return self._watch.preview is not None and step >= self._shown + self._watch.every

    def show(self, step: int, picture: Image) -> None:
        """Show what the picture is after so many steps."""
        self._shown = step
        if self._watch.preview is not None:
            self._watch.preview(self._place, picture)
