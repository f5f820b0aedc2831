"""``station serve``: listen until a signal comes, then stop without cutting anybody off."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from typing import TYPE_CHECKING

import click

from station.app import make_app
from station.cli.tour import prepare_tour
from station.errors import StartError
from station.logging import configure_logging

if TYPE_CHECKING:
    from tornado.httpserver import HTTPServer

    from station.app import Application
    from station.cli.boot import Boot
    from station.cli.tour import Tour

__all__ = ["serve"]

_log = logging.getLogger(__name__)
_GRACE_SECONDS = 5.0


@click.command()
@click.option("--host", help="The address to listen on, instead of STATION_HOST.")
@click.option("--port", type=click.IntRange(0, 65535), help="The port, instead of PORT; 0 takes a free one.")
@click.option(
    "--make-admin-key",
    is_flag=True,
    help="Keep an admin key in the data directory, use it if INTERNAL_API_KEY is unset, and print how to "
    "register a bot. Not in production.",
)
@click.pass_obj
def serve(boot: Boot, host: str | None, port: int | None, make_admin_key: bool) -> None:
    """Serve HTTP until SIGTERM or SIGINT.

    Requests that are running then have a few seconds to finish.
    """
    config, tour = boot.override(host=host, port=port).config, None
    if make_admin_key:
        if config.production:
            raise click.UsageError("--make-admin-key is for development; in production set INTERNAL_API_KEY.")
        config, tour = prepare_tour(config)
    configure_logging(config.env)
    asyncio.run(_serve(make_app(config), tour))


async def _serve(app: Application, tour: Tour | None) -> None:
    task = asyncio.current_task()
    assert task is not None  # noqa: S101 - asyncio.run made one
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, _stop, task)
    with contextlib.suppress(asyncio.CancelledError):
        async with app.lifespan():
            server, port = _listen(app)
            url = app.config.url(port)
            _log.info("listening on %s", url)
            click.echo(f"Station listens on {url}")
            if tour is not None:
                click.echo("\nIn another shell, in this directory: register a bot, get a token, call.\n")
                click.echo("\n".join(tour.lines(url)))
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.Event().wait()
            await _drain(server)
    _log.info("stopped")


def _stop(task: asyncio.Task[object]) -> None:
    """Stop once: a second signal must not interrupt the clean-up."""
    if not task.cancelling():
        task.cancel()


def _listen(app: Application) -> tuple[HTTPServer, int]:
    """Listen, and return the server and its real port."""
    config = app.config
    try:
        server = app.listen(config.port, config.host)
    except OSError as error:
        raise StartError(
            [
                f"Station cannot listen on {config.host} port {config.port}: {error.strerror}; "
                "choose another with --host and --port, or STATION_HOST and PORT."
            ]
        ) from error
    sockets = server._sockets.values()  # noqa: SLF001 - Tornado tells the port in no other way
    return server, next(iter(sockets)).getsockname()[1]


async def _drain(server: HTTPServer) -> None:
    """Stop listening, let the requests that are running finish, and close every connection."""
    server.stop()
    # Tornado runs each request as one task, so nothing needs to be counted while requests are served.
    running = {task for task in asyncio.all_tasks() if _is_request(task)}
    if running:
        _log.info("waiting for %d requests to finish", len(running))
        await asyncio.wait(running, timeout=_GRACE_SECONDS)
    await server.close_all_connections()


def _is_request(task: asyncio.Task[object]) -> bool:
    return getattr(task.get_coro(), "__qualname__", "") == "RequestHandler._execute"
