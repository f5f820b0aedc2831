"""A plugin whose handlers tell who was asked, stream, hang and die, installed for the Stations of a test."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["install_watched"]

PLUGIN = """
import asyncio, os
from pathlib import Path
from tornado.websocket import WebSocketHandler
from plugins.oauth_m2m import scopes
from station import hookimpl
from station.handlers import BaseHandler, route
from station.security import public

MARKS = Path(os.environ["TEST_MARKS"])

async def marked(name):
    while not (MARKS / name).exists():
        await asyncio.sleep(0.01)

def note(name):
    with (MARKS / name).open("a") as file:
        file.write(f"{os.getpid()}\\n")

class WhoHandler(BaseHandler):
    @public
    def get(self):
        self.write_json({
            "pid": os.getpid(),
            "port": self.request.connection.stream.socket.getpeername()[1],
            "address": self.client_address,
            "request_id": self.request_id,
            "host": self.request.host,
        })

class StreamHandler(BaseHandler):
    @public
    async def get(self):
        self.write("first\\n")
        await self.flush()
        await marked(self.get_query_argument("until"))
        self.write("second\\n")

class SlowHandler(BaseHandler):
    @public
    async def post(self):
        note("begun")
        await marked("go-on")
        self.write_json({"pid": os.getpid()})

class CutHandler(BaseHandler):
    def answer(self):
        mark = self.get_query_argument("mark")
        note(mark)
        if len((MARKS / mark).read_text().splitlines()) == 1:
            self.request.connection.stream.close()
        else:
            self.write_json({"pid": os.getpid()})

    get, patch, post = public(answer), public(answer), public(answer)

@scopes("demo:read")
class FeedHandler(WebSocketHandler, BaseHandler):
    def on_message(self, message):
        self.write_message(f"{os.getpid()} {self.client_address} {message}")

@hookimpl
def station_handlers():
    return [
        route("/who", WhoHandler), route("/stream", StreamHandler), route("/slow", SlowHandler),
        route("/cut", CutHandler), route("/feed", FeedHandler),
    ]
"""


def install_watched(directory: Path) -> Path:
    """Put the plugin ``watched`` there, and return what PYTHONPATH must name."""
    site = directory / "site"
    metadata = site / "station_watched-1.0.dist-info"
    metadata.mkdir(parents=True)
    (site / "watched_plugin.py").write_text(PLUGIN)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: station-watched\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[station.plugins]\nwatched = watched_plugin\n")
    return site
