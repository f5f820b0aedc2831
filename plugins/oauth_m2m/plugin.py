"""The plugin's hook implementations, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from plugins.oauth_m2m import commands, hookspecs
from plugins.oauth_m2m.backup import backup_rules
from plugins.oauth_m2m.config import OAuthM2MConfig
from plugins.oauth_m2m.console import access, pages
from plugins.oauth_m2m.decorators import CLIENT, CLIENT_EITHER, CLIENT_SECRET
from plugins.oauth_m2m.handlers import (
    client_tokens,
    clients,
    introspect,
    metadata,
    revoke,
    secrets,
    token,
    usage,
    whoami,
)
from plugins.oauth_m2m.migrations import MIGRATIONS
from plugins.oauth_m2m.oauth_schemas import OAUTH_ERROR
from plugins.oauth_m2m.scope import INTROSPECT
from plugins.oauth_m2m.services import NAME, Services, catalogue, open_services, services_of
from station import hookimpl
from station.health import HealthCheck
from station.security import SecurityScheme

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
    from station.migrations import Migration


@hookimpl
def station_settings() -> type:
    """``OAUTH_M2M_*``."""
    return OAuthM2MConfig


@hookimpl
def station_handlers(settings: OAuthM2MConfig) -> Sequence[Route]:
    """The OAuth endpoints, the admin's, discovery, and the console."""
    modules = (token, revoke, introspect, whoami, clients, secrets, client_tokens, usage, metadata)
    console = pages.routes if settings.console == "on" else []
    return [*(route for module in modules for route in module.routes), *console]


@hookimpl
def station_scopes() -> Mapping[str, str]:
    """What introspection of other clients' tokens takes."""
    return {INTROSPECT: "Introspect the tokens of every client."}


@hookimpl
def station_hookspecs() -> ModuleType:
    """The hooks by which other plugins have a say in tokens."""
    return hookspecs


@hookimpl
def station_security_schemes(settings: OAuthM2MConfig, scopes: Mapping[str, str]) -> Sequence[SecurityScheme]:
    """A client's token at protected handlers, its secret at the OAuth endpoints, an admin in the console."""
    known = catalogue(settings, scopes)
    flow = {"clientCredentials": {"tokenUrl": "/auth/token", "scopes": dict(known or scopes)}}
    bearer = {"type": "oauth2", "flows": flow}
    basic = {"type": "http", "scheme": "basic"}
    return [
        SecurityScheme(
            CLIENT,
            {CLIENT: bearer},
            scopes=known,
            private_scopes=frozenset(settings.private_scopes),
            refusals=(400, 401),
            error_format=OAUTH_ERROR,
            decorator="@client_authenticated",
        ),
        SecurityScheme(CLIENT_SECRET, {CLIENT_SECRET: basic}, refusals=(401, 429)),
        SecurityScheme(CLIENT_EITHER, {CLIENT: bearer, CLIENT_SECRET: basic}, refusals=(401, 429)),
        access.SCHEME,
    ]


@hookimpl
def station_lifespan(app: Application) -> AbstractAsyncContextManager[Services]:
    """The services, for as long as the application runs."""
    return open_services(app)


@hookimpl
def station_health_checks(app: Application) -> Sequence[HealthCheck]:
    """Not ready while it cannot be told which tokens are revoked."""

    async def check() -> None:
        services_of(app).follower.check()

    return [HealthCheck(NAME, check)]


@hookimpl
def station_metrics(app: Application) -> Sequence[Collector]:
    """What the services have counted, and their pool of bcrypt."""
    from plugins.oauth_m2m.metrics import ServicesCollector  # noqa: PLC0415 - see station.metrics
    from station.metrics.core import BcryptCollector  # noqa: PLC0415

    services = services_of(app)
    return [ServicesCollector(services, app.audit), BcryptCollector("clients", services.hasher.pool)]


@hookimpl
def station_audit_sinks(app: Application) -> Sequence[Sink]:
    """The counter of what each client is issued."""
    return [services_of(app).usage.note_issued]


@hookimpl
def station_migrations() -> Sequence[Migration]:
    """The indexes."""
    return MIGRATIONS


@hookimpl
def station_commands() -> Sequence[click.Command]:
    """``station oauth-clients``, ``oauth-keys``, ``why`` and ``conformance``."""
    return [commands.conformance, commands.oauth_clients, commands.oauth_keys, commands.why]


@hookimpl
def station_backup(config: Config) -> BackupRules:
    """Tokens end with a restore, and keys must open."""
    return backup_rules(config)
