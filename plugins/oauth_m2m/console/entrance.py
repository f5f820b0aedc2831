"""The way in and out: the login, the renewal of a session, and the logout."""

from __future__ import annotations

from plugins.oauth_m2m.console.access import HOME, LOGIN, WAY_IN, local_path, with_next
from plugins.oauth_m2m.console.notices import leave_notice
from plugins.oauth_m2m.console.page import ConsoleHandler
from station.auth.sessions import log_in, log_out, renew_session
from station.errors import ResponseError, Unauthorized
from station.handlers import route
from station.security import public

__all__ = ["routes"]


class HomeHandler(ConsoleHandler):
    """``/console``."""

    @public
    def get(self) -> None:
        """Go to the first page."""
        self.redirect(HOME, status=303)


class LoginHandler(ConsoleHandler):
    """``/console/login``: the form, which stays where the next page is."""

    audit_action = "login.refused"
    _email = ""
    _next = HOME

    @public
    def get(self) -> None:
        """Show the form."""
        self.show("login.html", email="", next=local_path(self.get_query_argument("next", "")), error=None)

    @public
    async def post(self) -> None:
        """Begin a session, as ``POST /auth/login`` does, and go on; or show the form again and why."""
        self._next = local_path(self.get_body_argument("next", ""))
        self._email = self.get_body_argument("email", "")
        await log_in(self, self._email, self.get_body_argument("password", "", strip=False))
        self.redirect(self._next, status=303)

    def error_page(self, error: ResponseError) -> bytes:
        """The form again, without the password."""
        if self.request.method != "POST" or error.status not in {401, 429, 503}:
            return super().error_page(error)
        return self.page("login.html", email=self._email, next=self._next, error=error)


@public
class WayInHandler(ConsoleHandler):
    """``/auth/console``: where browsers send the token that renews a session."""

    async def get(self) -> None:
        """Renew the session and go on to the page; or to the login, once the session has ended."""
        wanted = local_path(self.get_query_argument("next", ""))
        try:
            await renew_session(self)
        except Unauthorized as error:
            if error.reason is not None:
                self.record_refusal(error)
            self.redirect(with_next(LOGIN, wanted), status=303)
        else:
            self.redirect(wanted, status=307)

    async def post(self) -> None:
        """The same for a form, which goes on to the page with all that was typed."""
        await self.get()


@public
class LogoutHandler(ConsoleHandler):
    """``/auth/console/logout``, where both cookies are sent."""

    async def post(self) -> None:
        """End the session and go to the login."""
        await log_out(self)
        leave_notice(self, "You are logged out.")
        self.redirect(LOGIN, status=303)


routes = [
    route(r"/console", HomeHandler),
    route(LOGIN, LoginHandler),
    route(WAY_IN, WayInHandler),
    route(rf"{WAY_IN}/logout", LogoutHandler),
]
