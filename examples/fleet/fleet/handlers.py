"""``/fleet``: who is in it, and how they are."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from fleet.models import Bot
from fleet.schemas import BotSchema, FleetSchema
from plugins.oauth_m2m import ClientToken, client_authenticated, scopes
from station.handlers import BaseHandler, route
from station.openapi import describe

if TYPE_CHECKING:
    from fleet.stores import FleetStore

__all__ = ["SCOPES", "routes"]

SCOPES = {"fleet:read": "See the bots of the fleet.", "fleet:write": "Report how a bot is."}


class FleetHandler(BaseHandler):
    """The fleet."""

    @client_authenticated
    @scopes("fleet:read")
    @describe(responses={200: FleetSchema})
    async def get(self) -> None:
        """List the bots by name."""
        fleet: FleetStore = self.application.settings["fleet"]
        self.write_json(FleetSchema().dump({"bots": await fleet.list()}))


class BotHandler(BaseHandler):
    """One bot of the fleet."""

    client_token: ClientToken

    @client_authenticated
    @scopes("fleet:write")
    @describe(body=BotSchema, responses={200: BotSchema, 201: BotSchema}, errors=(409,))
    async def put(self, name: str) -> None:
        """Take a report: 201 for a bot that joins, 200 for one that is known, 409 if the fleet is full."""
        fleet: FleetStore = self.application.settings["fleet"]
        report = self.load_json(BotSchema())
        now = datetime.now(UTC).replace(microsecond=0)
        bot = Bot(name=name, reported_by=self.client_token.client_id, reported_at=now, **report)
        joined = await fleet.put(bot)
        self.write_json(BotSchema().dump(bot), 201 if joined else 200)


routes = [
    route(r"/fleet", FleetHandler),
    route(r"/fleet/([a-z0-9-]{1,64})", BotHandler),
]
