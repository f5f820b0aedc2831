"""What the plugin knows: clients, their secrets, and the tokens they are given."""

from __future__ import annotations

import dataclasses
import secrets
from datetime import timedelta
from typing import TYPE_CHECKING, Literal, NamedTuple, TypedDict

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

__all__ = [
    "AuthenticatedClient",
    "Change",
    "Client",
    "ClientChange",
    "ClientChanged",
    "ClientPage",
    "ClientQuery",
    "ClientSecret",
    "ClientToken",
    "Confirmation",
    "Hint",
    "IssuedToken",
    "KeyState",
    "KeysChanged",
    "Position",
    "Process",
    "Registration",
    "SecretAddition",
    "SecretUse",
    "SigningKey",
    "SigningKeys",
    "TokenPage",
    "TokenRecord",
    "TokenRevoked",
    "Usage",
    "UsageKey",
    "UsageTotals",
    "new_generation",
]

QUIET = timedelta(hours=25)
"""How long a secret that is safe to retire has not been used."""

KeyState = Literal["next", "active", "retired"]


@dataclasses.dataclass(frozen=True, slots=True)
class ClientSecret:
    """A secret of a client, at rest: ``hash`` is made by `station.passwords.PasswordHasher`.

    ``last_used_at`` is right to a minute, ``last_used_from`` the address that the client then had.
    """

    id: str
    hash: str = dataclasses.field(repr=False)
    created_at: datetime
    expires_at: datetime | None = None
    last_used_at: datetime | None = None
    last_used_from: str | None = None

    def is_live(self, now: datetime) -> bool:
        """Whether it still authenticates: it ends at the very instant of ``expires_at``."""
        return self.expires_at is None or now < self.expires_at


@dataclasses.dataclass(frozen=True, slots=True)
class Client:
    """A registered client (RFC 6749 2).

    All its ``secrets`` were hashed with one ``salt``, so that one bcrypt checks them all. A token is valid
    only while it carries the client's ``generation``. ``token_ttl`` is in seconds, None for the default.
    """

    id: str
    client_id: str
    name: str
    salt: str = dataclasses.field(repr=False)
    secrets: tuple[ClientSecret, ...]
    scopes: tuple[str, ...]
    is_active: bool
    token_ttl: int | None
    generation: str
    version: int
    created_at: datetime
    updated_at: datetime

    def live_secrets(self, now: datetime) -> tuple[ClientSecret, ...]:
        """The secrets that authenticate now: none while the client is disabled."""
        return tuple(secret for secret in self.secrets if self.is_active and secret.is_live(now))

    def is_safe_to_retire(self, secret: ClientSecret, now: datetime) -> bool:
        """Whether nothing seems to need this secret any more: it has ended, or another one took over.

        That is, another live secret was used after this one was, and this one was not used (if ever; else not
        made) within the last 25 hours, in which every daily job would have shown itself.
        """
        if not secret.is_live(now):
            return True
        last = secret.last_used_at or secret.created_at
        since = [other.last_used_at for other in self.secrets if other.id != secret.id and other.is_live(now)]
        return now - last > QUIET and any(used is not None and used > last for used in since)

    def audited(self) -> dict[str, object]:
        """What the audit keeps of a client before and after a change: no secret, no hash, no salt."""
        return {
            "name": self.name,
            "scopes": list(self.scopes),
            "is_active": self.is_active,
            "token_ttl": self.token_ttl,
            "version": self.version,
            "secrets": [_secret_in_words(secret) for secret in self.secrets],
        }


def new_generation() -> str:
    """The random value that ties tokens to a client; a new one ends those of the one before."""
    return secrets.token_urlsafe(16)


@dataclasses.dataclass(frozen=True, slots=True)
class AuthenticatedClient:
    """A client, and which of its secrets it presented."""

    client: Client
    secret: ClientSecret


def _secret_in_words(secret: ClientSecret) -> str:
    ends = secret.expires_at
    return f"{secret.id} until {ends:%Y-%m-%dT%H:%M:%SZ}" if ends else secret.id


@dataclasses.dataclass(frozen=True, slots=True)
class Registration:
    """What an admin asks for; without a ``client_secret`` Station generates one."""

    client_id: str
    scopes: tuple[str, ...]
    client_secret: str | None = dataclasses.field(default=None, repr=False)
    name: str = ""
    token_ttl: int | None = None
    is_active: bool = True


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SecretAddition:
    """What an admin asks for when a secret is to be replaced with overlap.

    Without a ``client_secret`` Station generates one. At ``end_others_at``, or ``end_others_in`` seconds from
    now, the client's other secrets end that would have lived longer.
    """

    client_secret: str | None = dataclasses.field(default=None, repr=False)
    expires_at: datetime | None = None
    end_others_at: datetime | None = None
    end_others_in: int | None = None

    def others_end(self, now: datetime) -> datetime | None:
        """When the others end, to the second."""
        if self.end_others_in is None:
            return self.end_others_at
        return now.replace(microsecond=0) + timedelta(seconds=self.end_others_in)


class ClientChange(TypedDict, total=False):
    """What shall change of a client; what is absent stays. A ``token_ttl`` of None is the default again.

    ``secret_hashes`` take the place of all its secrets.
    """

    name: str
    scopes: tuple[str, ...]
    token_ttl: int | None
    is_active: bool
    secret_hashes: tuple[str, ...]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ClientQuery:
    """Which clients are asked for, in the order of their ids: at most ``limit`` of those behind ``after``.

    ``search`` is a part of the client id or the name, in any case. All that is given must match.
    """

    search: str = ""
    scope: str | None = None
    is_active: bool | None = None
    after: str = ""
    limit: int = 50


@dataclasses.dataclass(frozen=True, slots=True)
class ClientPage:
    """A page of clients; ``last`` is the client id that the next page comes after, None on the last."""

    clients: tuple[Client, ...]
    last: str | None


@dataclasses.dataclass(frozen=True, slots=True)
class ClientToken:
    """A verified access token: who calls, and what they may.

    ``scopes`` are those granted that the client still holds; ``iat`` and ``exp`` are seconds since the
    epoch. ``sub`` and ``client_id`` are the same (RFC 9068 2.2).
    """

    sub: str
    client_id: str
    scopes: frozenset[str]
    jti: str
    iat: int
    exp: int


@dataclasses.dataclass(frozen=True, slots=True)
class SecretUse:
    """That a secret was used, when, and from which address."""

    client_id: str
    secret_id: str
    at: datetime
    address: str


@dataclasses.dataclass(frozen=True, slots=True)
class IssuedToken:
    """An access token as it leaves: ``expires_in`` in seconds, ``scopes`` as granted."""

    access_token: str = dataclasses.field(repr=False)
    expires_in: int
    scopes: tuple[str, ...]
    jti: str


@dataclasses.dataclass(frozen=True, slots=True)
class TokenRecord:
    """What is remembered of a live token.

    ``address`` and ``user_agent`` are of the request that got it, ``secret_id`` is that of the secret used.
    """

    jti: str
    client_id: str
    scopes: tuple[str, ...]
    iat: int
    exp: int
    address: str
    user_agent: str
    secret_id: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class TokenPage:
    """A page of live tokens; ``last`` is what the next page comes after, None if there is no more."""

    tokens: tuple[TokenRecord, ...]
    last: str | None


@dataclasses.dataclass(frozen=True, slots=True)
class SigningKey:
    """A key that signs tokens, at rest.

    ``jwk`` holds the public members (RFC 7517), ``sealed`` the private part, encrypted, until the key is
    retired. The key ``HS256`` has neither: it stands for ``JWT_SECRET``. A retired key verifies until
    ``verifies_until``.
    """

    kid: str
    alg: str
    state: KeyState
    published_at: datetime
    jwk: Mapping[str, str] = dataclasses.field(default_factory=dict)
    sealed: bytes | None = dataclasses.field(default=None, repr=False)
    activated_at: datetime | None = None
    verifies_until: datetime | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class SigningKeys:
    """All keys of a keyring at once; every change of them has the next ``version``."""

    version: int = 0
    keys: tuple[SigningKey, ...] = ()

    def in_state(self, state: KeyState) -> SigningKey | None:
        """The one key that is active or next, if there is one."""
        return next((key for key in self.keys if key.state == state), None)

    def followed_by(self, keys: tuple[SigningKey, ...]) -> SigningKeys:
        """The next version."""
        return SigningKeys(self.version + 1, keys)

    def audited(self) -> dict[str, object]:
        """What an audit event says of them."""
        return {key.kid: f"{key.alg} {key.state}" for key in self.keys}


Position = tuple[int, int]
"""A place in the order of all changes of MongoDB: the second, and the number within it (cluster time)."""


@dataclasses.dataclass(frozen=True, slots=True)
class ClientChanged:
    """A client was registered, changed or deleted.

    ``client`` is as it is now, which may be newer than this change, and None once it is gone. ``version`` is
    the one that this change made: 0 if it made none, None if it deleted the client.
    """

    position: Position
    id: str
    client: Client | None
    version: int | None


@dataclasses.dataclass(frozen=True, slots=True)
class TokenRevoked:
    """A token was revoked, or its revocation ``forgotten`` because it has expired."""

    position: Position
    jti: str
    forgotten: bool


@dataclasses.dataclass(frozen=True, slots=True)
class KeysChanged:
    """The signing keys have changed: they are ``keys`` now, and this change made this ``version`` of them."""

    position: Position
    keys: SigningKeys | None
    version: int | None


Change = ClientChanged | TokenRevoked | KeysChanged
"""What a change stream tells."""


@dataclasses.dataclass(frozen=True, slots=True)
class Confirmation:
    """How far a change has come: how many processes apply it, and how many live ones have not said so yet.

    ``pending`` is None if it is not known which processes there are.
    """

    confirmed_by: int
    pending: int | None

    def audited(self) -> dict[str, object]:
        """What the audit keeps."""
        return {"confirmed_by": self.confirmed_by, "pending": self.pending}


class UsageKey(NamedTuple):
    """What is counted together: what a client did in the five minutes from ``at``, seconds since the epoch.

    The empty ``client_id`` stands for all clients, known or not.
    """

    client_id: str
    at: int


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What one client, or all of them, did in a period that begins ``at``.

    ``calls`` are those that protected handlers have accepted, ``introspections`` those in which a resource
    server heard that a token is active. ``refused`` counts requests by the endpoint as the audit calls it
    (token, bearer, introspect, revoke) and by the reason.
    """

    at: datetime
    issued: int = 0
    calls: int = 0
    introspections: int = 0
    refused: Mapping[str, Mapping[str, int]] = dataclasses.field(default_factory=dict)

    @property
    def tokens_refused(self) -> int:
        """How many requests for a token were refused."""
        return sum(self.refused.get("token", {}).values())

    @property
    def calls_refused(self) -> int:
        """How many other requests were refused."""
        every = sum(sum(reasons.values()) for reasons in self.refused.values())
        return every - self.tokens_refused


class UsageTotals(NamedTuple):
    """The tokens that a client was issued, and how often tokens of it were used, in some time."""

    client_id: str
    issued: int
    calls: int
    introspections: int

    @property
    def uses(self) -> int:
        """Calls, and introspections: uses at other resource servers."""
        return self.calls + self.introspections


@dataclasses.dataclass(frozen=True, slots=True)
class Hint:
    """That a client seems to fetch a token for every call, instead of keeping one.

    ``issued`` tokens within the last hour were used ``uses`` times: calls here, and introspections.
    """

    client_id: str
    issued: int
    uses: int

    @property
    def ratio(self) -> float:
        """How often each token was used."""
        return self.uses / self.issued

    @property
    def advice(self) -> str:
        """What to do about it, in one sentence."""
        return "A token should be kept until expires_in has passed; docs/clients/ shows how."

    def __str__(self) -> str:
        """The hint for people."""
        found = f"{self.client_id} got {self.issued} tokens in an hour and used each {self.ratio:.1f} times."
        return f"{found} {self.advice}"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """A process that serves, as it says of itself every other second.

    ``position`` is how far it has followed MongoDB, and ``silence`` for how many seconds it has not heard of
    it. ``bcrypt_waiting`` secrets wait for ``bcrypt_threads``, at most ``bcrypt_places``. ``throttled`` says
    how many requests each throttle has refused since the process started.
    """

    id: str
    host: str
    pid: int
    worker: int
    version: str
    started_at: datetime
    position: Position
    silence: float
    bcrypt_threads: int
    bcrypt_running: int
    bcrypt_waiting: int
    bcrypt_places: int
    throttled: Mapping[str, int] = dataclasses.field(default_factory=dict)
