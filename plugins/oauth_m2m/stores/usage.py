"""How much clients use Station: the collection ``client_usage``.

There is a document for each client and period, of five minutes and of an hour, to which every process adds. A
TTL index forgets those of five minutes after two days, and those of an hour after the ``retention``.
"""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from pymongo import UpdateOne
from pymongo.errors import BulkWriteError

from plugins.oauth_m2m.models import Usage, UsageTotals

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from plugins.oauth_m2m.models import UsageKey
    from station.resources import Resources

__all__ = ["UsageStore"]

_DUPLICATE = 11000
_TRIES = 3
_READ_SECONDS = 2.0
_MAX_NAMED = 1000


class UsageStore:
    """The collection ``client_usage``.

    ``FIVE_MINUTES`` and ``HOUR`` are the steps that are kept. The id of a document says what it counts, so
    that one range of ids is a client's chart.
    """

    FIVE_MINUTES: Final = 300
    HOUR: Final = 3600
    FINE_FOR: Final = timedelta(days=2)

    def __init__(self, resources: Resources, *, retention: timedelta) -> None:
        self._resources = resources
        self._collection = resources.database["client_usage"]
        self._kept = {self.FIVE_MINUTES: self.FINE_FOR, self.HOUR: retention}

    async def add(self, counted: Mapping[UsageKey, Mapping[str, int]]) -> None:
        """Add to what is counted, field by field (``calls``, ``refused.token.unknown``), in one write."""
        writes = [
            self._increment(key, step, fields)
            for key, fields in counted.items()
            for step in (self.FIVE_MINUTES, self.HOUR)
        ]
        with self._resources.available():
            for _ in range(_TRIES):
                writes = await self._write(writes)
                if not writes:
                    return

    async def find(self, client_id: str, *, step: int, since: datetime) -> list[Usage]:
        """The periods of a client, or of all (the empty id), that began at ``since`` or later, oldest first.

        Those in which nothing happened are not among them.
        """
        first = _id(client_id, step, int(since.timestamp()))
        behind = f"{client_id}:{step};"  # the character after the colon
        found = self._collection.find({"_id": {"$gte": first, "$lt": behind}}).sort("_id", 1)
        with self._resources.available(_READ_SECONDS):
            return [_usage(document) for document in await found.to_list(None)]

    async def heaviest(self, *, since: datetime, until: datetime, least: int) -> list[UsageTotals]:
        """The clients that got ``least`` tokens or more in periods that began in that time, most first.

        Uses are counted until now: a token that was only just issued may not have been used yet.
        """
        issued = {"$cond": [{"$lt": ["$at", until]}, {"$ifNull": ["$issued", 0]}, 0]}
        pipeline: Sequence[Mapping[str, Any]] = [
            {"$match": {"step": self.FIVE_MINUTES, "at": {"$gte": since}, "client_id": {"$ne": ""}}},
            {
                "$group": {
                    "_id": "$client_id",
                    "issued": {"$sum": issued},
                    "calls": {"$sum": "$calls"},
                    "introspections": {"$sum": "$introspections"},
                }
            },
            {"$match": {"issued": {"$gte": least}}},
            {"$sort": {"issued": -1, "_id": 1}},
            {"$limit": _MAX_NAMED},
        ]
        with self._resources.available(_READ_SECONDS):
            documents = await self._collection.aggregate(pipeline).to_list(None)
        return [
            UsageTotals(found["_id"], found["issued"], found["calls"], found["introspections"])
            for found in documents
        ]

    async def _write(self, writes: list[UpdateOne]) -> list[UpdateOne]:
        """Write, and return what is worth another try: another process was making the same document."""
        try:
            await self._collection.bulk_write(writes, ordered=False)
        except BulkWriteError as error:
            failed = error.details["writeErrors"]
            if any(one["code"] != _DUPLICATE for one in failed):
                raise
            return [writes[one["index"]] for one in failed]
        return []

    def _increment(self, key: UsageKey, step: int, fields: Mapping[str, int]) -> UpdateOne:
        begins = key.at // step * step
        at = datetime.fromtimestamp(begins, UTC)
        made = {
            "client_id": key.client_id,
            "step": step,
            "at": at,
            "expires_at": at + timedelta(seconds=step) + self._kept[step],
        }
        selector = {"_id": _id(key.client_id, step, begins)}
        return UpdateOne(selector, {"$inc": dict(fields), "$setOnInsert": made}, upsert=True)


def _id(client_id: str, step: int, at: int) -> str:
    return f"{client_id}:{step}:{at:010d}"


def _usage(document: Mapping[str, Any]) -> Usage:
    counted = {field.name for field in dataclasses.fields(Usage)}
    return Usage(**{name: value for name, value in document.items() if name in counted})
