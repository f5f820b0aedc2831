"""How a password is replaced: by its owner, or by whoever holds the token of a message sent to the owner.

Either way one write to MongoDB puts the new hash and a new ``generation`` into the account and takes its
reset token out of it. Every session's tokens name the generation they were made in, so that write ends all
sessions at once, on every node, and neither a login nor a refresh that runs meanwhile survives it.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import secrets
import unicodedata
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from station.addresses import throttle_key
from station.audit import Event
from station.auth.errors import InvalidResetToken, LoginRequired, WrongPassword
from station.auth.links import reset_link
from station.auth.models import RESET_SECONDS, new_generation
from station.errors import Forbidden, NotFound, Reason, TooManyRequests, ValidationFailed
from station.messages import Message
from station.throttle import Limit

if TYPE_CHECKING:
    from station.audit import AuditLog
    from station.auth.models import TokenPair, User
    from station.auth.stores import SessionStore, UserStore
    from station.auth.tokens import SessionTokens
    from station.config import Config
    from station.messages import Messenger
    from station.passwords import PasswordHasher
    from station.throttle import Throttle

__all__ = ["PasswordService", "password_bytes"]

PER_ACCOUNT = Limit(window_ms=3_600_000, limit=3)
"""How many reset messages one account is sent, whoever asks and from wherever: no mailbox is flooded."""

_ENDED = Reason("ended", "the password was changed, or the account disabled, while this request ran")
_UNKNOWN = Reason("unknown", "no account has this email")
_UNDELIVERABLE = Reason(
    "undeliverable",
    "no plugin delivers messages",
    "a plugin with the hook station_messages, or station users reset-password EMAIL",
)
_NO_TOKEN = Reason(
    "unknown_token", "no account has this reset token: it was used, replaced by a newer one, or never was one"
)


class PasswordService:
    """Changes and resets the passwords of people.

    Failures count against the ``address`` as failed logins do. All methods raise `ServiceUnavailable` when a
    store is away or too many passwords are being verified. Nothing is changed then, unless MongoDB made the
    change and its answer was lost: the audit's event says ``failed``.
    """

    def __init__(
        self,
        config: Config,
        *,
        users: UserStore,
        sessions: SessionStore,
        tokens: SessionTokens,
        hasher: PasswordHasher,
        throttle: Throttle,
        audit: AuditLog,
        messages: Messenger,
    ) -> None:
        self._config = config
        self._users = users
        self._sessions = sessions
        self._tokens = tokens
        self._hasher = hasher
        self._throttle = throttle
        self._audit = audit
        self._messages = messages

    async def change(self, user: User, current: str, new: str, address: str) -> tuple[User, TokenPair]:
        """Replace the password of somebody who knows it, end every session, and begin a new one.

        Raises `WrongPassword`, `ValidationFailed` for a new password that is the current one,
        `TooManyRequests` for an address that fails too often, and `LoginRequired` when another change was
        faster.
        """
        if password_bytes(current) == password_bytes(new):
            raise _same_password()
        await self._check_failures(address)
        if not await self._verify(current, user):
            await self._count_failure(address)
            raise WrongPassword(Reason("wrong_password", f"the password was not that of {user.id}"))
        renewed = await self._renew(user, new)
        # The session comes first, of no use to anybody yet: nothing may fail once the password is another.
        session_id = secrets.token_urlsafe(24)
        counter = await self._sessions.start(session_id, user.id)
        async with self._audit.change("password.changed", target=user.id):
            if not await self._users.change_password(user, renewed):
                raise LoginRequired(reason=_ENDED)
        return renewed, self._tokens.issue(session_id, renewed, counter)

    async def request_reset(self, email: str, address: str) -> None:
        """Send a reset token to the owner of an account, if there is one.

        Nothing that depends on the account happens before the caller has answered, so that neither the
        answer nor its time says whether there is one. `TooManyRequests` for an address that asks too often.
        """
        limit = self._config.throttle("forgot")
        await self._throttle.hit("forgot", throttle_key(address), limit)
        self._messages.start(functools.partial(self._send_token, email.lower()))

    async def make_reset(self, email: str) -> Message:
        """Make a reset token for an operator to hand over; `NotFound` if no active account has the email."""
        user = await self._users.find_by_email(email.lower())
        if user is None or not user.is_active:
            raise NotFound("No active account has this email.")
        async with self._audit.change("password.reset_requested", target=user.id):
            return await self._make_token(user)

    async def reset(self, token: str, new: str, address: str) -> None:
        """Replace the password of the account that has this reset token, and end every session of it.

        A token serves once. Raises `InvalidResetToken`, always the same, `ValidationFailed` for a password
        that is the current one, and `TooManyRequests` for an address that fails too often.
        """
        await self._check_failures(address)
        digest = _digest(token)
        user = await self._holder_of(digest, address)
        if await self._verify(new, user):
            # it tells what the password is: no more guesses than at a login
            await self._count_failure(address)
            raise _same_password()
        renewed = await self._renew(user, new)
        async with self._audit.change("password.reset", target=user.id):
            if not await self._users.reset_password(digest, renewed, datetime.now(UTC)):
                await self._count_failure(address)
                raise InvalidResetToken(_NO_TOKEN)

    async def _send_token(self, email: str) -> None:
        user = await self._users.find_by_email(email)
        reason = await self._why_no_message(user)
        if user is None or reason is not None:
            target = user.id if user else ""
            refused = Event(action="forgot_password.refused", target=target, outcome="refused", reason=reason)
            self._audit.refuse(refused)
            return
        async with self._audit.change("password.reset_requested", target=user.id):
            await self._messages.deliver(await self._make_token(user))

    async def _why_no_message(self, user: User | None) -> Reason | None:
        if user is None:
            return _UNKNOWN
        if not user.is_active:
            return _inactive(user)
        if not self._messages.can_deliver:
            return _UNDELIVERABLE
        try:
            await self._throttle.hit("forgot-account", user.id, PER_ACCOUNT)
        except TooManyRequests:
            return Reason("throttled", f"{user.id} was sent {PER_ACCOUNT.limit} messages within the hour")
        return None

    async def _make_token(self, user: User) -> Message:
        """Give the account a reset token in place of the one it has."""
        token = secrets.token_urlsafe(32)
        expires_at = datetime.now(UTC) + timedelta(seconds=RESET_SECONDS)
        if not await self._users.set_reset(user, _digest(token), expires_at):
            raise Forbidden("This account is disabled.", reason=_inactive(user))
        return Message("password-reset", user.email, token, reset_link(self._config, token), expires_at)

    async def _holder_of(self, digest: str, address: str) -> User:
        found = await self._users.find_by_reset(digest)
        user, expires_at = found or (None, None)
        if user is None or expires_at is None:
            reason = _NO_TOKEN
        elif not user.is_active:
            reason = _inactive(user)
        elif expires_at <= datetime.now(UTC):
            reason = Reason("expired_token", f"the reset token of {user.id} had expired")
        else:
            return user
        await self._count_failure(address)
        raise InvalidResetToken(reason)

    async def _verify(self, password: str, user: User) -> bool:
        return await self._hasher.verify([password_bytes(password)], [user.password]) is not None

    async def _renew(self, user: User, password: str) -> User:
        hashed = await self._hasher.hash(password_bytes(password))
        return dataclasses.replace(user, password=hashed, generation=new_generation())

    async def _check_failures(self, address: str) -> None:
        await self._throttle.check("failure", throttle_key(address), self._config.throttle("failure"))

    async def _count_failure(self, address: str) -> None:
        await self._throttle.count("failure", throttle_key(address), self._config.throttle("failure"))


def password_bytes(password: str) -> bytes:
    """What is hashed: NFKC, so that one password typed on two systems is one (NIST SP 800-63B 5.1.1.2)."""
    return unicodedata.normalize("NFKC", password).encode(errors="surrogatepass")


def _digest(token: str) -> str:
    """What of a token is stored: it has 256 random bits, which no slow hash would protect better."""
    return hashlib.sha256(token.encode(errors="surrogatepass")).hexdigest()


def _inactive(user: User) -> Reason:
    return Reason("inactive", f"the account {user.id} is disabled", "station users enable EMAIL")


def _same_password() -> ValidationFailed:
    return ValidationFailed({"newPassword": ["Choose another password than the present one."]})
