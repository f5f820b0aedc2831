"""Tokens: as they are issued, recorded, presented and listed."""

from __future__ import annotations

import dataclasses

__all__ = ["ClientToken", "IssuedToken", "TokenPage", "TokenRecord"]


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
