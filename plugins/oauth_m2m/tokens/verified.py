"""VerifiedTokens: tokens whose signature and claims were found right lately."""

from __future__ import annotations

import hashlib
import time
from typing import TYPE_CHECKING, Any

from plugins.oauth_m2m.models import ClientToken

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from plugins.oauth_m2m.keyring import Keyring
    from plugins.oauth_m2m.models import Client

__all__ = ["VerifiedToken", "VerifiedTokens"]

_SECONDS = 60.0


class VerifiedToken:
    """What a token says, whatever has become of it since."""

    __slots__ = ("_client", "_held", "_scopes", "client_id", "exp", "gen", "iat", "jti", "until")

    def __init__(self, claims: Mapping[str, Any], until: float) -> None:
        self.client_id: str = claims["client_id"]
        self.gen: str = claims["gen"]
        self.jti: str = claims["jti"]
        self.iat: int = claims["iat"]
        self.exp: int = claims["exp"]
        self.until = until
        self._scopes = frozenset(claims["scopes"])
        self._client: Client | None = None
        self._held: ClientToken | None = None

    def as_held_by(self, client: Client) -> ClientToken:
        """The token, with the scopes that the client still has."""
        if self._held is None or self._client is not client:
            self._client = client
            self._held = ClientToken(
                sub=self.client_id,
                client_id=self.client_id,
                scopes=self._scopes & frozenset(client.scopes),
                jti=self.jti,
                iat=self.iat,
                exp=self.exp,
            )
        return self._held


class VerifiedTokens:
    """Remembers up to ``size`` tokens by their SHA-256, for a minute and while the keys stay the same.

    ``hits`` and ``misses`` count how often one was asked for that was remembered, or not.
    """

    def __init__(self, size: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._size = size
        self._clock = clock
        self._kept: dict[bytes, VerifiedToken] = {}
        self._version = -1
        self.hits = self.misses = 0

    def __len__(self) -> int:
        return len(self._kept)

    def find(self, token: str, keyring: Keyring) -> VerifiedToken | None:
        """What the token says, if that is remembered."""
        if self._version != keyring.version:
            self._kept.clear()
            self._version = keyring.version
        known = self._kept.get(_digest(token))
        if known is not None and known.until > self._clock():
            self.hits += 1
            return known
        self.misses += 1
        return None

    def keep(self, token: str, claims: Mapping[str, Any], keyring: Keyring) -> VerifiedToken:
        """Remember a token that was verified with keys of ``keyring``."""
        known = VerifiedToken(claims, self._clock() + _SECONDS)
        if self._version == keyring.version:
            digest = _digest(token)
            self._kept.pop(digest, None)
            if len(self._kept) >= self._size:
                del self._kept[next(iter(self._kept))]
            self._kept[digest] = known
        return known


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
