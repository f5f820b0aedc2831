"""AuditStore: the collection ``audit_events``."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from pymongo import DESCENDING, UpdateOne
from pymongo.errors import BulkWriteError

from station.audit.models import Actor, Event
from station.errors import Reason, ServiceUnavailable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime, timedelta

    from station.resources import Resources

__all__ = ["AuditFilter", "AuditStore"]

_DUPLICATE = 11000
_FINISH_SECONDS = 1.0  # the answer to the change waits for it, and it is tried again later


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class AuditFilter:
    """Which events are asked for: all fields that are set must match.

    ``actor`` is the id or the address of who acted, ``since`` the earliest time and ``until`` the latest, of
    which the last ``skip`` are left out: what an earlier page has shown.
    """

    request_id: str = ""
    client_id: str = ""
    action: str = ""
    outcome: str = ""
    actor: str = ""
    since: datetime | None = None
    until: datetime | None = None
    skip: int = 0


class AuditStore:
    """Events as documents; each is forgotten by a TTL index when ``retention`` has passed.

    Every method raises `station.errors.ServiceUnavailable` when MongoDB does not answer.
    """

    def __init__(self, resources: Resources, retention: timedelta) -> None:
        self._available = resources.available
        self._events = resources.database["audit_events"]
        self._retention = retention

    async def insert(self, events: Sequence[Event]) -> None:
        """Add events; those that are there already, from a try whose answer was lost, stay as they are."""
        try:
            with self._available():
                await self._events.insert_many([self._document(event) for event in events], ordered=False)
        except BulkWriteError as error:
            if error.details["writeConcernErrors"]:  # written, but not by a majority
                raise ServiceUnavailable("A store that Station needs does not answer.") from error
            if any(failed["code"] != _DUPLICATE for failed in error.details["writeErrors"]):
                raise

    async def finish(self, event: Event) -> None:
        """Put an event in place of the one that said that it began."""
        with self._available(_FINISH_SECONDS):
            await self._events.replace_one({"_id": event.id}, self._document(event), upsert=True)

    async def add(self, events: Sequence[Event]) -> Mapping[int, bool]:
        """Add the counts of events to those of their ids, in one write.

        Returns which were not added, by their place, and whether that is worth another try: another process
        was making the same event.
        """
        try:
            with self._available():
                await self._events.bulk_write([self._count(event) for event in events], ordered=False)
        except BulkWriteError as error:
            if error.details["writeConcernErrors"]:  # written, but not by a majority
                raise ServiceUnavailable("A store that Station needs does not answer.") from error
            return {failed["index"]: failed["code"] == _DUPLICATE for failed in error.details["writeErrors"]}
        return {}

    async def find(self, wanted: AuditFilter, *, limit: int) -> list[Event]:
        """The latest events that match, oldest first."""
        found = self._events.find(_query(wanted)).sort("time", DESCENDING).skip(wanted.skip).limit(limit)
        with self._available():
            documents = await found.to_list(None)
        return [_event(document) for document in reversed(documents)]

    def _count(self, event: Event) -> UpdateOne:
        document = self._document(event)
        del document["_id"], document["count"]
        update = {"$inc": {"count": event.count}, "$setOnInsert": document}
        return UpdateOne({"_id": event.id}, update, upsert=True)

    def _document(self, event: Event) -> dict[str, Any]:
        actor, reason = event.actor, event.reason
        members = {
            "_id": event.id,
            "time": event.time,
            "expires_at": event.time + self._retention,
            "action": event.action,
            "outcome": event.outcome,
            "actor": {"kind": actor.kind, "id": actor.id},
            "address": actor.address,
            "request_id": actor.request_id,
            "trace_id": event.trace_id,
            "target": event.target,
            "client_id": event.client_id,
            "reason": reason and {"code": reason.code, "because": reason.because, "remedy": reason.remedy},
            "before": event.before and dict(event.before),
            "after": event.after and dict(event.after),
            "detail": dict(event.detail),
            "count": event.count,
        }
        return {name: value for name, value in members.items() if value not in ("", None, {})}


def _query(wanted: AuditFilter) -> dict[str, object]:
    query: dict[str, Any] = {
        name: value
        for name in ("request_id", "client_id", "action", "outcome")
        if (value := getattr(wanted, name))
    }
    if wanted.actor:
        query["$or"] = [{"actor.id": wanted.actor}, {"address": wanted.actor}]
    bounds = {"$gte": wanted.since, "$lte": wanted.until}
    if time := {name: bound for name, bound in bounds.items() if bound is not None}:
        query["time"] = time
    return query


def _event(document: dict[str, Any]) -> Event:
    actor, reason = document["actor"], document.get("reason")
    return Event(
        id=document["_id"],
        trace_id=document.get("trace_id", ""),
        time=document["time"],
        action=document["action"],
        outcome=document["outcome"],
        actor=Actor(actor["kind"], actor["id"], document.get("address", ""), document.get("request_id", "")),
        target=document.get("target", ""),
        client_id=document.get("client_id", ""),
        reason=reason and Reason(**reason),
        before=document.get("before"),
        after=document.get("after"),
        detail=document.get("detail", {}),
        count=document["count"],
    )
