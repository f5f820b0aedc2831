"""The auth of people as the core's first plugin: hook implementations, nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from station import hookimpl
from station.auth.backup import BACKUP_RULES
from station.auth.commands import users
from station.auth.cookies import ACCESS_COOKIE
from station.auth.decorators import ADMIN_KEY_HEADER
from station.auth.handlers import routes
from station.auth.links import deliver_to_the_log
from station.auth.migrations import migrations
from station.auth.service import open_auth_service
from station.security import SecurityScheme

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractAsyncContextManager

    import click
    from prometheus_client.registry import Collector

    from station.app import Application
    from station.backup import BackupRules
    from station.handlers import Route
    from station.messages import Deliver
    from station.migrations import Migration

_SESSION = {"session": {"type": "apiKey", "in": "cookie", "name": ACCESS_COOKIE}}
_ADMIN_KEY = {"internal-api-key": {"type": "apiKey", "in": "header", "name": ADMIN_KEY_HEADER}}


@hookimpl
def station_handlers() -> Sequence[Route]:
    """Route the endpoints under ``/auth``."""
    return routes


@hookimpl
def station_security_schemes() -> Sequence[SecurityScheme]:
    """Offer a person's session, and an operator: the key, or the session of an admin."""
    return [
        SecurityScheme("session", openapi=_SESSION, decorator="@user_authenticated"),
        SecurityScheme(
            "admin",
            openapi=_ADMIN_KEY | _SESSION,
            refusals=(401, 403, 429),
            decorator="@admin_authenticated",
        ),
    ]


@hookimpl
def station_lifespan(app: Application) -> AbstractAsyncContextManager[object]:
    """Keep the `station.auth.service.AuthService` in ``app.settings["auth"]``."""
    return open_auth_service(app.config, app.resources, app.throttle, app.audit, app.messages)


@hookimpl
def station_metrics(app: Application) -> Sequence[Collector]:
    """The pool of bcrypt for passwords."""
    from station.metrics.core import BcryptCollector  # noqa: PLC0415 - see station.metrics

    return [BcryptCollector("people", app.settings["auth"].pool)]


@hookimpl
def station_messages(app: Application) -> Deliver | None:
    """In development the log shows each message; elsewhere a plugin delivers it, or nothing does."""
    return deliver_to_the_log(app.config) if app.config.env == "development" else None


@hookimpl
def station_migrations() -> Sequence[Migration]:
    """Index the accounts."""
    return migrations


@hookimpl
def station_commands() -> Sequence[click.Command]:
    """Add ``station users``."""
    return [users]


@hookimpl
def station_backup() -> BackupRules:
    """Sessions end with a restore."""
    return BACKUP_RULES
