"""``/console/audit``: what happened, page by page, and as it happens.

A script asks for the first page again every other second and puts it in the old one's place. MongoDB has to
be asked either way: events of all processes are there and nowhere else. And it is plainly better here than a
stream: events may arrive late, and those that are counted change, so the latest page is right, and what was
added to it would not be; every question finds out whether the session still lives; and a slow browser has one
question open, for which nothing is kept.
"""

from __future__ import annotations

import dataclasses
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from marshmallow import Schema, fields, validate

from plugins.oauth_m2m.client_fields import CLIENT_ID
from plugins.oauth_m2m.console.access import console_authenticated
from plugins.oauth_m2m.console.forms import load_form
from plugins.oauth_m2m.console.page import ConsoleHandler
from plugins.oauth_m2m.cursors import Cursors
from station.audit import AuditFilter
from station.errors import ValidationFailed
from station.handlers import route

if TYPE_CHECKING:
    from station.audit import Event
    from station.errors import ResponseError

__all__ = ["routes"]

_AUDIT = "/console/audit"
_LATEST = f"{_AUDIT}/latest"
_PAGE = 50
_FILTERS = ("action", "outcome", "client", "actor", "since")
_OUTCOMES = ("ok", "refused", "failed", "begun")
SINCE = {
    "1h": ("an hour", timedelta(hours=1)),
    "24h": ("a day", timedelta(days=1)),
    "7d": ("a week", timedelta(days=7)),
}
_ACTIONS = (
    "admin.refused",
    "bearer.refused",
    "client.changed",
    "client.deleted",
    "client.disabled",
    "client.enabled",
    "client.registered",
    "connection.closed",
    "console.refused",
    "key.retired",
    "keys.rotated",
    "login.refused",
    "secret.added",
    "secret.ended",
    "token.issued",
    "token.refused",
    "token.revoked",
    "tokens.revoked",
)
"""What the form proposes; any other may be typed."""


class FilterSchema(Schema):
    """The query of the page."""

    action = fields.String(validate=validate.Regexp(r"[a-z0-9_.-]{1,64}\Z", error="Is no action."))
    outcome = fields.String(validate=validate.OneOf(_OUTCOMES, error="Is no outcome."))
    client = fields.String(validate=validate.Regexp(rf"{CLIENT_ID}\Z", error="Is no client id."))
    actor = fields.String(validate=validate.Length(max=200))
    since = fields.String(validate=validate.OneOf(tuple(SINCE), error="Is no time that can be chosen."))
    cursor = fields.String(validate=validate.Length(1, 500))


class _AuditHandler(ConsoleHandler):
    section = _AUDIT

    def asked(self, *more: str) -> dict[str, str]:
        """What is asked for: a form sends empty what nothing was chosen for."""
        values = {name: self.get_query_argument(name, "") for name in (*_FILTERS, *more)}
        return {name: value for name, value in values.items() if value}

    def wanted(self) -> AuditFilter:
        """The filter that is asked for; `ValidationFailed`."""
        asked = load_form(FilterSchema(), self.asked("cursor"))
        wanted = AuditFilter(
            action=asked.get("action", ""),
            outcome=asked.get("outcome", ""),
            client_id=asked.get("client", ""),
            actor=asked.get("actor", ""),
            since=datetime.now(UTC) - SINCE[asked["since"]][1] if "since" in asked else None,
        )
        if "cursor" not in asked:
            return wanted
        until, _, skip = self._cursors.open(asked["cursor"]).partition("+")
        return dataclasses.replace(
            wanted, until=datetime.fromtimestamp(int(until) / 1000, UTC), skip=int(skip)
        )

    async def find(self, wanted: AuditFilter) -> tuple[list[Event], str]:
        """A page of events, the latest first, and the cursor of the next page, empty on the last."""
        events = (await self.application.audit.find(wanted, limit=_PAGE + 1))[::-1]
        shown = events[:_PAGE]
        if len(events) == len(shown):
            return shown, ""
        last = shown[-1].time
        skip = sum(event.time == last for event in shown) + (wanted.skip if wanted.until == last else 0)
        return shown, self._cursors.seal(f"{round(last.timestamp() * 1000)}+{skip}")

    def link(self, path: str = _AUDIT, **more: str) -> str:
        """A page with the same filters."""
        query = urlencode(self.asked() | more)
        return f"{path}?{query}" if query else path

    @property
    def _cursors(self) -> Cursors:
        return Cursors(self.application.config.jwt_secret, "audit")


class AuditHandler(_AuditHandler):
    """A page of the events that match; the first one follows what happens."""

    @console_authenticated
    async def get(self) -> None:
        """Show it."""
        wanted = self.wanted()
        events, cursor = await self.find(wanted)
        following = self.link(cursor=cursor) if cursor else ""
        self.show("audit.html", **self._values(events, following, is_first=wanted.until is None))

    def error_page(self, error: ResponseError) -> bytes:
        """The form again when a filter is wrong."""
        if not isinstance(error, ValidationFailed):
            return super().error_page(error)
        return self.page("audit.html", **self._values([], "", is_first=True, errors=error.errors))

    def _values(
        self, events: list[Event], following: str, *, is_first: bool, errors: object = None
    ) -> dict[str, Any]:
        return {
            "events": events,
            "errors": errors or {},
            "asked": self.asked(),
            "actions": _ACTIONS,
            "outcomes": _OUTCOMES,
            "ages": SINCE,
            "is_client": re.compile(CLIENT_ID).fullmatch,
            "first": "" if is_first else self.link(),
            "following": following,
            "latest": self.link(_LATEST) if is_first and not errors else "",
        }


class LatestHandler(_AuditHandler):
    """The rows of the first page and nothing round them, for the script."""

    @console_authenticated
    async def get(self) -> None:
        """Show them."""
        wanted = dataclasses.replace(self.wanted(), until=None, skip=0)
        events, _ = await self.find(wanted)
        self.write(self.page("_audit_events.html", events=events, is_client=re.compile(CLIENT_ID).fullmatch))


routes = [route(_AUDIT, AuditHandler), route(_LATEST, LatestHandler)]
