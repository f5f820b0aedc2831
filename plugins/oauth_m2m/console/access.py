"""Who may see the console: people with the role admin, whose session goes on for as long as they work.

An access token lives for fifteen minutes, and the token that renews it is sent under ``/auth`` alone. So a
browser whose access token has ended goes by way of ``/auth/console``, which renews the session and sends it
back where it was, or to the login. A 307 keeps the method and the body, so that no form is lost.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from station.auth.sessions import authenticate_admin_session
from station.errors import Unauthorized
from station.security import Security, SecurityScheme, demand

if TYPE_CHECKING:
    from station.handlers import BaseHandler

__all__ = ["CONSOLE", "HOME", "LOGIN", "SCHEME", "WAY_IN", "console_authenticated", "local_path", "with_next"]

CONSOLE = "console"
SCHEME = SecurityScheme(CONSOLE, openapi={}, refusals=(307, 403))
"""What the console's pages demand; it is no part of the API."""

HOME = "/console/clients"
LOGIN = "/console/login"
WAY_IN = "/auth/console"

# a path of the console: no second slash, no dots, no other host can be spelled with these
_LOCAL = re.compile(r"/console(/[A-Za-z0-9_-]+)*(\?[A-Za-z0-9_.~%+=&:-]*)?")


def local_path(wanted: str) -> str:
    """``wanted`` if it is a path of the console, else its first page: nobody is sent elsewhere by a link."""
    return wanted if _LOCAL.fullmatch(wanted) else HOME


def with_next(path: str, wanted: str) -> str:
    """``path``, told where to go on to."""
    return f"{path}?{urlencode({'next': local_path(wanted)})}"


async def _enforce(handler: BaseHandler, _security: Security) -> None:
    try:
        await authenticate_admin_session(handler)
    except Unauthorized:
        handler.redirect(with_next(WAY_IN, handler.request.uri or HOME), status=307)


console_authenticated = demand(Security(CONSOLE), _enforce)
"""Let a person with the role admin see a page; others are sent to the login, or get a page that says 403.

Neither the admin key nor a client's token counts: they are for programs.
"""
