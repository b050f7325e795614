"""What is to be laid into a workflow, where it belongs, and which of its nodes are an earlier export's."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ...errors import InputError
from .comfy_graph import Graph, Node, texts
from .foreign import text_of
from .written import Export, flat

KINDS = frozenset({"LoraLoader", "LoraLoaderModelOnly"})
_MARK = "Velatura: "


@dataclass(frozen=True, slots=True)
class Loader:
    """One loader node of the chain."""

    title: str
    file: str
    weight: float

    @property
    def label(self) -> str:
        """The node's title, by which the next export knows it again."""
        return _MARK + flat(self.title)[:60]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a chain begins: outputs of what loads the model and of what loads the text encoder."""

    model: tuple[str, int]
    clip: tuple[str, int] | None


def is_ours(kind: object, title: object) -> bool:
    """Say whether a node is of an earlier export."""
    return text_of(kind) in KINDS and text_of(title).startswith(_MARK)


def one_of(origins: Iterable[tuple[str, int]], what: str) -> tuple[str, int]:
    """Return the only origin.

    Raises:
        InputError: there are none, or several.
    """
    found = list(dict.fromkeys(origins))
    if not found:
        raise InputError(
            f"the workflow has no node that loads {what} and is used by another, so no adapter can be laid on"
        )
    if len(found) > 1:
        nodes = ", ".join(node for node, _ in found[:5])
        raise InputError(
            f"the workflow loads {what} in {len(found)} nodes ({nodes}); which of them is meant cannot be told"
        )
    return found[0]


def replaceable(graph: Graph, side: str, export: Export) -> tuple[Node, str] | None:
    """Return where the prompt of one side is typed: (node, name); None, with a note, where that is not plain."""
    painted = texts(graph, side)
    places = [place for found in painted for place in found]
    other = {id(node) for found in texts(graph, "negative" if side == "positive" else "positive") for node, _ in found}
    if len(places) == 1 and id(places[0][0]) not in other:
        return places[0]
    why = "no text leads to it" if not places else "several texts lead to it, or one leads to both sides"
    export.note(f"the {side} prompt of the workflow was left as it is ({why}); write it there yourself")
    return None


def wanted_texts(graph: Graph, export: Export) -> Iterator[tuple[Node, str, str]]:
    """Yield (node, name, text) for each text of the workflow that is to be replaced."""
    sides = [("positive", export.prompt("()")), ("negative", export.negative)]
    for side, text in sides:
        if (side == "positive" or text) and (place := replaceable(graph, side, export)):
            yield (*place, text)
