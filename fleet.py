"""The addresses at which one language model is called, by many threads at once.

A call goes to the server with the fewest under way, of those that have room. One that is full, fails or cannot be
reached is left alone for a growing while and then tried by a single call, and the call that met it goes to another.
"""

from __future__ import annotations

import asyncio
import math
import random
import threading
import time
import warnings
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from .endpoint import KEY, Endpoint, asked_wait, code_of, event_loop, name_of, safe, told_by
from .errors import InputError, LanguageModelError, LanguageModelUnavailable
from .records import Usage
from .spending import Purse

_BUSY: Final = frozenset({408, 409, 425, 429})
"""With all of 500 and above: what another try may find mended."""
_FORMS: Final = frozenset({400, 413, 422})
"""The call is not taken as it is, here or elsewhere."""
_ACCESS: Final = frozenset({401, 403, 404})
"""The key or the model's name is not taken."""
_SPENT: Final = "insufficient_quota"
"""OpenAI's code of an account without money: no wait helps."""
_UNPAID: Final = 402
"""The status by which others say the same."""
_SHORT, _LONG, _LONGER = 0.5, 8.0, 60.0
"""Seconds of the first pause, of the longest of a question, and of a server; each is twice the one before, and up to
a quarter less by chance."""
_USELESS: Final = 300.0
"""Seconds that a server is left alone whose key or model is wrong, while others serve."""
_TOKEN: Final = 4
"""Bytes of a token, about."""
_PICTURE: Final = 255
"""Tokens of a picture, about."""


class EndpointWarning(UserWarning):
    """One of several servers is of no use as it is set up, and is left alone."""


class RefusedCall(Exception):
    """A server takes no call of this form."""

    def __init__(self, host: str, reason: str, code: str | None) -> None:
        super().__init__(reason)
        self.host = host
        self.code = code


@dataclass(slots=True, eq=False)
class _Turn:
    """A call that waits for a server."""

    deadline: float
    tokens: int
    given: asyncio.Future[Endpoint] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Fleet:
    """One chat completions server or several of the same model; its methods may be called by any number of threads.

    Args:
        servers: Address and key of each; None for OpenAI's, and for no key.
        timeout: Seconds that one may be silent.
        retries: How often a call is repeated that met a full or failing server, beside once for each other server.
            While one of them answers others, a call that is turned away for want of room is repeated until its
            deadline.
        rate: The most requests a minute that each is sent.
        tokens: The most tokens a minute of each, of questions and answers.
        purse: What may be spent.
    """

    def __init__(
        self,
        servers: Sequence[tuple[str | None, str | None]],
        *,
        timeout: float,
        retries: int,
        rate: float | None = None,
        tokens: float | None = None,
        purse: Purse | None = None,
    ) -> None:
        several = len(servers) > 1
        self._endpoints = [
            Endpoint(url, key=key, name=name_of(url, port=several), timeout=timeout, rate=rate, tokens=tokens)
            for url, key in servers
        ]
        self._retries = retries
        self._purse = purse
        self._notes: deque[str] = deque()
        self._opening = threading.Lock()
        self._is_open = False
        # Read and written on the event loop alone.
        self._waiting: deque[_Turn] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._answered = 0

    @property
    def host(self) -> str:
        """The servers' name, for a person."""
        first, *others = (endpoint.name for endpoint in self._endpoints)
        return f"{first} (and {len(others)} more)" if others else first

    def client(self) -> Any:
        """Return a new `openai.OpenAI` of the first server, for whatever else it offers, such as files and batches."""
        return self._endpoints[0].client(self._retries)

    def open(self) -> None:
        """Make ready to call, which takes a while the first time."""
        with self._opening:
            if not self._is_open:
                for endpoint in self._endpoints:
                    endpoint.open()
                self._is_open = True

    def call(self, body: Mapping[str, Any], deadline: float, usage: Callable[[Any], Usage]) -> Any:
        """Return a server's reply, which should be a JSON object of a chat completion; `open` comes first.

        An `EndpointWarning` tells of a server that refuses its key or does not know the model, where others do.

        Args:
            body: What is asked, as the chat completions API has it.
            deadline: The time of `time.monotonic()` at which the call ends, waits and repetitions included.
            usage: Reads in a reply what it took.

        Raises:
            RefusedCall: A server refuses this form of call.
            InputError: Every server refuses the key, or does not know the model.
            LanguageModelSpent: The money for it is spent.
            LanguageModelUnavailable: None can be reached; or they stay full or failing, or take too long.
            LanguageModelError: None answers in another way.
        """
        future = asyncio.run_coroutine_threadsafe(self._call(body, deadline, usage), event_loop())
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise
        finally:
            while self._notes:
                warnings.warn(self._notes.popleft(), EndpointWarning, stacklevel=2)

    async def _call(self, body: Mapping[str, Any], deadline: float, usage: Callable[[Any], Usage]) -> Any:
        """Call until there is a reply, or none is to be hoped for."""
        import openai

        began, tries, told, answered = time.monotonic(), 0, "", self._answered
        tokens = _tokens_of(body)
        try:
            async with asyncio.timeout(deadline - began):
                while True:
                    endpoint = await self._turn(_Turn(deadline, tokens), again=bool(told))
                    asked = endpoint.begun_at
                    wait = 0.0
                    try:
                        reply = await self._ask(endpoint, body, tokens, usage, deadline)
                    except (openai.APIStatusError, openai.APIConnectionError) as error:
                        told = told_by(error)
                        full = getattr(error, "status_code", 0) == 429
                        tries += not (full and self._answered > answered)
                        answered = self._answered
                        if full:
                            endpoint.window.turned_away(asked, endpoint.under_way, time.monotonic())
                        wait = self._fault(endpoint, asked, error, tries, deadline, body.get("model"))
                    else:
                        self._answered += 1
                        return reply
                    finally:
                        self._hand_out()
                    await asyncio.sleep(wait)
        except TimeoutError:
            last = f"; last it said: {told}" if told else ""
            left = f"{round(max(0.0, deadline - began), 2):g} s left for it"
            raise LanguageModelUnavailable(f"{self.host} gave no answer in the {left}{last}") from None
        except (openai.OpenAIError, ValueError) as error:
            raise LanguageModelError(f"{self.host} does not answer: {safe(str(error))}") from None

    async def _ask(
        self,
        endpoint: Endpoint,
        body: Mapping[str, Any],
        tokens: int,
        usage: Callable[[Any], Usage],
        deadline: float,
    ) -> Any:
        """Call a server that has a place for it once, and pay for what comes back."""
        began = endpoint.begun_at
        # A call that tries a server which failed keeps half of its time for another one.
        tries = endpoint.failures > 0 and len(self._endpoints) > 1
        patience = (deadline - began) / 2 if tries else math.inf
        reserved, taken = 0.0, None
        try:
            if self._purse is not None:
                reserved = self._purse.begin(tokens)
            try:
                reply = await endpoint.post(body, patience)
            except asyncio.CancelledError:
                # The deadline has passed. A server that gave nobody an answer meanwhile does not answer at all.
                if endpoint.answered_at < began:
                    self._rest(endpoint, began, "it is silent")
                raise
            taken = _known(usage(reply), tokens, reply)
            endpoint.answered(began, taken.read + taken.written - tokens)
            return reply
        finally:
            endpoint.end()
            if self._purse is not None:
                self._purse.end(reserved, taken)

    # ------------------------------------------------------------ whose turn it is

    async def _turn(self, turn: _Turn, *, again: bool) -> Endpoint:
        """Return a server on which a place is taken; who asks again goes first."""
        if again:
            self._waiting.appendleft(turn)
        else:
            self._waiting.append(turn)
        self._hand_out()
        try:
            return await turn.given
        except asyncio.CancelledError:
            if turn.given.done() and not turn.given.cancelled() and turn.given.exception() is None:
                turn.given.result().end()
                self._hand_out()
            raise

    def _hand_out(self) -> None:
        """Give the places that there are to those who wait, first come, first served."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._waiting:
            if self._waiting[0].given.done():
                self._waiting.popleft()
                continue
            now = time.monotonic()
            roomy = [endpoint for endpoint in self._endpoints if self._has_room(endpoint)]
            ready = [endpoint for endpoint in roomy if endpoint.opens <= now]
            if ready:
                turn = self._waiting.popleft()
                endpoint = min(ready, key=lambda one: (one.under_way, one.begun_at))
                endpoint.begin(turn.tokens)
                turn.given.set_result(endpoint)
                continue
            self._give_up(now)
            if roomy and self._waiting:
                wait = max(0.0, min(endpoint.opens for endpoint in roomy) - now)
                self._timer = asyncio.get_running_loop().call_later(wait, self._hand_out)
            return

    def _has_room(self, endpoint: Endpoint) -> bool:
        if endpoint.failures and len(self._endpoints) > 1:
            return endpoint.under_way == 0  # one call tries whether it is there again
        return endpoint.window.has_room(endpoint.under_way)

    def _give_up(self, now: float) -> None:
        """Tell those who wait that no server may be called before their deadline."""
        first = min(self._endpoints, key=lambda endpoint: endpoint.opens)
        if first.opens <= now:
            return
        for turn in self._waiting:
            if first.opens > turn.deadline and not turn.given.done():
                turn.given.set_exception(LanguageModelUnavailable(f"{first.name} {first.why_closed(now)}"))
        self._waiting = deque(turn for turn in self._waiting if not turn.given.done())

    # ------------------------------------------------------------ what goes wrong

    def _fault(self, endpoint: Endpoint, began: float, error: Any, tries: int, deadline: float, model: object) -> float:
        """Note what went wrong, and return how long the call waits before it asks again; raise where none helps."""
        status, code, told = getattr(error, "status_code", None), code_of(error), told_by(error)
        if status in _FORMS:
            raise RefusedCall(endpoint.name, told, code) from None
        if status in _ACCESS:
            sentence = f"{endpoint.name} does not give {model!r}: {told}"
            look = f"; look at {KEY}, VELATURA_LLM and VELATURA_LLM_URL"
            return self._useless(endpoint, sentence, InputError(sentence + look))
        sentence = f"{endpoint.name} does not answer{f' after {tries} tries' if tries > 1 else ''}: {told}"
        if status == _UNPAID or code == _SPENT:
            return self._useless(endpoint, sentence, LanguageModelUnavailable(sentence))
        if status is not None and status not in _BUSY and status < 500:
            return self._useless(endpoint, sentence, LanguageModelError(sentence))
        now, several = time.monotonic(), len(self._endpoints) > 1
        asked = asked_wait(error)
        wait = asked if asked is not None else _growing(tries, _LONG)
        if status == 429 or asked is not None:
            # Many that wait, in several processes, do not all come back in the same moment.
            endpoint.close(now + wait + random.uniform(0, min(1.0, wait / 4)))  # noqa: S311 - no secret
            wait = 0.0
        elif several:
            self._rest(endpoint, began, told)
            wait = 0.0
        if tries > self._retries + len(self._endpoints) - 1 or now + wait > deadline:
            raise LanguageModelUnavailable(sentence) from None
        return wait

    def _useless(self, endpoint: Endpoint, sentence: str, error: Exception) -> float:
        """Leave a server alone that takes no call at all, where there is another; else raise the error."""
        now = time.monotonic()
        if all(one is endpoint or one.useless_until > now for one in self._endpoints):
            raise error from None
        endpoint.useless_until = now + _USELESS
        self._notes.append(f"{sentence}; it is left alone for {_USELESS / 60:.0f} minutes")
        return 0.0

    def _rest(self, endpoint: Endpoint, began: float, told: str) -> None:
        """Leave one of several servers alone, the longer the more often in a row calls came to nothing."""
        if len(self._endpoints) > 1 and began > endpoint.failed_at:
            endpoint.failures += 1
            endpoint.failed_at = time.monotonic()
            endpoint.close(endpoint.failed_at + _growing(endpoint.failures, _LONGER), told)


def _growing(times: int, longest: float) -> float:
    pause = min(longest, _SHORT * 2.0 ** max(0, min(times, 30) - 1))
    return pause * random.uniform(0.75, 1.0)  # noqa: S311 - no secret


def _tokens_of(body: Mapping[str, Any]) -> int:
    """Return about how many tokens a question has: a quarter of its bytes, and 255 a picture."""
    size, pictures = 0, 0
    for message in body["messages"]:
        content = message["content"]
        for part in [{"text": content}] if isinstance(content, str) else content:
            if "text" in part:
                size += len(part["text"].encode("utf-8", "replace"))
            else:
                pictures += 1
    return size // _TOKEN + pictures * _PICTURE


def _known(usage: Usage, tokens: int, reply: Any) -> Usage:
    """Return what a call took; where its server does not tell, about."""
    if usage.read or usage.written:
        return usage
    return Usage(calls=1, read=tokens, written=len(str(reply)) // _TOKEN)
