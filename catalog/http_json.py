"""JSON over HTTP from a site that is busy, moody, or behind a guard: asked again until it answers."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from ..errors import SourceError, SourceUnavailable

if TYPE_CHECKING:
    import requests

_ANSWER_LIMIT = 256 * 2**20
_FIRST_PAUSE, _LONGEST_PAUSE, _LONGEST_ASKED = 1.0, 60.0, 300.0


class JsonClient:
    """Asks one site for JSON.

    Overload (429, 5xx), broken connections, timeouts and pages of HTML where JSON was due are tried again, after a
    pause that doubles each time with some chance in it, or that the site asked for by `Retry-After` (at most five
    minutes). The token stands in the `Authorization` header alone, and never in an address or a message.
    """

    def __init__(
        self,
        site: str,
        *,
        session: requests.Session | None = None,
        token: str | None = None,
        token_variable: str = "",
        tries: int = 8,
        timeout: float = 60.0,
        sleep: Callable[[float], object] = time.sleep,
        rng: random.Random | None = None,
    ) -> None:
        """Prepare to ask; nothing is sent yet.

        Args:
            site: The site's name for people.
            session: What sends the requests; a new `requests.Session` when None.
            token: The secret that the site gave the person.
            token_variable: The environment variable that the token came, or would come, from.
            tries: How often one question is asked in all.
            timeout: Seconds until an answer must begin, and between its parts.
            sleep: Waits for some seconds.
            rng: Where the chance in the pauses comes from.
        """
        import requests

        self._site = site
        self._session = requests.Session() if session is None else session
        self._headers = {"Accept": "application/json", "User-Agent": "velatura"}
        if token:
            self._headers["Authorization"] = f"Bearer {token}"
        self._has_token = bool(token)
        self._token_variable = token_variable
        self._tries = tries
        self._timeout = timeout
        self._sleep = sleep
        self._rng = rng or random.Random()  # noqa: S311 - spreads requests in time, keeps no secret

    def get(self, url: str, params: Mapping[str, Any]) -> Any:
        """Return the JSON that an address answers with.

        Raises:
            SourceUnavailable: It did not answer in all the tries.
            SourceError: It refuses the question or the token.
        """
        for attempt in range(self._tries):
            answer, trouble, asked = self._ask(url, params)
            if not trouble:
                return answer
            if attempt + 1 < self._tries:
                doubled = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2**attempt)
                self._sleep(doubled * self._rng.uniform(0.5, 1.0) if asked is None else asked)
        raise SourceUnavailable(f"{self._site} does not answer ({trouble}, {self._tries} tries); run it again later")

    def _ask(self, url: str, params: Mapping[str, Any]) -> tuple[Any, str, float | None]:
        """Return (answer, what went wrong, the pause that the site asks for)."""
        import requests

        try:
            with self._session.get(
                url, params=params, headers=self._headers, timeout=self._timeout, stream=True
            ) as response:
                status, asked = response.status_code, asked_pause(response.headers.get("Retry-After"))
                if status == 429 or status >= 500:
                    return None, f"HTTP {status}", asked
                self._refuse(status, response.headers.get("Content-Type", ""))
                body = _body(response)
        except requests.Timeout:
            return None, "timeout", None
        except requests.ConnectionError:
            return None, "no connection", None
        except (requests.exceptions.ChunkedEncodingError, requests.exceptions.ContentDecodingError):
            return None, "broken answer", None
        except requests.RequestException as error:
            raise SourceError(f"{self._site} cannot be asked: {type(error).__name__}") from None
        try:
            return json.loads(body), "", None
        except (ValueError, RecursionError):
            return None, "a page that is no JSON", asked

    def _refuse(self, status: int, content: str) -> None:
        """Raise for an answer that another try would not change."""
        if status == 403 and "html" in content.lower():
            raise SourceError(f"{self._site}'s guard keeps this machine out (HTTP 403 and a page for a browser)")
        if status in (401, 403):
            variable = self._token_variable
            told = f"the token in {variable}" if self._has_token else f"to answer without a token; set {variable}"
            raise SourceError(f"{self._site} refuses {told} (HTTP {status})")
        if status >= 300:
            raise SourceError(f"{self._site} refuses the question (HTTP {status})")


def _body(response: requests.Response) -> bytes:
    parts, size = [], 0
    for part in response.iter_content(2**16):
        parts.append(part)
        size += len(part)
        if size > _ANSWER_LIMIT:
            raise SourceError(f"an answer is larger than {_ANSWER_LIMIT // 2**20} MiB; ask for fewer items a page")
    return b"".join(parts)


def asked_pause(value: str | None) -> float | None:
    """Return the seconds of a `Retry-After` header, which holds a number or a date."""
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            due = parsedate_to_datetime(value)
        except (ValueError, TypeError, OverflowError):
            return None
        if due.tzinfo is None:
            due = due.replace(tzinfo=UTC)
        seconds = (due - datetime.now(UTC)).total_seconds()
    return min(max(seconds, 0.0), _LONGEST_ASKED) if seconds == seconds else None
