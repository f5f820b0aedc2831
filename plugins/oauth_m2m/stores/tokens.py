"""Tokens: live ones in Redis, revoked ones in the collection ``revoked_tokens``.

Redis holds under ``client-token:{client_id}:{jti}`` what is known of a live token, and under
``client-tokens:{client_id}:{generation}`` a sorted set of the client's live tokens by expiry (no braces in
the real keys). A new generation of a client thus has an empty set, and ending a hundred thousand tokens
touches none of them. Both expire with what they tell of: nothing is ever cleaned up.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import orjson

from plugins.oauth_m2m.config import MAX_TOKEN_TTL
from plugins.oauth_m2m.models import TokenPage, TokenRecord

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from plugins.oauth_m2m.models import Client
    from station.resources import Resources

__all__ = ["TokenStore"]

# the clocks that forget a revocation and that let a token expire are not the same
_CLOCK_MARGIN = timedelta(minutes=5)
_MARGIN_SECONDS = int(_CLOCK_MARGIN.total_seconds())
_LONGEST_LIFE = MAX_TOKEN_TTL + 60
_CLEAN_SECONDS = 60
_MAX_CLEANED = 10_000
_BATCH = 1000


class TokenStore:
    """Live tokens in Redis, revoked ones in the collection ``revoked_tokens``.

    Every command is about one key, as a cluster demands.
    """

    def __init__(self, resources: Resources) -> None:
        self._resources = resources
        self._redis = resources.redis
        self._revoked = resources.database["revoked_tokens"]
        self._cleaned: dict[str, int] = {}

    async def record(self, client: Client, token: TokenRecord) -> None:
        """Record a token of this client before it leaves: returns once Redis has acknowledged it.

        The record travels with everything else that this turn of the loop asks of Redis.
        """
        detail = {
            "scopes": token.scopes,
            "issued_at": token.iat,
            "expires_at": token.exp,
            "address": token.address,
            "user_agent": token.user_agent,
            "secret": token.secret_id,
        }
        live = _live_key(client)
        turn = self._resources.pipeline.turn()
        # for as long as the token lives, whatever the time of day: see `station.pipeline.Turn.set`
        turn.set(
            _token_key(client.client_id, token.jti),
            orjson.dumps(detail).decode(),
            seconds=token.exp - token.iat,
        )
        expired_until = token.iat - _MARGIN_SECONDS if self._is_due_to_clean(live, token.iat) else None
        turn.add(live, token.jti, score=token.exp, seconds=_LONGEST_LIFE, now=expired_until)
        await turn.flushed()

    async def withdraw(self, client: Client, jti: str) -> None:
        """Take back the record of a token that did not leave."""
        with self._resources.available():
            async with self._redis.pipeline(transaction=False) as pipe:
                pipe.delete(_token_key(client.client_id, jti))
                pipe.zrem(_live_key(client), jti)
                await pipe.execute()

    async def revoke(self, client: Client, jti: str, exp: int) -> None:
        """Revoke a token, in MongoDB, until it has expired for every clock."""
        forgotten_at = datetime.fromtimestamp(exp, UTC) + _CLOCK_MARGIN
        record = {"client_id": client.client_id, "expires_at": forgotten_at}
        with self._resources.available():
            await self._revoked.update_one({"_id": jti}, {"$set": record}, upsert=True)

    async def blacklist(self, client: Client, jti: str, exp: int) -> None:
        """Say in Redis, for other readers, that a token was revoked; it is none of the live ones any more."""
        with self._resources.available():
            async with self._redis.pipeline(transaction=False) as pipe:
                seconds = max(1, exp - int(time.time()) + 1) + _MARGIN_SECONDS
                pipe.set(f"blacklist:{jti}", "1", ex=seconds)
                pipe.delete(_token_key(client.client_id, jti))
                pipe.zrem(_live_key(client), jti)
                await pipe.execute()

    async def revoked(self) -> AsyncIterator[list[str]]:
        """The ids of all revoked tokens that may live still, a thousand at a time."""
        living = {"expires_at": {"$gt": datetime.now(UTC)}}
        with self._resources.available(None):
            batch: list[str] = []
            async for document in self._revoked.find(living, {"_id": 1}, batch_size=_BATCH):
                batch.append(document["_id"])
                if len(batch) == _BATCH:
                    yield batch
                    batch = []
            yield batch

    async def expiry(self, client: Client, jti: str) -> int | None:
        """When a live token of the client expires; None if it has no such token.

        One that has just expired by our clock may live by that of another process.
        """
        with self._resources.available():
            exp = await self._redis.zscore(_live_key(client), jti)
        return None if exp is None or exp <= time.time() - _MARGIN_SECONDS else int(exp)

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
            _record(client.client_id, jti, orjson.loads(detail))
            for (jti, _), detail in zip(members, details, strict=True)
            if detail is not None and jti not in revoked
        )
        last = "{1}:{0}".format(*members[-1]) if len(members) == limit else None
        return TokenPage(records, last)

    def _is_due_to_clean(self, live: str, now: int) -> bool:
        """Whether expired tokens shall leave this index now: each process does that once a minute."""
        if self._cleaned.get(live, 0) > now - _CLEAN_SECONDS:
            return False
        if len(self._cleaned) >= _MAX_CLEANED:
            self._cleaned.clear()
        self._cleaned[live] = now
        return True

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
