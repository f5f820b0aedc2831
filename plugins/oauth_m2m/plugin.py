"""The plugin's hook implementations, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from plugins.oauth_m2m import commands
from plugins.oauth_m2m.config import OAuthM2MConfig
from plugins.oauth_m2m.decorators import CLIENT, CLIENT_SECRET
from plugins.oauth_m2m.handlers import clients, revoke, token, whoami
from plugins.oauth_m2m.migrations import MIGRATIONS
from plugins.oauth_m2m.services import Services, catalogue, open_services
from station import hookimpl
from station.security import SecurityScheme

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from contextlib import AbstractAsyncContextManager

    import click

    from station.app import Application
    from station.handlers import Route
    from station.migrations import Migration


@hookimpl
def station_settings() -> type:
    """``OAUTH_M2M_*``."""
    return OAuthM2MConfig


@hookimpl
def station_handlers() -> Sequence[Route]:
    """The OAuth endpoints and the admin's."""
    return [*token.routes, *revoke.routes, *whoami.routes, *clients.routes]


@hookimpl
def station_security_schemes(settings: OAuthM2MConfig, scopes: Mapping[str, str]) -> Sequence[SecurityScheme]:
    """A client's token at protected handlers, its secret at the OAuth endpoints."""
    known = catalogue(settings, scopes)
    flow = {"clientCredentials": {"tokenUrl": "/auth/token", "scopes": dict(known or scopes)}}
    return [
        SecurityScheme(CLIENT, {CLIENT: {"type": "oauth2", "flows": flow}}, scopes=known),
        SecurityScheme(CLIENT_SECRET, {CLIENT_SECRET: {"type": "http", "scheme": "basic"}}),
    ]


@hookimpl
def station_lifespan(app: Application) -> AbstractAsyncContextManager[Services]:
    """The services, for as long as the application runs."""
    return open_services(app)


@hookimpl
def station_migrations() -> Sequence[Migration]:
    """The indexes."""
    return MIGRATIONS


@hookimpl
def station_commands() -> Sequence[click.Command]:
    """``station oauth-clients``."""
    return [commands.oauth_clients]
