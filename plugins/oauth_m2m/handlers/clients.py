"""``/oauth-clients``: admins register clients, find, change and delete them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from marshmallow import ValidationError

from plugins.oauth_m2m.answers import (
    ChangedClientSchema,
    ClientPageSchema,
    ClientSchema,
    RegisteredClientSchema,
)
from plugins.oauth_m2m.client_fields import CLIENT_ID
from plugins.oauth_m2m.cursors import Cursors
from plugins.oauth_m2m.handlers.preconditions import PreconditionSchema, entity_tag, versions_of
from plugins.oauth_m2m.models import ClientQuery
from plugins.oauth_m2m.schemas import (
    ChangeSchema,
    QuerySchema,
    RegistrationSchema,
    client_json,
    confirmation_json,
)
from plugins.oauth_m2m.services import services_of
from station.auth import admin_authenticated
from station.errors import ValidationFailed
from station.handlers import BaseHandler, route
from station.openapi import Response, describe

if TYPE_CHECKING:
    from marshmallow import Schema


@admin_authenticated
class ClientsHandler(BaseHandler):
    """The collection."""

    @describe(query=QuerySchema, responses={200: ClientPageSchema})
    async def get(self) -> None:
        """List the clients that match, by id: a page and the cursor of the next one, null on the last."""
        wanted = load_query(self, QuerySchema())
        cursors = Cursors(self.application.config.jwt_secret, "clients")
        if cursor := wanted.pop("cursor", None):
            wanted["after"] = cursors.open(cursor)
        page = await services_of(self.application).clients.list(ClientQuery(**wanted))
        cursor = None if page.last is None else cursors.seal(page.last)
        self.write_json({"clients": [client_json(client) for client in page.clients], "nextCursor": cursor})

    @describe(
        body=RegistrationSchema,
        responses={201: Response(RegisteredClientSchema, headers=("ETag", "Location"))},
        errors=(409,),
    )
    async def post(self) -> None:
        """Register a client; a generated secret is in this answer and never again (RFC 7591 3.2.1)."""
        registration = self.load_json(RegistrationSchema())
        client, generated = await services_of(self.application).clients.register(registration)
        body = client_json(client)
        if generated is not None:
            body["clientSecret"] = generated
        self.set_header("ETag", entity_tag(client))
        self.set_header("Location", f"/oauth-clients/{client.client_id}")
        self.set_header("Pragma", "no-cache")  # beside no-store, RFC 7591 3.2.1
        self.write_json(body, 201)


@admin_authenticated
class ClientHandler(BaseHandler):
    """One client."""

    _etag: str | None = None

    @describe(responses={200: ClientSchema})
    async def get(self, client_id: str) -> None:
        """Show it; 304 if If-None-Match names its version (RFC 9110 13.1.2)."""
        client = await services_of(self.application).clients.get(client_id)
        self._etag = entity_tag(client)
        self.write_json(client_json(client))

    @describe(
        headers=PreconditionSchema,
        body=ChangeSchema,
        responses={200: Response(ChangedClientSchema, headers=("ETag",))},
        errors=(412,),
    )
    async def patch(self, client_id: str) -> None:
        """Change it; disabling it ends its live tokens at once, and a scope that it loses they lose too.

        ``confirmedBy`` and ``pending`` say which processes apply that already.
        """
        change = self.load_json(ChangeSchema())
        versions = versions_of(self.request.headers.get("If-Match"))
        clients = services_of(self.application).clients
        client, confirmation = await clients.change(client_id, change, versions=versions)
        self.set_header("ETag", entity_tag(client))
        self.write_json({**client_json(client), **confirmation_json(confirmation)})

    @describe(headers=PreconditionSchema, responses={204: None}, errors=(412,))
    async def delete(self, client_id: str) -> None:
        """Delete it (RFC 7592 2.3), which ends its live tokens at once."""
        versions = versions_of(self.request.headers.get("If-Match"))
        await services_of(self.application).clients.delete(client_id, versions=versions)
        self.set_status(204)

    def compute_etag(self) -> str | None:
        """The version, in place of a hash of the body (called by Tornado, which compares If-None-Match)."""
        return self._etag


def load_query(handler: BaseHandler, schema: Schema) -> dict[str, Any]:
    """What ``schema`` makes of the query; `ValidationFailed` names what is bad, unknown or repeated."""
    names = handler.request.query_arguments
    values = {name: handler.get_query_arguments(name, strip=False) for name in names}
    if repeated := [name for name, found in values.items() if len(found) > 1]:
        raise ValidationFailed({name: ["Is repeated."] for name in repeated})
    try:
        query: dict[str, Any] = schema.load({name: found[0] for name, found in values.items()})
    except ValidationError as error:
        messages: Any = error.messages
        raise ValidationFailed(messages) from error
    return query


routes = [
    route(r"/oauth-clients", ClientsHandler),
    route(rf"/oauth-clients/({CLIENT_ID})", ClientHandler),
]
