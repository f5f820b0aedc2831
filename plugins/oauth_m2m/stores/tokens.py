"""Tokens: live ones in Redis, revoked ones in the collection ``revoked_tokens``."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from plugins.oauth_m2m.models import TokenRecord
    from station.resources import Resources

__all__ = ["TokenStore"]


class TokenStore:
    """Live tokens in Redis, revoked ones in the collection ``revoked_tokens``."""

    def __init__(self, resources: Resources) -> None:
        self._resources = resources
        self._redis = resources.redis
        self._revoked = resources.database["revoked_tokens"]

    async def record(self, token: TokenRecord) -> None:
        """Record a token before it leaves: returns once Redis has acknowledged it."""
        detail = {
            "scopes": token.scopes,
            "issued_at": token.iat,
            "expires_at": token.exp,
            "address": token.address,
            "user_agent": token.user_agent,
        }
        with self._resources.available():
            await self._redis.set(_token_key(token.client_id, token.jti), json.dumps(detail), exat=token.exp)

    async def revoke(self, client_id: str, jti: str, exp: int) -> None:
        """Revoke a token until it would have expired: first in MongoDB, the truth, then in Redis."""
        record = {"client_id": client_id, "expires_at": datetime.fromtimestamp(exp, UTC)}
        with self._resources.available():
            await self._revoked.update_one({"_id": jti}, {"$set": record}, upsert=True)
            await self._redis.set(f"blacklist:{jti}", "1", ex=max(1, exp - int(time.time()) + 1))
            await self._redis.delete(_token_key(client_id, jti))

    async def is_revoked(self, jti: str) -> bool:
        """Whether the token was revoked; MongoDB alone decides."""
        with self._resources.available():
            return await self._revoked.find_one({"_id": jti}, {"_id": 1}) is not None


def _token_key(client_id: str, jti: str) -> str:
    return f"client-token:{client_id}:{jti}"
