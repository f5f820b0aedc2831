"""Clients that hammer Stations while something breaks, and what must hold whatever it was.

::

    async with hammering(leaks, [station.url for station in fleet], bound=2) as hammer:
        hammer.begin()
        mongodb.pause()
        await hammer.goes_on(4)
        mongodb.resume()
        await hammer.recovers()
        await hammer.end_all()
        await hammer.check(database, redis)

At each Station some register clients, ask for tokens, use tokens that live, end tokens, and try those that
were ended, all as fast as a small pause lets them.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

from traffic import PATIENCE, Exchange, Revocation, Token, Traffic

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    import redis.asyncio
    from leaks import Leaks
    from pymongo.database import Database

__all__ = ["Hammer", "hammering"]

RECOVERY_SECONDS = 5.0
_PAUSE = 0.03
_MOMENTS = 0.3
_LIVE = 8
_VICTIMS = 24
_CLIENTS = 3
_ALLOWED = {
    "register": {201, 503},
    "token": {200, 503},
    "get": {200, 401, 503},
    "revoke-all": {200, 503},
    "revoke": {200, 503},
    "ready": {200, 503},
}


class Hammer:
    """The clients of ``stations``; ``bound`` is the fleet's staleness bound in seconds."""

    def __init__(self, leaks: Leaks, stations: Sequence[str], *, bound: float) -> None:
        self.traffic = Traffic(leaks)
        self.stations = list(stations)
        self.bound = bound
        self.since = 0.0
        self._clients: list[str] = []
        self._live: list[Token] = []
        self._victims: list[tuple[Token, bool]] = []
        self._tried: set[str] = set()
        self._ended = asyncio.Event()
        self._running: asyncio.Future[list[None]] | None = None
        self.killed: set[str] = set()

    @property
    def revocations(self) -> list[Revocation]:
        """Those that were answered, oldest first."""
        return list(self.traffic.revocations.values())

    @property
    def live(self) -> list[Token]:
        """Tokens that nobody ends."""
        return self._live

    def emptied(self) -> None:
        """Redis has lost its data: what was recorded up to now is not looked for there."""
        self.since = time.monotonic()

    async def prepare(self) -> None:
        """Register clients, and make tokens: some to use, others to be ended alone or with their client."""
        first = itertools.cycle(self.stations)
        self._clients = [await self._client(next(first)) for _ in range(_CLIENTS)]
        self._live = [await self.issue(next(first), self._clients[0]) for _ in range(_LIVE)]
        for number in range(_VICTIMS):
            of_all = number % 2 == 0
            owner = await self._client(next(first)) if of_all else self._clients[1]
            self._victims.append((await self.issue(next(first), owner), of_all))

    def begin(self) -> None:
        """Hammer until `end_all`."""
        kinds = (self._register, self._issue, self._use, self._end, self._try_dead)
        self._running = asyncio.gather(
            *(self._repeat(kind, station) for station in self.stations for kind in kinds)
        )

    async def end_all(self) -> None:
        """End after the requests that run."""
        self._ended.set()
        if self._running is not None:
            await self._running

    async def goes_on(self, seconds: float) -> list[Exchange]:
        """Let the clients go on for a while, and return what they were answered after its first moments."""
        began = time.monotonic()
        await asyncio.sleep(seconds)  # the fault lasts: there is no event to wait for
        return [one for one in self.traffic.exchanges if one.ended >= began + _MOMENTS]

    async def recovers(self, stations: Sequence[str] | None = None) -> None:
        """Within five seconds every kind of request succeeds again at every Station."""
        began = time.monotonic()
        try:
            async with asyncio.timeout(RECOVERY_SECONDS):
                await asyncio.gather(*map(self._serves, stations or self.stations))
        except TimeoutError:
            late = Counter((one.kind, one.status) for one in self.traffic.exchanges if one.began >= began)
            raise AssertionError(f"no recovery within {RECOVERY_SECONDS:.0f} s: {dict(late)}") from None

    async def all_are_known(self, processes: int) -> None:
        """Within five seconds a revocation is confirmed by so many processes, and waits for none."""
        async with asyncio.timeout(RECOVERY_SECONDS):
            while True:
                token = await self.issue(self.stations[0], await self._client(self.stations[0]))
                answer = await self.end(self.stations[0], token)
                if (answer.body["confirmedBy"], answer.body["pending"]) == (processes, 0):
                    return
                await asyncio.sleep(_PAUSE)

    async def issue(self, station: str, client_id: str) -> Token:
        """A token of a client, while all is well."""
        answer = await self.traffic.token(station, client_id)
        assert answer.status == 200, answer
        return self.traffic.tokens[-1]

    async def end_one(self, station: str, *, of_all: bool | None = None) -> Exchange:
        """Ask a Station to end a token that was made for that: with its client's others, or alone."""
        kind = next(one for one in self._victims if of_all in {None, one[1]})
        self._victims.remove(kind)
        return await self.end(station, kind[0], of_all=kind[1])

    async def end(self, station: str, token: Token, *, of_all: bool = True) -> Exchange:
        """Ask a Station to end this token."""
        self._tried.add(token.jti)
        revoke = self.traffic.revoke_all if of_all else self.traffic.revoke
        return await revoke(station, token)

    async def check(self, database: Database[Any], redis: redis.asyncio.Redis) -> None:
        """What holds whatever happened; all that the fault took away is back, but for Stations ``killed``."""
        living = [station for station in self.stations if station not in self.killed]
        self._check_answers()
        self._check_revoked()
        await self._check_records(redis)
        for token in (one.token for one in self.traffic.revocations.values()):
            assert {(await self.traffic.get(station, token)).status for station in living} == {401}
        found = {client["client_id"]: client["generation"] for client in database["oauth_clients"].find()}
        assert set(self.traffic.registered) <= found.keys(), "a registered client is lost"
        for one in self.traffic.revocations.values():
            if one.of_all:
                assert found[one.token.client_id] != one.token.generation, "a revocation is lost"
            else:
                assert database["revoked_tokens"].find_one({"_id": one.token.jti}), "a revocation is lost"
        for client_id in self.traffic.registered[-10:]:
            assert (await self.traffic.token(living[0], client_id)).status == 200

    def _check_answers(self) -> None:
        for one in self.traffic.exchanges:
            allowed = _ALLOWED[one.kind] | ({0} if one.station in self.killed else set())
            if one.kind == "revoke" and self.since:
                allowed |= {404}  # Redis, which has lost its data, knows the live tokens
            assert one.status in allowed, one
            assert one.seconds < PATIENCE, one
        dead = [one for one in self.traffic.exchanges if one.status == 401 and one.jti not in self._tried]
        assert dead == [], "a token that lives was refused"

    def _check_revoked(self) -> None:
        late = [one for one in self.traffic.exchanges if one.status == 200 and self._is_open(one)]
        about = [(one, self.traffic.revocations[one.jti]) for one in late]
        assert about == [], "a token that was revoked got in"

    def _is_open(self, exchange: Exchange) -> bool:
        """Whether the token was let in later than it may have been."""
        revocation = self.traffic.revocations.get(exchange.jti)
        if revocation is None or exchange.kind != "get":
            return False
        return exchange.began > revocation.answered_at + self._grace(revocation, exchange.station)

    def _grace(self, revocation: Revocation, station: str) -> float:
        return 0 if revocation.pending == 0 or station == revocation.station else self.bound

    async def _check_records(self, redis: redis.asyncio.Redis) -> None:
        """Every token that was answered, and not ended, is in Redis, unless Redis has lost its data since."""
        answered = [token for token in self.traffic.tokens if token.answered_at > self.since]
        kept = [token for token in answered if token.jti not in self._tried]
        async with redis.pipeline(transaction=False) as pipe:
            for token in kept:
                pipe.exists(f"client-token:{token.client_id}:{token.jti}")
            found = await pipe.execute()
        lost = [token.jti for token, is_there in zip(kept, found, strict=True) if not is_there]
        assert lost == [], "a token was answered whose record Redis does not have"

    async def _repeat(self, kind: Callable[[str], Awaitable[None]], station: str) -> None:
        while not self._ended.is_set():
            await kind(station)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._ended.wait(), _PAUSE)

    async def _register(self, station: str) -> None:
        await self.traffic.register(station)
        await asyncio.sleep(5 * _PAUSE)  # each of them is three writes that reach the disk

    async def _issue(self, station: str) -> None:
        await self.traffic.token(station, random.choice(self._clients))

    async def _use(self, station: str) -> None:
        await self.traffic.get(station, random.choice(self._live))

    async def _end(self, station: str) -> None:
        """End a token; one whose revocation was not answered may be dead or alive, and is left alone."""
        if len(self._victims) > _VICTIMS // 4:
            await self.end_one(station)
        await asyncio.sleep(6 * _PAUSE)

    async def _try_dead(self, station: str) -> None:
        if dead := list(self.traffic.revocations.values())[-_LIVE:]:
            await self.traffic.get(station, random.choice(dead).token)

    async def _serves(self, station: str) -> None:
        while not await self._tells_the_story(station):  # noqa: ASYNC110 - other processes have no event here
            await asyncio.sleep(_PAUSE)

    async def _tells_the_story(self, station: str) -> bool:
        """Register, get a token, use it, end it, see it refused: whether all of that worked."""
        if (await self.traffic.register(station)).status != 201:
            return False
        if (await self.traffic.token(station, self.traffic.registered[-1])).status != 200:
            return False
        token = self.traffic.tokens[-1]
        if (await self.traffic.get(station, token)).status != 200:
            return False
        if (await self.end(station, token)).status != 200:
            return False
        refused = (await self.traffic.get(station, token)).status == 401
        return refused and (await self.traffic.ready(station)).status == 200

    async def _client(self, station: str) -> str:
        answer = await self.traffic.register(station)
        assert answer.status == 201, answer
        return self.traffic.registered[-1]


@contextlib.asynccontextmanager
async def hammering(leaks: Leaks, stations: Sequence[str], *, bound: float) -> AsyncIterator[Hammer]:
    """Clients that are prepared, and end at the latest with the block."""
    hammer = Hammer(leaks, stations, bound=bound)
    try:
        await hammer.prepare()
        try:
            yield hammer
        finally:
            await hammer.end_all()
    finally:
        hammer.traffic.close()
