"""Every hook of Station: the whole contract between the core and a plugin.

A plugin is a module with functions of these names, marked with `station.hookimpl`, that an installed
distribution names in the entry point group ``station.plugins``. It takes only the arguments it needs::

    from station import hookimpl
    from station.handlers import route

    @hookimpl
    def station_handlers():
        return [route(r"/fleet", FleetHandler)]

Hooks are called at boot, in the order of the configuration (the core's own plugins first), and never
per request. An error in a hook stops the start.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from station import hookspec

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from contextlib import AbstractAsyncContextManager
    from types import ModuleType

    import click
    from prometheus_client.registry import Collector

    from station.app import Application
    from station.audit import Sink
    from station.backup import BackupRules
    from station.config import Config
    from station.handlers import Route
    from station.health import HealthCheck
    from station.messages import Deliver
    from station.migrations import Migration
    from station.security import SecurityScheme


@hookspec
def station_settings() -> type:  # type: ignore[empty-body]
    """Return the plugin's settings: a frozen dataclass with fields made by `station.settings.setting`."""


@hookspec
def station_handlers(settings: object) -> Sequence[Route]:  # type: ignore[empty-body]
    """Return the plugin's routes, made by `station.handlers.route`; ``settings`` are the plugin's own."""


@hookspec
def station_scopes() -> Mapping[str, str]:  # type: ignore[empty-body]
    """Return the scopes that the plugin's handlers ask for: name to description."""


@hookspec
def station_security_schemes(settings: object, scopes: Mapping[str, str]) -> Sequence[SecurityScheme]:  # type: ignore[empty-body]
    """Return the ways to authenticate that the plugin offers.

    ``settings`` is the plugin's own settings object, ``scopes`` what all plugins declare.
    """


@hookspec
def station_lifespan(app: Application) -> AbstractAsyncContextManager[object]:  # type: ignore[empty-body]
    """Return an async context manager: acquire, yield, release.

    It is entered before Station listens and left, in reverse order, after it has stopped listening. What
    it yields is kept in ``app.settings`` under the plugin's name.
    """


@hookspec
def station_health_checks(app: Application) -> Sequence[HealthCheck]:  # type: ignore[empty-body]
    """Return the named checks that ``GET /health/ready`` runs."""


@hookspec
def station_metrics(app: Application) -> Sequence[Collector]:  # type: ignore[empty-body]
    """Return collectors, as prometheus_client means them, of what ``GET /metrics`` tells.

    Their ``collect`` is called twice a second where there are several workers: it reads numbers that are
    there, and does not wait. Names begin with the plugin's, and labels hold nothing that a client chooses.
    See `station.metrics`.
    """


@hookspec
def station_audit_sinks(app: Application) -> Sequence[Sink]:  # type: ignore[empty-body]
    """Return async functions that are given every event of the audit, in batches of `station.audit.Event`.

    They are called from when Station listens until it has stopped, at most twice a second and never by a
    request. One that fails or takes over five seconds loses that batch: what must not be lost is read from
    the collection ``audit_events``.
    """


@hookspec
def station_messages(app: Application) -> Deliver | None:
    """Return an async function that delivers a `station.messages.Message` to a person, or None.

    It is awaited after the request that caused the message has been answered. One that fails or takes over
    five seconds has not delivered, which is logged and audited; nothing is sent again. Of several plugins
    the last in the order of the configuration delivers.
    """


@hookspec
def station_hookspecs() -> ModuleType:  # type: ignore[empty-body]
    """Return a module with hooks that the plugin itself declares, marked with `station.hookspec`.

    Their names begin with the plugin's. Other plugins implement them like those here; the plugin calls them
    by ``app.plugins.call``.
    """


@hookspec
def station_migrations() -> Sequence[Migration]:  # type: ignore[empty-body]
    """Return the plugin's MongoDB migrations, oldest first."""


@hookspec
def station_backup(config: Config) -> BackupRules:  # type: ignore[empty-body]
    """Return what a restore must end, and refuse, in the plugin's collections: see `station.backup`."""


@hookspec
def station_commands() -> Sequence[click.Command]:  # type: ignore[empty-body]
    """Return commands for the ``station`` command line.

    Such a command finds a `station.cli.Boot` in its click context (``@click.pass_obj``).
    """
