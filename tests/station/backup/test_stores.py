from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from station.backup import BackupError, DatabaseStore
from station.backup.archive import Entry
from station.backup.stores import MIGRATIONS

if TYPE_CHECKING:
    from station.resources import Resources


def beginning(collection: str) -> Entry:
    line = json.dumps({"collection": collection, "made_as": {"options": {}, "indexes": []}})
    return Entry(collection, line, is_document=False)


@pytest.mark.gen_test
async def test_a_switch_that_is_cut_off_leaves_migrations_pending(engine_resources: Resources) -> None:
    database, store = engine_resources.database, DatabaseStore(engine_resources)
    await database[MIGRATIONS].insert_one({"_id": "auth/1", "applied_at": None})
    await database["bots"].insert_one({"_id": "old"})
    for name in (MIGRATIONS, "bots"):
        await store.stage(beginning(name))
    await store.fill("bots", [{"_id": "new"}])
    await store.fill(MIGRATIONS, [{"_id": "auth/1"}])
    with pytest.raises(BackupError):
        await store.switch([MIGRATIONS, "bots", "that_was_not_staged"], dropped=[])
    assert await database["bots"].find_one({}) == {"_id": "new"}
    assert await store.applied_migrations() == ()
    await store.clean_up()
    assert sorted(await database.list_collection_names()) == ["bots", MIGRATIONS]


@pytest.mark.gen_test
async def test_what_was_not_written_is_noticed(engine_resources: Resources) -> None:
    store = DatabaseStore(engine_resources)
    await store.stage(beginning("bots"))
    await store.fill("bots", [{"_id": 1}, {"_id": 2}])
    await store.check_staged("bots", 2)
    with pytest.raises(BackupError, match="holds 2 of the 3 documents of bots"):
        await store.check_staged("bots", 3)


@pytest.mark.gen_test
async def test_options_of_a_collection_come_back(engine_resources: Resources) -> None:
    database, store = engine_resources.database, DatabaseStore(engine_resources)
    await database.create_collection("log", capped=True, size=4096)
    await database["log"].create_index([("a", 1), ("b", -1)], name="a_b", sparse=True)
    made = await store.made_as("log")
    await store.stage(Entry("log", f'{{"collection": "log", "made_as": {made}}}', is_document=False))
    assert await database["restoring.log"].index_information() == await database["log"].index_information()
    assert (await database["restoring.log"].options()).get("capped") == (await database["log"].options()).get(
        "capped"
    )
