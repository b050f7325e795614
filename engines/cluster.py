"""A Ray cluster: one that is there, or one that is started on this machine and ends with this process."""

from __future__ import annotations

import logging
import os
import shutil
import socket
import tempfile
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from ..errors import EngineError, InputError, MissingDependency

_PATIENCE: Final = 10.0
"""Seconds in which an address must answer."""
_STORE: Final = 512 << 20
"""Bytes of the store of a cluster of our own: batches under way lie in it."""
_SHORT: Final = 20
"""Bytes of the name of a folder in which Ray's sockets can lie: their whole paths may have about a hundred."""
_SETTINGS, _FRAME = 4, 9
"""The type of HTTP/2's frame of settings, and the bytes that begin a frame."""
_GREETING: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, _SETTINGS, 0, 0, 0, 0, 0])
_SILENT: Final = logging.CRITICAL + 1
"""What Ray logs goes to its own files; what a person must know is told by us."""


@dataclass(frozen=True, slots=True)
class Room:
    """What a cluster has for workers."""

    count: int
    """Workers that find room at once."""
    processors: int
    """Of each."""
    gpus: int
    """Of each: 1, or 0 where there are none, or none are wanted."""


class Cluster:
    """A connection to a cluster.

    Args:
        address: `host:port` of its head, `ray://host:port` of its client server, or `auto` for the one that runs on
            this machine; None starts one here, without a dashboard, and ends it in `close`. A program that is
            connected to one already goes on with that.

    Raises:
        MissingDependency: ray is not installed.
        InputError: the address is none.
        EngineError: no cluster answers there, or it is of another version.
    """

    def __init__(self, address: str | None) -> None:
        # Ray tells its makers how it is used unless it is told not to.
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        try:
            import ray
        except ModuleNotFoundError as error:
            raise MissingDependency(error.name or "ray", extra="ray") from None
        self.ray: Any = ray
        self._is_ours = not ray.is_initialized()
        self._folder: str | None = None
        if self._is_ours:
            self._connect(address)

    def close(self) -> None:
        """End the connection, and the cluster where it was started here."""
        if self._is_ours:
            self.ray.shutdown()
            self._print(wanted=True)
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
        self._folder = None

    def room(self, threads: int, *, gpus: bool) -> Room:
        """Return how many workers find room.

        Args:
            threads: Of each.
            gpus: Whether each takes a GPU, where there are any.
        """
        nodes = [node["Resources"] for node in self.ray.nodes() if node["Alive"]]
        cards = int(sum(node.get("GPU", 0) for node in nodes)) if gpus else 0
        processors = [int(node["CPU"]) for node in nodes if node.get("CPU", 0) >= 1]
        # On a node with somewhat fewer processors than threads these take turns, rather than that it is left out. A
        # much smaller one, such as a mere head, does not decide how many models the others hold.
        largest = max(processors, default=1)
        each = min([threads, *(count for count in processors if 2 * count >= min(threads, largest))])
        if cards:
            return Room(cards, 0, 1)
        return Room(max(1, sum(count // each for count in processors)), each, 0)

    def _connect(self, address: str | None) -> None:
        quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": _SILENT}
        if address is None:
            os.environ.setdefault("RAY_worker_niceness", "0")  # as nice as this process, which they work for
            self._folder = tempfile.mkdtemp(prefix="velatura-ray-", dir=_folder_for_sockets())
            quiet |= {"address": "local", "include_dashboard": False, "_temp_dir": self._folder}
            quiet["object_store_memory"] = _STORE
        else:
            _reach(address)
            quiet["address"] = address
        self._print(wanted=False)
        try:
            self.ray.init(**quiet)
        except Exception as error:  # Ray raises a dozen unrelated classes
            self.close()
            lines = str(error).strip().splitlines() or [type(error).__name__]
            where = "be started here" if address is None else f"be had at {_bare(address)}"
            raise EngineError(f"no Ray cluster can {where}: {lines[0][:300]}") from None

    def _print(self, *, wanted: bool) -> None:
        """Have Ray print, or not, what befalls its workers: by the switch that its own debugger turns."""
        self.ray._private.worker._worker_logs_enabled = wanted


def _folder_for_sockets() -> str:
    """Return the folder for temporary files; where its name is long, as on a Mac, that which Ray takes itself."""
    usual, short = tempfile.gettempdir(), "/tmp"  # noqa: S108 - a folder of our own is made in it
    return short if len(os.fsencode(usual)) > _SHORT and os.access(short, os.W_OK | os.X_OK) else usual


def _reach(address: str) -> None:
    """See whether anything answers, which Ray tries for a minute.

    Raises:
        InputError: it is no address.
        EngineError: nothing does.
    """
    if address == "auto":
        return
    try:
        parts = urlsplit(address if "://" in address else f"//{address}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if not host or not port or parts.scheme not in ("", "ray"):
        raise InputError(
            f"{_bare(address)!r} is no address of a Ray cluster; write host:port of its head, ray://host:port or auto"
        )
    try:
        with socket.create_connection((host, port), timeout=_PATIENCE) as line:
            is_there = "RAY_USE_TLS" in os.environ or _speaks(line)
        why = "" if is_there else "what listens there is something else"
    except (OSError, UnicodeError) as error:  # a name may be no name of a host at all
        why = getattr(error, "strerror", None) or str(error) or type(error).__name__
    if why:
        raise EngineError(f"no Ray cluster answers at {_bare(address)}: {why}")


def _speaks(line: socket.socket) -> bool:
    """Say whether HTTP/2 is spoken, as all of Ray's servers do: they begin with their settings (RFC 9113, 3.4)."""
    line.sendall(_GREETING)
    begun = b""
    while len(begun) < _FRAME and (more := line.recv(_FRAME - len(begun))):
        begun += more
    return len(begun) == _FRAME and begun[3] == _SETTINGS


def _bare(address: str) -> str:
    """Return an address to be told: one line, and no password in it."""
    return "".join(letter for letter in address.rpartition("@")[2][:200] if letter.isprintable())
