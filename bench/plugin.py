"""A plugin of Station for the benchmark: one resource open and protected, and the count of bcrypts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from plugins.oauth_m2m import client_authenticated, scopes
from station import hookimpl
from station.handlers import BaseHandler, Route, route
from station.security import public

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.bcrypts import BcryptCount

__all__ = ["BenchPlugin"]

FLEET = {"bots": 3, "names": ["station-bot", "build-bot", "night-bot"]}


class OpenHandler(BaseHandler):
    """``/bench/open``."""

    @public
    def get(self) -> None:
        """Answer to anybody."""
        self.write_json(FLEET)


class ProtectedHandler(BaseHandler):
    """``/bench/protected``: the same."""

    @client_authenticated
    @scopes("bot:api")
    def get(self) -> None:
        """Answer to clients that hold the scope."""
        self.write_json(FLEET)


class BcryptsHandler(BaseHandler):
    """``/bench/bcrypts``."""

    count: BcryptCount

    def initialize(self, count: BcryptCount) -> None:
        """Take what the route holds (called by Tornado)."""
        self.count = count

    @public
    def get(self) -> None:
        """Tell how many this process has made."""
        self.write_json({"bcrypts": self.count.value})


class BenchPlugin:
    """The plugin, for `station.app.make_app`."""

    def __init__(self, count: BcryptCount) -> None:
        self._count = count

    @hookimpl
    def station_handlers(self) -> Sequence[Route]:
        """Three routes."""
        return [
            route(r"/bench/open", OpenHandler),
            route(r"/bench/protected", ProtectedHandler),
            route(r"/bench/bcrypts", BcryptsHandler, {"count": self._count}),
        ]
