from __future__ import annotations

import asyncio
import io
import json
import logging
import re
from typing import TYPE_CHECKING, Any

import pytest
from fakeredis import FakeAsyncRedis
from mongomock_motor import AsyncMongoMockClient

from station import hookimpl
from station.app import Application, make_app
from station.config import Config
from station.handlers import BaseHandler, Route, route
from station.logging import configure_logging, request_id_context, trace_id_context
from station.resources import Resources
from station.security import public

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tornado.ioloop import IOLoop

    from tests.conftest import Wire

NAMES = (None, "pymongo", "tornado.general")


@pytest.fixture(autouse=True)
def _restored_logging() -> Iterator[None]:
    loggers = [logging.getLogger(name) for name in NAMES]
    before = [(logger, logger.handlers[:], logger.level) for logger in loggers]
    yield
    for logger, handlers, level in before:
        logger.handlers[:] = handlers
        logger.setLevel(level)


def configured(env: str, level: int = logging.INFO) -> io.StringIO:
    """Configure logging and return what is logged from then on."""
    configure_logging(env, level)
    [handler] = logging.getLogger().handlers
    assert isinstance(handler, logging.StreamHandler)
    handler.setStream(stream := io.StringIO())
    return stream


def objects(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_production_logs_one_json_object_a_line() -> None:
    stream = configured("production")
    token = request_id_context.set("req-1")
    logging.getLogger("station.notes").warning("two\nlines of %s", "text", extra={"client_id": "bot"})
    request_id_context.reset(token)
    try:
        raise KeyError("gone")
    except KeyError:
        logging.getLogger("station.notes").exception("failed")
    first, second = objects(stream)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+\+00:00", first.pop("time"))
    assert first == {
        "level": "WARNING",
        "logger": "station.notes",
        "message": "two\nlines of text",
        "request_id": "req-1",
        "client_id": "bot",
    }
    assert second["request_id"] == "-"
    assert "Traceback" in second["exc_info"]


@pytest.mark.parametrize("env", ["development", "test"])
def test_elsewhere_lines_are_for_people(env: str) -> None:
    stream = configured(env)
    token = request_id_context.set("0123456789abcdef")
    logging.getLogger("station.notes").info("hello")
    request_id_context.reset(token)
    assert re.fullmatch(r"\d\d:\d\d:\d\d INFO    station\.notes \[01234567\] hello\n", stream.getvalue())


def test_a_record_has_the_id_of_its_trace_if_there_is_one() -> None:
    for env in ("production", "development"):
        stream = configured(env)
        logging.getLogger("station.notes").info("before")
        assert "trace" not in stream.getvalue()
        token = trace_id_context.set("0af7651916cd43dd8448eb211c80319c")
        logging.getLogger("station.notes").info("within")
        trace_id_context.reset(token)
        if env == "production":
            assert objects(stream)[1]["trace_id"] == "0af7651916cd43dd8448eb211c80319c"
        else:
            line = "station.notes [- trace 0af7651916cd43dd8448eb211c80319c] within"
            assert line in stream.getvalue()


def test_the_level_is_kept_and_configuring_twice_is_once() -> None:
    configure_logging("production")
    stream = configured("production", logging.WARNING)
    logging.getLogger("station.notes").info("not this")
    logging.getLogger("station.notes").warning("this")
    assert [record["message"] for record in objects(stream)] == ["this"]


@pytest.mark.parametrize("name", ["pymongo.command", "tornado.general"])
def test_loggers_that_would_tell_secrets_stay_quiet(name: str) -> None:
    stream = configured("development", logging.DEBUG)
    logging.getLogger(name).info("a whole command, or a whole header")
    assert stream.getvalue() == ""


class SlowHandler(BaseHandler):
    """Waits for as many others as it is told, and logs before and after."""

    barrier: asyncio.Barrier

    @public
    async def get(self, name: str) -> None:
        logging.getLogger("station.notes").info("%s before", name)
        await self.barrier.wait()
        logging.getLogger("station.notes").info("%s after", name)
        self.set_status(500 if name == "c" else 200)


class NotesPlugin:
    __name__ = "notes"

    @hookimpl
    def station_handlers(self) -> list[Route]:
        return [route(r"/slow/([a-z])", SlowHandler)]


@pytest.fixture
def app(io_loop: IOLoop) -> Iterator[Application]:
    config = Config(env="test", plugins=(), jwt_secret="a-signing-secret-for-the-tests-only-0123456789")
    resources = Resources(AsyncMongoMockClient(tz_aware=True)["station"], FakeAsyncRedis())
    application = make_app(config, resources, [NotesPlugin()])
    lifespan = application.lifespan()
    io_loop.run_sync(lifespan.__aenter__)
    yield application
    io_loop.run_sync(lambda: lifespan.__aexit__(None, None, None))


@pytest.mark.gen_test
async def test_every_record_has_the_id_of_its_own_request(wire: Wire) -> None:
    stream = configured("production")
    SlowHandler.barrier = asyncio.Barrier(3)
    answers = await asyncio.gather(*(wire.fetch("GET", f"/slow/{name}?secret=1") for name in "abc"))
    records = objects(stream)
    for name, answer in zip("abc", answers, strict=True):
        own = [record for record in records if record["request_id"] == answer.headers["X-Request-ID"]]
        assert [record["message"] for record in own[:2]] == [f"{name} before", f"{name} after"]
        access = own[2]
        assert access["logger"] == "station.access"
        assert access["level"] == ("WARNING" if name == "c" else "INFO")
        assert access["message"].startswith(f"GET /slow/{name} {answer.status} ")
        assert (access["method"], access["path"]) == ("GET", f"/slow/{name}")
        assert (access["status"], access["address"]) == (answer.status, "127.0.0.1")
    assert "secret" not in stream.getvalue()
