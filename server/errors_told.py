"""What every route of our own API may answer beside what it is for, as the documentation of the API has it."""

from __future__ import annotations

from typing import Any, Final

from fastapi import Security
from fastapi.security import HTTPBearer
from pydantic import BaseModel

TOKEN: Final = Security(
    HTTPBearer(auto_error=False, scheme_name="token", description="The server's token, where it has one.")
)
"""Tells the documentation of the token; it is asked for by the guard."""


class ErrorTold(BaseModel):
    """What went wrong."""

    message: str
    """One sentence."""
    type: str
    param: str | None = None
    code: str | None = None


class ErrorAnswer(BaseModel):
    """An error, in the form that OpenAI's clients read."""

    error: ErrorTold


def errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the error answers of a route for its documentation: these, and those that every route has."""
    return {status: {"model": ErrorAnswer, "description": _MEANING[status]} for status in sorted({401, 403, *statuses})}


_MEANING: Final = {
    401: "The server needs its token.",
    403: "The server is not called by that name, or a page of another site asks.",
    404: "There is none, or the gates keep it out.",
    413: "The request is larger than the server takes.",
    422: "The request asks for what cannot be; the sentence says why.",
    429: "As many jobs are waiting as may; `Retry-After` says when to try again.",
    501: "A package that this needs is not installed on the server.",
    502: "A language model, or another program that paints for the server, does not answer.",
    503: "The catalogue cannot be read.",
}
