"""What runs in a worker's process: it opens its model once, and does one batch after the other."""

from __future__ import annotations

import os
import socket
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from ..errors import EngineError, InputError, LanguageModelError, VelaturaError
from ..records import Usage

Task = TypeVar("Task")
Result = TypeVar("Result")
_Task = TypeVar("_Task", contravariant=True)
_Result = TypeVar("_Result", covariant=True)


class Recipe(Protocol[_Task, _Result]):
    """How a worker opens its model, wherever it is: settings, never a model. It travels, so it holds no secrets."""

    @property
    def computes(self) -> bool:
        """Whether torch works in it, so that it wants processors of its own, or a GPU."""

    @property
    def device(self) -> str | None:
        """The device that is asked for; None takes the best there is."""

    @property
    def files(self) -> Sequence[str]:
        """Files and folders of this machine that the worker must see under the same paths."""

    def open(self) -> Callable[[_Task], _Result]:
        """Return what does a batch.

        Raises:
            VelaturaError: it cannot be opened there; one sentence.
        """


@dataclass(frozen=True, slots=True)
class Hello:
    """What a worker says of itself."""

    version: str
    node: str


@dataclass(frozen=True, slots=True)
class Done(Generic[Result]):
    """What came of a batch, with the warnings on the way."""

    value: Result
    warnings: tuple[tuple[type[Warning], str], ...] = ()


@dataclass(frozen=True, slots=True)
class Fault:
    """An error, as it travels."""

    kind: type[VelaturaError]
    sentence: str
    usage: Usage | None = None

    def error(self) -> VelaturaError:
        """Return the error."""
        error = self.kind.__new__(self.kind)  # its own arguments made the sentence, and did not travel
        error.args = (self.sentence,)
        if isinstance(error, LanguageModelError):
            error.usage = self.usage or Usage()
        return error


class Worker:
    """One model; called by one thread."""

    def __init__(self) -> None:
        self._do: Callable[[Any], Any] | None = None

    def hello(self) -> Hello:
        """Say which version this is, and where."""
        from ..generation.metadata import version

        return Hello(version(), node())

    def open(self, recipe: Recipe[Any, Any], folder: str, threads: int) -> Fault | None:
        """Open the model; returns why it cannot be.

        Args:
            recipe: Says how.
            folder: Where relative names begin, where there is such a folder here.
            threads: How many compute: as many as elsewhere, since sums depend on it.
        """
        try:
            with suppress(OSError):
                os.chdir(folder)
            refuse_missing(recipe.files)
            if recipe.computes:
                _limit(threads)
            self._do = recipe.open()
        except Exception as error:
            fault = fault_of(error)
            return Fault(fault.kind, f"on the node {node()}: {fault.sentence}", fault.usage)
        return None

    def work(self, task: Any) -> Done[Any] | Fault:
        """Do a batch."""
        if self._do is None:
            return Fault(EngineError, f"the worker on the node {node()} was not opened")
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                value = self._do(task)
            except Exception as error:
                return fault_of(error)
        ours = [one for one in caught if one.category.__module__.partition(".")[0] == __name__.partition(".")[0]]
        return Done(value, tuple((one.category, str(one.message)) for one in ours))


def fault_of(error: Exception) -> Fault:
    """Return an error as it travels; what is none of ours becomes one sentence with the node's name."""
    if isinstance(error, VelaturaError):
        return Fault(type(error), str(error), getattr(error, "usage", None))
    lines = str(error).strip().splitlines() or [""]
    return Fault(
        EngineError, f"the worker on the node {node()} failed: {type(error).__name__} {lines[0][:300]}".strip()
    )


def refuse_missing(files: Sequence[str]) -> None:
    """Refuse to go on where a file of whoever asks is not here.

    Raises:
        InputError: One is not; names it and the node.
    """
    for file in files:
        if not Path(file).exists():
            raise InputError(
                f"{file} is not on the node {node()}; a worker must see the same files under the same paths"
            )


def node() -> str:
    """Return what this machine is called."""
    return socket.gethostname()


def _limit(threads: int) -> None:
    if find_spec("torch") is not None:
        import torch

        torch.set_num_threads(threads)
    if find_spec("threadpoolctl") is not None:
        from threadpoolctl import threadpool_limits

        threadpool_limits(threads)
