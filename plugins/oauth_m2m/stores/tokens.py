"""Tokens: live ones in Redis, revoked ones in the collection ``revoked_tokens``.

Redis holds under ``client-token:{client_id}:{jti}`` what is known of a live token, and under
``client-tokens:{client_id}:{generation}`` a sorted set of the client's live tokens by expiry (no braces in
the real keys). A new generation of a client thus has an empty set, and ending a hundred thousand tokens
touches none of them. Both expire with what they tell of: nothing is ever cleaned up.
"""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from plugins.oauth_m2m.models import TokenPage, TokenRecord

if TYPE_CHECKING:
    from collections.abc import Sequence

    from plugins.oauth_m2m.models import Client
    from station.resources import Resources

__all__ = ["TokenStore"]

# the clocks that forget a revocation and that let a token expire are not the same
_CLOCK_MARGIN = timedelta(minutes=5)


class TokenStore:
    """Live tokens in Redis, revoked ones in the collection ``revoked_tokens``.

    Every command is about one key, as a cluster demands.
    """

    def __init__(self, resources: Resources) -> None:
        self._resources = resources
        self._redis = resources.redis
        self._revoked = resources.database["revoked_tokens"]

    async def record(self, client: Client, token: TokenRecord) -> None:
        """Record a token of this client before it leaves: returns once Redis has acknowledged it."""
        detail = {
            "scopes": token.scopes,
            "issued_at": token.iat,
            "expires_at": token.exp,
            "address": token.address,
            "user_agent": token.user_agent,
            "secret": token.secret_id,
        }
        live = _live_key(client)
        with self._resources.available():
            async with self._redis.pipeline(transaction=False) as pipe:
                pipe.set(_token_key(client.client_id, token.jti), json.dumps(detail), exat=token.exp)
                pipe.zadd(live, {token.jti: token.exp})
                pipe.zremrangebyscore(live, "-inf", int(time.time()))
                # GT alone leaves a key without an expiry as it is
                pipe.expireat(live, token.exp, nx=True)
                pipe.expireat(live, token.exp, gt=True)
                await pipe.execute()

    async def revoke(self, client: Client, jti: str, exp: int) -> None:
        """Revoke a token until it has expired for every clock: first in MongoDB, the truth, then in Redis."""
        forgotten_at = datetime.fromtimestamp(exp, UTC) + _CLOCK_MARGIN
        record = {"client_id": client.client_id, "expires_at": forgotten_at}
        with self._resources.available():
            await self._revoked.update_one({"_id": jti}, {"$set": record}, upsert=True)
            async with self._redis.pipeline(transaction=False) as pipe:
                pipe.set(f"blacklist:{jti}", "1", ex=max(1, exp - int(time.time()) + 1))
                pipe.delete(_token_key(client.client_id, jti))
                pipe.zrem(_live_key(client), jti)
                await pipe.execute()

    async def is_revoked(self, jti: str) -> bool:
        """Whether the token was revoked; MongoDB alone decides."""
        with self._resources.available():
            return await self._revoked.find_one({"_id": jti}, {"_id": 1}) is not None

    async def expiry(self, client: Client, jti: str) -> int | None:
        """When a live token of the client expires; None if it has no such token."""
        with self._resources.available():
            exp = await self._redis.zscore(_live_key(client), jti)
        return None if exp is None or exp <= time.time() else int(exp)

    async def count(self, client: Client) -> int:
        """How many live tokens the client has."""
        with self._resources.available():
            return int(await self._redis.zcount(_live_key(client), f"({int(time.time())}", "+inf"))

    async def list(self, client: Client, *, limit: int, after: str | None = None) -> TokenPage:
        """A page of the client's live tokens, those that live longest first, behind ``after``.

        Tokens that were revoked are left out, so a page that is not the last may hold fewer than ``limit``.
        """
        key = _live_key(client)
        with self._resources.available():
            start = 0 if after is None else await self._place_behind(key, after)
            found: Any = await self._redis.zrevrange(key, start, start + limit - 1, withscores=True)
            members = [(jti.decode(), int(exp)) for jti, exp in found if exp > time.time()]
            async with self._redis.pipeline(transaction=False) as pipe:
                for jti, _ in members:
                    pipe.get(_token_key(client.client_id, jti))
                details = await pipe.execute() if members else []
        revoked = await self._revoked_among([jti for jti, _ in members])
        records = tuple(
            _record(client.client_id, jti, json.loads(detail))
            for (jti, _), detail in zip(members, details, strict=True)
            if detail is not None and jti not in revoked
        )
        last = "{1}:{0}".format(*members[-1]) if len(members) == limit else None
        return TokenPage(records, last)

    async def _place_behind(self, key: str, after: str) -> int:
        exp, _, jti = after.partition(":")
        rank: Any = await self._redis.zrevrank(key, jti)
        if rank is not None:
            return int(rank) + 1
        # it was revoked meanwhile: begin with those of its second, rather than miss one
        return int(await self._redis.zcount(key, f"({exp}", "+inf"))

    async def _revoked_among(self, jtis: Sequence[str]) -> set[str]:
        if not jtis:
            return set()
        with self._resources.available():
            found = self._revoked.find({"_id": {"$in": list(jtis)}}, {"_id": 1})
            return {document["_id"] async for document in found}


def _token_key(client_id: str, jti: str) -> str:
    return f"client-token:{client_id}:{jti}"


def _live_key(client: Client) -> str:
    return f"client-tokens:{client.client_id}:{client.generation}"


def _record(client_id: str, jti: str, detail: dict[str, Any]) -> TokenRecord:
    return TokenRecord(
        jti=jti,
        client_id=client_id,
        scopes=tuple(detail["scopes"]),
        iat=detail["issued_at"],
        exp=detail["expires_at"],
        address=detail["address"],
        user_agent=detail["user_agent"],
        secret_id=detail["secret"],
    )
