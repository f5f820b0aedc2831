"""What the plugin knows: clients, their secrets, and the tokens they are given."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

__all__ = ["Client", "ClientSecret", "ClientToken", "IssuedToken", "Registration", "TokenRecord"]


@dataclasses.dataclass(frozen=True, slots=True)
class ClientSecret:
    """A secret of a client, at rest: ``hash`` is made by `station.passwords.PasswordHasher`."""

    id: str
    hash: str = dataclasses.field(repr=False)
    created_at: datetime
    expires_at: datetime | None = None
    last_used_at: datetime | None = None

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


@dataclasses.dataclass(frozen=True, slots=True)
class Registration:
    """What an admin asks for; without a ``client_secret`` Station generates one."""

    client_id: str
    scopes: tuple[str, ...]
    client_secret: str | None = dataclasses.field(default=None, repr=False)
    name: str = ""
    token_ttl: int | None = None


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
class IssuedToken:
    """An access token as it leaves: ``expires_in`` in seconds, ``scopes`` as granted."""

    access_token: str = dataclasses.field(repr=False)
    expires_in: int
    scopes: tuple[str, ...]
    jti: str


@dataclasses.dataclass(frozen=True, slots=True)
class TokenRecord:
    """What is remembered of a live token; ``address`` and ``user_agent`` are of the request that got it."""

    jti: str
    client_id: str
    scopes: tuple[str, ...]
    iat: int
    exp: int
    address: str
    user_agent: str
