"""The signed tokens of a session: JWTs, HS256, under a key that signs nothing else.

An access token says ``iss aud sub type="user" sid gen iat exp jti``; a refresh token has a counter ``n``
besides. The header's ``typ`` tells them apart (RFC 8725 3.11), so neither passes for the other.
"""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import jwt

from station.auth.models import ACCESS_SECONDS, REFRESH_SECONDS, TokenPair
from station.keys import derive_key

if TYPE_CHECKING:
    from collections.abc import Sequence

    from station.auth.models import User

__all__ = ["AccessClaims", "RefreshClaims", "SessionTokens"]

_ALGORITHM = "HS256"
_ACCESS_TYPE = "session+jwt"
_REFRESH_TYPE = "refresh+jwt"
_CLAIMS: dict[str, type] = {
    "iss": str, "aud": str, "sub": str, "type": str, "sid": str, "gen": str, "jti": str,
    "iat": int, "exp": int,
}  # fmt: skip
# Clocks may jump by minutes; whether a session lives, Redis and the account say.
_CLOCK_SKEW_SECONDS = 600

# Besides its own errors PyJWT 2.10 lets these through: for a token that is no text or nests deep, and for
# claims that are endless numbers or of another type.
_UNREADABLE = (jwt.PyJWTError, ValueError, RecursionError, OverflowError, TypeError)


@dataclass(frozen=True, slots=True)
class AccessClaims:
    """Who an access token speaks for, in which session, and in which generation of the account."""

    session_id: str
    user_id: str
    generation: str


@dataclass(frozen=True, slots=True)
class RefreshClaims:
    """The same of a refresh token, which is the ``counter``-th of its session."""

    session_id: str
    user_id: str
    generation: str
    counter: int


class SessionTokens:
    """Signs and verifies the tokens of sessions.

    The first of ``jwt_secrets`` signs; the others are former ones, accepted while rotating.
    """

    def __init__(self, *, jwt_secrets: Sequence[str], issuer: str, audience: str) -> None:
        self._keys = [derive_key(secret, "sessions") for secret in jwt_secrets]
        self._issuer = issuer
        self._audience = audience

    def issue(self, session_id: str, user: User, counter: int) -> TokenPair:
        """The tokens of a session of ``user`` whose current refresh token is the ``counter``-th.

        They are good as long as the account is of the generation that ``user`` was read with.
        """
        claims = {"sub": user.id, "sid": session_id, "gen": user.generation}
        return TokenPair(
            access=self._sign(_ACCESS_TYPE, ACCESS_SECONDS, claims),
            refresh=self._sign(_REFRESH_TYPE, REFRESH_SECONDS, claims | {"n": counter}),
        )

    def read_access(self, token: str) -> AccessClaims | None:
        """The claims of an access token, or None for anything else: forged, expired, or no token at all."""
        claims = self._verify(token, _ACCESS_TYPE, _CLAIMS)
        return AccessClaims(claims["sid"], claims["sub"], claims["gen"]) if claims else None

    def read_refresh(self, token: str) -> RefreshClaims | None:
        """The claims of a refresh token, or None for anything else."""
        claims = self._verify(token, _REFRESH_TYPE, _CLAIMS | {"n": int})
        return RefreshClaims(claims["sid"], claims["sub"], claims["gen"], claims["n"]) if claims else None

    def _sign(self, typ: str, lifetime: int, claims: dict[str, Any]) -> str:
        now = int(time.time())
        payload = claims | {
            "iss": self._issuer,
            "aud": self._audience,
            "type": "user",
            "jti": secrets.token_urlsafe(16),
            "iat": now,
            "exp": now + lifetime,
        }
        return jwt.encode(payload, self._keys[0], _ALGORITHM, headers={"typ": typ})

    def _verify(self, token: str, typ: str, required: dict[str, type]) -> dict[str, Any] | None:
        for key in self._keys:
            try:
                decoded = jwt.decode_complete(
                    token,
                    key,
                    algorithms=[_ALGORITHM],
                    audience=self._audience,
                    issuer=self._issuer,
                    # iat is compared below, with room for the clocks of other nodes
                    options={"require": list(required), "verify_iat": False},
                )
            except jwt.InvalidSignatureError:
                continue
            except _UNREADABLE:
                return None
            return self._checked(decoded, typ, required)
        return None

    @staticmethod
    def _checked(decoded: dict[str, Any], typ: str, required: dict[str, type]) -> dict[str, Any] | None:
        claims: dict[str, Any] = decoded["payload"]
        # Station wrote the header itself: crit, jwk, kid and whatever else (RFC 8725 3.10) are not in it.
        if decoded["header"] != {"alg": _ALGORITHM, "typ": typ} or claims["type"] != "user":
            return None
        if any(type(claims[name]) is not kind for name, kind in required.items()):
            return None
        return claims if claims["iat"] <= time.time() + _CLOCK_SKEW_SECONDS else None
