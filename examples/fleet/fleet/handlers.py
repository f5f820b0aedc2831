"""``/fleet``: who is in it, and how they are."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from marshmallow import ValidationError
from tornado.websocket import WebSocketHandler

from fleet.models import Bot
from fleet.schemas import BotSchema, FleetSchema
from plugins.oauth_m2m import ClientHandler, client_authenticated, scopes
from station.errors import Conflict
from station.handlers import BaseHandler, route
from station.openapi import describe

if TYPE_CHECKING:
    from collections.abc import Mapping

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


class _ReportHandler(ClientHandler):
    """Takes reports."""

    async def take(self, name: str, report: Mapping[str, str]) -> tuple[Bot, bool]:
        """Keep what a bot reports; the bot, and whether it has joined."""
        fleet: FleetStore = self.application.settings["fleet"]
        now = datetime.now(UTC).replace(microsecond=0)
        bot = Bot(name=name, reported_by=self.client_token.client_id, reported_at=now, **report)
        return bot, await fleet.put(bot)


class BotHandler(_ReportHandler):
    """One bot of the fleet."""

    @client_authenticated
    @scopes("fleet:write")
    @describe(body=BotSchema, responses={200: BotSchema, 201: BotSchema}, errors=(409,))
    async def put(self, name: str) -> None:
        """Take a report: 201 for a bot that joins, 200 for one that is known, 409 if the fleet is full."""
        bot, joined = await self.take(name, self.load_json(BotSchema()))
        self.write_json(BotSchema().dump(bot), 201 if joined else 200)


@client_authenticated
@scopes("fleet:write")
class ReportsHandler(_ReportHandler, WebSocketHandler):
    """A WebSocket for a bot that reports often: each message is a report, and is answered with the bot.

    Station closes it with 4401 once the token is good no more.
    """

    def open(self, *args: str, **_kwargs: str) -> None:
        """Remember which bot it is."""
        (self.name,) = args

    async def on_message(self, message: str | bytes) -> None:
        """Take a report; a bad one ends the connection (1007), and so does a full fleet (1008)."""
        try:
            bot, _ = await self.take(self.name, BotSchema().loads(message))
        except (ValueError, ValidationError):
            self.close(1007, "not a report")
        except Conflict as error:
            self.close(1008, error.description)
        else:
            await self.write_message(BotSchema().dumps(bot))


routes = [
    route(r"/fleet", FleetHandler),
    route(r"/fleet/([a-z0-9-]{1,64})", BotHandler),
    route(r"/fleet/([a-z0-9-]{1,64})/reports", ReportsHandler),
]
