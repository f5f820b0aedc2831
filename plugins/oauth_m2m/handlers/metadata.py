"""``/.well-known/``: what the server can do, and the keys of its tokens (RFC 8414, RFC 9728, RFC 7517).

Everything is answered from memory, whatever the stores do. Tornado adds the ETag.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from plugins.oauth_m2m.discovery import AUTHORIZATION_SERVER, JWKS, PROTECTED_RESOURCE
from plugins.oauth_m2m.keyring import JWKS_MAX_AGE
from plugins.oauth_m2m.oauth_schemas import (
    AuthorizationServerSchema,
    JWKSetSchema,
    ProtectedResourceSchema,
)
from plugins.oauth_m2m.services import services_of
from station.errors import NotFound
from station.handlers import BaseHandler, route
from station.openapi import describe
from station.security import public

if TYPE_CHECKING:
    from collections.abc import Mapping


class MetadataHandler(BaseHandler):
    """A public document that may be cached."""

    def write_document(self, document: Mapping[str, object]) -> None:
        """Answer it, and let everybody keep it for a while."""
        self.set_header("Cache-Control", f"public, max-age={JWKS_MAX_AGE}")
        self.write_json(document)

    def check_path(self, path: str, expected: str) -> None:
        """Refuse what follows the well-known path, unless it is the path of the identifier."""
        if path not in {"", expected}:
            raise NotFound("Nothing of this name is described here.")


class AuthorizationServerHandler(MetadataHandler):
    """The authorization server."""

    @public
    @describe(responses={200: AuthorizationServerSchema})
    def get(self, path: str) -> None:
        """Answer RFC 8414 metadata."""
        discovery = services_of(self.application).discovery
        self.check_path(path, discovery.issuer_path)
        self.write_document(discovery.authorization_server)


class ProtectedResourceHandler(MetadataHandler):
    """The handlers that its tokens are for."""

    @public
    @describe(responses={200: ProtectedResourceSchema})
    def get(self, path: str) -> None:
        """Answer RFC 9728 metadata."""
        discovery = services_of(self.application).discovery
        self.check_path(path, discovery.resource_path)
        self.write_document(discovery.protected_resource)


class JWKSHandler(MetadataHandler):
    """The keys that verify its tokens: none for HS256, whose key is secret."""

    @public
    @describe(responses={200: JWKSetSchema})
    def get(self) -> None:
        """Answer a JWK Set."""
        self.write_document(services_of(self.application).keyring.jwks())


routes = [
    route(rf"{re.escape(AUTHORIZATION_SERVER)}(/.*|)", AuthorizationServerHandler),
    route(rf"{re.escape(PROTECTED_RESOURCE)}(/.*|)", ProtectedResourceHandler),
    route(re.escape(JWKS), JWKSHandler),
]
