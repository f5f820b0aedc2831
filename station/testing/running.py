"""A Station that runs in this process, beside the test that calls it."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from station.testing.background import kept_open
from station.testing.http import Http

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence

    from station.app import Application
    from station.cli.port import Port

__all__ = ["RunningStation", "run_station"]

T = TypeVar("T")
_HOST = "127.0.0.1"
_PATIENCE = 30.0


@dataclasses.dataclass(frozen=True, slots=True)
class RunningStation:
    """A Station that serves at ``url``; ``application`` belongs to its thread, so use it within `run`."""

    application: Application
    url: str
    _loop: asyncio.AbstractEventLoop = dataclasses.field(repr=False)

    @property
    def http(self) -> Http:
        """A new HTTP client: nobody, until it is given credentials."""
        return Http(self.url)

    @property
    def admin(self) -> Http:
        """A new HTTP client that sends the admin key."""
        return Http(self.url, {"x-internal-api-key": self.application.config.internal_api_key or ""})

    def run(self, work: Callable[[Application], Awaitable[T]]) -> T:
        """Await ``work(application)`` where the application runs, and return what it returns.

        For what HTTP does not show: ``station_app.run(lambda app: app.settings["fleet"].list())``.
        """

        async def run() -> T:
            return await work(self.application)

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result(_PATIENCE)


@contextlib.contextmanager
def run_station(settings: Mapping[str, str], plugins: Sequence[object] = ()) -> Iterator[RunningStation]:
    """Serve an application on a free port of the loopback until the block ends.

    ``settings`` are environment variables; neither this process's own nor a ``station.toml`` are read.
    ``plugins`` are plugin objects on besides those that STATION_PLUGINS names. Raises `StartError`. The
    fixture ``station_app`` calls this; call it for a Station that lives longer than a test, or for a second.
    """
    # Whoever never runs a Station, and has the plugin of pytest nevertheless, never imports one
    from station.app import make_app  # noqa: PLC0415
    from station.cli.port import reserve_port  # noqa: PLC0415
    from station.config import load_config  # noqa: PLC0415

    with reserve_port(_HOST, 0) as port:
        environ = {**settings, "STATION_HOST": _HOST, "PORT": str(port.number)}  # the issuer names the port
        app = make_app(load_config(environ, file=Path(os.devnull)), plugins=plugins)
        with kept_open(_serving(app, port)) as (_, loop):
            yield RunningStation(app, app.config.url(), loop)


@contextlib.asynccontextmanager
async def _serving(app: Application, port: Port) -> AsyncIterator[None]:
    from station.cli.port import listen  # noqa: PLC0415

    async with app.lifespan():
        server = listen(app, port)
        try:
            yield
        finally:
            server.stop()
            app.connections.go_away()
            await server.close_all_connections()
