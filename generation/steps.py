"""The steps of a batch, told to whoever looks on, who may stop them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from ..errors import Cancelled
from ..protocols import Watch

if TYPE_CHECKING:
    from PIL.Image import Image


class Steps:
    """Tells a watch of the steps of one batch.

    Args:
        watch: Who looks on; None for nobody.
        places: The place of each image of the batch among those that were asked for.
        done: How many images were finished before this batch.
        of: How many were asked for.
    """

    def __init__(self, watch: Watch | None, places: Sequence[int] = (0,), *, done: int = 0, of: int = 1) -> None:
        self._watch = watch
        self._places = places
        self._done, self._of = done, of
        self._told = 0
        self.look()

    def look(self) -> None:
        """Stop here if that is wished.

        Raises:
            Cancelled: it is.
        """
        if self._watch is not None and self._watch.stopped is not None and self._watch.stopped():
            raise Cancelled("stopped")

    def made(self, done: int, of: int, show: Callable[[], Sequence[Image]] | None = None) -> None:
        """Tell that a step was made.

        Args:
            done: How much of the batch is done: its number, from 1, where all steps take equally long.
            of: How much there is.
            show: Makes a small picture of each image of the batch as it is now; called only where one is wished.

        Raises:
            Cancelled: painting is to stop here.
        """
        watch = self._watch
        if watch is None:
            return
        if watch.progress is not None:
            watch.progress((self._done + len(self._places) * done / of) / self._of)
        self._told += 1
        if watch.preview is not None and show is not None and done < of and self._told % watch.every == 0:
            for place, picture in zip(self._places, show(), strict=True):
                watch.preview(place, picture)
        self.look()
