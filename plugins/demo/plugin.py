"""A greeting that machines may read with ``demo:read`` and change with ``demo:write``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from marshmallow import Schema, fields

from plugins.oauth_m2m import ClientHandler, client_authenticated, scopes
from station import hookimpl
from station.handlers import Route, route
from station.openapi import describe

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class GreetingSchema(Schema):
    """``{"greeting": "Hello, station-bot!"}``."""

    greeting = fields.String(required=True)


@client_authenticated
class GreetingHandler(ClientHandler):
    """``/demo/greeting``."""

    @scopes("demo:read")
    @describe(responses={200: GreetingSchema})
    def get(self) -> None:
        """Greet the calling machine by name."""
        self.write_json({"greeting": f"Hello, {self.client_token.client_id}!"})

    @scopes("demo:write")
    @describe(responses={204: None})
    def put(self) -> None:
        """Accept a new greeting, and forget it."""
        self.set_status(204)


@hookimpl
def station_handlers() -> Sequence[Route]:
    """One resource."""
    return [route(r"/demo/greeting", GreetingHandler)]


@hookimpl
def station_scopes() -> Mapping[str, str]:
    """What a client needs."""
    return {"demo:read": "Read the greeting.", "demo:write": "Change the greeting."}
