"""ComfyUI-Lora-Manager, asked over HTTP within the ComfyUI that it is part of.

It hands what it is sent on to the page that shows the workflow, and does not learn whether one is open: what it calls
a success is that it was sent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from ...errors import BackendError, InputError
from .server import Refused, Server

if TYPE_CHECKING:
    import requests

URL: Final = "http://127.0.0.1:8188"
_PUSH: Final = "/api/lm/update-lora-code"

Mode = Literal["append", "replace"]


@dataclass(frozen=True, slots=True)
class Node:
    """A loader in the open workflow."""

    id: str
    """As ComfyUI numbers it."""
    graph: str | None = None
    """The subgraph that it is in; None for the workflow itself."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """What became of what was sent to one loader, or to all of them."""

    node: str
    """The loader's number; `broadcast` for all that there are."""
    failure: str | None = None
    """Why it was not sent on."""


class LoraManager:
    """Lora Manager at one address.

    Where something before the server wants a user and a password, `VELATURA_COMFYUI_AUTH` holds `user:password`.

    Args:
        url: ComfyUI's address.
        session: What asks; None opens a `requests.Session`.

    Raises:
        InputError: the address cannot be one.
    """

    def __init__(self, url: str = URL, *, session: requests.Session | None = None) -> None:
        absent = "look whether ComfyUI-Lora-Manager is installed there, and new enough"
        self._server = Server("ComfyUI", url, secret="VELATURA_COMFYUI_AUTH", absent=absent, session=session)  # noqa: S106

    @property
    def url(self) -> str:
        """The address."""
        return self._server.url

    def push(self, code: str, *, nodes: Sequence[Node] = (), mode: Mode = "append") -> tuple[Delivery, ...]:
        """Write adapters into loaders of the open workflow, and return what became of it for each.

        Args:
            code: The text that the loader takes, a `<lora:name:weight>` for each adapter.
            nodes: The loaders; none for all of the open workflow.
            mode: Whether what a loader holds stays.

        Raises:
            BackendError: it does not answer, or refuses; one sentence.
        """
        body: dict[str, Any] = {"lora_code": code, "mode": mode}
        if nodes:
            body["node_ids"] = [{"node_id": node.id, "graph_id": node.graph} for node in nodes]
        try:
            reply = self._server.post(_PUSH, body)
        except Refused as error:
            raise BackendError(f"Lora Manager refuses: {error.said}") from None
        if not isinstance(reply, Mapping) or reply.get("success") is not True:
            said = reply.get("error") if isinstance(reply, Mapping) else None
            raise BackendError(f"Lora Manager fails: {self._server.safe(str(said or 'it does not say why'))}")
        results = reply.get("results")
        return tuple(self._delivery(each) for each in (results if isinstance(results, list) else []))

    def _delivery(self, result: object) -> Delivery:
        told = result if isinstance(result, Mapping) else {}
        node, graph = told.get("node_id", "?"), told.get("graph_id")
        name = self._server.safe(f"{graph}:{node}" if graph is not None else str(node))
        if told.get("success") is True:
            return Delivery(name)
        return Delivery(name, self._server.safe(str(told.get("error") or "it does not say why")))


def node_of(text: str) -> Node:
    """Return the loader that a person names: `12`, or `GRAPH:12` in a subgraph.

    Raises:
        InputError: it names none.

    >>> node_of("12"), node_of("7f3a:12")
    (Node(id='12', graph=None), Node(id='12', graph='7f3a'))
    """
    graph, _, number = text.strip().rpartition(":")
    if not number or not text.isprintable():
        raise InputError(f"{text!r} is no node; give its number, or GRAPH:NUMBER in a subgraph")
    return Node(number, graph or None)
