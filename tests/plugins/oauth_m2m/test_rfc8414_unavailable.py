"""Discovery without the stores: row M9 of docs/protocol.md."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pytest

from plugins.oauth_m2m.config import OAuthM2MConfig
from station.embedded.engine import SECANTUS, VALKEY, Engine, Instance, free_port, spawn

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tornado.ioloop import IOLoop

    from station.config import Config
    from tests.conftest import Wire

DOCUMENTS = [
    "/.well-known/oauth-authorization-server",
    "/.well-known/oauth-protected-resource",
    "/.well-known/jwks.json",
]


class Store:
    """A real engine that a test takes away and brings back, on one port."""

    def __init__(self, engine: Engine, directory: Path) -> None:
        self._engine = engine
        self._directory = directory
        self._port = free_port()
        self._directory.mkdir()
        self.instance: Instance

    async def start(self) -> None:
        """Start it."""
        program = self._engine.find()
        assert program is not None
        log = self._directory.with_suffix(".log")
        self.instance = spawn(self._engine, program, self._directory, log, self._port)
        assert await self.instance.is_well(20), log.read_text()


@pytest.fixture
def stores(tmp_path: Path, io_loop: IOLoop) -> Iterator[tuple[Store, Store]]:
    """A MongoDB and a Redis of this test's own."""
    stores = Store(SECANTUS, tmp_path / "mongodb"), Store(VALKEY, tmp_path / "redis")
    for store in stores:
        io_loop.run_sync(store.start)
    yield stores
    for store in stores:
        io_loop.run_sync(store.instance.kill)


@pytest.fixture
def config(config: Config, stores: tuple[Store, Store]) -> Config:
    mongodb, redis = stores
    return dataclasses.replace(config, mongodb_uri=mongodb.instance.url, redis_url=redis.instance.url)


@pytest.fixture
def m2m_settings() -> OAuthM2MConfig:
    return OAuthM2MConfig(bcrypt_cost=4, signing_alg="EdDSA")


@pytest.mark.row("M9")
@pytest.mark.gen_test
async def test_discovery_answers_while_mongodb_and_redis_are_down(
    wire: Wire, stores: tuple[Store, Store]
) -> None:
    before = [await wire.fetch("GET", path) for path in DOCUMENTS]
    for store in stores:
        await store.instance.kill()
    for path, known in zip(DOCUMENTS, before, strict=True):
        answer = await wire.fetch("GET", path)
        assert (answer.status, answer.body) == (200, known.body)
        assert answer.headers["Etag"] == known.headers["Etag"]
    for store in stores:
        await store.start()
