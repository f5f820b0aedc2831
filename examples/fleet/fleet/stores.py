"""Where bots are kept: the only module of the plugin, beside its migrations, that knows MongoDB."""

from __future__ import annotations

import contextlib
import dataclasses
from typing import TYPE_CHECKING

from pymongo.errors import DuplicateKeyError

from fleet.models import Bot
from station.errors import Conflict

if TYPE_CHECKING:
    from station.resources import Resources

__all__ = ["FleetStore"]


class FleetStore:
    """The collection ``fleet_bots``: every bot has one of the fleet's places, numbered below ``size``.

    Names and places are unique by their indexes, so that a fleet never outgrows its size, however many
    bots join at once. Every method raises `station.errors.ServiceUnavailable` when MongoDB is away.
    """

    def __init__(self, resources: Resources, size: int) -> None:
        self._bots = resources.database["fleet_bots"]
        self._available = resources.available
        self._places = frozenset(range(size))

    async def list(self) -> list[Bot]:
        """All bots by name."""
        with self._available():
            found = self._bots.find({}, {"_id": 0, "place": 0}).sort("name")
            return [Bot(**document) async for document in found]

    async def put(self, bot: Bot) -> bool:
        """Keep what a bot reports; True if it is new. `station.errors.Conflict` if it finds no place."""
        report = dataclasses.asdict(bot)
        with self._available():
            while True:
                known = await self._bots.update_one({"name": bot.name}, {"$set": report})
                if known.matched_count:
                    return False
                free = self._places.difference(await self._bots.distinct("place"))
                if not free:
                    raise Conflict(f"The fleet is full: it has {len(self._places)} bots.")
                with contextlib.suppress(DuplicateKeyError):  # another one was faster: look again
                    await self._bots.insert_one({**report, "place": min(free)})
                    return True
