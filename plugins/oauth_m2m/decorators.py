"""How a handler demands a client: by its token, or at the OAuth endpoints by its secret."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from plugins.oauth_m2m.credentials import claimed_client_id, read_bearer_token, read_client_credentials
from plugins.oauth_m2m.errors import InsufficientScope, InvalidClient
from plugins.oauth_m2m.scope import is_scope_token
from plugins.oauth_m2m.services import services_of
from station.security import Security, demand

if TYPE_CHECKING:
    from collections.abc import Callable

    from plugins.oauth_m2m.handlers.oauth import OAuthHandler
    from station.handlers import BaseHandler

__all__ = ["CLIENT", "CLIENT_SECRET", "client_authenticated", "client_secret_authenticated", "scopes"]

CLIENT = "client"
CLIENT_SECRET = "client-secret"  # noqa: S105 - the name of a scheme

T = TypeVar("T")


async def _enforce_token(handler: Any, security: Security) -> None:
    """Set ``client_token`` from the Authorization header, or raise a `BearerError` (RFC 6750 3).

    Neither a cookie nor ``current_user`` is read or set: a machine is never a user.
    """
    request = handler.request
    token = read_bearer_token(request.headers.get("Authorization"), query=request.query)
    handler.client_token = await services_of(handler.application).tokens.verify(token)
    if not security.scopes <= handler.client_token.scopes:
        raise InsufficientScope(sorted(security.scopes))


client_authenticated: Callable[[T], T] = demand(Security(CLIENT), _enforce_token)
"""Demand a valid client token on a method or a handler class, and set ``self.client_token``."""


def scopes(*names: str) -> Callable[[T], T]:
    """Demand a client token that holds all of these scopes; stacked declarations add up.

    Alone it authenticates as well. Raises `ValueError` at import for no scopes, or what is no scope-token
    (RFC 6749 3.3).
    """
    if not names:
        raise ValueError("@scopes needs at least one scope; @client_authenticated alone asks for none")
    if refused := [name for name in names if not is_scope_token(name)]:
        raise ValueError(f"{refused[0]!r} is not a scope-token (RFC 6749 3.3)")
    return demand(Security(CLIENT, frozenset(names)), _enforce_token)


async def _enforce_secret(handler: OAuthHandler, _security: Security) -> None:
    """Set ``client`` from the credentials of an OAuth request, in the order that the wire rules fix.

    Content type, size and repeats, then what the endpoint checks before it knows who asks, then the
    throttles, then the secret. Only a failed secret counts as a failure of its address.
    """
    authorization = handler.request.headers.get("Authorization")
    parameters = handler.read_parameters()
    handler.check_parameters(parameters)
    await _throttle(handler, claimed_client_id(authorization, parameters))
    services = services_of(handler.application)
    methods = frozenset(services.settings.client_auth_methods)
    credentials = read_client_credentials(authorization, parameters, methods=methods)
    try:
        handler.client = await services.clients.authenticate(credentials)
    except InvalidClient:
        await _count_failure(handler)
        raise
    handler.parameters = parameters


client_secret_authenticated: Callable[[T], T] = demand(Security(CLIENT_SECRET), _enforce_secret)
"""Demand the client's own credentials (RFC 6749 2.3) on a method of an `OAuthHandler`."""


async def _throttle(handler: OAuthHandler, client_id: str | None) -> None:
    application, source = handler.application, handler.throttle_key
    await application.throttle.check("failure", source, application.config.throttle("failure"))
    limit = application.config.throttle(handler.throttle_name)
    await application.throttle.hit(handler.throttle_name, f"{source}/{client_id or ''}", limit)


async def _count_failure(handler: BaseHandler) -> None:
    application = handler.application
    await application.throttle.count("failure", handler.throttle_key, application.config.throttle("failure"))
