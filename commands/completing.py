"""What a shell offers while an option is typed: names that are known without a catalogue and without a model."""

from __future__ import annotations

from collections.abc import Iterator

from ..families import TITLES
from ..records import USES


def complete_family(typed: str) -> Iterator[tuple[str, str]]:
    """Yield the base families that begin as typed, each with its title."""
    yield from ((name, title) for name, title in TITLES.items() if name.startswith(typed))


def complete_use(typed: str) -> Iterator[str]:
    """Yield the commercial uses that begin as typed."""
    yield from (use for use in USES if use.startswith(typed))


def complete_checkpoint(typed: str) -> Iterator[str]:
    """Yield the checkpoints of `velatura checkpoints` that begin as typed; a shell completes files where none does."""
    from ..generation.known import known

    yield from (one.known.name for one in known() if one.known.name.startswith(typed))


def complete_backend(typed: str) -> Iterator[str]:
    """Yield the backends that begin as typed."""
    from ..generation import BACKENDS

    yield from (name for name in BACKENDS if name.startswith(typed))
