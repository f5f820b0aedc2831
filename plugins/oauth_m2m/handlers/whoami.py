"""``GET /auth/client``: who am I, for machines."""

from __future__ import annotations

from typing import TYPE_CHECKING

from plugins.oauth_m2m.decorators import client_authenticated
from plugins.oauth_m2m.oauth_schemas import WhoAmISchema
from station.handlers import BaseHandler, route
from station.openapi import describe

if TYPE_CHECKING:
    from plugins.oauth_m2m.models import ClientToken


class WhoAmIHandler(BaseHandler):
    """Tells a client what its token says."""

    client_token: ClientToken

    @client_authenticated
    @describe(responses={200: WhoAmISchema})
    async def get(self) -> None:
        """Answer the client id, the scopes in force and the expiry (seconds since the epoch)."""
        token = self.client_token
        self.write_json({"client_id": token.client_id, "scopes": sorted(token.scopes), "exp": token.exp})


routes = [route(r"/auth/client", WhoAmIHandler)]
