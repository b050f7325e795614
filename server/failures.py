"""Errors as answers: the status and the one sentence, in the form that each kind of client reads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from ..errors import (
    BackendError,
    Cancelled,
    CatalogueError,
    IncompatibleAdapter,
    InputError,
    LanguageModelError,
    MissingDependency,
    SourceError,
    VelaturaError,
)
from ..fenced import line
from ..syntax import encodable
from .jobs import QueueFull

if TYPE_CHECKING:
    from fastapi import FastAPI

    from .answers import Answers

A1111: Final = "/sdapi/"
"""Where the paths begin whose clients read A1111's form of an error."""

_STATUS: Final[tuple[tuple[type[VelaturaError], int, str], ...]] = (
    (QueueFull, 429, "queue_full"),
    (Cancelled, 499, "cancelled"),
    (InputError, 422, "invalid_request_error"),
    (IncompatibleAdapter, 422, "incompatible_adapter"),
    (CatalogueError, 503, "catalogue_error"),
    (LanguageModelError, 502, "language_model_error"),
    (BackendError, 502, "backend_error"),
    (SourceError, 502, "source_error"),
    (MissingDependency, 501, "missing_dependency"),
)
"""(error, status, type), the most particular first."""
_TYPES: Final = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 413: "too_large"}
_LONGEST_NAME: Final = 60
_RETRY: Final = "5"
"""Seconds after which a full queue may have room."""


def status_of(error: VelaturaError) -> tuple[int, str]:
    """Return the HTTP status and the type of an error."""
    return next(((status, kind) for cls, status, kind in _STATUS if isinstance(error, cls)), (500, "server_error"))


class WrongField(InputError):
    """A field of a request asks for what cannot be.

    Args:
        message: One sentence.
        field: Its name.
    """

    def __init__(self, message: str, field: str) -> None:
        super().__init__(message)
        self.field = field


def answer(path: str, status: int, message: str, kind: str | None = None, *, field: str | None = None) -> JSONResponse:
    """Return an error as the clients of a path read it: OpenAI's form, or A1111's under /sdapi."""
    message = encodable(message)
    kind = kind or _TYPES.get(status, "invalid_request_error" if status < 500 else "server_error")
    headers = {"Retry-After": _RETRY} if status == 429 else {"WWW-Authenticate": "Bearer"} if status == 401 else {}
    if path.startswith(A1111):
        content: dict[str, object] = {"error": kind, "detail": message, "body": "", "errors": message}
    else:
        content = {"error": {"message": message, "type": kind, "param": field and encodable(field), "code": None}}
    return JSONResponse(content, status_code=status, headers=headers)


def install(app: FastAPI) -> None:
    """Have an application answer every error so."""

    @app.exception_handler(VelaturaError)
    async def _ours(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, VelaturaError)  # noqa: S101 - what it is registered for
        status, kind = status_of(error)
        field = error.field if isinstance(error, WrongField) else None
        answers: Answers = request.app.state.answers
        return answer(request.url.path, status, answers.sentence(error), kind, field=field)

    @app.exception_handler(RecursionError)
    async def _too_deep(request: Request, error: Exception) -> JSONResponse:
        # Nothing of ours goes that deep: it is what was sent, such as ten thousand lists within each other.
        return answer(request.url.path, 422, "the request's JSON is nested too deeply")

    @app.exception_handler(RequestValidationError)
    async def _invalid(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)  # noqa: S101
        return answer(request.url.path, 422, _sentence(error), field=_field(error) or None)

    @app.exception_handler(HTTPException)
    async def _http(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)  # noqa: S101
        return answer(request.url.path, error.status_code, str(error.detail))

    @app.exception_handler(Exception)
    async def _unforeseen(request: Request, error: Exception) -> JSONResponse:
        # What went wrong is logged by the server; a stranger is told no more than that.
        return answer(request.url.path, 500, f"the server failed ({type(error).__name__}); its log says more")


def _sentence(error: RequestValidationError) -> str:
    if _is_no_json(error):
        return "the request's body is not JSON"
    where = _field(error)
    said = str(error.errors()[0]["msg"]).removeprefix("Value error, ")
    return f"{where}: {said}" if where else said


def _is_no_json(error: RequestValidationError) -> bool:
    return bool(error.errors()[0]["type"] == "json_invalid")


def _field(error: RequestValidationError) -> str:
    """Return the name of the field that is wrong; nothing where none can be told."""
    if _is_no_json(error):
        return ""
    # Names of fields are the client's own words.
    _, *where = error.errors()[0]["loc"]  # less whether it stands in the body, the path or the query
    return ".".join(line(str(part), _LONGEST_NAME) for part in where)
