"""``/console/static/``: the files that pages load, and the page for what is not there."""

from __future__ import annotations

from tornado.web import StaticFileHandler

from plugins.oauth_m2m.console.assets import ASSETS, ASSETS_PATH
from plugins.oauth_m2m.console.page import ConsoleHandler
from station.errors import NotFound
from station.handlers import route
from station.security import public

__all__ = ["nothing", "routes"]


@public
class AssetHandler(StaticFileHandler, ConsoleHandler):
    """One of the files, always as a whole."""

    def prepare(self) -> None:
        """Send no parts: to a wrong range Tornado answers text."""
        super().prepare()
        self.request.headers.pop("Range", None)


@public
class NothingHandler(ConsoleHandler):
    """Answers every path under ``/console`` that no page has."""

    def prepare(self) -> None:
        """Refuse whatever the method."""
        raise NotFound("There is no such page in the console.")

    def get(self, _path: str) -> None:
        """Declare a method, as every route must."""


routes = [route(rf"{ASSETS_PATH}/([a-z0-9-][a-z0-9.-]*)", AssetHandler, {"path": str(ASSETS)})]
nothing = [route(r"/console(/.*|)", NothingHandler)]
"""The last of the console's routes."""
