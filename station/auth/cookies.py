"""The two cookies of a session: set together, cleared together, out of reach of scripts."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

from station.auth.models import ACCESS_SECONDS, REFRESH_SECONDS

if TYPE_CHECKING:
    from station.auth.models import TokenPair
    from station.handlers import BaseHandler

__all__ = ["ACCESS_COOKIE", "REFRESH_COOKIE", "clear_session_cookies", "set_session_cookies"]

ACCESS_COOKIE = "station_access"
REFRESH_COOKIE = "station_refresh"
_ACCESS_PATH = "/"
_REFRESH_PATH = "/auth"


class _Attributes(TypedDict):
    httponly: bool
    samesite: str
    secure: bool


def set_session_cookies(handler: BaseHandler, tokens: TokenPair) -> None:
    """Hand out the tokens; the refresh token is sent back under ``/auth`` alone."""
    for name, token, path, seconds in (
        (ACCESS_COOKIE, tokens.access, _ACCESS_PATH, ACCESS_SECONDS),
        (REFRESH_COOKIE, tokens.refresh, _REFRESH_PATH, REFRESH_SECONDS),
    ):
        handler.set_cookie(name, token, path=path, max_age=seconds, **_attributes(handler))


def clear_session_cookies(handler: BaseHandler) -> None:
    """Let the browser forget both."""
    for name, path in ((ACCESS_COOKIE, _ACCESS_PATH), (REFRESH_COOKIE, _REFRESH_PATH)):
        handler.clear_cookie(name, path=path, **_attributes(handler))


def _attributes(handler: BaseHandler) -> _Attributes:
    return {"httponly": True, "samesite": "Lax", "secure": handler.application.config.production}
