"""The web page: plain files beside this module, and no other site may frame it, script it, or be asked by it."""

from __future__ import annotations

import gzip
import hashlib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Final

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import RedirectResponse, Response

router = APIRouter(include_in_schema=False)

_TYPES: Final = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}
_POLICY: Final = (
    "default-src 'self'; img-src 'self' data: blob:; style-src 'self'; script-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'"
)
_SAFE: Final = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
}


@dataclass(frozen=True, slots=True)
class _File:
    content: bytes
    zipped: bytes
    tag: str
    kind: str


@cache
def _files() -> dict[str, _File]:
    """Return the page's files by name; nothing else can be asked for, whatever a path says."""
    known = {}
    for entry in files(__package__).joinpath("page").iterdir():
        kind = _TYPES.get(entry.name.rpartition(".")[2])
        if kind is not None:
            content = entry.read_bytes()
            tag = f'W/"{hashlib.sha256(content).hexdigest()[:16]}"'
            known[entry.name] = _File(content, gzip.compress(content, mtime=0), tag, kind)
    return known


@router.get("/")
def index(request: Request) -> Response:
    """Return the page."""
    return _answer(request, "index.html", {"Cache-Control": "no-store"})


@router.get("/page/{name}")
def file(request: Request, name: str) -> Response:
    """Return one of its files; a browser that has it asks only whether it has changed."""
    return _answer(request, name, {"Cache-Control": "no-cache"})


@router.get("/favicon.ico")
def favicon(request: Request) -> Response:
    """Point to the icon."""
    return RedirectResponse(f"{request.scope.get('root_path', '')}/page/icon.svg", status_code=308)


def _answer(request: Request, name: str, caching: dict[str, str]) -> Response:
    found = _files().get(name)
    if found is None:
        raise HTTPException(404, "the page has no such file")
    headers = {**_SAFE, **caching, "Vary": "Accept-Encoding"}
    if caching["Cache-Control"] != "no-store":
        headers["ETag"] = found.tag
        if found.tag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
    content = found.content
    if "gzip" in request.headers.get("accept-encoding", ""):
        content, headers["Content-Encoding"] = found.zipped, "gzip"
    return Response(content, media_type=found.kind, headers=headers)
