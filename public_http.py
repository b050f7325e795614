"""HTTP to public addresses alone, for addresses that strangers wrote.

A card may name `http://169.254.169.254/`, or a host whose name leads into the house. So names are resolved here, every
address that a name has is checked, and the connection goes to the very address that was checked: what the name means a
moment later changes nothing. This holds for each hop of a redirection, since each opens a connection of its own.
"""

from __future__ import annotations

import ipaddress
import socket
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from http.cookiejar import DefaultCookiePolicy
from typing import Any, Final

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import ConnectTimeoutError, NewConnectionError

Resolve = Callable[[str, int], Sequence[str]]
"""(host, port) -> the addresses that the host has; raises `OSError` when it has none."""
Connect = Callable[[str, int, float], socket.socket]
"""(address, port, seconds) -> a connection; raises `OSError`."""

_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")
"""Through these, networks without IPv4 reach IPv4 addresses, which stand in the last four bytes."""
_LONGEST: Final = 60.0


def is_public(address: str) -> bool:
    """Say whether an address lies on the public network: not loopback, private, link-local, multicast or reserved.

    An IPv4 address inside an IPv6 one counts as itself.

    >>> [is_public(address) for address in ("8.8.8.8", "127.0.0.1", "169.254.169.254", "::ffff:10.0.0.1", "0.0.0.0")]
    [True, False, False, False, False]
    """
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped is not None:
            return is_public(str(found.ipv4_mapped))
        if found in _NAT64:
            return is_public(str(ipaddress.IPv4Address(found.packed[-4:])))
        if found.sixtofour is not None or found.teredo is not None or found.is_site_local:
            return False
    return found.is_global and not (found.is_multicast or found.is_reserved)


def resolve(host: str, port: int) -> list[str]:
    """Return the addresses of a host, as the system knows them.

    Raises:
        OSError: It has none.
    """
    return list(dict.fromkeys(str(found[4][0]) for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)))


def _connect(address: str, port: int, seconds: float) -> socket.socket:
    return socket.create_connection((address, port), seconds)


def public_session(
    resolve: Resolve = resolve, connect: Connect = _connect, *, kept: float | None = None
) -> requests.Session:
    """Return a session that reaches public addresses alone, and keeps each connection for a limited time.

    It heeds neither proxies nor `.netrc`, and keeps no cookies.

    Args:
        resolve: Knows the addresses of hosts.
        connect: Opens connections to addresses.
        kept: How many seconds a connection is kept; None for as long as it may take to make it.
    """
    session = requests.Session()
    session.trust_env = False
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    session.headers.update({"User-Agent": "velatura", "Accept-Encoding": "identity", "Connection": "close"})
    for scheme in ("http://", "https://"):
        session.mount(scheme, _PublicAdapter(resolve, connect, kept))
    return session


class _PublicAdapter(HTTPAdapter):
    """Has its connections made by `_open`, and ends each answer when its time is over."""

    def __init__(self, resolve: Resolve, connect: Connect, kept: float | None) -> None:
        self._resolve, self._connect, self._kept = resolve, connect, kept
        self._here = threading.local()
        super().__init__(pool_connections=1, pool_maxsize=1)

    def init_poolmanager(self, connections: int, maxsize: int, block: bool = False, **options: Any) -> None:
        super().init_poolmanager(connections, maxsize, block, **options)
        made = self._made

        class Plain(HTTPConnection):
            def _new_conn(self) -> socket.socket:
                return made(self)

        class Secure(HTTPSConnection):
            def _new_conn(self) -> socket.socket:
                return made(self)

        class PlainPool(HTTPConnectionPool):
            ConnectionCls = Plain

        class SecurePool(HTTPSConnectionPool):
            ConnectionCls = Secure

        self.poolmanager.pool_classes_by_scheme = {"http": PlainPool, "https": SecurePool}

    def send(self, *given: Any, **options: Any) -> requests.Response:
        watches: list[_Watch] = []
        self._here.watches = watches

        def end() -> None:
            for watch in watches:
                watch.end()

        try:
            response = super().send(*given, **options)
        except BaseException:
            end()
            raise
        close = response.close

        def close_watched() -> None:
            end()
            close()

        response.close = close_watched  # type: ignore[method-assign]
        return response

    def _made(self, connection: HTTPConnection) -> socket.socket:
        """Return a connection that ends with the time that it is given."""
        made = _open(connection, self._resolve, self._connect)
        self._here.watches.append(_Watch(made, self._kept or _seconds(connection)))
        return made


class _Watch:
    """Cuts a connection after some seconds: a server may otherwise send a byte now and then for ever."""

    def __init__(self, connection: socket.socket, seconds: float) -> None:
        # TLS takes the socket over and leaves an empty shell; the copy still ends what both stand for.
        self._copy = connection.dup()
        self._timer = threading.Timer(seconds, self._cut)
        self._timer.daemon = True
        self._timer.start()

    def end(self) -> None:
        """Let the connection be."""
        self._timer.cancel()
        self._copy.close()

    def _cut(self) -> None:
        with suppress(OSError):
            self._copy.shutdown(socket.SHUT_RDWR)


def _open(connection: HTTPConnection, resolve: Resolve, connect: Connect) -> socket.socket:
    """Connect to the first of a host's addresses that answers; a host with any address that is not public has none."""
    host, port = connection.host, connection.port or connection.default_port
    try:
        addresses = resolve(host, port)
    except (OSError, UnicodeError) as error:  # a label too long is a UnicodeError
        raise NewConnectionError(connection, f"{host} has no address ({error})") from error
    inside = [address for address in addresses if not is_public(address)]
    if inside or not addresses:
        raise NewConnectionError(connection, f"{host} is not on the public network")
    fault: OSError | None = None
    for address in addresses:
        try:
            return connect(address, port, _seconds(connection))
        except OSError as error:
            fault = error
    if isinstance(fault, TimeoutError):
        raise ConnectTimeoutError(connection, f"{host} does not answer in time") from fault
    raise NewConnectionError(connection, f"{host} does not answer ({fault})") from fault


def _seconds(connection: Any) -> float:
    timeout = connection.timeout
    return min(float(timeout), _LONGEST) if isinstance(timeout, int | float) else _LONGEST
