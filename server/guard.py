"""Who is let in, and with how much: the token, the host's name, the page that asks, the size of the request."""

from __future__ import annotations

import base64
import hashlib
import hmac
import ipaddress
from collections.abc import Collection
from contextlib import suppress
from http.cookies import CookieError, SimpleCookie
from typing import TYPE_CHECKING, Final

from starlette.datastructures import Headers

from .failures import answer

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

COOKIE: Final = "velatura"
"""The cookie that holds the token for the page."""
CLIENT: Final = "x-velatura-client"
"""The header by which clients of one address are told apart, to take turns."""
OPEN: Final = frozenset({"/health", "/", "/login", "/favicon.ico"})
"""Paths that need no token; so do those of the page's own files."""
PAGE: Final = "/page/"

METRICS: Final = "/metrics"
"""What a collector asks; it needs no token where only this machine can ask."""

_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_LONGEST_CLIENT: Final = 64
_DIGITS: Final = 18
"""Of a length that is read as a number; a longer one is too large in any case."""
_MOST_VALUES: Final = 1_000_000
"""Commas and brackets of a body. Each value takes up to a hundred bytes once it is read, and whoever asks for nothing
may send a body."""
_BY_CHANCE: Final = 64
"""Bytes of a picture among which one looks like a comma or a bracket."""


class Guard:
    """Refuses requests before anything reads them.

    A server on this machine alone can still be reached by any page that the browser shows, so a request must call it
    by a name that it has (which stops DNS rebinding), and one that changes anything must not come from another site.

    Args:
        app: The application.
        token: What must be shown as a bearer, as the password of HTTP's basic form, or in the page's cookie; None lets
            everybody in.
        hosts: The names that the server may be called by; none allows every name.
        largest: The most bytes of a request's body.
        open_paths: Paths that need no token beside those of the page.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        token: str | None,
        hosts: Collection[str],
        largest: int,
        open_paths: Collection[str] = OPEN,
    ) -> None:
        self._app = app
        self._token = token
        self._cookie = None if token is None else cookie_of(token)
        self._open = frozenset(open_paths)
        self._hosts = frozenset(host.lower() for host in hosts)
        self._largest = largest

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse the request, or pass it on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers, path = Headers(scope=scope), scope["path"]
        refusal = self._refusal(scope["method"], path, headers)
        if refusal is not None:
            await answer(path, *refusal)(scope, receive, send)
            return
        scope["state"] = {**scope.get("state", {}), "client": client_of(scope, headers)}
        await self._measured(scope, receive, send)

    def _refusal(self, method: str, path: str, headers: Headers) -> tuple[int, str] | None:
        host = headers.get("host", "")
        if self._hosts and _name(host) not in self._hosts:
            return 403, "this server is not called by that name; add it to public_hosts in its settings"
        origin = headers.get("origin")
        if method not in _SAFE and origin is not None and origin.partition("://")[2].lower() != host.lower():
            return 403, "a page of another site may not ask for this"
        if not self._may_enter(path, headers):
            return 401, "this server needs its token; send it as `Authorization: Bearer TOKEN`"
        length = headers.get("content-length", "0")
        if length.isdecimal() and (len(length) > _DIGITS or int(length) > self._largest):
            return 413, self._too_large
        return None

    @property
    def _too_large(self) -> str:
        return f"the request is larger than the {self._largest >> 20} MB that this server takes"

    def _may_enter(self, path: str, headers: Headers) -> bool:
        if self._token is None or self._cookie is None or path in self._open or path.startswith(PAGE):
            return True
        return any(same(shown, self._token) for shown in _shown(headers)) or any(
            same(shown, self._cookie) for shown in _cookies(headers)
        )

    async def _measured(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on; one whose body is larger than it said, or than it may be, ends with 413."""
        size, values, begun, over = 0, 0, False, ""

        async def counted() -> Message:
            nonlocal size, values, over
            message = await receive()
            body = message.get("body", b"")
            size += len(body)
            values += sum(map(body.count, (b",", b"[", b"{")))
            if size > self._largest:
                over = self._too_large
            elif values > _MOST_VALUES + size // _BY_CHANCE:
                over = f"the request holds more than the {_MOST_VALUES:,} values that this server takes"
            if over:
                return {"type": "http.disconnect"}
            return message

        async def noted(message: Message) -> None:
            nonlocal begun
            if over and not begun:
                return
            begun = True
            await send(message)

        try:
            await self._app(scope, counted, noted)
        except Exception:
            if not over:
                raise
        if over and not begun:
            await answer(scope["path"], 413, over)(scope, receive, send)


def client_of(scope: Scope, headers: Headers) -> str:
    """Return whom a request comes from, for turns: its address, and the name that it gives itself."""
    address = scope.get("client") or ("unknown", 0)
    return f"{address[0]} {headers.get(CLIENT, '')[:_LONGEST_CLIENT]}".rstrip()


def same(shown: str, token: str) -> bool:
    """Compare in a time that tells nothing of where they differ."""
    return hmac.compare_digest(shown.encode("utf-8", "surrogateescape"), token.encode())


def cookie_of(token: str) -> str:
    """Return what the page's cookie holds for a token: enough to be let in, and not the token itself."""
    return hashlib.sha256(b"velatura " + token.encode()).hexdigest()


def is_loopback(host: str) -> bool:
    """Say whether an address can be reached from this machine alone."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def names_of(host: str, public: Collection[str]) -> tuple[str, ...]:
    """Return the names that a server at an address may be called by; none where it listens on every address."""
    if is_loopback(host):
        return ("localhost", "127.0.0.1", "::1", host, *public)
    try:
        anywhere = ipaddress.ip_address(host).is_unspecified
    except ValueError:
        anywhere = False
    return tuple(public) and ("localhost", "127.0.0.1", "::1", *public) if anywhere else (host, *public)


def _name(host: str) -> str:
    """Return a `Host` header less its port and brackets."""
    name = host.lower()
    if name.startswith("["):
        return name[1:].partition("]")[0]
    return name.rpartition(":")[0] if name.count(":") == 1 else name


def _shown(headers: Headers) -> list[str]:
    """Return what a request shows for a token."""
    found = []
    kind, _, value = headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer":
        found.append(value.strip())
    elif kind.lower() == "basic":
        with suppress(ValueError):  # no base64, no text, or letters that neither has
            found.append(base64.b64decode(value, validate=True).decode().partition(":")[2])
    return found


def _cookies(headers: Headers) -> list[str]:
    """Return what a request shows in the page's cookie."""
    try:
        cookie = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        cookie = None
    return [] if cookie is None else [cookie.value]
