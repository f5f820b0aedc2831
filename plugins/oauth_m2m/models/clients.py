"""Clients and their secrets, and what is asked and changed of them."""

from __future__ import annotations

import dataclasses
import secrets
from datetime import timedelta
from typing import TYPE_CHECKING, TypedDict

if TYPE_CHECKING:
    from datetime import datetime

__all__ = [
    "QUIET",
    "AuthenticatedClient",
    "Client",
    "ClientChange",
    "ClientPage",
    "ClientQuery",
    "ClientSecret",
    "Registration",
    "SecretAddition",
    "SecretUse",
    "new_generation",
]


QUIET = timedelta(hours=25)
"""How long a secret that is safe to retire has not been used."""


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
class SecretUse:
    """That a secret was used, when, and from which address."""

    client_id: str
    secret_id: str
    at: datetime
    address: str
