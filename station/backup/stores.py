"""The collections of the database, as a backup reads them and a restore writes them.

The only module of `station.backup` that knows MongoDB. A line is what `station.backup.archive` keeps, with
MongoDB's Extended JSON in it: the canonical one, so that every type comes back.
"""

from __future__ import annotations

import contextlib
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from bson import json_util
from pymongo.errors import ConfigurationError, OperationFailure, PyMongoError

from station.backup.archive import BackupError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence
    from datetime import datetime

    from motor.motor_asyncio import AsyncIOMotorCollection

    from station.backup.archive import Entry
    from station.backup.rules import Document
    from station.resources import Resources

__all__ = ["AUDIT", "MIGRATIONS", "DatabaseStore"]

AUDIT = "audit_events"
"""The events of the audit: a restore adds to them."""

MIGRATIONS = "migrations"
"""What has run: gone while collections change places, so that a restore that is cut off leaves it pending."""

_STAGED = "restoring."
_LOCK = "lock"
_BATCH = 500
_UNSETTLED = timedelta(minutes=2)  # events are counted by the minute
_MADE_ANEW = {"v", "ns", "background"}  # of an index: MongoDB's own
_JSON = json_util.JSONOptions(json_mode=json_util.JSONMode.CANONICAL, tz_aware=True)


class DatabaseStore:
    """The database of ``resources``; every method raises `BackupError` when MongoDB fails or refuses."""

    def __init__(self, resources: Resources) -> None:
        self._database = resources.database
        self._session: Any = None
        self.name = resources.database.name

    async def collections(self) -> list[str]:
        """Their names, without those of MongoDB and those that a restore has left half done."""
        with _reported():
            found = await self._database.list_collection_names(filter={"type": "collection"})
        return sorted(name for name in found if not name.startswith(("system.", _STAGED)))

    async def counts(self) -> dict[str, int]:
        """How many documents each collection has; those that have none are left out."""
        with _reported():
            counted = {name: await self._count(name) for name in await self.collections()}
        return {name: number for name, number in counted.items() if number}

    async def applied_migrations(self) -> tuple[str, ...]:
        """The names of the migrations that are recorded, oldest first."""
        with _reported():
            records = self._database[MIGRATIONS].find({"_id": {"$ne": _LOCK}}, session=self._session)
            return tuple([record["_id"] async for record in records.sort("applied_at", 1)])

    @contextlib.asynccontextmanager
    async def one_moment(self) -> AsyncIterator[None]:
        """Read all of it as it is at one moment, where MongoDB can do that (5.0 and newer)."""
        with _reported():
            session = await self._database.client.start_session(snapshot=True)
        async with session:
            try:
                await self._database[MIGRATIONS].find_one({}, session=session)
                self._session = session
            except (ConfigurationError, OperationFailure):
                self._session = None
            try:
                yield
            finally:
                self._session = None

    async def made_as(self, collection: str) -> str:
        """How a collection was made: its options and indexes."""
        wanted = {"name": collection}
        with _reported():
            answer = await self._database.command("listCollections", filter=wanted)
            indexes = await self._database[collection].index_information()
        [about] = answer["cursor"]["firstBatch"]
        kept = [
            {"name": name} | {key: value for key, value in index.items() if key not in _MADE_ANEW}
            for name, index in indexes.items()
            if name != "_id_"
        ]
        return json_util.dumps({"options": about.get("options", {}), "indexes": kept}, json_options=_JSON)

    async def documents(self, collection: str) -> AsyncIterator[str]:
        """Every document, as JSON."""
        wanted = {"_id": {"$ne": _LOCK}} if collection == MIGRATIONS else {}
        with _reported():
            found = self._database[collection].find(wanted, session=self._session, batch_size=_BATCH)
            async for document in found:
                yield json_util.dumps(document, json_options=_JSON)

    def parse(self, entry: Entry) -> Document:
        """The document of a line; `BackupError` if it is none."""
        try:
            found: Document = json_util.loads(entry.line, json_options=_JSON)["document"]
        except (ValueError, TypeError, KeyError, ArithmeticError) as error:
            raise BackupError(f"A document of {entry.collection} in the backup cannot be read.") from error
        return found

    async def stage(self, entry: Entry) -> None:
        """Make an empty collection beside the one that is to be replaced, with its indexes."""
        with _reported():
            made = json_util.loads(entry.line, json_options=_JSON)["made_as"]
            name = _STAGED + entry.collection
            await self._database.drop_collection(name)
            await self._database.create_collection(name, **made["options"])
            await self._index(self._database[name], made["indexes"])

    async def fill(self, collection: str, documents: Sequence[Document]) -> None:
        """Add documents to the collection that was staged."""
        with _reported():
            await self._database[_STAGED + collection].insert_many(documents)

    async def check_staged(self, collection: str, expected: int) -> None:
        """`BackupError` unless all that was read is there."""
        with _reported():
            found = await self._count(_STAGED + collection)
        if found != expected:
            raise BackupError(f"MongoDB holds {found} of the {expected} documents of {collection}.")

    async def switch(self, collections: Sequence[str], dropped: Sequence[str]) -> None:
        """Let what was staged take the place of what was, and drop the others; migrations come last."""
        with _reported():
            if MIGRATIONS in await self.collections():
                await self._database[MIGRATIONS].delete_many({"_id": {"$ne": _LOCK}})
            for name in sorted(collections, key=lambda name: name == MIGRATIONS):
                await self._database[_STAGED + name].rename(name, dropTarget=True)
            for name in dropped:
                await self._database.drop_collection(name)

    async def keep_audit(self, made_at: datetime) -> None:
        """Add the events that are there to those that were staged: what has happened is never replaced.

        Of an event that both have, they may differ if it had not ended, or was counted still, at ``made_at``.
        """
        events, staged = self._database[AUDIT], self._database[_STAGED + AUDIT]
        into = {"into": staged.name, "whenMatched": "keepExisting", "whenNotMatched": "insert"}
        with _reported():
            await events.aggregate([{"$merge": into}]).to_list(None)
            begun = [event["_id"] async for event in staged.find({"outcome": "begun"}, {"_id": 1})]
            about = {"$gte": made_at - _UNSETTLED, "$lt": made_at + _UNSETTLED}
            async for event in events.find({"$or": [{"_id": {"$in": begun}}, {"time": about}]}):
                await staged.replace_one({"_id": event["_id"]}, event, upsert=True)

    async def clean_up(self) -> None:
        """Drop what a restore has left that did not come to its end."""
        with _reported():
            for name in await self._database.list_collection_names():
                if name.startswith(_STAGED):
                    await self._database.drop_collection(name)

    async def _index(self, collection: AsyncIOMotorCollection[Document], indexes: Sequence[Document]) -> None:
        for index in indexes:
            options = {name: value for name, value in index.items() if name != "key"}
            await collection.create_index([(field, kind) for field, kind in index["key"]], **options)

    async def _count(self, name: str) -> int:
        return await self._database[name].count_documents({})


@contextlib.contextmanager
def _reported() -> Iterator[None]:
    """Say in a sentence what MongoDB says; its own words may quote a document."""
    try:
        yield
    except PyMongoError as error:
        details = getattr(error, "details", None) or {}
        said = details.get("codeName") or type(error).__name__
        raise BackupError(
            f"MongoDB does not do it ({said}); check that it is well, and that its user may read and write "
            "all of the database."
        ) from error
