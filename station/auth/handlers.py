"""The endpoints of people: register, log in, refresh, log out, and who am I."""

from __future__ import annotations

from typing import TYPE_CHECKING

from station.auth.cookies import (
    ACCESS_COOKIE,
    REFRESH_COOKIE,
    clear_session_cookies,
    set_session_cookies,
)
from station.auth.decorators import user_authenticated
from station.auth.schemas import LoginSchema, RegisterSchema, UserSchema
from station.handlers import BaseHandler, route
from station.security import public

if TYPE_CHECKING:
    from station.auth.models import User
    from station.auth.service import AuthService

__all__ = ["routes"]


class _AuthHandler(BaseHandler):
    @property
    def auth(self) -> AuthService:
        service: AuthService = self.application.settings["auth"]
        return service

    def write_user(self, user: User, status: int = 200) -> None:
        self.write_json(UserSchema().dump(user), status)


class RegisterHandler(_AuthHandler):
    """``POST /auth/register``."""

    audit_action = "registration.refused"

    @public
    async def post(self) -> None:
        """Make an account: 201, or 403 where registration is closed, 409 for a known email."""
        account = self.load_json(RegisterSchema())
        user = await self.auth.register(account["email"], account["password"], self.client_address)
        self.write_user(user, 201)


class LoginHandler(_AuthHandler):
    """``POST /auth/login``."""

    audit_action = "login.refused"

    @public
    async def post(self) -> None:
        """Begin a session and set its cookies: 200 with the account, or 401."""
        credentials = self.load_json(LoginSchema())
        user, tokens = await self.auth.login(
            credentials["email"], credentials["password"], self.client_address
        )
        set_session_cookies(self, tokens)
        self.write_user(user)


class RefreshHandler(_AuthHandler):
    """``POST /auth/refresh``."""

    @public
    async def post(self) -> None:
        """Trade the refresh cookie for new cookies: 200 with the account, or 401."""
        user, tokens = await self.auth.refresh(self.get_cookie(REFRESH_COOKIE, ""))
        set_session_cookies(self, tokens)
        self.write_user(user)


class LogoutHandler(_AuthHandler):
    """``POST /auth/logout``."""

    @public
    async def post(self) -> None:
        """End the session of the cookies, if it lives, and clear them: 204 always."""
        await self.auth.logout(self.get_cookie(ACCESS_COOKIE, ""), self.get_cookie(REFRESH_COOKIE, ""))
        clear_session_cookies(self)
        self.set_status(204)


class MeHandler(_AuthHandler):
    """``GET /auth/me``."""

    @user_authenticated
    async def get(self) -> None:
        """Answer the account of the session."""
        self.write_user(self.current_user)


routes = [
    route(r"/auth/register", RegisterHandler),
    route(r"/auth/login", LoginHandler),
    route(r"/auth/refresh", RefreshHandler),
    route(r"/auth/logout", LogoutHandler),
    route(r"/auth/me", MeHandler),
]
