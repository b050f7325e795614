"""A program that paints for us, asked over HTTP, whatever answers at its address.

Nothing that a server does outlasts the wait or the memory that it is given; what it says of a failure becomes one
sentence. Only the address itself is asked: redirections are not followed and no proxy is.
"""

from __future__ import annotations

import base64
import json
import os
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar
from urllib.parse import quote, urlsplit

from ...errors import BackendError, InputError

if TYPE_CHECKING:
    import requests

Answer = TypeVar("Answer")

QUESTION: Final = 60.0
"""Seconds that an answer may take for which nothing is painted."""
_CONNECTING: Final = 10.0
_LARGEST: Final = 1 << 28
"""Bytes of an answer: lists of adapters bring the headers of all their files."""
_SHOWN: Final = 240
"""Characters of a server's own words that are repeated."""
_REASONS: Final = ("errors", "detail", "exception_message", "message", "error", "msg")
"""Where servers say what was wrong, the most telling first."""


class NotOffered(BackendError):
    """The server has no such address."""


class TimedOut(BackendError):
    """The server did not answer in the time that it was given."""


class Refused(BackendError):
    """The server will not, or cannot; `reply` is the JSON that it said so in, or None."""

    def __init__(self, message: str, *, said: str, reply: Any) -> None:
        super().__init__(message)
        self.said = said
        self.reply = reply


class Call(Generic[Answer]):
    """A question asked on a thread of its own, so that its caller need not wait for it.

    Args:
        ask: Asks it; returns the answer, or raises.
    """

    def __init__(self, ask: Callable[[], Answer]) -> None:
        self._ask = ask
        self._over = threading.Event()
        self._answer: Answer
        self._failure: BaseException | None = None
        threading.Thread(target=self._run, name="velatura question", daemon=True).start()

    def _run(self) -> None:
        try:
            self._answer = self._ask()
        except BaseException as failure:  # raised again for whoever asked
            self._failure = failure
        finally:
            self._over.set()

    def over(self, wait: float) -> bool:
        """Return whether it is answered, after so many seconds at the most."""
        return self._over.wait(wait)

    def answer(self) -> Answer:
        """Return the answer of a call that is over, or raise what it raised."""
        if self._failure is not None:
            raise self._failure
        return self._answer


class Server:
    """A server at one address; its methods may be called by several threads.

    Args:
        title: Its name for people.
        url: Its address: `http://127.0.0.1:7860`.
        secret: The environment variable that may hold `user:password` for it. It is read for every question.
        absent: What to do where it lacks what is asked of it; it ends a sentence.
        session: What asks; None opens a `requests.Session`.

    Raises:
        InputError: the address cannot be one.
    """

    def __init__(
        self, title: str, url: str, *, secret: str, absent: str, session: requests.Session | None = None
    ) -> None:
        self.title = title
        self.url = _address(url, secret)
        self._secret = secret
        self._absent = absent
        if session is None:
            import requests

            session = requests.Session()
            session.trust_env = False  # no proxy, and no password of another program's file
        self._session = session

    def get(self, path: str, **params: str) -> Any:
        """Return the JSON at a path.

        Raises:
            BackendError: there is none; one sentence.
        """
        return self._json(self._within(QUESTION, "GET", path, params=params))

    def post(self, path: str, body: Mapping[str, Any], *, wait: float = QUESTION) -> Any:
        """Return the JSON that a path answers to JSON; None where it answers with nothing.

        Raises:
            BackendError: it does not answer so.
        """
        content = self._within(wait, "POST", path, json=body)
        return self._json(content) if content.strip() else None

    def send(self, path: str, name: str, content: bytes, **fields: str) -> Any:
        """Return the JSON that a path answers to a picture in a form.

        Raises:
            BackendError: it does not answer so.
        """
        files = {"image": (name, content, "image/png")}
        return self._json(self._within(QUESTION, "POST", path, files=files, data=fields))

    def fetch(self, path: str, **params: str) -> bytes:
        """Return the bytes at a path.

        Raises:
            BackendError: there are none.
        """
        return self._within(QUESTION, "GET", path, params=params)

    def safe(self, text: str) -> str:
        """Return a server's words in one short line, without what is secret."""
        for secret in _secrets(os.environ.get(self._secret, "")):
            text = text.replace(secret, "***")
        line = " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
        return line if len(line) <= _SHOWN else f"{line[:_SHOWN]}..."

    def _within(self, wait: float, method: str, path: str, **asked: Any) -> bytes:
        """Ask, for so many seconds at the most, whatever the server does meanwhile."""
        call = Call(lambda: self._ask(wait, method, path, **asked))
        if not call.over(wait):
            raise TimedOut(f"{self.title} at {self.url} gave no answer in {wait:g} s")
        return call.answer()

    def _ask(self, wait: float, method: str, path: str, **asked: Any) -> bytes:
        import requests

        try:
            with self._session.request(
                method,
                self.url + quote(path),
                timeout=(min(_CONNECTING, wait), wait),
                stream=True,
                allow_redirects=False,
                auth=self._auth(),
                headers={"Accept": "*/*", "User-Agent": "velatura"},
                **asked,
            ) as response:
                content = self._content(response)
        except requests.Timeout:
            raise TimedOut(f"{self.title} at {self.url} gave no answer in {wait:g} s") from None
        except (requests.exceptions.ChunkedEncodingError, requests.exceptions.ContentDecodingError):
            raise BackendError(f"{self.title} at {self.url} broke off in the middle of an answer") from None
        except requests.ConnectionError:
            raise BackendError(f"{self.title} does not answer at {self.url}; is it running?") from None
        except (requests.RequestException, ValueError, OSError) as error:
            raise BackendError(f"{self.title} at {self.url} cannot be asked ({type(error).__name__})") from None
        self._check(path, response, content)
        return content

    def _content(self, response: requests.Response) -> bytes:
        parts, size = [], 0
        for part in response.iter_content(1 << 16):
            parts.append(part)
            size += len(part)
            if size > _LARGEST:
                raise BackendError(f"{self.title} at {self.url} answers with more than {_LARGEST >> 20} MiB")
        content = b"".join(parts)
        # Not every version of the client tells a line that was cut.
        told = response.headers.get("Content-Length", "")
        if told.isdigit() and "Content-Encoding" not in response.headers and size < int(told):
            raise BackendError(f"{self.title} at {self.url} broke off in the middle of an answer")
        return content

    def _check(self, path: str, response: requests.Response, content: bytes) -> None:
        """Raise for an answer that is none."""
        status = response.status_code
        if status < 300:
            return
        if status < 400:
            place = self.safe(response.headers.get("Location", "elsewhere"))
            raise BackendError(
                f"{self.title} at {self.url} sends on to {place}, which is not followed; give its own address"
            )
        if status in (401, 403):
            known = f"refuses the user and password in {self._secret}"
            wanted = f"wants a user and a password; set {self._secret} to user:password"
            raise BackendError(f"{self.title} at {self.url} {known if os.environ.get(self._secret) else wanted}")
        if status in (404, 405):
            raise NotOffered(f"{self.title} at {self.url} has no {path}; {self._absent}")
        reply = _parsed(content)
        said = self.safe(reason(reply)) or f"HTTP {status}"
        raise Refused(f"{self.title} fails: {said}", said=said, reply=reply)

    def _json(self, content: bytes) -> Any:
        reply = _parsed(content)
        if reply is None:
            what = "a page for a browser" if content.lstrip()[:1] == b"<" else "what is no JSON"
            raise BackendError(f"what answers at {self.url} is hardly {self.title}: it sends {what}")
        return reply

    def _auth(self) -> requests.auth.HTTPBasicAuth | None:
        from requests.auth import HTTPBasicAuth

        secret = os.environ.get(self._secret, "")
        user, colon, password = secret.partition(":")
        if secret and not colon:
            raise InputError(f"{self._secret} must be user:password")
        return HTTPBasicAuth(user.encode(), password.encode()) if secret else None


def reason(reply: Any, depth: int = 0) -> str:
    """Return what a server's JSON says of a failure, in its own words; nothing where it says nothing.

    >>> reason({"error": "OutOfMemoryError", "detail": "", "errors": "CUDA out of memory."})
    'OutOfMemoryError: CUDA out of memory.'
    >>> reason({"detail": [{"loc": ["body", "steps"], "msg": "value is not a valid integer"}]})
    'steps: value is not a valid integer'
    """
    if isinstance(reply, str):
        return reply
    if depth > 3:
        return ""
    if isinstance(reply, list):
        return "; ".join(filter(None, (reason(one, depth + 1) for one in reply[:3])))
    if not isinstance(reply, Mapping):
        return ""
    said = next((text for key in _REASONS if (text := reason(reply.get(key), depth + 1))), "")
    place = reply.get("loc")
    kind = reply.get("error") if "errors" in reply else place[-1] if isinstance(place, list) and place else None
    return f"{kind}: {said}" if isinstance(kind, str) and said and kind not in said else said


def lacks_memory(said: str) -> bool:
    """Whether a server's words mean that its memory did not suffice.

    >>> lacks_memory("torch.cuda.OutOfMemoryError: CUDA out of memory"), lacks_memory("a bug")
    (True, False)
    """
    low = said.lower()
    return any(lack in low for lack in ("out of memory", "outofmemory", "not enough memory", "allocation on device"))


def _parsed(content: bytes) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return None


def _address(url: str, secret: str) -> str:
    try:
        parts = urlsplit(url.strip())
        whole = parts.scheme in ("http", "https") and parts.hostname and (parts.port is None or parts.port > 0)
    except ValueError:
        whole, parts = False, urlsplit("")
    if not whole or parts.query or parts.fragment or any(not letter.isprintable() for letter in url.strip()):
        raise InputError("the server's address must be like http://127.0.0.1:7860")
    if "@" in parts.netloc:
        raise InputError(f"put the user and the password into {secret}, as user:password, not into the address")
    return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"


def _secrets(secret: str) -> list[str]:
    if not secret:
        return []
    parts = [secret, base64.b64encode(secret.encode()).decode(), secret.partition(":")[2]]
    return [part for part in parts if part]
