"""The decorators that ask for a person, and what they enforce."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from station.audit import fingerprint
from station.auth.cookies import ACCESS_COOKIE
from station.security import Security, demand

if TYPE_CHECKING:
    from station.auth.service import AuthService
    from station.handlers import BaseHandler

__all__ = ["ADMIN_KEY_HEADER", "admin_authenticated", "user_authenticated"]

ADMIN_KEY_HEADER = "x-internal-api-key"


async def _enforce_session(handler: BaseHandler, _security: Security) -> None:
    auth: AuthService = handler.application.settings["auth"]
    token = handler.get_cookie(ACCESS_COOKIE, "")
    handler.current_user = user = await auth.authenticate(token)
    handler.identify("user", user.id)
    handler.when_long_lived(partial(auth.watch, admin=False), token)


async def _enforce_admin(handler: BaseHandler, _security: Security) -> None:
    auth: AuthService = handler.application.settings["auth"]
    key = handler.request.headers.get(ADMIN_KEY_HEADER)
    handler.audit_action = "admin.refused"
    if key is not None:
        # Tornado reads headers as Latin-1: these are the bytes that were sent.
        sent = key.encode("latin-1")
        await auth.authenticate_admin_key(sent, handler.client_address)
        handler.identify("key", fingerprint(sent))
    else:
        token = handler.get_cookie(ACCESS_COOKIE, "")
        handler.current_user = user = await auth.authenticate_admin(token)
        handler.identify("user", user.id)
        handler.when_long_lived(partial(auth.watch, admin=True), token)


user_authenticated = demand(Security("session"), _enforce_session)
"""Let a person with a live session call a method, or all methods of a class; others get 401.

``self.current_user`` is their `station.auth.models.User`, read for this request. Only the session's cookie
counts: an Authorization header is not looked at, because a machine is never a user.
"""

admin_authenticated = demand(Security("admin"), _enforce_admin)
"""Let an operator call a method, or all methods of a class.

A present ``x-internal-api-key`` decides alone; a wrong one is 401, or 429 from an address that fails too
often. Otherwise a session with the role ``admin`` is asked for: 401 for nobody, 403 for anybody else.
``self.current_user`` is the person, or None when it was the key.
"""
