"""How a handler demands a client: by its token, or at the OAuth endpoints by its secret."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from plugins.oauth_m2m.connections import demand_scopes
from plugins.oauth_m2m.credentials import (
    claimed_client_id,
    is_bearer,
    read_bearer_token,
    read_client_credentials,
)
from plugins.oauth_m2m.errors import BearerError, InsufficientScope, InvalidClient, InvalidRequest
from plugins.oauth_m2m.reasons import auditable_client_id
from plugins.oauth_m2m.scope import is_scope_token
from plugins.oauth_m2m.services import services_of
from station.errors import ResponseError
from station.security import Security, demand
from station.throttle import Check, Hit

if TYPE_CHECKING:
    from collections.abc import Callable

    from plugins.oauth_m2m.handlers.oauth import OAuthHandler
    from station.handlers import BaseHandler
    from station.throttle import Admission

__all__ = [
    "CLIENT",
    "CLIENT_EITHER",
    "CLIENT_SECRET",
    "client_authenticated",
    "client_either_authenticated",
    "client_secret_authenticated",
    "scopes",
]

CLIENT = "client"
CLIENT_SECRET = "client-secret"  # noqa: S105 - the name of a scheme
CLIENT_EITHER = "client-either"

T = TypeVar("T")


async def _enforce_token(handler: Any, security: Security) -> None:
    """Set ``client_token`` from the Authorization header, or raise a `BearerError` (RFC 6750 3).

    Neither a cookie nor ``current_user`` is read or set: a machine is never a user.
    """
    request, services = handler.request, services_of(handler.application)
    handler.audit_action = "bearer.refused"
    try:
        token = read_bearer_token(request.headers.get("Authorization"), query=request.query)
        handler.client_token = caller = await services.tokens.verify(token)
        handler.identify("client", caller.client_id)
        demand_scopes(caller, security.scopes)
    except BearerError as error:
        error.name_resource(services.discovery.resource_metadata)
        if isinstance(error, InsufficientScope) and handler.application.config.env == "development":
            error.give_hint()
        raise
    services.usage.called(caller.client_id)
    handler.when_long_lived(services.connections.watch, token, caller, security.scopes)


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
    """Set ``client`` and ``client_secret`` from the credentials, in the order that the wire rules fix.

    Content type, size and repeats, then what the endpoint checks before it knows who asks, then the
    throttles, then the secret. Every failed authentication counts as a failure of its address. A handler that
    ``settles`` the throttles itself may prepare its answer meanwhile.
    """
    handler.audit_action = f"{handler.throttle_name}.refused"
    authorization = handler.request.headers.get("Authorization")
    parameters = handler.read_parameters()
    claimed = claimed_client_id(authorization, parameters)
    handler.audit_client_id = auditable_client_id(claimed)
    handler.check_parameters(parameters)
    handler.admission = admission = _admission(handler, claimed)
    services = services_of(handler.application)
    try:
        credentials = read_client_credentials(
            authorization, parameters, methods=services.settings.client_auth_methods
        )
        authenticated = await services.authenticator.authenticate(
            credentials, admission=admission, source=handler.throttle_key
        )
    except ResponseError as error:
        await admission.settled()  # a throttle refuses before everything else
        if isinstance(error, InvalidClient):
            await _count_failure(handler)
        raise
    handler.client, handler.client_secret = authenticated.client, authenticated.secret
    handler.parameters = parameters
    handler.identify("client", handler.client.client_id)
    services.uses.note(authenticated, address=handler.client_address)
    if not handler.settles:
        await admission.settled()


client_secret_authenticated: Callable[[T], T] = demand(Security(CLIENT_SECRET), _enforce_secret)
"""Demand the client's own credentials (RFC 6749 2.3) on a method of an `OAuthHandler`."""


async def _enforce_either(handler: OAuthHandler, security: Security) -> None:
    """Authenticate a client by its secret, or by a token of its own (RFC 7662 2.1)."""
    authorization = handler.request.headers.get("Authorization")
    if not is_bearer(authorization):
        await _enforce_secret(handler, security)
        handler.caller_id = handler.client.client_id
        handler.caller_scopes = frozenset(handler.client.scopes)
        return
    parameters = handler.read_parameters()
    if parameters.get("client_secret") or parameters.get("client_assertion"):
        raise InvalidRequest("The request authenticates in more than one way.")
    await _enforce_token(handler, security)
    caller = handler.client_token
    handler.audit_action = f"{handler.throttle_name}.refused"
    await _admission(handler, caller.client_id).settled()
    handler.caller_id, handler.caller_scopes = caller.client_id, caller.scopes
    handler.parameters = parameters


client_either_authenticated: Callable[[T], T] = demand(Security(CLIENT_EITHER), _enforce_either)
"""Demand a client, by its credentials or by its token, on a method of an `OAuthHandler`."""


def _admission(handler: OAuthHandler, client_id: str | None) -> Admission:
    """Ask the throttles of the endpoint and of failures; see `station.throttle.Admission`."""
    application, source = handler.application, handler.throttle_key
    config = application.config
    return application.throttle.admit(
        Check("failure", source, config.throttle("failure")),
        Hit(handler.throttle_name, f"{source}/{client_id or ''}", config.throttle(handler.throttle_name)),
    )


async def _count_failure(handler: BaseHandler) -> None:
    application = handler.application
    await application.throttle.count("failure", handler.throttle_key, application.config.throttle("failure"))
