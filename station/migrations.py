"""Ordered, recorded, reversible migrations of MongoDB.

The core's and the plugins' migrations run in order under one lock, so that nodes that start together do
not race. What has run is recorded in the collection ``migrations``: ``{_id: "plugin/id", applied_at}``.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import uuid
from datetime import UTC, datetime, timedelta
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from pymongo.errors import DuplicateKeyError, PyMongoError

from station.errors import StartError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence

    from motor.motor_asyncio import AsyncIOMotorDatabase

__all__ = ["Migration", "MigrationStatus", "Migrator"]

_log = logging.getLogger(__name__)
_LOCK = "lock"
_LEASE = timedelta(seconds=30)
_LOCK_WAIT_SECONDS = 60.0  # longer than the lease: a dead holder is waited out


@dataclasses.dataclass(frozen=True, slots=True)
class Migration:
    """One step: ``up`` applies it, ``down`` reverses it; both may be run again after a crash halfway."""

    id: str
    description: str
    up: Callable[[Any], Awaitable[object]]
    down: Callable[[Any], Awaitable[object]]


@dataclasses.dataclass(frozen=True, slots=True)
class MigrationStatus:
    """A row of ``station migrate status``; ``applied_at`` is None while the migration is pending."""

    name: str
    description: str
    applied_at: datetime | None


def _say_nothing(_name: str) -> None:
    """Nobody is told."""


class Migrator:
    """Runs the migrations of an application, given by plugin name in the order of the plugins."""

    def __init__(
        self,
        database: AsyncIOMotorDatabase[dict[str, Any]],
        migrations: Mapping[str, Sequence[Migration]],
        *,
        lock_wait_seconds: float = _LOCK_WAIT_SECONDS,
    ) -> None:
        self._database = database
        self._records = database["migrations"]
        self._lock_wait_seconds = lock_wait_seconds
        self._migrations: dict[str, Migration] = {}
        for plugin, own in migrations.items():
            for migration in own:
                name = f"{plugin}/{migration.id}"
                if name in self._migrations:
                    raise StartError([f"There are two migrations {name}; give each an id of its own."])
                self._migrations[name] = migration

    async def status(self) -> list[MigrationStatus]:
        """Every migration in order, with the time it was applied."""
        applied = {record["_id"]: record async for record in self._records.find({"_id": {"$ne": _LOCK}})}
        return [
            MigrationStatus(name, migration.description, applied.get(name, {}).get("applied_at"))
            for name, migration in self._migrations.items()
        ]

    async def pending(self) -> list[str]:
        """The names of the migrations that have not been applied."""
        return [row.name for row in await self.status() if row.applied_at is None]

    async def up(self, begin: Callable[[str], object] = _say_nothing) -> list[str]:
        """Apply what is pending, in order, and return the names; ``begin`` is told each before.

        Raises `StartError` for a migration that fails; those before it stay applied and recorded.
        """
        if not await self.pending():
            return []
        async with self._lock():
            done = []
            for name in await self.pending():
                begin(name)
                with _naming(name):
                    await self._migrations[name].up(self._database)
                await self._records.insert_one({"_id": name, "applied_at": datetime.now(UTC)})
                _log.info("applied the migration %s", name)
                done.append(name)
            return done

    async def down(self, steps: int = 1, begin: Callable[[str], object] = _say_nothing) -> list[str]:
        """Reverse the last ``steps`` migrations that were applied, newest first, and return the names.

        ``begin`` is told each before. Raises `StartError` for a migration that fails; it stays recorded, and
        so do those before it.
        """
        async with self._lock():
            applied = [(row.applied_at, row.name) for row in await self.status() if row.applied_at]
            # By time, because a plugin that was switched on later has migrated later; a sort is stable, so
            # that migrations of one millisecond come in the reverse order of the plugins.
            applied.reverse()
            newest_first = [name for _, name in sorted(applied, key=itemgetter(0), reverse=True)]
            done = []
            for name in newest_first[:steps]:
                begin(name)
                with _naming(name):
                    await self._migrations[name].down(self._database)
                await self._records.delete_one({"_id": name})
                _log.info("reversed the migration %s", name)
                done.append(name)
            return done

    @contextlib.asynccontextmanager
    async def _lock(self) -> AsyncIterator[None]:
        """Hold the lock; one that its holder left behind is taken over when its lease ends."""
        owner = uuid.uuid4().hex
        deadline = asyncio.get_running_loop().time() + self._lock_wait_seconds
        while not await self._try_lock(owner):
            if asyncio.get_running_loop().time() > deadline:
                raise StartError(["Another process holds the migration lock; try again in a minute."])
            await asyncio.sleep(0.1)
        renewal = asyncio.create_task(self._renew(owner))
        try:
            yield
        finally:
            renewal.cancel()
            await self._records.delete_one({"_id": _LOCK, "owner": owner})

    async def _try_lock(self, owner: str) -> bool:
        now = datetime.now(UTC)
        try:
            await self._records.update_one(
                {"_id": _LOCK, "expires_at": {"$lt": now}},
                {"$set": {"owner": owner, "expires_at": now + _LEASE}},
                upsert=True,
            )
        except DuplicateKeyError:
            return False
        return True

    async def _renew(self, owner: str) -> None:
        while True:
            await asyncio.sleep(_LEASE.total_seconds() / 3)
            lease = {"$set": {"expires_at": datetime.now(UTC) + _LEASE}}
            try:
                await self._records.update_one({"_id": _LOCK, "owner": owner}, lease)
            except PyMongoError as error:
                _log.warning("the migration lock was not renewed: %s", type(error).__name__)


@contextlib.contextmanager
def _naming(name: str) -> Iterator[None]:
    """Turn the failure of a migration into a `StartError` that names it."""
    try:
        yield
    except StartError:
        raise
    except Exception as error:
        raise StartError([f"The migration {name} failed: {type(error).__name__}: {error}."]) from error
