"""The token endpoint without its stores (RFC 6749 5.2, RFC 9110 15.6.4): row R6 of docs/protocol.md.

The engines are this module's own, so that a test may take one away: kill it, freeze it, or fill it up.
"""

from __future__ import annotations

import asyncio
import dataclasses
import os
import signal
from typing import TYPE_CHECKING

import pytest

from station.embedded.engine import SECANTUS, VALKEY, Engine, Instance, free_port, spawn

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tornado.ioloop import IOLoop

    from station.app import Application
    from station.config import Config
    from tests.conftest import Answer, Wire
    from tests.plugins.oauth_m2m.conftest import Refusal

SECRET = "the-secret-of-these-tests-0123456789"
CREDENTIALS = ("station-bot", SECRET)
OFF = {"token_throttle_limit": 0, "failure_throttle_limit": 0}


class Store:
    """A real engine that a test takes away and brings back."""

    def __init__(self, engine: Engine, directory: Path) -> None:
        self._engine = engine
        self._directory = directory / engine.name
        self._directory.mkdir()
        self._port = free_port()
        self.instance: Instance

    async def start(self) -> None:
        """Start it on its port, where open clients find it again."""
        program = self._engine.find()
        assert program is not None
        log = self._directory.with_suffix(".log")
        self.instance = spawn(self._engine, program, self._directory, log, self._port)
        assert await self.instance.is_well(20), log.read_text()

    def freeze(self) -> None:
        """Let it keep its connections and answer nothing."""
        os.kill(self.instance.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        os.kill(self.instance.pid, signal.SIGCONT)


def started(engine: Engine, directory: Path, io_loop: IOLoop) -> Iterator[Store]:
    store = Store(engine, directory)
    try:
        io_loop.run_sync(store.start)
        yield store
    finally:
        io_loop.run_sync(store.instance.kill)


@pytest.fixture
def mongodb(tmp_path: Path, io_loop: IOLoop) -> Iterator[Store]:
    """A MongoDB of this test's own."""
    yield from started(SECANTUS, tmp_path, io_loop)


@pytest.fixture
def valkey(tmp_path: Path, io_loop: IOLoop) -> Iterator[Store]:
    """A Redis of this test's own."""
    yield from started(VALKEY, tmp_path, io_loop)


@pytest.fixture
def config(config: Config, mongodb: Store, valkey: Store, request: pytest.FixtureRequest) -> Config:
    """The usual configuration on these engines, with the fields that a test asks for."""
    fields = getattr(request, "param", {})
    return dataclasses.replace(
        config, mongodb_uri=mongodb.instance.url, redis_url=valkey.instance.url, **fields
    )


async def ask(wire: Wire, client_id: str = CREDENTIALS[0]) -> Answer:
    """Ask for a token; the answer must come within a bounded time."""
    return await asyncio.wait_for(wire.token((client_id, SECRET)), 10)


def assert_unavailable(answer: Answer, refusal: Refusal) -> None:
    refusal(answer, 503, "temporarily_unavailable")
    [seconds] = answer.headers.get_list("Retry-After")
    assert int(seconds) >= 1
    assert b"access_token" not in answer.body


@pytest.mark.row("R6")
@pytest.mark.parametrize("config", [{}, OFF], indirect=True)
@pytest.mark.gen_test
async def test_redis_is_gone(wire: Wire, valkey: Store, refusal: Refusal) -> None:
    """With the throttles or, when those are off, with the token's record: without Redis nothing is issued."""
    await wire.register(CREDENTIALS[0], clientSecret=SECRET)
    assert (await ask(wire)).status == 200
    await valkey.instance.kill()
    for _ in range(2):
        assert_unavailable(await ask(wire), refusal)
    await valkey.start()
    assert (await ask(wire)).status == 200


@pytest.mark.row("R6")
@pytest.mark.parametrize("config", [OFF], indirect=True)
@pytest.mark.gen_test
async def test_redis_is_frozen(wire: Wire, valkey: Store, refusal: Refusal) -> None:
    """Redis has the command and may yet run it, but has not acknowledged the record."""
    await wire.register(CREDENTIALS[0], clientSecret=SECRET)
    assert (await ask(wire)).status == 200
    valkey.freeze()
    try:
        assert_unavailable(await ask(wire), refusal)
    finally:
        valkey.thaw()
    assert (await ask(wire)).status == 200


@pytest.mark.row("R6")
@pytest.mark.parametrize("config", [OFF], indirect=True)
@pytest.mark.gen_test
async def test_redis_takes_no_writes(wire: Wire, app: Application, refusal: Refusal) -> None:
    """Redis answers, and what it says is no."""
    await wire.register(CREDENTIALS[0], clientSecret=SECRET)
    redis = app.resources.redis
    await redis.config_set("maxmemory", "1")
    assert_unavailable(await ask(wire), refusal)
    await redis.config_set("maxmemory", "0")
    await redis.config_set("min-replicas-to-write", "1")
    assert_unavailable(await ask(wire), refusal)
    assert await redis.keys("client-token:*") == []
    await redis.config_set("min-replicas-to-write", "0")
    assert (await ask(wire)).status == 200


@pytest.mark.row("R6")
@pytest.mark.gen_test
async def test_mongodb_is_gone(wire: Wire, mongodb: Store, app: Application, refusal: Refusal) -> None:
    """For as long as it may be silent, whoever is in memory with a right secret goes on, and nobody else."""
    await wire.register(CREDENTIALS[0], clientSecret=SECRET)
    await wire.register("new-bot", clientSecret=SECRET)
    assert (await ask(wire)).status == 200
    await mongodb.instance.kill()
    assert (await ask(wire)).status == 200
    for basic in ((CREDENTIALS[0], "w" * 40), ("new-bot", SECRET), ("nobody", SECRET)):
        assert_unavailable(await asyncio.wait_for(wire.token(basic), 10), refusal)
    assert len(await app.resources.redis.keys("client-token:*")) == 2
    await mongodb.start()
    assert (await ask(wire, "new-bot")).status == 200
