"""Stations, the engines they share, and the database of both."""

from __future__ import annotations

import contextlib
import dataclasses
from typing import TYPE_CHECKING, Any

import pymongo
import redis.asyncio
from engines import running
from hammer import hammering
from stations import serving

from station.embedded.engine import SECANTUS, VALKEY

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from engines import EngineProcess
    from hammer import Hammer
    from leaks import Leaks
    from stations import StationProcess

    from station.embedded.engine import Engine

__all__ = ["Fleet", "fleet_of"]


@dataclasses.dataclass(frozen=True)
class Fleet:
    """Stations that run; ``bound`` is their staleness bound in seconds."""

    stations: list[StationProcess]
    mongodb: EngineProcess
    redis: EngineProcess
    bound: float
    leaks: Leaks

    @property
    def urls(self) -> list[str]:
        """Where the Stations listen."""
        return [station.url for station in self.stations]

    async def heal(self) -> None:
        """Let every process run."""
        for station in self.stations:
            station.resume()
        for engine in (self.mongodb, self.redis):
            engine.resume()
            await engine.start()

    @contextlib.asynccontextmanager
    async def hammered(self) -> AsyncIterator[Hammer]:
        """Clients hammer until the block ends; see `Hammer`. What must hold is checked then."""
        async with self.quiet() as hammer:
            hammer.begin()
            yield hammer

    @contextlib.asynccontextmanager
    async def quiet(self) -> AsyncIterator[Hammer]:
        """A hammer that has not begun; what must hold is checked in the end all the same."""
        async with hammering(self.leaks, self.urls, bound=self.bound) as hammer:
            try:
                yield hammer
            finally:  # a test that fails leaves the others what they need
                await self.heal()
            await hammer.end_all()
            async with redis.asyncio.Redis.from_url(self.redis.url) as client:
                with pymongo.MongoClient[dict[str, Any]](self.mongodb.url) as mongodb:
                    await hammer.check(mongodb["station"], client)


@contextlib.contextmanager
def fleet_of(
    count: int,
    directory: Path,
    leaks: Leaks,
    *,
    bound: float,
    secantus: Engine = SECANTUS,
    mongodb_uri: str = "{url}",
    **settings: str,
) -> Iterator[Fleet]:
    """So many Stations on engines of their own; ``mongodb_uri`` has a place for that of the engine."""
    with (
        running(secantus, directory / "mongodb") as mongodb,
        running(VALKEY, directory / "redis") as redis_server,
    ):
        settings |= {
            "MONGODB_URI": mongodb_uri.format(url=mongodb.url, port=mongodb.port),
            "REDIS_URL": redis_server.url,
            "OAUTH_M2M_REVOCATION_MAX_STALENESS_MS": str(int(bound * 1000)),
        }
        with serving(directory, leaks, count=count, **settings) as stations:
            yield Fleet(stations, mongodb, redis_server, bound, leaks)
