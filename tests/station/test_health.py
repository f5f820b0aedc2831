from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

import pytest
from fakeredis import FakeAsyncRedis, FakeServer
from mongomock_motor import AsyncMongoMockClient

from station import hookimpl
from station.app import Application, make_app
from station.config import Config
from station.health import HealthCheck
from station.resources import Resources

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from tornado.ioloop import IOLoop

    from tests.conftest import Wire


async def holds() -> None:
    await asyncio.sleep(0)


async def fails() -> None:
    raise ConnectionRefusedError("mongodb://user:password@host")


async def hangs() -> None:
    await asyncio.Event().wait()


def is_not_async() -> None:
    pass


class ChecksPlugin:
    __name__ = "checks"

    def __init__(self, **checks: Callable[[], Awaitable[object]]) -> None:
        self.checks = [HealthCheck(name, run) for name, run in checks.items()]

    @hookimpl
    def station_health_checks(self, app: Application) -> list[HealthCheck]:
        assert app.config.env == "test"
        return self.checks


@pytest.fixture
def redis_server() -> FakeServer:
    return FakeServer()


@pytest.fixture
def plugins() -> list[object]:
    return [ChecksPlugin(own=holds)]


@pytest.fixture
def app(io_loop: IOLoop, redis_server: FakeServer, plugins: list[object]) -> Iterator[Application]:
    config = Config(env="test", plugins=(), jwt_secret="a-signing-secret-for-the-tests-only-0123456789")
    redis = FakeAsyncRedis(server=redis_server)
    resources = Resources(AsyncMongoMockClient(tz_aware=True)["station"], redis)
    application = make_app(config, resources, plugins)
    lifespan = application.lifespan()
    io_loop.run_sync(lifespan.__aenter__)
    yield application
    io_loop.run_sync(lambda: lifespan.__aexit__(None, None, None))


@pytest.mark.gen_test
async def test_a_station_whose_checks_hold_is_ready(wire: Wire) -> None:
    answer = await wire.fetch("GET", "/health/ready")
    assert answer.status == 200
    assert answer.json == {"status": "ready", "checks": {"mongodb": "ok", "redis": "ok", "own": "ok"}}


@pytest.mark.gen_test
async def test_a_store_that_is_away_makes_it_unready_but_not_dead(
    wire: Wire, redis_server: FakeServer
) -> None:
    redis_server.connected = False
    answer = await wire.fetch("GET", "/health/ready")
    assert answer.status == 503
    assert answer.json == {
        "status": "unavailable",
        "checks": {"mongodb": "ok", "redis": "failed", "own": "ok"},
    }
    answer = await wire.fetch("GET", "/health/live")
    assert (answer.status, answer.json) == (200, {"status": "live"})
    redis_server.connected = True
    assert (await wire.fetch("GET", "/health/ready")).status == 200


@pytest.mark.parametrize(
    "plugins",
    [[ChecksPlugin(fails=fails, hangs=hangs, odd=is_not_async, holds=holds)]],  # type: ignore[arg-type] # a mistake too
)
@pytest.mark.gen_test
async def test_every_check_runs_and_reasons_go_to_the_log_alone(
    wire: Wire, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "station.health"):
        answer = await wire.fetch("GET", "/health/ready")
    assert answer.status == 503
    assert answer.json["checks"] == {
        "mongodb": "ok",
        "redis": "ok",
        "fails": "failed",
        "hangs": "failed",
        "odd": "failed",
        "holds": "ok",
    }
    assert "the check fails failed: ConnectionRefusedError" in caplog.messages
    assert "the check hangs failed: TimeoutError" in caplog.messages
    assert "the check odd failed: TypeError" in caplog.messages
    assert "password" not in caplog.text + answer.body.decode()
