"""``/console/clients/ID``: everything about a client, and the form that changes it."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from plugins.oauth_m2m.client_fields import CLIENT_ID
from plugins.oauth_m2m.config import MAX_TOKEN_TTL, MIN_TOKEN_TTL
from plugins.oauth_m2m.console.access import HOME, console_authenticated
from plugins.oauth_m2m.console.chart import chart_of
from plugins.oauth_m2m.console.forms import load_form, number, typed, words
from plugins.oauth_m2m.console.notices import leave_notice
from plugins.oauth_m2m.console.page import ConsoleHandler
from plugins.oauth_m2m.console.wording import confirmed
from plugins.oauth_m2m.schemas import ChangeSchema
from plugins.oauth_m2m.services import services_of
from station.audit import AuditFilter
from station.errors import PreconditionFailed, ValidationFailed
from station.handlers import route

if TYPE_CHECKING:
    from collections.abc import Mapping

    from plugins.oauth_m2m.models import Client
    from station.errors import ResponseError

__all__ = ["routes", "versions_of"]

_TOKENS = 10
_EVENTS = 20
_FIELDS = ("name", "scopes", "tokenTtl")


class ClientHandler(ConsoleHandler):
    """The page of a client."""

    section = HOME
    _shown: dict[str, Any] | None = None

    @console_authenticated
    async def get(self, client_id: str) -> None:
        """Show it."""
        self.show("client.html", **await self._values(client_id))

    @console_authenticated
    async def post(self, client_id: str) -> None:
        """Change it, unless somebody else has changed it since the form was shown; then show both."""
        sent = typed(self, *_FIELDS, "version")
        try:
            document = {
                "name": sent["name"],
                "scopes": words(sent["scopes"]),
                "tokenTtl": number(sent["tokenTtl"]) if sent["tokenTtl"] else None,
            }
            change = load_form(ChangeSchema(), document)
            clients = services_of(self.application).clients
            _, confirmation = await clients.change(client_id, change, versions=versions_of(sent["version"]))
        except (PreconditionFailed, ValidationFailed):
            self._shown = await self._values(client_id, sent)
            raise
        leave_notice(self, f"{client_id} is saved. {confirmed(confirmation)}")
        self.redirect(f"{HOME}/{client_id}", status=303)

    def error_page(self, error: ResponseError) -> bytes:
        """The form again with what was typed, and what is stored by now if that is something else."""
        if self._shown is None:
            return super().error_page(error)
        refused: dict[str, Any] = {"conflict": isinstance(error, PreconditionFailed)}
        if isinstance(error, ValidationFailed):
            # saving it again must find the conflict that this one may hide
            refused |= {"errors": error.errors, "version": self.get_body_argument("version", "")}
        return self.page("client.html", **self._shown | refused)

    async def _values(self, client_id: str, sent: Mapping[str, str] | None = None) -> dict[str, Any]:
        """What the page shows; ``sent`` is what stands in the form."""
        services, now = services_of(self.application), datetime.now(UTC)
        client = await services.clients.get(client_id)
        events = await self.application.audit.find(AuditFilter(client_id=client_id), limit=_EVENTS)
        return {
            "client": client,
            "form": _fields_of(client) if sent is None else sent,
            "version": str(client.version),
            "errors": {},
            "conflict": False,
            "now": now,
            "default_ttl": services.settings.token_ttl,
            "ttl_range": (MIN_TOKEN_TTL, MAX_TOKEN_TTL),
            "count": await services.live_tokens.count(client_id),
            "tokens": (await services.live_tokens.list(client_id, limit=_TOKENS)).tokens,
            "events": events[::-1],
            "chart": await chart_of(self, client),
        }


def versions_of(version: str) -> frozenset[int]:
    """The version of a client that a form was made for, as services take it; none if it is no number."""
    return frozenset({int(version)} if re.fullmatch(r"[1-9][0-9]{0,17}", version) else ())


def _fields_of(client: Client) -> dict[str, str]:
    """What the form shows of a client."""
    ttl = "" if client.token_ttl is None else str(client.token_ttl)
    return {"name": client.name, "scopes": "\n".join(client.scopes), "tokenTtl": ttl}


routes = [route(rf"{HOME}/({CLIENT_ID})", ClientHandler)]
