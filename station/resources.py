"""The stores of an application, opened and closed as one: a MongoDB database and a Redis client.

Nothing outside this module makes a client, so that the swap of Motor for PyMongo's async API stays here
and in the stores.
"""

from __future__ import annotations

import contextlib
import dataclasses
from typing import TYPE_CHECKING, Any

import pymongo
from bson.codec_options import CodecOptions
from motor.motor_asyncio import AsyncIOMotorClient
from pymongo import ReadPreference, WriteConcern
from pymongo.errors import (
    ConnectionFailure,
    ExecutionTimeout,
    OperationFailure,
    PyMongoError,
    WriteConcernError,
)
from pymongo.read_concern import ReadConcern
from redis.exceptions import RedisClusterException, RedisError

from station import redis_client
from station.embedded import embedded_engines
from station.errors import ServiceUnavailable, StartError
from station.pipeline import TurnPipeline
from station.redis_url import parse_redis_url
from station.streams import StreamListener

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

    from motor.motor_asyncio import AsyncIOMotorDatabase
    from pymongo.monitoring import CommandListener
    from redis.asyncio import Redis, RedisCluster

    from station.config import Config
    from station.tracing.service import Tracing

__all__ = ["Resources", "open_resources"]

_TIMEOUT_SECONDS = 2.0
_TIMEOUT_MS = int(_TIMEOUT_SECONDS * 1000)
_OPERATION_SECONDS = 3.0  # a server that is frozen: its heartbeat needs longer to find that out
# the library's errors about the layout of a cluster are no RedisError
_UNAVAILABLE = (ConnectionFailure, ExecutionTimeout, WriteConcernError, RedisError, RedisClusterException)

# InternalError and OutOfDiskSpace: the server's own trouble, not that of what was asked
_SERVER_FAILURES = frozenset({1, 14031})


@dataclasses.dataclass(frozen=True, slots=True)
class Resources:
    """What the stores work on."""

    database: AsyncIOMotorDatabase[dict[str, Any]]
    redis: Redis | RedisCluster
    streams: StreamListener = dataclasses.field(default_factory=StreamListener, repr=False)
    pipeline: TurnPipeline = dataclasses.field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Share one pipeline among all that talks to Redis."""
        object.__setattr__(self, "pipeline", TurnPipeline(self.redis))

    @contextlib.contextmanager
    def available(self, seconds: float | None = _OPERATION_SECONDS) -> Iterator[None]:
        """Turn the drivers' errors for a store that is away into `ServiceUnavailable`.

        What is asked of MongoDB within has so many ``seconds`` in all, however often it is tried; None is
        for what is not asked by a request. Within another one the shorter time holds.
        """
        try:
            with pymongo.timeout(seconds):
                yield
        except _UNAVAILABLE as error:
            raise ServiceUnavailable("A store that Station needs does not answer.") from error
        except OperationFailure as error:
            if error.code not in _SERVER_FAILURES:
                raise
            raise ServiceUnavailable("A store that Station needs has failed.") from error

    async def ping_mongodb(self) -> None:
        """Raise the driver's error unless the primary answers."""
        await self.database.command("ping")

    async def ping_redis(self) -> None:
        """Raise the driver's error unless Redis answers."""
        await redis_client.ping(self.redis)


@contextlib.asynccontextmanager
async def open_resources(config: Config, tracing: Tracing | None = None) -> AsyncIterator[Resources]:
    """Connect to the configured stores, or start the embedded engines, and close what was opened.

    Where there is ``tracing``, what is asked of them is traced. Raises `StartError` naming each store that
    cannot be reached or used.
    """
    async with contextlib.AsyncExitStack() as stack:
        mongodb_uri, redis_url = config.mongodb_uri, config.redis_url
        if mongodb_uri is None or redis_url is None:
            engines = await stack.enter_async_context(embedded_engines(config.data_dir))
            mongodb_uri, redis_url = engines.mongodb_uri, engines.redis_url
        problems: list[str] = []
        streams = StreamListener()
        listeners = [streams] if tracing is None else [streams, tracing.listener]
        mongodb = await _open_mongodb(mongodb_uri, listeners, stack, problems)
        redis = await _open_redis(redis_url, stack, problems)
        if mongodb is None or redis is None:
            raise StartError(problems)
        if tracing is not None:
            tracing.instrument_redis(redis)
        yield Resources(secure_database(mongodb, config.mongodb_database), redis, streams)


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
    uri: str, listeners: Sequence[CommandListener], stack: contextlib.AsyncExitStack, problems: list[str]
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
            event_listeners=listeners,
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


async def _open_redis(
    url: str, stack: contextlib.AsyncExitStack, problems: list[str]
) -> Redis | RedisCluster | None:
    try:
        address = parse_redis_url(url)
    except ValueError as error:
        problems.append(f"REDIS_URL must {error}.")
        return None
    try:
        return await stack.enter_async_context(redis_client.open_redis(address))
    except (RedisError, RedisClusterException, OSError, ValueError) as error:
        # a name that cannot be one of a host is a ValueError
        problems.append(_no_answer("REDIS_URL: Redis", error))
        return None


def _no_answer(store: str, error: Exception) -> str:
    # The drivers' own words may hold a part of the URL, and with it of a password.
    return f"{store} does not answer ({type(error).__name__}); check that it runs there and lets Station in."
