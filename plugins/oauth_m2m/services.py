"""Everything of the plugin that belongs to one application; kept in ``app.settings["oauth_m2m"]``."""

from __future__ import annotations

import contextlib
import dataclasses
from typing import TYPE_CHECKING, cast

from plugins.oauth_m2m.clients import ClientService
from plugins.oauth_m2m.config import OAuthM2MConfig
from plugins.oauth_m2m.discovery import Discovery, discovery
from plugins.oauth_m2m.extensions import Extensions
from plugins.oauth_m2m.keyring import Keyring
from plugins.oauth_m2m.live_tokens import LiveTokenService
from plugins.oauth_m2m.rotation import SecretService
from plugins.oauth_m2m.stores import ClientStore, KeyStore, SecretStore, TokenStore
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
    secrets: SecretService
    tokens: TokenService
    live_tokens: LiveTokenService
    keyring: Keyring
    discovery: Discovery


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
    keyring = Keyring(
        KeyStore(app.resources),
        audit=app.audit,
        alg=settings.signing_alg,
        jwt_secrets=[secret for secret in (config.jwt_secret, config.jwt_secret_previous) if secret],
    )
    token_store = TokenStore(app.resources)
    tokens = TokenService(
        store,
        token_store,
        keyring=keyring,
        audit=app.audit,
        extensions=Extensions(
            claims=app.plugins.call("oauth_m2m_claims", app=app),
            checks=app.plugins.call("oauth_m2m_issuance_checks", app=app),
        ),
        issuer=config.issuer,
        audience=config.audience,
        ttl=settings.token_ttl,
    )
    declared = app.plugins.scopes()
    clients = ClientService(store, hasher, catalogue(settings, declared), app.audit)
    live_tokens = LiveTokenService(store, token_store, app.audit)
    secrets = SecretService(store, SecretStore(app.resources), hasher, app.audit)
    described = discovery(config.issuer, config.audience, settings, {**declared, **(settings.scopes or {})})
    try:
        await keyring.open(serving=app.serving)
        async with keyring.following():
            yield Services(settings, clients, secrets, tokens, live_tokens, keyring, described)
    finally:
        await secrets.close()
        hasher.close()
