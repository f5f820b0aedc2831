"""``station serve``: listen until a signal comes, in this process or, with ``--workers``, in several."""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import TYPE_CHECKING

import click

from station.app import make_app
from station.cli.first_admin import FirstAdmin, console_line, has_console
from station.cli.port import reserve_metrics_port, reserve_port
from station.cli.readiness import tell_service_manager
from station.cli.server import event_loop, serve_until_stopped
from station.cli.supervisor import Supervisor
from station.cli.tour import prepare_tour
from station.embedded import stop_unused_engines
from station.logging import configure_logging
from station.metrics.port import metrics_url
from station.metrics.shared import SharedSnapshots
from station.workers import parse_workers

if TYPE_CHECKING:
    from collections.abc import Callable

    from station.app import Application
    from station.cli.boot import Boot
    from station.cli.port import Port
    from station.cli.tour import Tour
    from station.config import Config
    from station.workers import Worker

__all__ = ["serve"]

_log = logging.getLogger(__name__)


def _workers(ctx: click.Context, parameter: click.Parameter, value: str | None) -> int | None:
    try:
        return None if value is None else parse_workers(value)
    except ValueError as error:
        raise click.BadParameter(f"It must {error}.", ctx, parameter) from error


@click.command()
@click.option("--host", help="The address to listen on, instead of STATION_HOST.")
@click.option("--port", type=click.IntRange(0, 65535), help="The port, instead of PORT; 0 takes a free one.")
@click.option(
    "--workers",
    metavar="N|auto",
    callback=_workers,
    help="How many processes serve, instead of STATION_WORKERS; auto is one for each core.",
)
@click.option(
    "--make-admin-key",
    is_flag=True,
    help="Keep an admin key in the data directory, use it if INTERNAL_API_KEY is unset, make an admin for "
    "the console if there is none, and print how to get in. Not in production.",
)
@click.pass_obj
def serve(boot: Boot, host: str | None, port: int | None, workers: int | None, make_admin_key: bool) -> None:
    """Serve HTTP until SIGTERM or SIGINT.

    Requests that are running then have a few seconds to finish.
    """
    boot = boot.override(host=host, port=port, workers=workers)
    if make_admin_key and boot.config.production:
        raise click.UsageError("--make-admin-key is for development; in production set INTERNAL_API_KEY.")
    configure_logging(boot.config.env)
    with (
        reserve_port(boot.config.host, boot.config.port) as held,
        reserve_metrics_port(boot.config.metrics_port) as metrics_port,
    ):
        # read again, because the issuer has the port's real number in it
        config, tour = (boot if boot.config.port else boot.override(port=held.number)).config, None
        if make_admin_key:
            config, tour = prepare_tour(config)
        app = make_app(config, plugins=[FirstAdmin()] if make_admin_key else [])
        _log.info("the event loop is %s", event_loop()[0])
        _serve(app, held, metrics_port, partial(_announce, app, tour))
    _log.info("stopped")


def _serve(app: Application, port: Port, metrics_port: Port | None, announce: Callable[[], None]) -> None:
    if app.config.workers == 1:
        serve_until_stopped(app, port, announce, metrics_port=metrics_port)
    else:
        app.shared_metrics = SharedSnapshots(app.config.workers)
        work, cleanup = partial(_work, app, port, metrics_port), partial(_cleanup, app.config)
        Supervisor(app.config.workers, work, cleanup).run(announce)


def _work(
    app: Application, port: Port, metrics_port: Port | None, worker: Worker, ready: Callable[[], None]
) -> None:
    """What a worker does; the application came with the fork, and nobody has opened it."""
    port.release()
    if metrics_port is not None:
        metrics_port.release()
    app.worker = worker
    serve_until_stopped(app, port, ready, metrics_port=metrics_port)


def _cleanup(config: Config) -> None:
    """Stop the engines for workers that were killed; those that drain stop them by themselves."""
    if config.embedded:
        asyncio.run(stop_unused_engines(config.data_dir))


def _announce(app: Application, tour: Tour | None) -> None:
    config, url = app.config, app.config.url()
    _log.info("listening on %s", url)
    if config.metrics_port is not None:
        _log.info("metrics are on %s", metrics_url(config.metrics_port))
    tell_service_manager()
    click.echo(f"Station listens on {url}")
    if tour is not None:
        if has_console(app):
            click.echo(console_line(config, url))
        click.echo("\nIn another shell, in this directory: register a bot, get a token, call.\n")
        click.echo("\n".join(tour.lines(url)))
