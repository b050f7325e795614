"""One address at which a language model is called.

The calls of all threads run on one event loop in the background. There a call ends at its deadline whatever the server
does, dribbling included, and what one call learns of the server, such as to wait, holds for all others at once.
"""

from __future__ import annotations

import asyncio
import atexit
import math
import os
import re
import threading
import time
import weakref
from collections.abc import Mapping
from contextlib import suppress
from email.utils import parsedate_to_datetime
from typing import Any, Final
from urllib.parse import urlsplit

from .throttle import Pace, Window

KEY: Final = "OPENAI_API_KEY"
KEYS: Final = "VELATURA_LLM_KEYS"
"""A key for each address, in their order, with commas between them."""
_LONGEST_WAIT: Final = 3600.0
"""Seconds that a server can ask of all calls."""
_CONNECTING: Final = 10.0
"""Seconds that a server may take to take a connection: one that is not there is not waited for as an answer is."""
_SHOWN: Final = 200
_TELLING: Final = 8
"""Characters of a key that in a row are a part of it, and no chance."""
_WORD: Final = re.compile(r"\S+")
_BASIC: Final = re.compile(r"\b(basic)\s+[\w+/=.-]+", re.IGNORECASE)
"""What an address with a password in it is sent as, in a reply that repeats it."""
_AROUND: Final = "\"'`.,;:()[]{}<>"
_LAST: Final = 1.0
"""Seconds that closing may take when the process ends."""


class Endpoint:
    """A chat completions server, and what is known of it; but for `open` and `client`, for the event loop alone.

    Args:
        url: Its address; None for OpenAI's.
        key: Its own key; None where it wants none. No other server is sent it: redirections are not followed.
        name: What it is called before a person.
        timeout: Seconds that it may be silent.
        rate: The most requests a minute that it is sent; None for any number.
        tokens: The most tokens a minute, of questions and answers; None for any number.
    """

    def __init__(
        self,
        url: str | None,
        *,
        key: str | None,
        name: str,
        timeout: float,
        rate: float | None = None,
        tokens: float | None = None,
    ) -> None:
        self.name = name
        self.window = Window()
        self.under_way = 0
        self.failures = 0
        """How often in a row its calls came to nothing; those that were under way together count once."""
        self.answered_at = self.begun_at = self.failed_at = self.useless_until = -math.inf
        self._closed_until = -math.inf
        self._lack = ""
        self._requests, self._tokens = Pace(rate), Pace(tokens)
        self._url = url
        self._key = key
        self._timeout = timeout
        self._caller: Any = None

    def client(self, retries: int) -> Any:
        """Return a new `openai.OpenAI` for whatever else the server offers, such as files and batches."""
        import openai

        return openai.OpenAI(**self._access(), timeout=self._timeout, max_retries=retries)

    def open(self) -> None:
        """Make what calls it, which takes a while that the event loop has not; to be called once, before any call."""
        import openai

        timeout = openai.Timeout(self._timeout, connect=min(self._timeout, _CONNECTING))
        unled = openai.DefaultAsyncHttpxClient(timeout=timeout, follow_redirects=False)
        self._caller = openai.AsyncOpenAI(**self._access(), timeout=timeout, max_retries=0, http_client=unled)
        weakref.finalize(self, _close, self._caller)
        _callers.add(self._caller)

    @property
    def opens(self) -> float:
        """When it may be called again, by `time.monotonic()`."""
        return max(self._closed_until, self.useless_until, self._requests.opens, self._tokens.opens)

    def close(self, until: float, lack: str = "") -> None:
        """Leave it alone until then: it is full, or what is lacking is told."""
        self._closed_until = max(self._closed_until, until)
        self._lack = lack

    def why_closed(self, now: float) -> str:
        """Return in words why it may not be called yet."""
        if self._closed_until <= now:
            return f"may not be asked for another {self.opens - now:.0f} s, at the rate that is set"
        if self._lack:
            return f"does not answer: {self._lack}"
        return f"is full and asks to wait another {self.opens - now:.0f} s"

    def begin(self, tokens: int) -> None:
        """Note that a call of about so many tokens begins."""
        self.begun_at = time.monotonic()
        self.under_way += 1
        self.window.begun(self.under_way)
        self._requests.take(1, self.begun_at)
        self._tokens.take(tokens, self.begun_at)

    def end(self) -> None:
        """Note that a call has ended, however it has."""
        self.under_way -= 1

    def answered(self, began: float, surplus: int) -> None:
        """Note an answer, and how many tokens more it took than were thought when it began."""
        self.failures = 0
        self.answered_at = time.monotonic()
        self.window.answered(began, self.answered_at)
        self._tokens.take(surplus, self.answered_at)

    async def post(self, body: Mapping[str, Any], patience: float) -> Any:
        """Return the server's reply to one call, which should be a JSON object of a chat completion.

        Args:
            body: What is asked.
            patience: Seconds that it may be silent in this call, where they are fewer than usual.

        Raises:
            openai.APIError: There is none.
        """
        import openai

        silence = min(patience, self._timeout)
        timeout = openai.Timeout(silence, connect=min(silence, _CONNECTING))
        return await self._caller.post("/chat/completions", body=body, cast_to=object, options={"timeout": timeout})

    def _access(self) -> dict[str, Any]:
        # The client wants some key, and a server of one's own none.
        return {"api_key": self._key or "none", "base_url": self._url}


def name_of(url: str | None, *, port: bool = False) -> str:
    """Return what an address is called before a person: its host, with the port where several are told apart."""
    parts = urlsplit(url or "")
    if not parts.hostname:
        return "OpenAI"
    return f"{parts.hostname}:{parts.port}" if port and parts.port else parts.hostname


def safe(text: str) -> str:
    """Return a server's words in one short line, without any key, which some repeat in whole or in part."""
    line = "".join(letter if letter.isprintable() else " " for letter in without_key(text))
    return " ".join(line.split())[:_SHOWN] or "no reason given"


def told_by(error: Any) -> str:
    """Return what a server said in an error, which stands in what it sent, else the client's words."""
    body = getattr(error, "body", None)
    message = body.get("message") if isinstance(body, dict) else None
    return safe(message if isinstance(message, str) and message else str(error))


def code_of(error: Any) -> str | None:
    """Return the code by which a server names an error."""
    body = getattr(error, "body", None)
    code = body.get("code") if isinstance(body, dict) else None
    return code if isinstance(code, str) else None


def without_key(text: str) -> str:
    """Return a text with three asterisks for each word that repeats a key, or a part of it beside asterisks.

    >>> without_key("Incorrect API key provided: sk-pr***4f9z. Look it up.")
    'Incorrect API key provided: *** Look it up.'
    """
    keys = [os.environ.get(KEY, "").strip(), *(key.strip() for key in os.environ.get(KEYS, "").split(","))]
    parts = {key[place : place + _TELLING] for key in keys for place in range(len(key) - _TELLING + 1)}
    short = {key for key in keys if 0 < len(key) < _TELLING}

    def tells(word: str) -> bool:
        # A key this short is no secret, and may stand in any word.
        return "***" in word or any(part in word for part in parts) or word.strip(_AROUND) in short

    return _WORD.sub(lambda word: "***" if tells(word[0]) else word[0], _BASIC.sub(r"\1 ***", text))


def asked_wait(error: Any) -> float | None:
    """Return the seconds that a reply asks to wait, of `Retry-After` (seconds or a date) or `retry-after-ms`."""
    headers = getattr(getattr(error, "response", None), "headers", {})
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        told = headers.get(name)
        if told is None:
            continue
        try:
            seconds = float(told) * unit
        except ValueError:
            try:
                seconds = parsedate_to_datetime(told).timestamp() - time.time()
            except (ValueError, OverflowError):
                continue
        if not math.isnan(seconds):
            return min(max(seconds, 0.0), _LONGEST_WAIT)
    return None


_starting = threading.Lock()
_running: list[asyncio.AbstractEventLoop] = []
_callers: weakref.WeakSet[Any] = weakref.WeakSet()


def event_loop() -> asyncio.AbstractEventLoop:
    """Return the event loop of all calls, which runs in a thread of its own."""
    with _starting:
        if not _running:
            loop = asyncio.new_event_loop()
            thread = threading.Thread(target=loop.run_forever, name="velatura language model", daemon=True)
            thread.start()
            _running.append(loop)
            atexit.register(_stop, loop, thread)
        return _running[0]


def _stop(loop: asyncio.AbstractEventLoop, thread: threading.Thread) -> None:
    """End the calls under way, close all connections, then the loop."""
    with suppress(TimeoutError):
        asyncio.run_coroutine_threadsafe(_finish(*_callers), loop).result(_LAST)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(_LAST)
    if not loop.is_running():
        loop.close()


async def _finish(*callers: Any) -> None:
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await _hang_up(*callers)


async def _hang_up(*callers: Any) -> None:
    """Give up the connections of clients, which takes the loop another turn after they are closed."""
    for caller in callers:
        await caller.close()
    await asyncio.sleep(0.01)


def _close(caller: Any) -> None:
    """Hang up for a client that nobody asks any more."""
    if _running and not _running[0].is_closed():
        _running[0].call_soon_threadsafe(lambda: _running[0].create_task(_hang_up(caller)))
