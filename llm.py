"""A language model behind any OpenAI-compatible endpoint, asked for JSON of a given form.

OpenAI, and whatever speaks its chat completions: vLLM, Ollama, llama.cpp, Gemini's endpoint. Servers differ in what
they take, so what one refuses (a schema for the answer, a temperature, a name of a limit) is left away and stays so.
"""

from __future__ import annotations

import importlib.util
import json
import os
from collections.abc import Callable, Mapping
from itertools import islice
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

from .errors import InputError, LanguageModelError, MissingDependency
from .records import Usage
from .syntax import encodable

KEY: Final = "OPENAI_API_KEY"
_URL: Final = "OPENAI_BASE_URL"
_LONGEST: Final = 8192
"""Tokens of an answer, thoughts among them: a small model may otherwise repeat itself for ever."""
_TRIALS: Final = 16
"""Places in an answer at which an object is looked for."""
_SHOWN: Final = 200

Answer = TypeVar("Answer")


class LanguageModel:
    """A model that is asked for JSON. The key is read from `OPENAI_API_KEY`, and servers of one's own need none.

    Args:
        model: Its name, as the server has it.
        url: Where it is served, such as `http://127.0.0.1:11434/v1`; None takes `OPENAI_BASE_URL`, else OpenAI's.
        timeout: Seconds that the server may be silent.
        retries: How often a call is repeated that met a full or a failing server, with growing pauses.

    Raises:
        MissingDependency: openai is not installed.
        InputError: The address is none, or OpenAI's is asked and there is no key.
    """

    def __init__(self, model: str, *, url: str | None = None, timeout: float = 60.0, retries: int = 3) -> None:
        if importlib.util.find_spec("openai") is None:
            raise MissingDependency("openai", extra="llm")
        self.model = model
        self.usage = Usage()
        self._url = url or os.environ.get(_URL) or None
        if self._url is not None and not _is_address(self._url):
            raise InputError("the language model's address must begin with http:// or https:// and name a host")
        if self._url is None and not os.environ.get(KEY):
            raise InputError(f"there is no key for OpenAI; set {KEY}, or VELATURA_LLM_URL to a server of your own")
        self._timeout = timeout
        self._retries = retries
        self._client: Any = None
        self._formats = ["json_schema", "json_object", "text"]
        self._options: dict[str, Any] = {"temperature": 0, "max_tokens": _LONGEST}

    def ask(self, instructions: str, question: str, form: Mapping[str, Any], check: Callable[[Any], Answer]) -> Answer:
        """Return what the model answers; an answer of no use is sent back once with what is wrong with it.

        Args:
            instructions: What it is to do: the same for every question, so that servers read it once.
            question: The question, with whatever belongs to it.
            form: The answer's JSON Schema.
            check: Turns the parsed JSON into the answer; raises `ValueError` with what is wrong with it.

        Raises:
            InputError: The server refuses the key, or does not know the model.
            LanguageModelError: It cannot be reached, refuses, or its second answer is of no use either.
        """
        said = [{"role": "system", "content": instructions}, {"role": "user", "content": encodable(question)}]
        text = self._say(said, form)
        try:
            return check(_object(text))
        except ValueError as error:
            fault = str(error)
        repair = f"That cannot be used: {fault}. Answer again with nothing but the JSON object that was asked for."
        said += [{"role": "assistant", "content": encodable(text)}, {"role": "user", "content": encodable(repair)}]
        try:
            return check(_object(self._say(said, form)))
        except ValueError as error:
            raise LanguageModelError(f"{self.model} gave no answer of use: {error}") from None

    def _say(self, messages: list[dict[str, str]], form: Mapping[str, Any]) -> str:
        """Return the text of the answer, and count its tokens."""
        reply = self._call(messages, form)
        self._count(getattr(reply, "usage", None))
        choices = getattr(reply, "choices", None)
        message = getattr(choices[0], "message", None) if isinstance(choices, list) and choices else None
        refusal, text = getattr(message, "refusal", None), getattr(message, "content", None)
        if isinstance(refusal, str) and refusal:
            raise LanguageModelError(f"{self.model} refused: {self._safe(refusal)}")
        if not isinstance(text, str):
            raise LanguageModelError(f"{self.model} gave no text")
        return text

    def _call(self, messages: list[dict[str, str]], form: Mapping[str, Any]) -> Any:
        """Call the server, with less where it refuses something of what is asked."""
        import openai

        formats, options = list(self._formats), dict(self._options)
        while True:
            extra: dict[str, Any] = dict(options)
            if formats[0] == "json_schema":
                schema = {"name": "answer", "strict": True, "schema": dict(form)}
                extra["response_format"] = {"type": "json_schema", "json_schema": schema}
            elif formats[0] == "json_object":
                extra["response_format"] = {"type": "json_object"}
            try:
                reply = self._open().chat.completions.create(model=self.model, messages=messages, **extra)
            except (openai.BadRequestError, openai.UnprocessableEntityError) as error:
                if not _leave_away(str(error), formats, options):
                    raise LanguageModelError(f"{self._host()} refuses the call: {self._safe(_reason(error))}") from None
            except (openai.AuthenticationError, openai.PermissionDeniedError, openai.NotFoundError) as error:
                raise InputError(
                    f"{self._host()} does not give {self.model!r}: {self._safe(_reason(error))}; look at {KEY}, "
                    "VELATURA_LLM and VELATURA_LLM_URL"
                ) from None
            except (openai.OpenAIError, ValueError) as error:
                raise LanguageModelError(f"{self._host()} does not answer: {self._safe(_reason(error))}") from None
            else:
                self._formats, self._options = formats, options
                return reply

    def _open(self) -> Any:
        if self._client is None:
            import openai

            # The client wants some key, and a server of one's own none.
            key = os.environ.get(KEY) or "none"
            self._client = openai.OpenAI(
                api_key=key, base_url=self._url, timeout=self._timeout, max_retries=self._retries
            )
        return self._client

    def _host(self) -> str:
        return (urlsplit(self._url).hostname if self._url else None) or "OpenAI"

    def _safe(self, text: str) -> str:
        """Return a server's words in one short line, without the key, which some repeat."""
        key = os.environ.get(KEY)
        text = text.replace(key, "***") if key else text
        line = "".join(letter if letter.isprintable() else " " for letter in text)
        return " ".join(line.split())[:_SHOWN] or "no reason given"

    def _count(self, told: Any) -> None:
        details = getattr(told, "prompt_tokens_details", None)
        self.usage += Usage(
            calls=1,
            read=_tokens(told, "prompt_tokens"),
            cached=_tokens(details, "cached_tokens"),
            written=_tokens(told, "completion_tokens"),
        )


def _reason(error: Exception) -> str:
    """Return what a server said, which stands in what it sent, else the client's words."""
    body = getattr(error, "body", None)
    told = body.get("message") if isinstance(body, dict) else None
    return told if isinstance(told, str) and told else str(error)


def _leave_away(refusal: str, formats: list[str], options: dict[str, Any]) -> bool:
    """Drop what a refusal speaks of, else ask for less of a form; False when nothing is left to drop."""
    limit = next((name for name in ("max_tokens", "max_completion_tokens") if name in options), None)
    if limit == "max_tokens" and "max_completion_tokens" in refusal:
        options["max_completion_tokens"] = options.pop("max_tokens")  # its name for models that think
    elif limit is not None and limit in refusal:
        del options[limit]  # more than the server has room for: it then gives what it has
    elif "temperature" in refusal and "temperature" in options:
        del options["temperature"]
    elif len(formats) > 1:
        del formats[0]
    else:
        return False
    return True


def _object(text: str) -> dict[str, Any]:
    """Return the JSON object of an answer, which may stand in prose, in a code block, or behind the model's thoughts.

    >>> _object('<think>{} or so</think>Here you are: ```json {"scores": []} ```')
    {'scores': []}

    Raises:
        ValueError: There is none.
    """
    text = text.rpartition("</think>")[2]
    decoder = json.JSONDecoder()
    starts = (place for place, letter in enumerate(text) if letter == "{")
    for start in islice(starts, _TRIALS):
        try:
            value, _ = decoder.raw_decode(text, start)
        except (ValueError, RecursionError):
            continue
        if isinstance(value, dict):
            return value
    raise ValueError("it holds no whole JSON object")


def _tokens(told: Any, name: str) -> int:
    number = getattr(told, name, None)
    return number if isinstance(number, int) and number > 0 else 0


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname)
