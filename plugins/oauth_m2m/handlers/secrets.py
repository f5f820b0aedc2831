"""``/oauth-clients/{clientId}/secrets``: admins rotate the secrets of a client, with overlap."""

from __future__ import annotations

from datetime import UTC, datetime

from plugins.oauth_m2m.answers import SecretListSchema, SecretMadeSchema
from plugins.oauth_m2m.client_fields import CLIENT_ID
from plugins.oauth_m2m.handlers.clients import load_query
from plugins.oauth_m2m.models import SecretAddition
from plugins.oauth_m2m.schemas import RECORD_ID, EndSecretSchema, SecretSchema, secret_json, secrets_json
from plugins.oauth_m2m.services import services_of
from station.auth import admin_authenticated
from station.handlers import BaseHandler, route
from station.openapi import Response, describe


@admin_authenticated
class SecretsHandler(BaseHandler):
    """The secrets of a client."""

    @describe(responses={200: SecretListSchema})
    async def get(self, client_id: str) -> None:
        """List them, and say which nothing seems to need any more."""
        client = await services_of(self.application).clients.get(client_id)
        self.write_json({"secrets": secrets_json(client, datetime.now(UTC))})

    @describe(
        body=SecretSchema,
        optional_body=True,
        responses={201: Response(SecretMadeSchema, headers=("Location",))},
        errors=(409,),
    )
    async def post(self, client_id: str) -> None:
        """Add one; a generated one is in this answer and never again (RFC 7591 3.2.1)."""
        addition = self.load_json(SecretSchema()) if self.request.body else SecretAddition()
        secret, generated = await services_of(self.application).secrets.add(client_id, addition)
        body = secret_json(secret)
        if generated is not None:
            body["clientSecret"] = generated
        self.set_header("Location", f"/oauth-clients/{client_id}/secrets/{secret.id}")
        self.set_header("Pragma", "no-cache")  # beside no-store, RFC 7591 3.2.1
        self.write_json(body, 201)


@admin_authenticated
class SecretHandler(BaseHandler):
    """One secret of a client."""

    @describe(query=EndSecretSchema, responses={204: None}, errors=(409,))
    async def delete(self, client_id: str, secret_id: str) -> None:
        """End it at once; ``revokeTokens`` ends the client's live tokens too, ``force`` ends the last one."""
        options = load_query(self, EndSecretSchema())
        await services_of(self.application).secrets.end(client_id, secret_id, **options)
        self.set_status(204)


routes = [
    route(rf"/oauth-clients/({CLIENT_ID})/secrets", SecretsHandler),
    route(rf"/oauth-clients/({CLIENT_ID})/secrets/({RECORD_ID})", SecretHandler),
]
