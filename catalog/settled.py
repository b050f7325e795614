"""A folder of adapters while somebody works in it: what is still being written is left for later."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..protocols import Entry
from ..records import AdapterRecord, Rejection
from .folder import FolderSource


@dataclass(slots=True)
class Offered:
    """What a folder offered, kept from one look at it to the next."""

    files: set[str] = field(default_factory=set)
    """The paths of the model files that are whole."""
    troubles: int = 0
    """How many things could not be offered at all."""
    device: int | None = None
    """The drive that the folder lay on."""


class SettledFolder(FolderSource):
    """A folder, without the files that are still being written.

    A new file that is not whole is as good as absent. One that was there before and is being written anew is not
    offered either; so that it does not count as gone, the source does not call itself complete then.

    Args:
        root: The folder.
        before: What it offered when it was last looked at; is brought up to date by a walk that comes to its end.
        is_unfinished: Tells of a path whether it is still being written.

    Raises:
        InputError: There is no such folder.
    """

    def __init__(self, root: Path | str, before: Offered, is_unfinished: Callable[[str], bool]) -> None:
        super().__init__(root)
        self._before = before
        self._is_unfinished = is_unfinished
        self._holds_known = False
        self.waiting: list[str] = []
        """Paths that are still being written."""
        self.read: list[str] = []
        """Paths that were opened, because they are new or have changed."""
        self.gone: list[str] = []
        """Paths that were offered last time and are no longer, once the walk is at its end."""
        self.troubles = 0
        """How many things could not be offered at all."""

    @property
    def complete(self) -> bool:
        """Whether everything that was there before was offered, or is gone."""
        return super().complete and not self._holds_known

    def entries(self) -> Iterator[Entry | Rejection]:
        """Walk the tree and offer every model file that is whole."""
        self.waiting, self.read, self.gone, self.troubles = [], [], [], 0
        # Nothing is known of what was there before the first look: then whatever waits may have been.
        is_first = not self._before.files
        self._holds_known = False
        offered: set[str] = set()
        for found in super().entries():
            if isinstance(found, Rejection):
                self.troubles += 1
                yield found
            elif self._is_unfinished(found.locator):
                self.waiting.append(found.locator)
                self._holds_known = self._holds_known or is_first or found.locator in self._before.files
            else:
                offered.add(found.locator)
                yield Entry(locator=found.locator, stamp=found.stamp, read=_Noted(found, self.read))
        if self.complete:
            self.gone = sorted(self._before.files - offered)
            self._before.files = offered
        else:
            self._before.files |= offered
        self._before.troubles = self.troubles


@dataclass(frozen=True, slots=True)
class _Noted:
    """Reads an entry, and notes its path."""

    entry: Entry
    read: list[str]

    def __call__(self) -> Sequence[AdapterRecord | Rejection]:
        self.read.append(self.entry.locator)
        return self.entry.read()
