"""The stores of an application, opened and closed as one: a MongoDB database and a Redis client.

Nothing outside this module makes a client, so that the swap of Motor for PyMongo's async API stays here
and in the stores.
"""

from __future__ import annotations

import contextlib
import dataclasses
from typing import TYPE_CHECKING, Any

from bson.codec_options import CodecOptions
from motor.motor_asyncio import AsyncIOMotorClient
from pymongo import ReadPreference, WriteConcern
from pymongo.errors import ConnectionFailure, ExecutionTimeout, PyMongoError, WriteConcernError
from pymongo.read_concern import ReadConcern
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from station.embedded import embedded_engines
from station.errors import ServiceUnavailable, StartError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from motor.motor_asyncio import AsyncIOMotorDatabase

    from station.config import Config

__all__ = ["Resources", "open_resources"]

_TIMEOUT_SECONDS = 2.0
_TIMEOUT_MS = int(_TIMEOUT_SECONDS * 1000)
_REDIS_CONNECTIONS = 64
_UNAVAILABLE = (ConnectionFailure, ExecutionTimeout, WriteConcernError, RedisError)


@dataclasses.dataclass(frozen=True, slots=True)
class Resources:
    """What the stores work on."""

    database: AsyncIOMotorDatabase[dict[str, Any]]
    redis: Redis

    @contextlib.contextmanager
    def available(self) -> Iterator[None]:
        """Turn the drivers' errors for a store that is away into `ServiceUnavailable`."""
        try:
            yield
        except _UNAVAILABLE as error:
            raise ServiceUnavailable("A store that Station needs does not answer.") from error

    async def ping_mongodb(self) -> None:
        """Raise the driver's error unless the primary answers."""
        await self.database.command("ping")

    async def ping_redis(self) -> None:
        """Raise the driver's error unless Redis answers."""
        await self.redis.ping()


@contextlib.asynccontextmanager
async def open_resources(config: Config) -> AsyncIterator[Resources]:
    """Connect to the configured stores, or start the embedded engines, and close what was opened.

    Raises `StartError` naming each store that cannot be reached or used.
    """
    async with contextlib.AsyncExitStack() as stack:
        mongodb_uri, redis_url = config.mongodb_uri, config.redis_url
        if mongodb_uri is None or redis_url is None:
            engines = await stack.enter_async_context(embedded_engines(config.data_dir))
            mongodb_uri, redis_url = engines.mongodb_uri, engines.redis_url
        problems: list[str] = []
        mongodb = await _open_mongodb(mongodb_uri, stack, problems)
        redis = await _open_redis(redis_url, stack, problems)
        if mongodb is None or redis is None:
            raise StartError(problems)
        yield Resources(secure_database(mongodb, config.mongodb_database), redis)


def secure_database(
    mongodb: AsyncIOMotorClient[dict[str, Any]], name: str
) -> AsyncIOMotorDatabase[dict[str, Any]]:
    """Choose the database so that writes are on, and reads from, a majority, whatever the URI says."""
    return mongodb.get_database(
        name,
        codec_options=CodecOptions(tz_aware=True),
        read_preference=ReadPreference.PRIMARY,
        write_concern=WriteConcern("majority", j=True, wtimeout=10_000),
        read_concern=ReadConcern("majority"),
    )


async def _open_mongodb(
    uri: str, stack: contextlib.AsyncExitStack, problems: list[str]
) -> AsyncIOMotorClient[dict[str, Any]] | None:
    mongodb: AsyncIOMotorClient[dict[str, Any]]
    try:
        # a server that is frozen is found out by its heartbeat, which no read has to time out for
        mongodb = AsyncIOMotorClient(
            uri,
            tz_aware=True,
            serverSelectionTimeoutMS=_TIMEOUT_MS,
            connectTimeoutMS=_TIMEOUT_MS,
            heartbeatFrequencyMS=_TIMEOUT_MS,
        )
        stack.callback(mongodb.close)
        hello = await mongodb.admin.command("hello")
    except (PyMongoError, OSError, ValueError) as error:
        problems.append(_no_answer("MONGODB_URI: MongoDB", error))
        return None
    if "setName" not in hello and hello.get("msg") != "isdbgrid":
        problems.append(
            "MONGODB_URI: this MongoDB is not a replica set, which change streams need; start mongod with "
            "--replSet rs0 and run rs.initiate() once (one node suffices)."
        )
        return None
    return mongodb


async def _open_redis(url: str, stack: contextlib.AsyncExitStack, problems: list[str]) -> Redis | None:
    try:
        # a burst waits for a connection; a stale one is replaced once, and an outage is told without delay
        pool = BlockingConnectionPool.from_url(
            url,
            max_connections=_REDIS_CONNECTIONS,
            timeout=_TIMEOUT_SECONDS,
            socket_timeout=_TIMEOUT_SECONDS,
            socket_connect_timeout=_TIMEOUT_SECONDS,
            retry=Retry(NoBackoff(), 1),
        )
        redis = Redis.from_pool(pool)
        stack.push_async_callback(redis.aclose)
        await redis.ping()
    except (RedisError, OSError, ValueError, TypeError) as error:
        # an unknown parameter of the URL is a TypeError
        problems.append(_no_answer("REDIS_URL: Redis", error))
        return None
    return redis


def _no_answer(store: str, error: Exception) -> str:
    # The drivers' own words may hold a part of the URL, and with it of a password.
    return f"{store} does not answer ({type(error).__name__}); check that it runs there and lets Station in."
