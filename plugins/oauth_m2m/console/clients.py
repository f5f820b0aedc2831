"""``/console/clients``: find a client."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from plugins.oauth_m2m.console.access import HOME, console_authenticated
from plugins.oauth_m2m.console.forms import load_form
from plugins.oauth_m2m.console.page import ConsoleHandler
from plugins.oauth_m2m.cursors import Cursors
from plugins.oauth_m2m.models import ClientQuery
from plugins.oauth_m2m.schemas import QuerySchema
from plugins.oauth_m2m.services import services_of
from station.errors import ValidationFailed
from station.handlers import route

if TYPE_CHECKING:
    from station.errors import ResponseError

__all__ = ["routes"]

_FILTERS = ("search", "scope", "isActive")


class ClientsHandler(ConsoleHandler):
    """The list, which a form narrows down."""

    section = HOME

    @console_authenticated
    async def get(self) -> None:
        """Show a page of the clients that match."""
        cursors = Cursors(self.application.config.jwt_secret, "clients")
        wanted = load_form(QuerySchema(), self._asked("cursor"))
        if cursor := wanted.pop("cursor", None):
            wanted["after"] = cursors.open(cursor)
        page = await services_of(self.application).clients.list(ClientQuery(**wanted))
        following = "" if page.last is None else self._link(cursor=cursors.seal(page.last))
        self.show(
            "clients.html",
            clients=page.clients,
            hints=await services_of(self.application).hints.recent(),
            now=datetime.now(UTC),
            errors={},
            asked=self._asked(),
            first=self._link() if cursor else "",
            following=following,
        )

    def error_page(self, error: ResponseError) -> bytes:
        """The form again when a filter is wrong."""
        if not isinstance(error, ValidationFailed):
            return super().error_page(error)
        return self.page(
            "clients.html",
            clients=(),
            hints=(),
            now=datetime.now(UTC),
            errors=error.errors,
            asked=self._asked(),
            first=HOME,
            following="",
        )

    def _asked(self, *more: str) -> dict[str, str]:
        """What is asked for: a form sends empty what nothing was chosen for."""
        values = {name: self.get_query_argument(name, "") for name in (*_FILTERS, *more)}
        return {name: value for name, value in values.items() if value}

    def _link(self, **more: str) -> str:
        query = urlencode(self._asked() | more)
        return f"{HOME}?{query}" if query else HOME


routes = [route(HOME, ClientsHandler)]
