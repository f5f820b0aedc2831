"""Rate limits shared by every process through Redis.

A limit is a fixed window: it opens with the first hit and holds until it expires. ::

    throttle = Throttle(redis)
    await throttle.hit("login", address, Limit(window_ms=60_000, limit=10))   # the 11th raises 429

Where only failures count, ask before the work and count after it::

    await throttle.check("failure", address, limit)
    if not await verify(secret):
        await throttle.count("failure", address, limit)

What a request asks first can travel with what it asks last (`Throttle.admit`)::

    admission = throttle.admit(Check("failure", address, failures), Hit("token", client, limit))
    ...                                  # prepare the answer
    await admission.settled()            # and let it go, or refuse with 429

Requests that are under way together can pass the same `Throttle.check`, so a burst overshoots a limit on
failures by what runs at once. Without Redis nothing can be counted, and nothing passes: 503.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from redis.exceptions import RedisClusterException, RedisError

from station.errors import ServiceUnavailable, TooManyRequests
from station.pipeline import Read, TurnPipeline

if TYPE_CHECKING:
    from collections.abc import Sequence

    from redis.asyncio import Redis, RedisCluster

    from station.pipeline import Counted, Turn

__all__ = ["Admission", "Check", "Hit", "Limit", "Throttle"]

_MAX_CLOSED = 10_000
_PLAIN_KEY = re.compile(r"[A-Za-z0-9@+._:/-]{1,200}")


@dataclass(frozen=True, slots=True)
class Limit:
    """At most ``limit`` hits in each window of ``window_ms`` milliseconds; a limit of 0 is off."""

    window_ms: int
    limit: int


class Throttle:
    """Counts hits in Redis under ``throttle:{name}:{key}`` (no braces in the real key).

    ``name`` says which throttle, ``key`` whom it counts: an address, an address with a client id. A key may
    hold any text. ``refusals`` are how many each throttle has refused. Every method raises
    `station.errors.ServiceUnavailable` when Redis does not answer.
    """

    def __init__(self, redis: Redis | RedisCluster, pipeline: TurnPipeline | None = None) -> None:
        self._redis = redis
        self._pipeline = pipeline or TurnPipeline(redis)
        self._closed: dict[str, float] = {}
        self.refusals: Counter[str] = Counter()

    async def hit(self, name: str, key: str, limit: Limit) -> None:
        """Count one; `station.errors.TooManyRequests` when that is more than the limit."""
        await self.admit(Hit(name, key, limit)).settled()

    async def check(self, name: str, key: str, limit: Limit) -> None:
        """Count nothing; `station.errors.TooManyRequests` when the limit is reached already."""
        await self.admit(Check(name, key, limit)).settled()

    async def count(self, name: str, key: str, limit: Limit) -> None:
        """Count one, however many there are: a failure that the next `check` shall see."""
        if limit.limit:
            turn = self._pipeline.turn()
            turn.count(_redis_key(name, key), window_ms=limit.window_ms)
            await turn.flushed()

    def admit(self, *questions: Hit | Check) -> Admission:
        """Ask several throttles at once, in the round trip of this turn of the loop; see `Admission`."""
        asked = [one for one in questions if one.limit.limit]
        return Admission(self, self._pipeline.turn() if asked else None, asked)

    def is_closed(self, key: str) -> bool:
        """Whether this process knows that a window is full and has not ended."""
        return self._closed.get(key, 0.0) > time.monotonic()

    async def expires_in_ms(self, key: str, limit: Limit) -> int:
        """When a window that is full ends; one that has lost its end gets it back."""
        if self.is_closed(key):
            return int((self._closed[key] - time.monotonic()) * 1000)
        try:
            async with self._redis.pipeline(transaction=False) as pipe:
                pipe.pexpire(key, limit.window_ms, nx=True)
                pipe.pttl(key)
                expires_in_ms = int((await pipe.execute())[1])
        except (RedisError, RedisClusterException) as error:
            raise ServiceUnavailable("A store of Station is away; try again later.") from error
        if len(self._closed) >= _MAX_CLOSED:
            self._closed.clear()
        self._closed[key] = time.monotonic() + expires_in_ms / 1000
        return expires_in_ms


class Hit(NamedTuple):
    """The question whether one more may pass, which is counted."""

    name: str
    key: str
    limit: Limit


class Check(NamedTuple):
    """The question whether anything may pass, which counts nothing."""

    name: str
    key: str
    limit: Limit


class Admission:
    """The answer of throttles that were asked, which is known when `settled` returns.

    Until then what is asked for can be prepared: it must not leave, and not even be refused for another
    reason. Where it is ``unlikely`` to pass, because a window was full a moment ago, that is not worth while.
    """

    __slots__ = ("_asked", "_refused", "_throttle", "_turn", "unlikely")

    def __init__(self, throttle: Throttle, turn: Turn | None, questions: Sequence[Hit | Check]) -> None:
        self._throttle = throttle
        self._turn = turn
        self.unlikely = False
        self._refused: TooManyRequests | None = None
        self._asked: list[tuple[str, Hit | Check, Counted | Read]] = []
        if turn is None:
            return
        for one in questions:
            key = _redis_key(one.name, one.key)
            self.unlikely = self.unlikely or throttle.is_closed(key)
            counted = isinstance(one, Hit)
            asked = turn.count(key, window_ms=one.limit.window_ms) if counted else turn.get(key)
            self._asked.append((key, one, asked))

    async def settled(self) -> None:
        """Return if all let it pass; `station.errors.TooManyRequests` for the first that does not."""
        if self._turn is None:
            return
        if self._refused is not None:
            raise self._refused
        await self._turn.flushed()
        for key, question, asked in self._asked:
            if isinstance(asked, Read):
                refused = int(asked.value or 0) >= question.limit.limit
            else:
                refused = asked.hits > question.limit.limit
            if refused:
                self._throttle.refusals[question.name] += 1
                self._refused = _refusal(await self._throttle.expires_in_ms(key, question.limit))
                raise self._refused


def _refusal(expires_in_ms: int) -> TooManyRequests:
    # RFC 9110 10.2.3: whole seconds. PTTL is negative when the window ended in between.
    return TooManyRequests(max(1, -(-expires_in_ms // 1000)))


def _redis_key(name: str, key: str) -> str:
    """A plain key stays readable; any other (long, braces, surrogates) becomes its SHA-256."""
    if not _PLAIN_KEY.fullmatch(key):
        key = "sha256=" + hashlib.sha256(key.encode(errors="surrogatepass")).hexdigest()
    return f"throttle:{name}:{key}"
