"""Files and batches of an OpenAI-compatible server."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ..endpoint import without_key
from ..errors import InputError, LanguageModelError
from ..fenced import line
from .batch_files import ENDPOINT

if TYPE_CHECKING:
    from ..llm import LanguageModel

_NAME: Final = "velatura"
"""Under this our key stands with a batch at the server."""
_LISTED: Final = 1_000
"""Batches that are looked through for ours, the newest first."""
_SHOWN: Final = 200
_UPLOAD: Final = 600.0
"""Seconds that the server may be silent while it takes a file in."""


class Gone(LanguageModelError):
    """The server does not have it, or not any more."""


class BatchService:
    """Sends files of questions to a model's server, and reads what comes back.

    Every method raises `LanguageModelError` when the server cannot be reached or refuses, and `InputError` when it
    does not take the key.
    """

    def __init__(self, model: LanguageModel) -> None:
        self._client = model.client

    def send(self, key: str, path: Path) -> str:
        """Send a file of questions, and have them answered within a day; return the batch's id.

        Args:
            key: Ours, by which `find` knows the batch again.
            path: The file.
        """
        with self._one_sentence("takes no files for batches"), path.open("rb") as file:
            patient = self._client.with_options(timeout=_UPLOAD)
            sent = patient.files.create(file=(f"{_NAME}-{key}.jsonl", file), purpose="batch")
        with self._one_sentence("takes no batches"):
            # Never repeated by the client: a second try could make, and cost, a second batch.
            batch = self._client.with_options(max_retries=0).batches.create(
                input_file_id=sent.id, endpoint=ENDPOINT, completion_window="24h", metadata={_NAME: key}
            )
        if not isinstance(batch.id, str):
            raise LanguageModelError(f"{self._host} gives a batch no name")
        return batch.id

    def find(self, keys: Collection[str]) -> dict[str, str]:
        """Return the ids of the server's batches by our keys, as far as it has them."""
        found: dict[str, str] = {}
        with self._one_sentence("does not list its batches"):
            for batch in islice(self._client.batches.list(limit=100), _LISTED):
                metadata = getattr(batch, "metadata", None)
                key = metadata.get(_NAME) if isinstance(metadata, dict) else None
                if isinstance(key, str) and key in keys and getattr(batch, "status", None) != "failed":
                    found.setdefault(key, batch.id)
                if len(found) == len(keys):
                    break
        return found

    def batch(self, name: str) -> Any:
        """Return an `openai.types.Batch`.

        Raises:
            Gone: The server does not know it.
        """
        with self._one_sentence(f"does not know the batch {name}"):
            return self._client.batches.retrieve(name)

    def lines(self, file: str) -> Iterator[dict[str, Any]]:
        """Yield the JSON objects of a file, a line each; what is none is passed over.

        Raises:
            Gone: The server does not have the file.
        """
        with (
            self._one_sentence(f"does not have the file {file}"),
            self._client.files.with_streaming_response.content(file) as reply,
        ):
            for text in reply.iter_lines():
                try:
                    plain = json.loads(text)
                except (ValueError, RecursionError):
                    continue
                if isinstance(plain, dict):
                    yield plain

    @property
    def _host(self) -> str:
        return str(self._client.base_url.host)

    @contextmanager
    def _one_sentence(self, lack: str) -> Iterator[None]:
        import openai

        try:
            yield
        except openai.NotFoundError as error:
            raise Gone(f"{self._host} {lack}: {self._told(error)}") from None
        except (openai.AuthenticationError, openai.PermissionDeniedError) as error:
            raise InputError(
                f"{self._host} does not take the key: {self._told(error)}; look at OPENAI_API_KEY"
            ) from None
        except openai.APIStatusError as error:
            raise LanguageModelError(f"{self._host} refuses the batch: {self._told(error)}") from None
        except (openai.OpenAIError, OSError) as error:
            raise LanguageModelError(f"{self._host} does not answer: {self._told(error)}") from None

    def _told(self, error: Exception) -> str:
        """Return a server's words in one short line, without the key, which some repeat."""
        body = getattr(error, "body", None)
        message = body.get("message") if isinstance(body, dict) else None
        text = message if isinstance(message, str) and message else str(error)
        return line(without_key(text), _SHOWN) or type(error).__name__
