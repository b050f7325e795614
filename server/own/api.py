"""Our own API, in its parts."""

from __future__ import annotations

from fastapi import APIRouter

from . import choosing_api, finding_api, login_api, painting_api

router = APIRouter()
for part in (finding_api, choosing_api, painting_api, login_api):
    router.include_router(part.router)
