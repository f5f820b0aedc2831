"""``/oauth-clients/{clientId}/tokens``: admins see and end the live tokens of a client."""

from __future__ import annotations

from plugins.oauth_m2m.answers import TokenPageSchema, TokensRevokedSchema
from plugins.oauth_m2m.client_fields import CLIENT_ID
from plugins.oauth_m2m.cursors import Cursors
from plugins.oauth_m2m.handlers.clients import load_query
from plugins.oauth_m2m.schemas import RECORD_ID, PageSchema, confirmation_json, token_json
from plugins.oauth_m2m.services import services_of
from station.auth import admin_authenticated
from station.handlers import BaseHandler, route
from station.openapi import describe


@admin_authenticated
class ClientTokensHandler(BaseHandler):
    """The live tokens of a client."""

    @describe(query=PageSchema, responses={200: TokenPageSchema})
    async def get(self, client_id: str) -> None:
        """List them, those that live longest first: a page, and the cursor of the next one or null."""
        wanted = load_query(self, PageSchema())
        cursors = Cursors(self.application.config.jwt_secret, f"tokens:{client_id}")
        after = cursors.open(wanted["cursor"]) if "cursor" in wanted else None
        page = await services_of(self.application).live_tokens.list(
            client_id, limit=wanted["limit"], after=after
        )
        cursor = None if page.last is None else cursors.seal(page.last)
        self.write_json({"tokens": [token_json(token) for token in page.tokens], "nextCursor": cursor})

    @describe(responses={200: TokensRevokedSchema})
    async def delete(self, client_id: str) -> None:
        """End them all; ``revoked`` says how many there were, null if Redis could not tell.

        ``confirmedBy`` processes refuse them already; ``pending`` ones, null if Redis could not tell, will
        when they hear of it.
        """
        revoked, confirmation = await services_of(self.application).live_tokens.revoke_all(client_id)
        self.write_json({"revoked": revoked, **confirmation_json(confirmation)})


@admin_authenticated
class ClientTokenHandler(BaseHandler):
    """One live token of a client."""

    @describe(responses={200: TokensRevokedSchema})
    async def delete(self, client_id: str, jti: str) -> None:
        """End it; ``confirmedBy`` and ``pending`` say which processes refuse it already."""
        confirmation = await services_of(self.application).live_tokens.revoke(client_id, jti)
        self.write_json({"revoked": 1, **confirmation_json(confirmation)})


routes = [
    route(rf"/oauth-clients/({CLIENT_ID})/tokens", ClientTokensHandler),
    route(rf"/oauth-clients/({CLIENT_ID})/tokens/({RECORD_ID})", ClientTokenHandler),
]
