"""``/console/usage``: how much all clients use Station."""

from __future__ import annotations

from plugins.oauth_m2m.console.access import console_authenticated
from plugins.oauth_m2m.console.chart import chart_of_all
from plugins.oauth_m2m.console.page import ConsoleHandler
from station.handlers import route

__all__ = ["routes"]

_USAGE = "/console/usage"


class UsageHandler(ConsoleHandler):
    """The charts of all clients together, and the hints."""

    section = _USAGE

    @console_authenticated
    async def get(self) -> None:
        """Show them."""
        self.show("usage.html", chart=await chart_of_all(self))


routes = [route(_USAGE, UsageHandler)]
