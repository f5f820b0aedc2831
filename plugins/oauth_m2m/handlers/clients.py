"""``/oauth-clients``: admins register clients, look at them, disable and enable them."""

from __future__ import annotations

from plugins.oauth_m2m.schemas import CLIENT_ID, ActivationSchema, RegistrationSchema, client_json
from plugins.oauth_m2m.services import services_of
from station.auth import admin_authenticated
from station.handlers import BaseHandler, route


@admin_authenticated
class ClientsHandler(BaseHandler):
    """The collection."""

    async def post(self) -> None:
        """Register a client; a generated secret is in this answer and never again (RFC 7591 3.2.1)."""
        registration = self.load_json(RegistrationSchema())
        client, generated = await services_of(self.application).clients.register(registration)
        body = client_json(client)
        if generated is not None:
            body["clientSecret"] = generated
        self.set_header("Location", f"/oauth-clients/{client.client_id}")
        self.set_header("Pragma", "no-cache")  # beside no-store, RFC 7591 3.2.1
        self.write_json(body, 201)


@admin_authenticated
class ClientHandler(BaseHandler):
    """One client."""

    async def get(self, client_id: str) -> None:
        """Show it."""
        self.write_json(client_json(await services_of(self.application).clients.get(client_id)))

    async def patch(self, client_id: str) -> None:
        """Disable it, which ends its live tokens at once, or enable it."""
        change = self.load_json(ActivationSchema())
        clients = services_of(self.application).clients
        self.write_json(client_json(await clients.set_active(client_id, is_active=change["is_active"])))


routes = [
    route(r"/oauth-clients", ClientsHandler),
    route(rf"/oauth-clients/({CLIENT_ID})", ClientHandler),
]
