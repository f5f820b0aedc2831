"""The servers that are measured, each a process: ``python -m bench.servers empty|station|engines [LOOP]``.

LOOP is ``asyncio`` (the default) or ``uvloop``. Each prints one line when it is there (its port; the engines
their URLs, as JSON), logs nothing, and ends on SIGTERM.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import tornado.web

from bench.bcrypts import BcryptCount
from bench.plugin import BenchPlugin
from station.app import make_app
from station.cli.server import collect_garbage_rarely
from station.config import load_config
from station.embedded import embedded_engines

if TYPE_CHECKING:
    from collections.abc import Callable

    from tornado.httpserver import HTTPServer


class EmptyHandler(tornado.web.RequestHandler):
    """The least that Tornado does for a request: the baseline of ratios."""

    def get(self) -> None:
        """Answer an empty JSON object."""
        self.set_header("Content-Type", "application/json")
        self.write("{}")

    post = get


async def empty() -> None:
    """Serve the empty handler at every path."""
    application = tornado.web.Application([(r".*", EmptyHandler)], log_function=lambda _: None)
    stopped = _stopped()
    _announce(application.listen(0, "127.0.0.1"))
    await stopped.wait()


async def station() -> None:
    """Serve one worker of Station as the environment configures it, and the plugin of the benchmark."""
    app = make_app(load_config(os.environ), plugins=[BenchPlugin(BcryptCount())])
    stopped = _stopped()
    async with app.lifespan():
        server = app.listen(0, "127.0.0.1")
        collect_garbage_rarely()  # as `station serve` does
        _announce(server)
        await stopped.wait()


async def engines() -> None:
    """Run the embedded engines on the data directory that the environment names."""
    stopped = _stopped()
    async with embedded_engines(Path(os.environ["STATION_DATA_DIR"])) as endpoints:
        urls = {"mongodb_uri": endpoints.mongodb_uri, "redis_url": endpoints.redis_url}
        print(json.dumps(urls), flush=True)
        await stopped.wait()


def _announce(server: HTTPServer) -> None:
    port = next(iter(server._sockets.values())).getsockname()[1]  # noqa: SLF001 - Tornado has no other way
    print(port, flush=True)


def _stopped() -> asyncio.Event:
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    return stopped


def _loop_factory(name: str) -> Callable[[], asyncio.AbstractEventLoop]:
    factory: Callable[[], asyncio.AbstractEventLoop] = import_module(name).new_event_loop
    return factory


if __name__ == "__main__":
    server, loop = sys.argv[1], (sys.argv[2:] or ["asyncio"])[0]
    with asyncio.Runner(loop_factory=_loop_factory(loop)) as runner:
        runner.run({"empty": empty, "station": station, "engines": engines}[server]())
