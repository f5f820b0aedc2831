"""What clients and resource servers can find out by themselves: RFC 8414 and RFC 9728 metadata."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping

    from plugins.oauth_m2m.config import OAuthM2MConfig

__all__ = ["AUTHORIZATION_SERVER", "JWKS", "PROTECTED_RESOURCE", "Discovery", "discovery"]

AUTHORIZATION_SERVER = "/.well-known/oauth-authorization-server"
PROTECTED_RESOURCE = "/.well-known/oauth-protected-resource"
JWKS = "/.well-known/jwks.json"


@dataclasses.dataclass(frozen=True, slots=True)
class Discovery:
    """The two documents, and ``resource_metadata``, where the second is; made once, they never change.

    ``issuer_path`` and ``resource_path`` may follow the well-known paths (RFC 8414 3.1, RFC 9728 3.1).
    """

    authorization_server: Mapping[str, object]
    protected_resource: Mapping[str, object]
    issuer_path: str
    resource_path: str
    resource_metadata: str


def discovery(issuer: str, audience: str, settings: OAuthM2MConfig, scopes: Mapping[str, str]) -> Discovery:
    """Describe the server ``issuer``; ``scopes`` are all that are declared or configured.

    The resource is the audience of its tokens if that is a URL, and else the issuer.
    """
    resource = audience if audience.startswith(("http://", "https://")) and "#" not in audience else issuer
    public = sorted(scopes.keys() - set(settings.private_scopes))
    scopes_supported = {"scopes_supported": public} if public else {}  # RFC 8414 3.2: no empty lists
    methods = list(settings.client_auth_methods)
    base = issuer.rstrip("/")
    server = {
        "issuer": issuer,
        "token_endpoint": f"{base}/auth/token",
        "token_endpoint_auth_methods_supported": methods,
        "revocation_endpoint": f"{base}/auth/revoke",
        "revocation_endpoint_auth_methods_supported": methods,
        "introspection_endpoint": f"{base}/auth/introspect",
        "introspection_endpoint_auth_methods_supported": [*methods, "Bearer"],  # a token works there too
        "jwks_uri": f"{base}{JWKS}",
        "response_types_supported": ["none"],  # required, though there is no authorization endpoint
        "grant_types_supported": ["client_credentials"],
        **scopes_supported,
    }
    protected = {
        "resource": resource,
        "authorization_servers": [issuer],
        "jwks_uri": f"{base}{JWKS}",
        "bearer_methods_supported": ["header"],
        **scopes_supported,
    }
    root, path = _split(resource)
    return Discovery(server, protected, _split(issuer)[1], path, f"{root}{PROTECTED_RESOURCE}{path}")


def _split(url: str) -> tuple[str, str]:
    """The scheme with the host, and the path without the slash that ends it (RFC 8414 3.1)."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}", parts.path.rstrip("/")
