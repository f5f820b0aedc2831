"""Authlib on Flask as a peer of Station: client credentials, ES256 JWT access tokens, clients in memory.

Built as Authlib's documentation builds it. Secrets are compared as they are, tokens are kept nowhere. The
client's id and secret come from the environment. gunicorn serves it, as `gunicorn_conf` says.
"""

from __future__ import annotations

import os
import secrets
from typing import TYPE_CHECKING, Any

from authlib.integrations.flask_oauth2 import AuthorizationServer
from authlib.oauth2.rfc6749 import ClientMixin
from authlib.oauth2.rfc6749.grants import ClientCredentialsGrant
from authlib.oauth2.rfc9068 import JWTBearerTokenGenerator
from flask import Flask
from joserfc.jwk import ECKey, KeySet

if TYPE_CHECKING:
    from flask import Response

SCOPE = "bot:api"
RESOURCE = "https://api.example.com"


class MemoryClient(ClientMixin):  # type: ignore[misc] # Authlib has no types
    """The one client."""

    client_id = os.environ["BENCH_CLIENT_ID"]
    client_secret = os.environ["BENCH_CLIENT_SECRET"]

    def get_client_id(self) -> str:
        """The id, for the claims."""
        return self.client_id

    def get_allowed_scope(self, scope: str | None) -> str:
        """What of ``scope`` it may have."""
        return " ".join(wanted for wanted in (scope or SCOPE).split() if wanted == SCOPE)

    def check_client_secret(self, client_secret: str) -> bool:
        """Compare without telling by time."""
        return secrets.compare_digest(self.client_secret, client_secret)

    def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:
        """Take the secret from the body."""
        return endpoint != "token" or method == "client_secret_post"

    def check_grant_type(self, grant_type: str) -> bool:
        """Allow client credentials."""
        return bool(grant_type == "client_credentials")


class TokenGenerator(JWTBearerTokenGenerator):  # type: ignore[misc] # Authlib has no types
    """Signs with a key that is made at start."""

    keys = KeySet([ECKey.generate_key("P-256", {"use": "sig", "kid": "bench"})])

    def get_jwks(self) -> KeySet:
        """The signing key."""
        return self.keys

    def get_audiences(self, client: Any, user: Any, scope: str) -> str:
        """The resource that tokens are for."""
        return RESOURCE


class PostedCredentialsGrant(ClientCredentialsGrant):  # type: ignore[misc] # Authlib has no types
    """Client credentials with the secret in the body."""

    TOKEN_ENDPOINT_AUTH_METHODS = ("client_secret_post",)


CLIENTS = {MemoryClient.client_id: MemoryClient()}

app = Flask(__name__)
server = AuthorizationServer(app, query_client=CLIENTS.get, save_token=lambda _token, _request: None)
server.register_token_generator("default", TokenGenerator(issuer="https://bench.example.com", alg="ES256"))
server.register_grant(PostedCredentialsGrant)


@app.post("/token")
def token() -> Response:
    """Answer a token."""
    response: Response = server.create_token_response()
    return response
