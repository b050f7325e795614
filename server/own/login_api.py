"""Our own API: the page's cookie, so that pictures can be shown that need the token."""

from __future__ import annotations

from fastapi import APIRouter, HTTPException, Request
from starlette.responses import Response

from ..errors_told import errors
from ..guard import COOKIE, cookie_of, same
from ..json_answer import Json
from .models import LoginAsked

router = APIRouter(tags=["Login"])

_MONTH = 30 * 24 * 3600


@router.post("/login", summary="Let a browser in", responses=errors(422))
async def login(asked: LoginAsked, request: Request) -> Response:
    """Set the cookie `velatura` where the token is right. A server without a token lets everybody in already."""
    token: str | None = request.app.state.token
    if token is None:
        return Json({"needed": False})
    if not same(asked.token.strip(), token):
        raise HTTPException(401, "this is not the server's token")
    answer = Json({"needed": True})
    answer.set_cookie(
        COOKIE,
        cookie_of(token),
        max_age=_MONTH,
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )
    return answer


@router.post("/logout", summary="Forget a browser", responses=errors())
async def logout() -> Response:
    """Take the cookie away."""
    answer = Json({})
    answer.delete_cookie(COOKIE, httponly=True, samesite="strict")
    return answer
