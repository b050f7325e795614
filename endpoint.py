"""One address at which a language model is called, by many threads at once.

The calls of all threads run on one event loop in the background. There a call ends at its deadline whatever the server
does, dribbling included, and what one call learns of the server, such as to wait, holds for all others at once.
"""

from __future__ import annotations

import asyncio
import atexit
import math
import os
import random
import re
import threading
import time
import weakref
from collections.abc import Mapping
from contextlib import suppress
from email.utils import parsedate_to_datetime
from typing import Any, Final
from urllib.parse import urlsplit

from .errors import InputError, LanguageModelError, LanguageModelUnavailable

KEY: Final = "OPENAI_API_KEY"
_BUSY: Final = frozenset({408, 409, 425, 429})
"""With all of 500 and above: what another try may find mended."""
_SPENT: Final = "insufficient_quota"
"""OpenAI's code of an account without money: no wait helps."""
_UNPAID: Final = 402
"""The status by which others say the same."""
_SHORT, _LONG = 0.5, 8.0
"""Seconds of the first pause and of the longest; each is twice the one before, and up to a quarter less by chance."""
_LONGEST_WAIT: Final = 3600.0
"""Seconds that a server can ask of all calls."""
_SHOWN: Final = 200
_TELLING: Final = 8
"""Characters of a key that in a row are a part of it, and no chance."""
_WORD: Final = re.compile(r"\S+")
_AROUND: Final = "\"'`.,;:()[]{}<>"
_LAST: Final = 1.0
"""Seconds that closing may take when the process ends."""


class RefusedCall(Exception):
    """The server takes no call of this form."""

    def __init__(self, reason: str, code: str | None) -> None:
        super().__init__(reason)
        self.code = code


class Endpoint:
    """A chat completions server; its methods may be called by any number of threads.

    Args:
        url: Its address; None for OpenAI's.
        timeout: Seconds that it may be silent.
        retries: How often a call is repeated that met a full or failing server. A server that is full and meanwhile
            answers others is asked on until the deadline.
    """

    def __init__(self, url: str | None, *, timeout: float, retries: int) -> None:
        self._url = url
        self._timeout = timeout
        self._retries = retries
        self._lock = threading.Lock()
        self._caller: Any = None
        # Read and written on the event loop alone.
        self._opens = -math.inf  # when it may be called again
        self._answered = 0

    @property
    def host(self) -> str:
        """The server's name, for a person."""
        return (urlsplit(self._url).hostname if self._url else None) or "OpenAI"

    def client(self) -> Any:
        """Return a new `openai.OpenAI` for whatever else the server offers, such as files and batches."""
        import openai

        return openai.OpenAI(**self._access(), max_retries=self._retries)

    def call(self, body: Mapping[str, Any], deadline: float) -> Any:
        """Return the server's reply, which should be a JSON object of a chat completion.

        Args:
            body: What is asked, as the chat completions API has it.
            deadline: The time of `time.monotonic()` at which the call ends, waits and repetitions included.

        Raises:
            RefusedCall: The server refuses this form of call.
            InputError: It refuses the key, or does not know the model.
            LanguageModelUnavailable: It cannot be reached, stays full or failing, or takes too long.
            LanguageModelError: It does not answer in another way.
        """
        future = asyncio.run_coroutine_threadsafe(self._call(self._open(), body, deadline), _loop())
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def safe(self, text: str) -> str:
        """Return a server's words in one short line, without the key, which some repeat in whole or in part."""
        line = "".join(letter if letter.isprintable() else " " for letter in without_key(text))
        return " ".join(line.split())[:_SHOWN] or "no reason given"

    def _access(self) -> dict[str, Any]:
        # The client wants some key, and a server of one's own none.
        return {"api_key": os.environ.get(KEY) or "none", "base_url": self._url, "timeout": self._timeout}

    def _open(self) -> Any:
        with self._lock:
            if self._caller is None:
                import openai

                self._caller = openai.AsyncOpenAI(**self._access(), max_retries=0)
                weakref.finalize(self, _close, self._caller)
                _callers.add(self._caller)
            return self._caller

    async def _call(self, caller: Any, body: Mapping[str, Any], deadline: float) -> Any:
        """Call until there is a reply, or none is to be hoped for."""
        import openai

        began, tries, told, answered = time.monotonic(), 0, "", self._answered
        try:
            async with asyncio.timeout(deadline - began):
                while True:
                    await self._turn(deadline)
                    try:
                        reply = await caller.post("/chat/completions", body=body, cast_to=object)
                    except (openai.APIStatusError, openai.APIConnectionError) as error:
                        told = self._told(error)
                        full = getattr(error, "status_code", 0) == 429
                        tries += not (full and self._answered > answered)
                        answered = self._answered
                        await self._pause(error, told, tries, deadline, body.get("model"))
                    else:
                        self._answered += 1
                        return reply
        except TimeoutError:
            last = f"; last it said: {told}" if told else ""
            left = f"{max(0.0, deadline - began):.2g} s left for it"
            raise LanguageModelUnavailable(f"{self.host} gave no answer in the {left}{last}") from None
        except (openai.OpenAIError, ValueError) as error:
            raise LanguageModelError(f"{self.host} does not answer: {self.safe(str(error))}") from None

    async def _turn(self, deadline: float) -> None:
        """Wait until the server may be called again; many that wait do not all come back in the same moment."""
        while (left := self._opens - time.monotonic()) > 0:
            if self._opens > deadline:
                raise LanguageModelUnavailable(f"{self.host} is full and asks to wait another {left:.0f} s")
            await asyncio.sleep(left + random.uniform(0, min(1.0, left / 4)))  # noqa: S311 - no secret

    async def _pause(self, error: Any, told: str, tries: int, deadline: float, model: object) -> None:
        """Wait as the error asks, or raise where no wait helps."""
        status = getattr(error, "status_code", None)
        if status in (400, 413, 422):
            raise RefusedCall(told, _code(error)) from None
        if status in (401, 403, 404):
            raise InputError(
                f"{self.host} does not give {model!r}: {told}; look at {KEY}, VELATURA_LLM and VELATURA_LLM_URL"
            ) from None
        asked = _asked_wait(error)
        wait = asked if asked is not None else _growing(tries)
        now = time.monotonic()
        spent = status == _UNPAID or _code(error) == _SPENT
        for_all = (status == 429 or asked is not None) and not spent
        if for_all:
            self._opens = max(self._opens, now + wait)
        repeatable = (status is None or status in _BUSY or status >= 500) and not spent
        if not repeatable or tries > self._retries or (now + wait > deadline and not for_all):
            often = f" after {tries} tries" if tries > 1 else ""
            kind = LanguageModelUnavailable if repeatable or spent else LanguageModelError
            raise kind(f"{self.host} does not answer{often}: {told}") from None
        if not for_all:
            await asyncio.sleep(wait)

    def _told(self, error: Any) -> str:
        """Return what the server said, which stands in what it sent, else the client's words."""
        body = getattr(error, "body", None)
        message = body.get("message") if isinstance(body, dict) else None
        return self.safe(message if isinstance(message, str) and message else str(error))


def without_key(text: str) -> str:
    """Return a text with three asterisks for each word that repeats the key, or a part of it beside asterisks.

    >>> without_key("Incorrect API key provided: sk-pr***4f9z. Look it up.")
    'Incorrect API key provided: *** Look it up.'
    """
    key = os.environ.get(KEY, "").strip()
    parts = {key[place : place + _TELLING] for place in range(len(key) - _TELLING + 1)}

    def tells(word: str) -> bool:
        # A key this short is no secret, and may stand in any word.
        return "***" in word or any(part in word for part in parts) or (not parts and word.strip(_AROUND) == key != "")

    return _WORD.sub(lambda word: "***" if tells(word[0]) else word[0], text)


def _code(error: Any) -> str | None:
    body = getattr(error, "body", None)
    code = body.get("code") if isinstance(body, dict) else None
    return code if isinstance(code, str) else None


def _growing(tries: int) -> float:
    longest = min(_LONG, _SHORT * 2.0 ** max(0, tries - 1))
    return longest * random.uniform(0.75, 1.0)  # noqa: S311 - no secret


def _asked_wait(error: Any) -> float | None:
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


def _loop() -> asyncio.AbstractEventLoop:
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
