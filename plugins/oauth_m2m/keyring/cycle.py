"""How keys take turns: each rule makes, of the keys that are stored, those that should be."""

from __future__ import annotations

import dataclasses
import secrets
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from plugins.oauth_m2m.config import HS256, MAX_TOKEN_TTL
from plugins.oauth_m2m.keyring.sealing import UnreadableKey
from plugins.oauth_m2m.models import SigningKey, SigningKeys
from station.errors import Conflict, NotFound

if TYPE_CHECKING:
    from collections.abc import Callable

    from plugins.oauth_m2m.keyring.sealing import KeySealer, PrivateKey
    from plugins.oauth_m2m.models import KeyState

__all__ = ["JWKS_MAX_AGE", "REFRESH_SECONDS", "KeyCycle"]

REFRESH_SECONDS = 5.0
"""How often every node reads the keys."""

JWKS_MAX_AGE = 300
"""How long others may keep our JWK Set, in seconds."""

_PUBLICATION = timedelta(seconds=REFRESH_SECONDS + JWKS_MAX_AGE)
# A node signs with a key until it has read that the key is retired, by a clock that may be ahead.
_RETIREMENT = timedelta(seconds=MAX_TOKEN_TTL + 60)

_PUBLIC_MEMBERS = ("kty", "crv", "x", "y", "n", "e")  # RFC 7518 6.2.1, 6.3.1; RFC 8037 2
_MAKERS: dict[str, Callable[[], PrivateKey]] = {
    "EdDSA": ed25519.Ed25519PrivateKey.generate,
    "ES256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "RS256": lambda: rsa.generate_private_key(public_exponent=65537, key_size=2048),
}


class KeyCycle:
    """The rules of a node that is to sign with ``alg``; ``clock`` tells seconds since the epoch."""

    def __init__(self, alg: str, sealer: KeySealer, clock: Callable[[], float] = time.time) -> None:
        self._alg = alg
        self._sealer = sealer
        self._clock = clock

    def prepared(self, stored: SigningKeys) -> tuple[SigningKey, ...]:
        """With a key that signs and, but for HS256, one that is next, both by this node's algorithm.

        From one public algorithm to another the change waits until the next key has been published for long
        enough (`due`). HS256 is published to nobody: it comes and goes at once.
        """
        active, following = stored.in_state("active"), stored.in_state("next")
        keys = stored.keys
        if active is None or (active.alg != self._alg and HS256 in {active.alg, self._alg}):
            kept = [key for key in keys if key.state != "next" and key.kid != self._alg]
            keys = (*map(self._retired, kept), self._make(self._alg, "active"))
            following = None
        if self._alg == HS256 or (following is not None and following.alg == self._alg):
            return keys
        return (*(key for key in keys if key is not following), self._make(self._alg, "next"))

    def due(self, stored: SigningKeys) -> tuple[SigningKey, ...]:
        """With a change to this node's algorithm made, once its key has been published for long enough."""
        active, following = stored.in_state("active"), stored.in_state("next")
        if active is None or following is None or not following.alg == self._alg != active.alg:
            return stored.keys
        return self.rotated(stored) if self._is_published(following) else stored.keys

    def rotated(self, stored: SigningKeys, *, force: bool = False) -> tuple[SigningKey, ...]:
        """With the next key active, the active one retired, and a new next one.

        `Conflict` while others may not have seen the next key, unless forced, and for HS256.
        """
        following = stored.in_state("next")
        if following is None:
            raise Conflict("Only HS256 signs here: rotate JWT_SECRET, as docs/operating.md describes.")
        if not force and not self._is_published(following):
            known = following.published_at + _PUBLICATION
            raise Conflict(
                f"The key {following.kid} is so new that others may not know it before {known:%H:%M:%S} UTC; "
                "rotate after that, or with --force."
            )
        activated = dataclasses.replace(following, state="active", activated_at=self.now())
        kept = [self._retired(key) for key in stored.keys if key is not following and not self.is_over(key)]
        return (*kept, activated, self._make(following.alg, "next"))

    def without(self, stored: SigningKeys, kid: str) -> tuple[SigningKey, ...]:
        """Without one key, or with a new one for a next one; `NotFound`, `Conflict` for the active key."""
        key = next((key for key in stored.keys if key.kid == kid), None)
        if key is None:
            raise NotFound(f"There is no signing key {kid}.")
        if key.state == "active":
            raise Conflict(f"The key {kid} is active: rotate first, then retire it.")
        rest = tuple(other for other in stored.keys if other is not key)
        return (*rest, self._make(key.alg, "next")) if key.state == "next" else rest

    def resealed(self, stored: SigningKeys) -> tuple[SigningKey, ...]:
        """With every private key sealed under the present secret; `Conflict` if one cannot be opened."""
        try:
            return tuple(
                dataclasses.replace(key, sealed=self._sealer.reseal(key.kid, key.alg, key.sealed))
                if key.sealed
                else key
                for key in stored.keys
            )
        except UnreadableKey as error:
            raise Conflict(f"{error} Set JWT_SECRET_PREVIOUS to that one.") from error

    def is_over(self, key: SigningKey) -> bool:
        """Whether a retired key verifies no more."""
        return key.verifies_until is not None and key.verifies_until <= self.now()

    def now(self) -> datetime:
        """The time by the clock."""
        return datetime.fromtimestamp(self._clock(), UTC)

    def _is_published(self, key: SigningKey) -> bool:
        """Whether everybody who verifies our tokens has had the time to learn of the key."""
        return self.now() - key.published_at >= _PUBLICATION

    def _retired(self, key: SigningKey) -> SigningKey:
        """The key without its private part, if it was active."""
        if key.state != "active":
            return key
        until = self.now() + _RETIREMENT
        return dataclasses.replace(key, state="retired", sealed=None, verifies_until=until)

    def _make(self, alg: str, state: KeyState) -> SigningKey:
        now = self.now()
        activated_at = now if state == "active" else None
        if alg == HS256:
            return SigningKey(HS256, HS256, state, published_at=now, activated_at=activated_at)
        kid, private = secrets.token_hex(8), _MAKERS[alg]()
        members = jwt.get_algorithm_by_name(alg).to_jwk(private.public_key(), as_dict=True)
        return SigningKey(
            kid=kid,
            alg=alg,
            state=state,
            published_at=now,
            jwk={name: members[name] for name in _PUBLIC_MEMBERS if name in members},
            sealed=self._sealer.seal(kid, alg, private),
            activated_at=activated_at,
        )
