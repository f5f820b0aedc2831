"""The servers that the benchmarks load, each a process of its own: ``python bench/servers.py empty|station``.

Both print their port when they listen and log nothing.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys

import tornado.web

from station.app import make_app
from station.config import load_config


class EmptyHandler(tornado.web.RequestHandler):
    """The least that Tornado does for a request: the baseline of every ratio."""

    def get(self) -> None:
        """Answer an empty JSON object."""
        self.set_header("Content-Type", "application/json")
        self.write("{}")

    post = get


async def empty() -> None:
    """Serve the empty handler at every path."""
    application = tornado.web.Application([(r".*", EmptyHandler)], log_function=lambda _: None)
    _announce(application.listen(0, "127.0.0.1"))
    await asyncio.Event().wait()


async def station() -> None:
    """Serve Station as the environment configures it."""
    app = make_app(load_config(os.environ))
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    async with app.lifespan():
        _announce(app.listen(0, "127.0.0.1"))
        await stopped.wait()


def _announce(server: tornado.httpserver.HTTPServer) -> None:
    port = next(iter(server._sockets.values())).getsockname()[1]  # noqa: SLF001 - Tornado has no other way
    print(port, flush=True)


if __name__ == "__main__":
    asyncio.run({"empty": empty, "station": station}[sys.argv[1]]())
