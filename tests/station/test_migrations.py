from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from mongomock_motor import AsyncMongoMockClient

from station.errors import StartError
from station.migrations import Migration, Migrator

Database = Any  # a database of mongomock-motor


@pytest.fixture
def database() -> Database:
    return AsyncMongoMockClient(tz_aware=True)["station"]


class Journal:
    """Makes migrations that write down what they do."""

    def __init__(self) -> None:
        self.entries: list[str] = []

    def migration(self, id: str, *, fails: bool = False) -> Migration:  # noqa: A002 - as in Migration
        async def up(_database: object) -> None:
            await asyncio.sleep(0.01)
            if fails:
                raise RuntimeError("disk full")
            self.entries.append(f"+{id}")

        async def down(_database: object) -> None:
            if fails:
                raise RuntimeError("disk full")
            self.entries.append(f"-{id}")

        return Migration(id, f"Make {id}", up, down)


@pytest.fixture
def journal() -> Journal:
    return Journal()


@pytest.fixture
def migrator(database: Database, journal: Journal) -> Migrator:
    own = {"auth": [journal.migration("a1"), journal.migration("a2")], "fleet": [journal.migration("f1")]}
    return Migrator(database, own)


async def locked_until(database: Database, expires_at: datetime) -> None:
    await database["migrations"].insert_one({"_id": "lock", "owner": "dead", "expires_at": expires_at})


async def is_locked(database: Database) -> bool:
    return await database["migrations"].find_one({"_id": "lock"}) is not None


@pytest.mark.gen_test
async def test_up_applies_what_is_pending_in_order(
    migrator: Migrator, journal: Journal, database: Database
) -> None:
    assert await migrator.pending() == ["auth/a1", "auth/a2", "fleet/f1"]
    assert await migrator.up() == ["auth/a1", "auth/a2", "fleet/f1"]
    assert journal.entries == ["+a1", "+a2", "+f1"]
    assert await migrator.up() == []
    assert await migrator.pending() == []
    assert not await is_locked(database)


@pytest.mark.gen_test
async def test_status_says_when(migrator: Migrator, database: Database) -> None:
    before = datetime.now(UTC) - timedelta(milliseconds=1)
    assert [row.applied_at for row in await migrator.status()] == [None, None, None]
    await migrator.up()
    await database["migrations"].delete_one({"_id": "auth/a2"})
    rows = await migrator.status()
    assert [(row.name, row.description) for row in rows] == [
        ("auth/a1", "Make a1"),
        ("auth/a2", "Make a2"),
        ("fleet/f1", "Make f1"),
    ]
    assert rows[1].applied_at is None
    assert rows[0].applied_at is not None
    assert before <= rows[0].applied_at <= datetime.now(UTC)


@pytest.mark.gen_test
async def test_down_reverses_the_newest(migrator: Migrator, journal: Journal, database: Database) -> None:
    await migrator.up()
    journal.entries.clear()
    assert await migrator.down() == ["fleet/f1"]
    assert await migrator.down(5) == ["auth/a2", "auth/a1"]
    assert await migrator.down() == []
    assert journal.entries == ["-f1", "-a2", "-a1"]
    assert await migrator.pending() == ["auth/a1", "auth/a2", "fleet/f1"]
    assert not await is_locked(database)


@pytest.mark.gen_test
async def test_the_newest_is_the_one_applied_last(database: Database, journal: Journal) -> None:
    core, fleet = [journal.migration("a1")], [journal.migration("f1")]
    await Migrator(database, {"fleet": fleet}).up()
    both = Migrator(database, {"auth": core, "fleet": fleet})
    assert await both.up() == ["auth/a1"]
    assert await both.down() == ["auth/a1"]


@pytest.mark.gen_test
async def test_what_a_plugin_that_is_off_has_applied_is_left_alone(
    database: Database, journal: Journal
) -> None:
    fleet = [journal.migration("f1")]
    await Migrator(database, {"fleet": fleet}).up()
    without = Migrator(database, {"auth": [journal.migration("a1")]})
    assert [row.name for row in await without.status()] == ["auth/a1"]
    assert await without.down() == []
    assert await Migrator(database, {"fleet": fleet}).pending() == []


@pytest.mark.gen_test
async def test_nodes_that_start_together_run_each_migration_once(
    database: Database, journal: Journal
) -> None:
    own = {"auth": [journal.migration("a1"), journal.migration("a2")]}
    done = await asyncio.gather(*(Migrator(database, own).up() for _ in range(5)))
    assert journal.entries == ["+a1", "+a2"]
    assert sorted(done) == [[], [], [], [], ["auth/a1", "auth/a2"]]


@pytest.mark.gen_test
async def test_a_lock_of_a_dead_process_is_taken_over_when_its_lease_ends(
    migrator: Migrator, journal: Journal, database: Database
) -> None:
    await locked_until(database, datetime.now(UTC) + timedelta(seconds=0.3))
    migrating = asyncio.create_task(migrator.up())
    await asyncio.sleep(0.1)
    assert journal.entries == []
    assert await migrating == ["auth/a1", "auth/a2", "fleet/f1"]
    assert not await is_locked(database)


@pytest.mark.gen_test
async def test_a_lock_that_is_held_is_waited_for_and_respected(database: Database, journal: Journal) -> None:
    await locked_until(database, datetime.now(UTC) + timedelta(hours=1))
    migrator = Migrator(database, {"auth": [journal.migration("a1")]}, lock_wait_seconds=0.2)
    with pytest.raises(StartError, match=r"^Another process holds the migration lock"):
        await migrator.up()
    assert journal.entries == []
    assert (await database["migrations"].find_one({"_id": "lock"}))["owner"] == "dead"


@pytest.mark.gen_test
async def test_a_failing_migration_leaves_the_earlier_ones_and_no_lock(
    database: Database, journal: Journal
) -> None:
    own = [journal.migration("a1"), journal.migration("a2", fails=True), journal.migration("a3")]
    migrator = Migrator(database, {"auth": own})
    with pytest.raises(StartError, match=r"^The migration auth/a2 failed: RuntimeError: disk full") as failed:
        await migrator.up()
    assert isinstance(failed.value.__cause__, RuntimeError)
    assert await migrator.pending() == ["auth/a2", "auth/a3"]
    assert journal.entries == ["+a1"]
    assert not await is_locked(database)


@pytest.mark.gen_test
async def test_a_failing_reversal_stays_recorded(database: Database, journal: Journal) -> None:
    good = [journal.migration("a1"), journal.migration("a2"), journal.migration("a3")]
    await Migrator(database, {"auth": good}).up()
    bad = Migrator(database, {"auth": [good[0], journal.migration("a2", fails=True), good[2]]})
    with pytest.raises(StartError, match=r"^The migration auth/a2 failed"):
        await bad.down(3)
    assert await bad.pending() == ["auth/a3"]
    assert not await is_locked(database)


@pytest.mark.gen_test
async def test_a_cancelled_migrator_gives_the_lock_back(migrator: Migrator, database: Database) -> None:
    migrating = asyncio.create_task(migrator.up())
    await asyncio.sleep(0.005)
    assert await is_locked(database)
    migrating.cancel()
    with pytest.raises(asyncio.CancelledError):
        await migrating
    assert not await is_locked(database)


def test_two_migrations_of_one_name_are_refused(database: Database, journal: Journal) -> None:
    with pytest.raises(StartError, match=r"^There are two migrations auth/a1; "):
        Migrator(database, {"auth": [journal.migration("a1"), journal.migration("a1")]})
