"""``/oauth-clients/{clientId}/usage``: what a client did over time, for the scripts of operators."""

from __future__ import annotations

from plugins.oauth_m2m.client_fields import CLIENT_ID
from plugins.oauth_m2m.handlers.clients import load_query
from plugins.oauth_m2m.services import services_of
from plugins.oauth_m2m.usage_schemas import UsageQuerySchema, UsageSchema, hint_json, usage_json
from station.auth import admin_authenticated
from station.handlers import BaseHandler, route
from station.openapi import describe


@admin_authenticated
class UsageHandler(BaseHandler):
    """The usage of one client."""

    @describe(query=UsageQuerySchema, responses={200: UsageSchema})
    async def get(self, client_id: str) -> None:
        """Show it: the tokens that it was issued and refused, and the calls that it made with them.

        By five minutes for up to 48 hours, by the hour beyond; periods in which nothing happened are missing.
        """
        hours = load_query(self, UsageQuerySchema())["hours"]
        services = services_of(self.application)
        client = await services.clients.get(client_id)
        report = await services.reports.get(client_id, hours=hours)
        hint = await services.hints.find_of(client)
        body = {
            "clientId": client_id,
            **usage_json(report),
            "hint": None if hint is None else hint_json(hint),
        }
        self.write_json(body)


routes = [route(rf"/oauth-clients/({CLIENT_ID})/usage", UsageHandler)]
