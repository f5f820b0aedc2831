"""Everything of the plugin that belongs to one application; kept in ``app.settings["oauth_m2m"]``."""

from __future__ import annotations

import contextlib
import dataclasses
from typing import TYPE_CHECKING, cast

from plugins.oauth_m2m.clients import ClientService
from plugins.oauth_m2m.config import OAuthM2MConfig
from plugins.oauth_m2m.stores import ClientStore, TokenStore
from plugins.oauth_m2m.tokens import TokenService
from station.passwords import PasswordHasher

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from tornado.web import Application as TornadoApplication

    from station.app import Application

__all__ = ["NAME", "Services", "catalogue", "open_services", "services_of"]

NAME = "oauth_m2m"


@dataclasses.dataclass(frozen=True, slots=True)
class Services:
    """The plugin's settings and services."""

    settings: OAuthM2MConfig
    clients: ClientService
    tokens: TokenService


def services_of(app: TornadoApplication) -> Services:
    """The services of a running application."""
    services: Services = app.settings[NAME]
    return services


def catalogue(settings: OAuthM2MConfig, declared: Mapping[str, str]) -> Mapping[str, str] | None:
    """The closed catalogue: what is configured and what plugins declare. None while it is open."""
    return None if settings.scopes is None else {**declared, **settings.scopes}


@contextlib.asynccontextmanager
async def open_services(app: Application) -> AsyncIterator[Services]:
    """Build the services on the application's resources; close the bcrypt pool in the end."""
    config = app.config
    settings = cast("OAuthM2MConfig", config.sections.get(NAME) or OAuthM2MConfig())
    hasher = PasswordHasher(settings.bcrypt_cost)
    store = ClientStore(app.resources)
    tokens = TokenService(
        store,
        TokenStore(app.resources),
        keys=[key for key in (config.jwt_secret, config.jwt_secret_previous) if key],
        issuer=config.issuer,
        audience=config.audience,
        ttl=settings.token_ttl,
    )
    clients = ClientService(store, hasher, catalogue(settings, app.plugins.scopes()))
    try:
        yield Services(settings, clients, tokens)
    finally:
        hasher.close()
