"""A Milvus server, or a folder of milvus-lite, whose errors are sentences."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from threading import Lock
from typing import Any, Final
from urllib.parse import urlsplit

from ..errors import CatalogueError, InputError, MissingDependency

VARIABLE: Final = "VELATURA_MILVUS_TOKEN"
"""The variable with the server's token, `user:password` or a key."""

CONNECTING: Final = 10
"""Seconds after which a server that does not answer is given up."""
ANSWERING: Final = 60
"""Seconds after which one question or one batch is given up."""

_LITE: Final = ".db"
_NO_COLLECTION: Final = 100


class CollectionGone(CatalogueError):
    """The collection asked for is not there."""


class Milvus:
    """Milvus at an address; nothing is opened before it is needed.

    Args:
        address: `http(s)://HOST:PORT[/DATABASE]`, or a path that ends in `.db`, where milvus-lite keeps its folder.

    Raises:
        InputError: The address is neither.
    """

    def __init__(self, address: str) -> None:
        self.is_lite = "://" not in address
        self._address = str(_path(address)) if self.is_lite else _url(address)
        self._client: Any = None
        self._opening = Lock()
        self._version = ""
        self.writing = Lock()
        """Held by whoever changes a collection: milvus-lite bears one writer, and two would do the work twice."""

    @property
    def client(self) -> Any:
        """The `pymilvus.MilvusClient`.

        Raises:
            MissingDependency: pymilvus or milvus-lite is not installed.
            CatalogueError: It cannot be reached, or another process has milvus-lite's folder open.
        """
        with self._opening:
            if self._client is None:
                self._client = self._opened()
            return self._client

    @property
    def takes_templates(self) -> bool:
        """Whether values may stand beside a filter; milvus-lite, at whichever address, reads them in it alone."""
        if not self._version:
            with self.speaking():
                self._version = str(self.client.get_server_version(timeout=ANSWERING))
        return "lite" not in self._version

    @contextmanager
    def speaking(self) -> Iterator[None]:
        """Put what pymilvus raises into a sentence.

        Raises:
            CollectionGone: The collection is not there.
            CatalogueError: Anything else.
        """
        _ = self.client  # imports pymilvus, or says that it is not there
        from grpc import RpcError
        from pymilvus.exceptions import MilvusException

        try:
            yield
        except MilvusException as error:
            if error.code == _NO_COLLECTION:
                raise CollectionGone(
                    f"a collection of {self._address} is gone; ask again, and it is made anew"
                ) from error
            raise CatalogueError(f"Milvus at {self._address} failed: {_told(error)}") from error
        except RpcError as error:  # as gRPC's own: nothing came in time
            raise CatalogueError(f"Milvus at {self._address} failed: {_told(error)}") from error

    def close(self) -> None:
        """Close the connection, and milvus-lite where it runs in this process."""
        with self._opening:
            client, self._client = self._client, None
            if client is None:
                return
            client.close()
            if self.is_lite:
                from milvus_lite.server_manager import server_manager_instance

                server_manager_instance.release_server(self._address)

    def _opened(self) -> Any:
        # pymilvus would read a `.env` that lies above it into this process's environment.
        os.environ.setdefault("PYTHON_DOTENV_DISABLED", "1")
        try:
            from grpc import RpcError
            from pymilvus import MilvusClient
            from pymilvus.exceptions import MilvusException
        except ImportError as error:
            raise MissingDependency("pymilvus", extra="milvus") from error
        if self.is_lite and find_spec("milvus_lite") is None:
            raise MissingDependency("milvus_lite", extra="milvus")
        # They print a traceback for whatever they raise, and milvus-lite one for what it is asked and does not know.
        for name in ("pymilvus", *(("milvus_lite", "grpc._server") if self.is_lite else ())):
            logging.getLogger(name).setLevel(logging.CRITICAL + 1)
        token = "" if self.is_lite else os.environ.get(VARIABLE, "")
        try:
            if self.is_lite:
                Path(self._address).parent.mkdir(parents=True, exist_ok=True)
            return MilvusClient(self._address, token=token, timeout=CONNECTING)
        except OSError as error:
            raise CatalogueError(f"the folder of {self._address} cannot be made: {error.strerror}") from error
        except (MilvusException, RpcError) as error:
            raise CatalogueError(self._unopened(error)) from error

    def _unopened(self, error: Exception) -> str:
        if self.is_lite:
            return (
                f"milvus-lite cannot open {self._address}: it may be damaged, or open in another process, of which "
                "there can be one; end that one, or name a Milvus server with VELATURA_MILVUS"
            )
        return (
            f"Milvus at {self._address} cannot be reached ({_told(error)}); start it, look at VELATURA_MILVUS and "
            f"{VARIABLE}, or set VELATURA_INDEX=faiss"
        )


def _path(address: str) -> Path:
    if not address.endswith(_LITE):
        raise InputError(f"the setting milvus must be http(s)://HOST:PORT, or a path that ends in {_LITE}")
    path = Path(address).expanduser().absolute()
    if path.is_file():
        raise InputError(f"{path} is a file, and milvus-lite needs a folder of its own; name another path")
    return path


def _url(address: str) -> str:
    try:
        parts = urlsplit(address)
        fits = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        fits = False
    # What stands before an @ or behind a ? may be a password, so the address is not repeated.
    if not fits or parts.query or parts.fragment:
        raise InputError(f"the setting milvus must be http(s)://HOST:PORT, or a path that ends in {_LITE}")
    if "@" in parts.netloc:
        raise InputError(f"the setting milvus may hold no password; set {VARIABLE}")
    return address


def _told(error: Exception) -> str:
    """Return what an error of pymilvus or gRPC says, in one line, cut."""
    details = getattr(error, "details", None)
    message = details() if callable(details) else getattr(error, "message", "")
    return " ".join(str(message or error).split())[:200]
