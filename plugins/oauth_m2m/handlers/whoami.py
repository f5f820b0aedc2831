"""``GET /auth/client``: who am I, for machines."""

from __future__ import annotations

from plugins.oauth_m2m.client_handler import ClientHandler
from plugins.oauth_m2m.decorators import client_authenticated
from plugins.oauth_m2m.oauth_schemas import WhoAmISchema
from station.handlers import route
from station.openapi import describe


class WhoAmIHandler(ClientHandler):
    """Tells a client what its token says."""

    @client_authenticated
    @describe(responses={200: WhoAmISchema})
    async def get(self) -> None:
        """Answer the client id, the scopes in force and the expiry (seconds since the epoch)."""
        token = self.client_token
        self.write_json({"client_id": token.client_id, "scopes": sorted(token.scopes), "exp": token.exp})


routes = [route(r"/auth/client", WhoAmIHandler)]
