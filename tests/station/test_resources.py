from __future__ import annotations

import contextlib
import socket
import socketserver
import struct
import threading
from typing import TYPE_CHECKING, Any

import bson
import pytest
import redis.exceptions
from fakeredis import FakeAsyncRedis, FakeServer
from mongomock_motor import AsyncMongoMockClient
from motor.motor_asyncio import AsyncIOMotorClient
from pymongo import ReadPreference, WriteConcern
from pymongo.errors import (
    AutoReconnect,
    DuplicateKeyError,
    ExecutionTimeout,
    InvalidOperation,
    NetworkTimeout,
    NotPrimaryError,
    OperationFailure,
    ServerSelectionTimeoutError,
    WaitQueueTimeoutError,
    WTimeoutError,
)
from pymongo.read_concern import ReadConcern
from redis.asyncio import Redis
from redis.asyncio.sentinel import MasterNotFoundError

from station.config import Config
from station.errors import ServiceUnavailable, StartError
from station.resources import Resources, open_resources, secure_database

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from station.embedded import Endpoints

SECRET = "a-signing-secret-for-the-tests-only-0123456789"


@pytest.fixture
def redis_server() -> FakeServer:
    return FakeServer()


@pytest.fixture
def resources(redis_server: FakeServer) -> Resources:
    return Resources(AsyncMongoMockClient(tz_aware=True)["station"], FakeAsyncRedis(server=redis_server))


@pytest.mark.parametrize(
    "error",
    [
        AutoReconnect("mongodb://user:password@host"),
        NetworkTimeout(""),
        NotPrimaryError(""),
        ServerSelectionTimeoutError(""),
        WaitQueueTimeoutError(""),
        ExecutionTimeout(""),
        WTimeoutError(""),
        redis.exceptions.ConnectionError("redis://user:password@host"),
        redis.exceptions.TimeoutError(),
        redis.exceptions.BusyLoadingError(),
        redis.exceptions.ReadOnlyError(),
        redis.exceptions.MaxConnectionsError(),
        redis.exceptions.ClusterDownError(""),
        redis.exceptions.ClusterError(),
        redis.exceptions.RedisClusterException(),
        redis.exceptions.SlotNotCoveredError(),
        MasterNotFoundError(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_store_that_is_away_is_503(resources: Resources, error: Exception) -> None:
    with pytest.raises(ServiceUnavailable) as refused, resources.available():
        raise error
    assert refused.value.status == 503
    assert refused.value.headers == {"Retry-After": "1"}
    assert refused.value.__cause__ is error
    assert "password" not in str(refused.value.body("id"))


@pytest.mark.parametrize(
    "error", [DuplicateKeyError(""), OperationFailure("", 96), InvalidOperation(), KeyError("")]
)
def test_a_mistake_is_no_outage(resources: Resources, error: Exception) -> None:
    with pytest.raises(type(error)) as raised, resources.available():
        raise error
    assert raised.value is error


def test_what_works_passes(resources: Resources) -> None:
    with resources.available():
        pass


@pytest.mark.gen_test
async def test_pings_raise_unless_the_store_answers(resources: Resources, redis_server: FakeServer) -> None:
    await resources.ping_mongodb()
    await resources.ping_redis()
    redis_server.connected = False
    with pytest.raises(redis.exceptions.ConnectionError):
        await resources.ping_redis()
    await resources.redis.aclose()


@pytest.mark.gen_test
async def test_the_configured_stores_are_opened_and_closed(engines: Endpoints) -> None:
    config = Config(
        jwt_secret=SECRET,
        mongodb_uri=engines.mongodb_uri,
        redis_url=engines.redis_url,
        mongodb_database="test_resources",
    )
    async with open_resources(config) as resources:
        await resources.ping_mongodb()
        await resources.ping_redis()
        assert resources.database.name == "test_resources"
        with pytest.raises(OperationFailure):  # before the store is closed, it answers
            await resources.database.command("no such command")
    with pytest.raises(InvalidOperation):
        await resources.ping_mongodb()
    assert isinstance(resources.redis, Redis)
    connections = resources.redis.connection_pool._available_connections
    assert not any(connection.is_connected for connection in connections)


@pytest.mark.gen_test
async def test_without_uris_the_embedded_engines_are_started(tmp_path: Path) -> None:
    async with open_resources(Config(jwt_secret=SECRET, data_dir=tmp_path)) as resources:
        await resources.ping_mongodb()
        await resources.ping_redis()
    with pytest.raises(redis.exceptions.ConnectionError):
        await resources.ping_redis()
    await resources.redis.aclose()


@pytest.mark.gen_test
async def test_every_store_that_does_not_answer_is_named(tmp_path: Path) -> None:
    config = Config(
        jwt_secret=SECRET,
        data_dir=tmp_path,
        mongodb_uri="mongodb://user:s3cr3t@127.0.0.1:1/",
        redis_url="redis://user:s3cr3t@127.0.0.1:1/",
    )
    with pytest.raises(StartError) as refused:
        await open_resources(config).__aenter__()
    assert refused.value.problems == (
        "MONGODB_URI: MongoDB does not answer (ServerSelectionTimeoutError); check that it runs there and "
        "lets Station in.",
        "REDIS_URL: Redis does not answer (ConnectionError); check that it runs there and lets Station in.",
    )
    assert refused.value.__cause__ is None


@pytest.mark.parametrize(
    ("mongodb_uri", "redis_url"),
    [
        ("mongodb://", "redis://:s3cr3t/@host"),
        ("mongodb://user:s3cr3t@w@host/", "redis://user:s3cr3t@127.0.0.1:99999"),
        ("mongodb://user:s3cr3t@host:99999/", "redis://host/?db=s3cr3t"),
        ("mongodb://user:s3cr3t@[::1", "redis://user:s3cr3t@[::1"),
        ("mongodb://host/?tls=true&tlsCAFile=/nothing", "redis://127.0.0.1:1/?s3cr3t=1"),
    ],
)
@pytest.mark.gen_test
async def test_a_url_that_is_none_is_named_without_its_password(mongodb_uri: str, redis_url: str) -> None:
    config = Config(jwt_secret=SECRET, mongodb_uri=mongodb_uri, redis_url=redis_url)
    with pytest.raises(StartError) as refused:
        await open_resources(config).__aenter__()
    mongodb, redis = refused.value.problems
    assert mongodb.startswith("MONGODB_URI: ")
    assert redis.startswith("REDIS_URL must ")
    assert "s3cr3t" not in str(refused.value)


@contextlib.contextmanager
def mongodb_that_says(**hello: object) -> Iterator[str]:
    """A server that gives one answer to every command, as far as a driver needs it; yields its URI."""
    answer = bson.encode({"ok": 1.0, "isWritablePrimary": True, "maxWireVersion": 21, **hello})

    class Connection(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            while header := self.rfile.read(16):
                length, request, _, operation = struct.unpack("<iiii", header)
                self.rfile.read(length - 16)
                if operation == 2013:  # OP_MSG
                    code, body = 2013, struct.pack("<ib", 0, 0) + answer
                else:  # OP_QUERY, by which a driver begins, and its OP_REPLY
                    code, body = 1, struct.pack("<iqii", 8, 0, 0, 1) + answer
                self.wfile.write(struct.pack("<iiii", 16 + len(body), 1, request, code) + body)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Connection) as server:
        serving = threading.Thread(target=server.serve_forever, args=[0.01])
        serving.start()
        try:
            yield f"mongodb://127.0.0.1:{server.server_address[1]}/?directConnection=true"
        finally:
            server.shutdown()
            serving.join()


@pytest.mark.gen_test
async def test_a_mongodb_without_change_streams_is_refused_with_the_remedy(engines: Endpoints) -> None:
    with mongodb_that_says() as uri:
        config = Config(jwt_secret=SECRET, mongodb_uri=uri, redis_url=engines.redis_url)
        with pytest.raises(StartError) as refused:
            await open_resources(config).__aenter__()
    assert refused.value.problems == (
        "MONGODB_URI: this MongoDB is not a replica set, which change streams need; start mongod with "
        "--replSet rs0 and run rs.initiate() once (one node suffices).",
    )


@pytest.mark.parametrize("hello", [{"setName": "rs0", "hosts": ["x"], "me": "x"}, {"msg": "isdbgrid"}])
@pytest.mark.gen_test
async def test_a_replica_set_and_a_sharded_cluster_have_change_streams(
    engines: Endpoints, hello: dict[str, Any]
) -> None:
    with mongodb_that_says(**hello) as uri:
        config = Config(jwt_secret=SECRET, mongodb_uri=uri, redis_url=engines.redis_url)
        async with open_resources(config) as resources:
            await resources.ping_mongodb()


@pytest.mark.gen_test
async def test_what_a_request_asks_of_a_mongodb_that_hangs_ends_in_time() -> None:
    """However long its driver would wait, and however often it would try."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        uri = f"mongodb://127.0.0.1:{silent.getsockname()[1]}/?directConnection=true"
        client: AsyncIOMotorClient[dict[str, Any]] = AsyncIOMotorClient(uri, serverSelectionTimeoutMS=600_000)
        resources = Resources(client["station"], FakeAsyncRedis())
        with pytest.raises(ServiceUnavailable), resources.available(), resources.available(0.1):
            await resources.ping_mongodb()
        with pytest.raises(ServiceUnavailable), resources.available():
            await resources.ping_mongodb()
        client.close()


@pytest.mark.gen_test
async def test_the_database_is_secure_whatever_the_uri_says() -> None:
    uri = "mongodb://127.0.0.1:1/?w=1&journal=false&readPreference=secondary&readConcernLevel=local"
    client: AsyncIOMotorClient[dict[str, Any]] = AsyncIOMotorClient(uri)
    database = secure_database(client, "station")
    for part in (database, database["users"]):
        assert part.write_concern == WriteConcern("majority", j=True, wtimeout=10_000)
        assert part.read_concern == ReadConcern("majority")
        assert part.read_preference == ReadPreference.PRIMARY
        assert part.codec_options.tz_aware
    client.close()
