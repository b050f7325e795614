"""A language model behind any OpenAI-compatible endpoint, asked for JSON of a given form.

OpenAI, and whatever speaks its chat completions: vLLM, Ollama, llama.cpp, Gemini's endpoint. Servers differ in what
they take, so what one refuses (a schema for the answer, a temperature, a name of a limit) is left away and stays so.
"""

from __future__ import annotations

import base64
import importlib.util
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

from .answers import object_in
from .endpoint import KEY, KEYS, safe
from .errors import InputError, LanguageModelError, LanguageModelRefusal, MissingDependency
from .fleet import Fleet, RefusedCall
from .records import Usage
from .spending import Purse
from .syntax import encodable

_URL: Final = "OPENAI_BASE_URL"
_LONGEST: Final = 8192
"""Tokens of an answer, thoughts among them: a small model may otherwise repeat itself for ever."""
_MOST: Final = 1_000_000_000
"""Tokens that a server can say a call took: no call takes as many, and larger numbers fit into no catalogue."""
_FILTERED: Final = frozenset({"content_filter", "content_policy_violation", "invalid_prompt", "moderation_blocked"})
"""Codes by which servers refuse what is asked, not how."""
_LIMITS: Final = ("max_tokens", "max_completion_tokens")
_PICTURES: Final = {b"\xff\xd8\xff": "image/jpeg", b"\x89PNG\r\n\x1a\n": "image/png"}

Answer = TypeVar("Answer")
Messages = list[dict[str, Any]]


class LanguageModel:
    """A model that is asked for JSON, by any number of threads at once.

    The key is read from `OPENAI_API_KEY`, and servers of one's own need none. `VELATURA_LLM_KEYS` gives each of several
    servers its own, with commas between them and nothing for a server that needs none; `OPENAI_API_KEY` is then sent
    to no one.

    Args:
        model: Its name, as the server has it.
        url: Where it is served, such as `http://127.0.0.1:11434/v1`; several addresses of the same model have commas
            between them. None takes `OPENAI_BASE_URL`, else OpenAI's.
        timeout: Seconds that the server may be silent.
        deadline: Seconds that a question may take, with waits, repetitions and the second answer.
        retries: How often a call is repeated that met a full or failing server. The pauses grow, or are what the
            server asks for, and while it asks to wait, it is sent no question of this object. A server that is full
            and meanwhile answers others is asked on until the deadline.
        temperature: 0 for the likeliest answer; higher for more diverse ones.
        rate: The most requests a minute that each server is sent.
        tokens: The most tokens a minute of each server, of questions and answers.
        purse: What may be spent.

    Raises:
        MissingDependency: openai is not installed.
        InputError: An address is none, there are not as many keys as addresses, or OpenAI's is asked and there is no
            key.
    """

    def __init__(
        self,
        model: str,
        *,
        url: str | None = None,
        timeout: float = 60.0,
        deadline: float = 180.0,
        retries: int = 3,
        temperature: float = 0.0,
        rate: float | None = None,
        tokens: float | None = None,
        purse: Purse | None = None,
    ) -> None:
        if importlib.util.find_spec("openai") is None:
            raise MissingDependency("openai", extra="llm")
        self.model = model
        servers = _servers(url or os.environ.get(_URL) or None)
        self._fleet = Fleet(servers, timeout=timeout, retries=retries, rate=rate, tokens=tokens, purse=purse)
        self._deadline = deadline
        self._lock = threading.Lock()
        self._usage = Usage()
        self._formats = ["json_schema", "json_object", "text"]
        self._options: dict[str, Any] = {"temperature": temperature, "max_tokens": _LONGEST}
        self._client: Any = None

    @property
    def usage(self) -> Usage:
        """What was asked of it so far, and how many tokens that took."""
        with self._lock:
            return self._usage

    @property
    def client(self) -> Any:
        """An `openai.OpenAI` of the same server, of several the first, for files and batches."""
        with self._lock:
            if self._client is None:
                self._client = self._fleet.client()
            return self._client

    def ask(
        self,
        instructions: str,
        question: str,
        form: Mapping[str, Any] | None,
        check: Callable[[Any], Answer],
        *,
        pictures: Sequence[bytes] = (),
        then: Sequence[str] = (),
        temperature: float | None = None,
        deadline: float | None = None,
        count: Callable[[Usage], object] | None = None,
    ) -> Answer:
        """Return what the model answers; an answer of no use is sent back once with what is wrong with it.

        Args:
            instructions: What it is to do: the same for every question, so that servers read it once.
            question: The question, with whatever belongs to it.
            form: The answer's JSON Schema; None where any JSON object will do.
            check: Turns the parsed JSON into the answer; raises `ValueError` with what is wrong with it.
            pictures: JPEG or PNG files that are shown behind the question.
            then: What it is told next, each after an answer; only the last answer counts.
            temperature: Another than the model's, for this question.
            deadline: Another than the model's, in seconds, for this question.
            count: Called with what each call of this question took, also when it has no answer in the end.

        Raises:
            InputError: The server refuses the key, or does not know the model; or a picture is neither JPEG nor PNG.
            LanguageModelRefusal: It will not answer this.
            LanguageModelUnavailable: It cannot be reached, is full or failing, or takes too long.
            LanguageModelError: Its second answer is of no use either, or it takes no call of this form.
        """
        ends = self._ends(deadline)
        said = _messages(instructions, question, pictures)
        reply = self._call(said, form, temperature, ends, count)
        text = self._text(reply)
        for turn in then:
            said += _turn(text, turn)
            reply = self._call(said, form, temperature, ends, count)
            text = self._text(reply)
        try:
            return check(object_in(text))
        except ValueError as error:
            fault = f"{error}; it was cut off, be briefer" if _finish(reply) == "length" else str(error)
        repair = f"That cannot be used: {fault}. Answer again with nothing but the JSON object that was asked for."
        said += _turn(text, repair)
        return self.read(self._call(said, form, temperature, ends, count), check)

    def ask_counted(
        self,
        instructions: str,
        question: str,
        form: Mapping[str, Any],
        check: Callable[[Any], Answer],
        *,
        pictures: Sequence[bytes] = (),
        temperature: float | None = None,
        deadline: float | None = None,
    ) -> tuple[Answer, Usage]:
        """Return the answer, as `ask`, and what this question took, the second answer included.

        An error's `usage` tells what was taken without an answer.
        """
        spent: list[Usage] = []
        try:
            answer = self.ask(
                instructions, question, form, check,
                pictures=pictures, temperature=temperature, deadline=deadline, count=spent.append,
            )  # fmt: skip
        except LanguageModelError as error:
            error.usage = sum(spent, Usage())
            raise
        return answer, sum(spent, Usage())

    def reply(
        self,
        instructions: str,
        question: str,
        *,
        longest: int,
        telling: Mapping[str, Any],
        pictures: Sequence[bytes] = (),
        deadline: float | None = None,
    ) -> Any:
        """Return the whole reply, the JSON of a chat completion, to a question that is answered in words, not in JSON.

        Args:
            instructions: What it is to do.
            question: The question.
            longest: Tokens of the answer.
            telling: What else the server is to tell, as the API names it, such as `logprobs`; what it refuses of that
                stands in the error.
            pictures: JPEG or PNG files that are shown behind the question.
            deadline: Another than the model's, in seconds, for this question.

        Raises:
            InputError, LanguageModelError: As `ask`.
        """
        ends = self._ends(deadline)
        reply = self._call(_messages(instructions, question, pictures), None, None, ends, None, (longest, telling))
        self._text(reply)
        return reply

    def body(
        self,
        instructions: str,
        question: str,
        form: Mapping[str, Any],
        pictures: Sequence[bytes] = (),
        *,
        temperature: float | None = None,
    ) -> dict[str, Any]:
        """Return the question as plain JSON, as the chat completions API and its batches have it.

        Raises:
            InputError: A picture is neither JPEG nor PNG.
        """
        with self._lock:
            formats, options = list(self._formats), dict(self._options)
        return self._body(_messages(instructions, question, pictures), form, formats, options, temperature)

    def read(self, reply: Any, check: Callable[[Any], Answer]) -> Answer:
        """Return the answer that stands in a reply, the JSON of a chat completion, such as a batch brings.

        Raises:
            LanguageModelRefusal: The model will not answer.
            LanguageModelError: The reply holds no answer of use.
        """
        text = self._text(reply)
        try:
            return check(object_in(text))
        except ValueError as error:
            raise LanguageModelError(f"{self.model} gave no answer of use: {error}") from None

    def _ends(self, deadline: float | None) -> float:
        """Return when a question ends that begins now; what is done once, before the first, takes nothing from it."""
        self._fleet.open()
        return time.monotonic() + (self._deadline if deadline is None else deadline)

    def _text(self, reply: Any) -> str:
        choices = reply.get("choices") if isinstance(reply, dict) else None
        choice = choices[0] if isinstance(choices, list) and choices else None
        message = choice.get("message") if isinstance(choice, dict) else None
        refusal, text = (message.get(name) if isinstance(message, dict) else None for name in ("refusal", "content"))
        if isinstance(refusal, str) and refusal:
            raise LanguageModelRefusal(f"{self.model} refused: {safe(refusal)}")
        if _finish(reply) == "content_filter":
            raise LanguageModelRefusal(f"{self.model} refused: its server's filter of contents stopped the answer")
        if not isinstance(text, str):
            raise LanguageModelError(f"{self.model} gave no text")
        return text

    def _call(
        self,
        messages: Messages,
        form: Mapping[str, Any] | None,
        temperature: float | None,
        ends: float,
        count: Callable[[Usage], object] | None,
        words: tuple[int, Mapping[str, Any]] | None = None,
    ) -> Any:
        """Call the server, with less where it refuses something of what is asked, and count the tokens.

        With `words` the answer is asked for in words: how many tokens it may have, and what else is to be told.
        """
        with self._lock:
            formats, options = list(self._formats) if words is None else ["text"], dict(self._options)
        learned = False
        while True:
            body = self._body(messages, form, formats, options, temperature)
            if words is not None:
                body |= {name: words[0] for name in _LIMITS if name in options} | dict(words[1])
            try:
                reply = self._fleet.call(body, ends, usage_of)
            except RefusedCall as refusal:
                if refusal.code in _FILTERED:
                    raise LanguageModelRefusal(f"{refusal.host} refuses what is asked: {refusal}") from None
                if not _leave_away(str(refusal), formats, options):
                    raise LanguageModelError(f"{refusal.host} refuses the call: {refusal}") from None
                learned = True
            else:
                break
        usage = usage_of(reply)
        with self._lock:
            self._usage += usage
            if learned:
                self._formats, self._options = formats if words is None else self._formats, options
        if count is not None:
            count(usage)
        return reply

    def _body(
        self,
        messages: Messages,
        form: Mapping[str, Any] | None,
        formats: Sequence[str],
        options: Mapping[str, Any],
        temperature: float | None,
    ) -> dict[str, Any]:
        body: dict[str, Any] = {"model": self.model, "messages": list(messages), **options}
        if temperature is not None and "temperature" in options:
            body["temperature"] = temperature
        if formats[0] == "json_schema" and form is not None:
            schema = {"name": "answer", "strict": True, "schema": dict(form)}
            body["response_format"] = {"type": "json_schema", "json_schema": schema}
        elif formats[0] != "text":
            body["response_format"] = {"type": "json_object"}
        return body


def usage_of(reply: Any) -> Usage:
    """Return what a reply, the JSON of a chat completion, says that it took."""
    told = reply.get("usage") if isinstance(reply, dict) else None
    details = told.get("prompt_tokens_details") if isinstance(told, dict) else None
    return Usage(
        calls=1,
        read=_tokens(told, "prompt_tokens"),
        cached=_tokens(details, "cached_tokens"),
        written=_tokens(told, "completion_tokens"),
    )


def _messages(instructions: str, question: str, pictures: Sequence[bytes]) -> Messages:
    """Return what opens a talk; pictures stand behind the words."""
    asked: Any = encodable(question)
    if pictures:
        shown = [{"type": "image_url", "image_url": {"url": _data_url(picture)}} for picture in pictures]
        asked = [{"type": "text", "text": asked}, *shown]
    return [{"role": "system", "content": encodable(instructions)}, {"role": "user", "content": asked}]


def _turn(answer: str, told: str) -> Messages:
    return [{"role": "assistant", "content": encodable(answer)}, {"role": "user", "content": encodable(told)}]


def _data_url(picture: bytes) -> str:
    kind = next((kind for magic, kind in _PICTURES.items() if picture.startswith(magic)), None)
    if kind is None:
        raise InputError("a picture for the language model is neither JPEG nor PNG")
    return f"data:{kind};base64,{base64.b64encode(picture).decode()}"


def _finish(reply: Any) -> Any:
    """Return why an answer ended, of a reply that has one."""
    choices = reply.get("choices") if isinstance(reply, dict) else None
    choice = choices[0] if isinstance(choices, list) and choices else None
    return choice.get("finish_reason") if isinstance(choice, dict) else None


def _leave_away(refusal: str, formats: list[str], options: dict[str, Any]) -> bool:
    """Drop what a refusal speaks of, else ask for less of a form; False when nothing is left to drop."""
    limit = next((name for name in _LIMITS if name in options), None)
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


def _tokens(told: Any, name: str) -> int:
    number = told.get(name) if isinstance(told, dict) else None
    return min(number, _MOST) if isinstance(number, int) and number > 0 else 0


def _servers(urls: str | None) -> list[tuple[str | None, str | None]]:
    """Return addresses with their keys; no address is OpenAI's.

    Raises:
        InputError: As `LanguageModel`.
    """
    shared = os.environ.get(KEY)
    if urls is None:
        if not shared:
            raise InputError(f"there is no key for OpenAI; set {KEY}, or VELATURA_LLM_URL to a server of your own")
        return [(None, shared)]
    named = [url.strip() for url in urls.split(",")]
    if not all(_is_address(url) for url in named):
        raise InputError("the language model's address must begin with http:// or https:// and name a host")
    own = os.environ.get(KEYS)
    if not own:
        return [(url, shared) for url in named]
    keys = [key.strip() or None for key in own.split(",")]
    if len(keys) != len(named):
        raise InputError(f"{KEYS} has {len(keys)} keys for {len(named)} addresses; leave one empty for none")
    return list(zip(named, keys, strict=True))


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
