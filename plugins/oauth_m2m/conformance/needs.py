"""What a rule may need of the server under test, beside a client and the token endpoint."""

from __future__ import annotations

import enum

__all__ = ["Need"]


class Need(enum.Enum):
    """The value is the reason that the report gives where it is missing."""

    ADMIN = "needs admin access, to register clients of its own: --admin-key-file"
    REVOCATION = "the server names no revocation endpoint: --revocation-endpoint"
    INTROSPECTION = "the server names no introspection endpoint: --introspection-endpoint"
    METADATA = "the server has no metadata (RFC 8414)"
    JWKS = "the server names no jwks_uri: --jwks-uri"
    RESOURCE = "no protected resource is known: --resource"
    SCOPED_RESOURCE = "no resource that demands another scope is known: --scoped-resource"
    LIVENESS = "nothing tells whether a token is alive: --resource or --introspection-endpoint"
    JWT = "the access tokens are no JWTs"
    FLOOD = "would make the server throttle this address: --flood"
