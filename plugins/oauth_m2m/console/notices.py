"""A sentence for the next page: what was done is said after the redirect that follows a form.

It travels in a cookie of the console's own, sealed so that nobody else can put words into Station's mouth.
What is secret is never said this way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from plugins.oauth_m2m.cursors import Cursors
from station.errors import ValidationFailed

if TYPE_CHECKING:
    from station.handlers import BaseHandler

__all__ = ["leave_notice", "take_notice"]

_COOKIE = "station_notice"
_PATH = "/console"
_SECONDS = 60
_MAX_LENGTH = 600


def leave_notice(handler: BaseHandler, text: str) -> None:
    """Let the next page that is shown to this browser say ``text``, once."""
    sealed = _seals(handler).seal(text[:_MAX_LENGTH])
    secure = handler.application.config.production
    handler.set_cookie(
        _COOKIE, sealed, path=_PATH, max_age=_SECONDS, httponly=True, samesite="Strict", secure=secure
    )


def take_notice(handler: BaseHandler) -> str:
    """What the page before left to say, or nothing; it is forgotten then."""
    sealed = handler.get_cookie(_COOKIE)
    if not sealed:
        return ""
    handler.clear_cookie(_COOKIE, path=_PATH, httponly=True, samesite="Strict")
    try:
        return _seals(handler).open(sealed)
    except ValidationFailed:
        return ""


def _seals(handler: BaseHandler) -> Cursors:
    return Cursors(handler.application.config.jwt_secret, "console-notice")
