"""The rules, one module for each table of the protocol; importing this package registers them all."""

from plugins.oauth_m2m.conformance.rules import (
    bearer,
    client_authentication,
    error_response,
    introspection,
    metadata,
    registration,
    revocation,
    scope,
    secrets,
    success_response,
    throttling,
    token_request,
    tokens,
)

__all__ = [
    "bearer",
    "client_authentication",
    "error_response",
    "introspection",
    "metadata",
    "registration",
    "revocation",
    "scope",
    "secrets",
    "success_response",
    "throttling",
    "token_request",
    "tokens",
]
