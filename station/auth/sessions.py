"""The session of a browser, for handlers: begun, renewed and ended with its cookies, and the admin it is of.

JSON endpoints and pages share these, so that a login is throttled, audited and answered by the same rules
wherever its form is.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from station.auth.cookies import (
    ACCESS_COOKIE,
    REFRESH_COOKIE,
    clear_session_cookies,
    set_session_cookies,
)

if TYPE_CHECKING:
    from station.auth.models import User
    from station.auth.service import AuthService
    from station.handlers import BaseHandler

__all__ = ["authenticate_admin_session", "log_in", "log_out", "renew_session"]


async def log_in(handler: BaseHandler, email: str, password: str) -> User:
    """Begin a session and set its cookies; raises what `AuthService.login` raises."""
    user, tokens = await _auth(handler).login(email, password, handler.client_address)
    set_session_cookies(handler, tokens)
    return user


async def renew_session(handler: BaseHandler) -> User:
    """Trade the refresh cookie, which browsers send under ``/auth`` alone, for new cookies.

    `station.errors.Unauthorized` when it is not good any more.
    """
    user, tokens = await _auth(handler).refresh(handler.get_cookie(REFRESH_COOKIE, ""))
    set_session_cookies(handler, tokens)
    return user


async def log_out(handler: BaseHandler) -> None:
    """End the session of the cookies, if it lives, and clear them."""
    await _auth(handler).logout(handler.get_cookie(ACCESS_COOKIE, ""), handler.get_cookie(REFRESH_COOKIE, ""))
    clear_session_cookies(handler)


async def authenticate_admin_session(handler: BaseHandler) -> User:
    """The person whose live session the cookie names, who has the role ``admin``.

    ``current_user`` is set once they are known: `station.errors.Unauthorized` for nobody, and
    `station.errors.Forbidden` for a person without the role. No key is looked at.
    """
    auth, token = _auth(handler), handler.get_cookie(ACCESS_COOKIE, "")
    handler.current_user = user = await auth.authenticate(token)
    handler.identify("user", user.id)
    auth.check_admin(user)
    handler.when_long_lived(partial(auth.watch, admin=True), token)
    return user


def _auth(handler: BaseHandler) -> AuthService:
    auth: AuthService = handler.application.settings["auth"]
    return auth
