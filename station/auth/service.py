"""The rules of people's accounts and sessions, without HTTP and without stores' drivers."""

from __future__ import annotations

import contextlib
import dataclasses
import hmac
import secrets
import uuid
from typing import TYPE_CHECKING

from station import clock
from station.addresses import throttle_key
from station.auth.connections import SessionConnections
from station.auth.errors import LoginRequired
from station.auth.models import ADMIN, TokenPair, User, new_generation
from station.auth.passwords import PasswordService, password_bytes
from station.auth.stores import SessionStore, UserStore
from station.auth.tokens import AccessClaims, RefreshClaims, SessionTokens
from station.errors import Forbidden, NotFound, Reason, Unauthorized
from station.passwords import PasswordHasher

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from station.audit import AuditLog
    from station.config import Config, ThrottleName
    from station.connections import Connection
    from station.messages import Messenger
    from station.resources import Resources
    from station.throttle import Throttle

__all__ = ["AuthService", "open_auth_service"]

_CLOSED = Reason("closed", "registration is closed", "station users create EMAIL, or AUTH_REGISTRATION=open")
_REUSED = Reason(
    "reused",
    "the refresh token was traded before, and somebody else may have it: the session was ended",
    "nothing, if the person logs in again; a new password if it keeps happening",
)
_NO_ADMIN = Reason("missing", "neither an admin key nor a live session was sent")
_NOT_ADMIN = Reason("role", "the account does not have the role admin")
_NO_KEY = Reason(
    "key_unset", "no admin key is configured, so that none opens anything", "set INTERNAL_API_KEY"
)
_WRONG_KEY = Reason("wrong_key", "the key was neither INTERNAL_API_KEY nor INTERNAL_API_KEY_PREVIOUS")


class AuthService:
    """Registers people, logs them in and out, and says who a request comes from.

    ``passwords`` is the `PasswordService` over the same stores, ``pool`` are the threads of bcrypt. An
    ``address`` is that of the client, which throttles count. Besides what each method says, all raise
    `station.errors.ServiceUnavailable` when a store is away; nobody is let in then.
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
        passwords: PasswordService,
    ) -> None:
        self.passwords = passwords
        self.connections = SessionConnections(self._account_of)
        self._config = config
        self._audit = audit
        self._users = users
        self._sessions = sessions
        self._tokens = tokens
        self._hasher = hasher
        self._throttle = throttle
        self.pool = hasher.pool
        keys = (config.internal_api_key, config.internal_api_key_previous)
        self._admin_keys = [key.encode() for key in keys if key and key.strip()]

    async def register(self, email: str, password: str, address: str) -> User:
        """Make an account for somebody who asks for one.

        Raises `Forbidden` where registration is closed, `TooManyRequests`, `Conflict` for a known email.
        """
        if self._config.auth_registration == "closed":
            raise Forbidden("Registration is closed here; an operator makes accounts.", reason=_CLOSED)
        await self._hit("register", address)
        return await self.create_user(email, password)

    async def create_user(self, email: str, password: str, roles: Sequence[str] = ()) -> User:
        """Make an account with ``roles``; `Conflict` when the email has one."""
        user = User(
            id=f"usr_{uuid.uuid4().hex}",
            email=email.lower(),
            password=await self._hasher.hash(password_bytes(password)),
            roles=tuple(roles),
            is_active=True,
            created_at=clock.now(),
            generation=new_generation(),
        )
        async with self._audit.change("user.registered", target=user.id) as change:
            await self._users.add(user)
            change.after = {"email": user.email, "roles": list(user.roles)}
        return user

    async def has_admin(self) -> bool:
        """Whether any account has the role ``admin``, be it disabled."""
        return await self._users.has_role(ADMIN)

    async def login(self, email: str, password: str, address: str) -> tuple[User, TokenPair]:
        """Begin a session.

        Nobody of that email, an account that is not active and a wrong password are refused alike, with
        the same `Unauthorized` after the same work. `TooManyRequests` for an address that logs in, or
        fails, too often.
        """
        await self._hit("login", address)
        limit = self._config.throttle("failure")
        await self._throttle.check("failure", throttle_key(address), limit)
        user = await self._users.find_by_email(email.lower())
        hashes = [user.password] if user and user.is_active else []
        verified = await self._hasher.verify([password_bytes(password)], hashes)
        if user is None or verified is None:
            await self._throttle.count("failure", throttle_key(address), limit)
            raise LoginRequired("The email or the password is wrong.", reason=_why_no_login(user))
        if verified.outdated:
            await self._users.replace_password(user, await self._hasher.hash(password_bytes(password)))
        session_id = secrets.token_urlsafe(24)
        counter = await self._sessions.start(session_id, user.id)
        return user, self._tokens.issue(session_id, user, counter)

    async def refresh(self, refresh_token: str) -> tuple[User, TokenPair]:
        """Trade a refresh token for new tokens; one that was traded before ends its session.

        `Unauthorized` for every token that is not good any more; one that Station did not sign ends nothing.
        """
        claims = self._tokens.read_refresh(refresh_token)
        if claims is None:
            raise LoginRequired
        # The account comes first: a token that was traded for a 503 would count as used at the next try.
        user = await self._active_user(claims)
        was_live = await self._sessions.find_user_id(claims.session_id) is not None
        counter = await self._sessions.rotate(claims.session_id, claims.counter)
        if counter is None:
            raise LoginRequired(reason=_REUSED if was_live else None)
        return user, self._tokens.issue(claims.session_id, user, counter)

    async def logout(self, access_token: str, refresh_token: str) -> None:
        """End the session of either token at once; tokens that are not good any more end nothing."""
        claims = self._tokens.read_access(access_token), self._tokens.read_refresh(refresh_token)
        for session_id in {own.session_id for own in claims if own is not None}:
            await self._sessions.end(session_id)

    async def authenticate(self, access_token: str) -> User:
        """The account that an access token speaks for, read anew; `Unauthorized` if there is none."""
        claims = self._tokens.read_access(access_token)
        if claims is None:
            raise LoginRequired
        return await self._account_of(claims)

    async def authenticate_admin(self, access_token: str) -> User:
        """As `authenticate`, and `Forbidden` unless the account has the role ``admin``."""
        try:
            user = await self.authenticate(access_token)
        except Unauthorized as error:
            error.reason = _NO_ADMIN  # a key would have done as well
            raise
        self.check_admin(user)
        return user

    @staticmethod
    def check_admin(user: User) -> None:
        """Raise `Forbidden` unless the account has the role ``admin``."""
        if not user.is_admin:
            raise Forbidden("This needs the role admin.", reason=_NOT_ADMIN)

    def watch(self, connection: Connection, access_token: str, *, admin: bool) -> None:
        """Close a connection that this token opened once its session has ended, or the role is gone."""
        self.connections.watch(connection, self._tokens.read_access(access_token), admin=admin)

    async def authenticate_admin_key(self, key: bytes, address: str) -> None:
        """Accept the internal API key or its predecessor; blank and unset ones open nothing.

        Only failures are counted: `Unauthorized`, or `TooManyRequests` for an address that fails too
        often. The right key passes also from there, so that nobody locks out programs of one address.
        """
        matches = [hmac.compare_digest(key, own) for own in self._admin_keys]  # both, whatever the first says
        if any(matches):
            return
        await self._hit("failure", address)
        reason = _WRONG_KEY if self._admin_keys else _NO_KEY
        raise LoginRequired("The internal API key is wrong.", reason=reason)

    async def disable(self, email: str) -> User:
        """Disable an account; its sessions end at once and for good. `NotFound` if none has the email."""
        user = await self._account(email)
        async with self._audit.change("user.disabled", target=user.id) as change:
            change.before = {"is_active": user.is_active}
            await self._users.disable(user, new_generation())
            change.after = {"is_active": False}
        return dataclasses.replace(user, is_active=False)

    async def enable(self, email: str) -> User:
        """Let a disabled account log in again. `NotFound` if none has the email."""
        user = await self._account(email)
        async with self._audit.change("user.enabled", target=user.id) as change:
            change.before = {"is_active": user.is_active}
            await self._users.enable(user)
            change.after = {"is_active": True}
        return dataclasses.replace(user, is_active=True)

    async def _account(self, email: str) -> User:
        user = await self._users.find_by_email(email.lower())
        if user is None:
            raise NotFound("No account has this email.")
        return user

    async def _account_of(self, claims: AccessClaims) -> User:
        """Whose session it is, if it is live."""
        if await self._sessions.find_user_id(claims.session_id) != claims.user_id:
            raise LoginRequired
        return await self._active_user(claims)

    async def _active_user(self, claims: AccessClaims | RefreshClaims) -> User:
        """Whose token it is, unless the sessions of the account were ended since it was made."""
        user = await self._users.find(claims.user_id)
        if user is None or not user.is_active or user.generation != claims.generation:
            raise LoginRequired
        return user

    async def _hit(self, name: ThrottleName, address: str) -> None:
        await self._throttle.hit(name, throttle_key(address), self._config.throttle(name))


@contextlib.asynccontextmanager
async def open_auth_service(
    config: Config, resources: Resources, throttle: Throttle, audit: AuditLog, messages: Messenger
) -> AsyncIterator[AuthService]:
    """Make the service over the opened stores; its bcrypt threads end with it."""
    jwt_secrets = (config.jwt_secret, config.jwt_secret_previous)
    with contextlib.closing(PasswordHasher(config.auth_bcrypt_cost)) as hasher:
        tokens = SessionTokens(
            jwt_secrets=[secret for secret in jwt_secrets if secret],
            issuer=config.issuer,
            audience=config.audience,
        )
        users, sessions = UserStore(resources), SessionStore(resources)
        passwords = PasswordService(
            config,
            users=users,
            sessions=sessions,
            tokens=tokens,
            hasher=hasher,
            throttle=throttle,
            audit=audit,
            messages=messages,
        )
        service = AuthService(
            config,
            users=users,
            sessions=sessions,
            tokens=tokens,
            hasher=hasher,
            throttle=throttle,
            audit=audit,
            passwords=passwords,
        )
        async with service.connections.watching():
            yield service


def _why_no_login(user: User | None) -> Reason:
    if user is None:
        return Reason("unknown", "no account has this email")
    if not user.is_active:
        return Reason("inactive", f"the account {user.id} is disabled")
    return Reason("wrong_password", f"the password was not that of {user.id}")
