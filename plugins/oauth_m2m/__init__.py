"""Machines: OAuth 2.0 client credentials (RFC 6749 4.4).

What a handler developer needs is here::

    from plugins.oauth_m2m import ClientHandler, client_authenticated, scopes

    class FleetHandler(ClientHandler):
        @client_authenticated
        @scopes("bot:api")
        async def get(self):
            self.write_json({"caller": self.client_token.client_id})

The decorators work on every `station.handlers.BaseHandler`; a `ClientHandler` is one whose ``client_token``
editors know.
"""

from plugins.oauth_m2m.client_handler import ClientHandler
from plugins.oauth_m2m.decorators import client_authenticated, scopes
from plugins.oauth_m2m.errors import IssuanceRefused
from plugins.oauth_m2m.extensions import Issuance
from plugins.oauth_m2m.models import ClientToken

__all__ = [
    "ClientHandler",
    "ClientToken",
    "Issuance",
    "IssuanceRefused",
    "client_authenticated",
    "scopes",
]
