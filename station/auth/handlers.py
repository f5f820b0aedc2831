"""The endpoints of people: register, log in, refresh, log out, replace a password, and who am I."""

from __future__ import annotations

from typing import TYPE_CHECKING

from station.auth.cookies import set_session_cookies
from station.auth.decorators import user_authenticated
from station.auth.schemas import (
    ChangePasswordSchema,
    ForgotPasswordSchema,
    LoginSchema,
    MessageSentSchema,
    RegisterSchema,
    ResetPasswordSchema,
    UserSchema,
)
from station.auth.sessions import log_in, log_out, renew_session
from station.handlers import BaseHandler, route
from station.openapi import Response, describe
from station.security import public

if TYPE_CHECKING:
    from station.auth.models import User
    from station.auth.service import AuthService

__all__ = ["routes"]

_SESSION = Response(UserSchema, headers=("Set-Cookie",))


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
    @describe(body=RegisterSchema, responses={201: UserSchema}, errors=(409, 429))
    async def post(self) -> None:
        """Make an account: 201, or 403 where registration is closed, 409 for a known email."""
        account = self.load_json(RegisterSchema())
        user = await self.auth.register(account["email"], account["password"], self.client_address)
        self.write_user(user, 201)


class LoginHandler(_AuthHandler):
    """``POST /auth/login``."""

    audit_action = "login.refused"

    @public
    @describe(body=LoginSchema, responses={200: _SESSION}, errors=(401, 429))
    async def post(self) -> None:
        """Begin a session and set its cookies: 200 with the account, or 401."""
        credentials = self.load_json(LoginSchema())
        self.write_user(await log_in(self, credentials["email"], credentials["password"]))


class RefreshHandler(_AuthHandler):
    """``POST /auth/refresh``."""

    @public
    @describe(responses={200: _SESSION}, errors=(401,))
    async def post(self) -> None:
        """Trade the refresh cookie for new cookies: 200 with the account, or 401."""
        self.write_user(await renew_session(self))


class LogoutHandler(_AuthHandler):
    """``POST /auth/logout``."""

    @public
    @describe(responses={204: Response(headers=("Set-Cookie",))})
    async def post(self) -> None:
        """End the session of the cookies, if it lives, and clear them: 204 always."""
        await log_out(self)
        self.set_status(204)


class ChangePasswordHandler(_AuthHandler):
    """``POST /auth/change-password``."""

    audit_action = "change_password.refused"

    @user_authenticated
    @describe(body=ChangePasswordSchema, responses={200: _SESSION}, errors=(429,))
    async def post(self) -> None:
        """Replace the password: 200 with new cookies, and every other session has ended; or 403."""
        passwords = self.load_json(ChangePasswordSchema())
        user, tokens = await self.auth.passwords.change(
            self.current_user, passwords["current_password"], passwords["new_password"], self.client_address
        )
        set_session_cookies(self, tokens)
        self.write_user(user)


class ForgotPasswordHandler(_AuthHandler):
    """``POST /auth/forgot-password``."""

    audit_action = "forgot_password.refused"

    @public
    @describe(body=ForgotPasswordSchema, responses={202: MessageSentSchema}, errors=(429,))
    async def post(self) -> None:
        """Send a message with a reset token: 202, whether there is such an account or not."""
        email = self.load_json(ForgotPasswordSchema())["email"]
        await self.auth.passwords.request_reset(email, self.client_address)
        self.write_json({"detail": "If an account has this email, a message is on its way to it."}, 202)


class ResetPasswordHandler(_AuthHandler):
    """``POST /auth/reset-password``."""

    audit_action = "reset_password.refused"

    @public
    @describe(body=ResetPasswordSchema, responses={204: None}, errors=(429,))
    async def post(self) -> None:
        """Replace the password of whom the token was sent to: 204, and every session has ended; or 400."""
        reset = self.load_json(ResetPasswordSchema())
        await self.auth.passwords.reset(reset["token"], reset["new_password"], self.client_address)
        self.set_status(204)


class MeHandler(_AuthHandler):
    """``GET /auth/me``."""

    @user_authenticated
    @describe(responses={200: UserSchema})
    async def get(self) -> None:
        """Answer the account of the session."""
        self.write_user(self.current_user)


routes = [
    route(r"/auth/register", RegisterHandler),
    route(r"/auth/login", LoginHandler),
    route(r"/auth/refresh", RefreshHandler),
    route(r"/auth/logout", LogoutHandler),
    route(r"/auth/change-password", ChangePasswordHandler),
    route(r"/auth/forgot-password", ForgotPasswordHandler),
    route(r"/auth/reset-password", ResetPasswordHandler),
    route(r"/auth/me", MeHandler),
]
