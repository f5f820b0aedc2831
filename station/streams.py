"""When the answers of change streams were asked for.

The driver hands out changes one by one and hides when it asked MongoDB for them. An answer says nothing about
what happened after it was asked for: it may have lain in the socket while this process was stopped. So
staleness is counted from the asking, which a `pymongo.monitoring.CommandListener` is told.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from pymongo.monitoring import CommandListener

if TYPE_CHECKING:
    from pymongo.monitoring import CommandFailedEvent, CommandStartedEvent, CommandSucceededEvent

__all__ = ["StreamListener"]

_COMMANDS = frozenset({"aggregate", "getMore"})
_OF_DATABASE = ".$cmd.aggregate"


class StreamListener(CommandListener):
    """Listens to the client that has one change stream on a database (called by the driver's threads).

    ``answers`` counts the answers, ``asked_at`` is when the last one was asked for, by `time.monotonic`.
    """

    def __init__(self) -> None:
        self.answers = 0
        self.asked_at = float("-inf")
        self._asked: dict[int, float] = {}

    def started(self, event: CommandStartedEvent) -> None:
        """A command is sent."""
        if event.command_name in _COMMANDS:
            self._asked[event.request_id] = time.monotonic()

    def succeeded(self, event: CommandSucceededEvent) -> None:
        """A command was answered."""
        if event.command_name not in _COMMANDS:
            return
        asked_at = self._asked.pop(event.request_id)
        if event.reply.get("cursor", {}).get("ns", "").endswith(_OF_DATABASE):
            self.asked_at = asked_at
            self.answers += 1

    def failed(self, event: CommandFailedEvent) -> None:
        """A command failed."""
        self._asked.pop(event.request_id, None)
