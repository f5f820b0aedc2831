"""Everything of the plugin that belongs to one application; kept in ``app.settings["oauth_m2m"]``."""

from __future__ import annotations

import contextlib
import dataclasses
from datetime import timedelta
from typing import TYPE_CHECKING, cast

from plugins.oauth_m2m.authentication import ClientAuthenticator
from plugins.oauth_m2m.clients import ClientService
from plugins.oauth_m2m.config import OAuthM2MConfig
from plugins.oauth_m2m.connections import LongLivedConnections
from plugins.oauth_m2m.discovery import Discovery, discovery
from plugins.oauth_m2m.extensions import Extensions
from plugins.oauth_m2m.keyring import Keyring
from plugins.oauth_m2m.live_tokens import LiveTokenService
from plugins.oauth_m2m.memory import SecretMemory
from plugins.oauth_m2m.mirror import ClientCache, Follower, Propagation, RevokedTokens
from plugins.oauth_m2m.processes import Processes
from plugins.oauth_m2m.rotation import SecretService
from plugins.oauth_m2m.stores import (
    ChangeStore,
    ClientStore,
    HintStore,
    KeyStore,
    MemoryStore,
    NodeStore,
    ProcessStore,
    SecretStore,
    TokenStore,
    UsageStore,
)
from plugins.oauth_m2m.tokens import TokenService
from plugins.oauth_m2m.usage import HintService, UsageCounter, UsageReports
from plugins.oauth_m2m.uses import SecretUses
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
    authenticator: ClientAuthenticator
    secrets: SecretService
    uses: SecretUses
    tokens: TokenService
    live_tokens: LiveTokenService
    connections: LongLivedConnections
    keyring: Keyring
    follower: Follower
    discovery: Discovery
    cache: ClientCache
    revoked: RevokedTokens
    memory: SecretMemory
    propagation: Propagation
    hasher: PasswordHasher
    usage: UsageCounter
    reports: UsageReports
    hints: HintService
    processes: Processes


def services_of(app: TornadoApplication) -> Services:
    """The services of a running application."""
    services: Services = app.settings[NAME]
    return services


def catalogue(settings: OAuthM2MConfig, declared: Mapping[str, str]) -> Mapping[str, str] | None:
    """The closed catalogue: what is configured and what plugins declare. None while it is open."""
    return None if settings.scopes is None else {**declared, **settings.scopes}


@contextlib.asynccontextmanager
async def open_services(app: Application) -> AsyncIterator[Services]:
    """Build the services and let them work; close the bcrypt pool in the end."""
    services = _build(app)
    app.audit.watch_refusals(services.usage.note_refusal)
    try:
        await services.keyring.open(serving=app.serving)
        async with (
            services.keyring.following(),
            services.follower.following(serving=app.serving),
            services.propagation.announcing(serving=app.serving),
            services.connections.watching(),
            services.uses.noting(),
            services.usage.counting(),
            services.hints.watching(serving=app.serving),
            services.processes.announcing(serving=app.serving),
        ):
            yield services
    finally:
        services.hasher.close()


def _build(app: Application) -> Services:
    """The services, on the application's resources."""
    config = app.config
    settings = cast("OAuthM2MConfig", config.sections.get(NAME) or OAuthM2MConfig())
    hasher = PasswordHasher(settings.bcrypt_cost)
    store, token_store = ClientStore(app.resources), TokenStore(app.resources)
    keyring = Keyring(
        KeyStore(app.resources),
        audit=app.audit,
        alg=settings.signing_alg,
        jwt_secrets=[secret for secret in (config.jwt_secret, config.jwt_secret_previous) if secret],
    )
    cache, revoked = ClientCache(store, size=settings.cache_size), RevokedTokens()
    follower = Follower(
        ChangeStore(app.resources, max_silence=settings.revocation_max_staleness_ms / 2000),
        token_store,
        clients=cache,
        revoked=revoked,
        keyring=keyring,
        max_staleness=settings.revocation_max_staleness_ms / 1000,
    )
    propagation = Propagation(follower, NodeStore(app.resources), clients=cache, revoked=revoked)
    memory = SecretMemory(MemoryStore(app.resources), jwt_secret=config.jwt_secret, size=settings.cache_size)
    declared = app.plugins.scopes()
    secret_store = SecretStore(app.resources)
    usage_store = UsageStore(app.resources, retention=timedelta(days=settings.usage_retention_days))
    tokens = TokenService(
        token_store,
        clients=cache,
        revoked=revoked,
        follower=follower,
        propagation=propagation,
        keyring=keyring,
        audit=app.audit,
        extensions=Extensions(
            claims=app.plugins.call("oauth_m2m_claims", app=app),
            checks=app.plugins.call("oauth_m2m_issuance_checks", app=app),
        ),
        issuer=config.issuer,
        audience=config.audience,
        ttl=settings.token_ttl,
        remembered=settings.cache_size,
    )
    return Services(
        settings=settings,
        clients=ClientService(
            store,
            propagation=propagation,
            hasher=hasher,
            catalogue=catalogue(settings, declared),
            audit=app.audit,
        ),
        authenticator=ClientAuthenticator(store, cache, follower, memory=memory, hasher=hasher),
        secrets=SecretService(store, secret_store, propagation=propagation, hasher=hasher, audit=app.audit),
        uses=SecretUses(secret_store),
        tokens=tokens,
        live_tokens=LiveTokenService(store, token_store, propagation=propagation, audit=app.audit),
        connections=LongLivedConnections(tokens, clients=cache, follower=follower),
        keyring=keyring,
        follower=follower,
        discovery=discovery(
            config.issuer, config.audience, settings, {**declared, **(settings.scopes or {})}
        ),
        cache=cache,
        revoked=revoked,
        memory=memory,
        propagation=propagation,
        hasher=hasher,
        usage=UsageCounter(usage_store, cache, store),
        reports=UsageReports(usage_store),
        hints=HintService(
            usage_store,
            HintStore(app.resources),
            store,
            token_ttl=settings.token_ttl,
            excepted=settings.hints_except,
        ),
        processes=Processes(ProcessStore(app.resources), app, follower=follower, hasher=hasher),
    )
