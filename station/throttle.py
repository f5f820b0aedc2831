"""Rate limits shared by every process through Redis.

A limit is a fixed window: it opens with the first hit and holds until it expires. ::

    throttle = Throttle(redis)
    await throttle.hit("login", address, Limit(window_ms=60_000, limit=10))   # the 11th raises 429

Where only failures count, ask before the work and count after it::

    await throttle.check("failure", address, limit)
    if not await verify(secret):
        await throttle.count("failure", address, limit)

Requests that are under way together can pass the same `Throttle.check`, so a burst overshoots a limit on
failures by what runs at once. Without Redis nothing can be counted, and nothing passes: 503.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from redis.exceptions import RedisClusterException, RedisError

from station.errors import ServiceUnavailable, TooManyRequests

if TYPE_CHECKING:
    from redis.asyncio import Redis, RedisCluster

__all__ = ["Limit", "Throttle"]

_PLAIN_KEY = re.compile(r"[A-Za-z0-9@+._:/-]{1,200}")


@dataclass(frozen=True, slots=True)
class Limit:
    """At most ``limit`` hits in each window of ``window_ms`` milliseconds; a limit of 0 is off."""

    window_ms: int
    limit: int


class Throttle:
    """Counts hits in Redis under ``throttle:{name}:{key}`` (no braces in the real key).

    ``name`` says which throttle, ``key`` whom it counts: an address, an address with a client id. A key may
    hold any text. Every method raises `station.errors.ServiceUnavailable` when Redis does not answer.
    """

    def __init__(self, redis: Redis | RedisCluster) -> None:
        self._redis = redis

    async def hit(self, name: str, key: str, limit: Limit) -> None:
        """Count one; `station.errors.TooManyRequests` when that is more than the limit."""
        if limit.limit:
            hits, expires_in_ms = await self._window("INCR", name, key, limit)
            if hits > limit.limit:
                raise _refusal(expires_in_ms)

    async def check(self, name: str, key: str, limit: Limit) -> None:
        """Count nothing; `station.errors.TooManyRequests` when the limit is reached already."""
        if limit.limit:
            hits, expires_in_ms = await self._window("GET", name, key, limit)
            if hits >= limit.limit:
                raise _refusal(expires_in_ms)

    async def count(self, name: str, key: str, limit: Limit) -> None:
        """Count one, however many there are: a failure that the next `check` shall see."""
        if limit.limit:
            await self._window("INCR", name, key, limit)

    async def _window(self, command: str, name: str, key: str, limit: Limit) -> tuple[int, int]:
        """The hits in the window after ``command`` ran on it, and in how many milliseconds it ends."""
        redis_key = _redis_key(name, key)
        try:
            async with self._redis.pipeline(transaction=False) as pipe:
                pipe.execute_command(command, redis_key)
                # NX keeps the window that is open. It is sent each time, GET included, because a
                # connection lost after INCR would otherwise leave a count that never expires.
                pipe.pexpire(redis_key, limit.window_ms, nx=True)
                pipe.pttl(redis_key)
                hits, _, expires_in_ms = await pipe.execute()
        except (RedisError, RedisClusterException) as error:
            raise ServiceUnavailable("A store of Station is away; try again later.") from error
        return int(hits or 0), int(expires_in_ms)


def _refusal(expires_in_ms: int) -> TooManyRequests:
    # RFC 9110 10.2.3: whole seconds. PTTL is negative when the window ended in between.
    return TooManyRequests(max(1, -(-expires_in_ms // 1000)))


def _redis_key(name: str, key: str) -> str:
    """A plain key stays readable; any other (long, braces, surrogates) becomes its SHA-256."""
    if not _PLAIN_KEY.fullmatch(key):
        key = "sha256=" + hashlib.sha256(key.encode(errors="surrogatepass")).hexdigest()
    return f"throttle:{name}:{key}"
