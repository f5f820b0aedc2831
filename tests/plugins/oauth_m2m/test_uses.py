"""What SecretUses does beyond what test_rfc7591_secrets.py sees over HTTP."""

from __future__ import annotations

import dataclasses
import logging
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from plugins.oauth_m2m.models import AuthenticatedClient, Client, ClientSecret, SecretUse
from plugins.oauth_m2m.stores import SecretStore
from plugins.oauth_m2m.uses import SecretUses
from station.errors import ServiceUnavailable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from station.resources import Resources
    from tests.plugins.oauth_m2m.conftest import Node

NOON = datetime(2025, 1, 2, 12, tzinfo=UTC)
SECRET = ClientSecret("s1", "$hash", created_at=NOON)
USED = AuthenticatedClient(
    Client(
        id="",
        client_id="station-bot",
        name="",
        salt="",
        secrets=(SECRET,),
        scopes=("bot:api",),
        is_active=True,
        token_ttl=None,
        generation="g1",
        version=1,
        created_at=NOON,
        updated_at=NOON,
    ),
    SECRET,
)


class CountingStore(SecretStore):
    """Keeps how many notes each write held, and refuses to write while it is ``away``."""

    away = False

    def __init__(self, resources: Resources) -> None:
        super().__init__(resources)
        self.writes: list[int] = []

    async def note_uses(self, uses: Sequence[SecretUse]) -> None:
        if self.away:
            raise ServiceUnavailable("away")
        self.writes.append(len(uses))
        await super().note_uses(uses)


@pytest.fixture
def resources(engine_resources: Resources) -> Resources:
    """On the engines: the fake of MongoDB does not know every bulk write."""
    return engine_resources


@pytest.fixture
def store(resources: Resources) -> CountingStore:
    return CountingStore(resources)


async def last_use(node: Node) -> datetime | None:
    return (await node.clients.get("station-bot")).secrets[0].last_used_at


@pytest.mark.gen_test
async def test_a_use_is_noted_once_a_minute(node: Node, store: CountingStore, resources: Resources) -> None:
    """By each process, and by all of them together."""
    await node.clients.insert(USED.client)
    now = 0.0
    one, other = (SecretUses(store, clock=lambda: now) for _ in range(2))

    async def use(uses: SecretUses) -> datetime | None:
        uses.note(USED, address="203.0.113.9")
        await uses.flush()
        return await last_use(node)

    first = await use(one)
    assert first is not None
    now = 59.0
    assert (await use(one), len(store.writes)) == (first, 1)
    assert (await use(other), len(store.writes)) == (first, 2)
    past = first - timedelta(seconds=61)
    await resources.database["oauth_clients"].update_one({}, {"$set": {"secrets.0.last_used_at": past}})
    assert (await use(one), len(store.writes)) == (past, 2)
    now = 60.0
    second = await use(one)
    assert second is not None
    assert (second > past, len(store.writes)) == (True, 3)
    assert (await node.clients.get("station-bot")).secrets[0].last_used_from == "203.0.113.9"


@pytest.mark.gen_test
async def test_a_use_that_cannot_be_noted_is_logged_harms_nothing_and_is_noted_the_next_time(
    node: Node, store: CountingStore, caplog: pytest.LogCaptureFixture
) -> None:
    await node.clients.insert(USED.client)
    uses = SecretUses(store)
    store.away = True
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            uses.note(USED, address="203.0.113.9")
        await uses.flush()
    assert [record.message for record in caplog.records] == [
        "the last use of 1 secrets was not noted: ServiceUnavailable"
    ]
    store.away = False
    await uses.flush()
    assert await last_use(node) is None
    uses.note(USED, address="203.0.113.9")
    await uses.flush()
    assert await last_use(node) is not None


@pytest.mark.gen_test
async def test_what_waits_in_the_end_is_written(node: Node, store: CountingStore) -> None:
    await node.clients.insert(USED.client)
    uses = SecretUses(store)
    async with uses.noting():
        uses.note(USED, address="203.0.113.9")
    assert await last_use(node) is not None
    assert store.writes == [1]


@pytest.mark.gen_test
async def test_a_use_that_is_noted_meanwhile_is_not_lost(node: Node, store: CountingStore) -> None:
    """Between the read and the write of an admin who changes the client."""
    bot = await node.clients.insert(USED.client)
    added = ClientSecret("s2", "$hash", created_at=NOON)
    ending = dataclasses.replace(SECRET, expires_at=NOON)
    await store.note_uses([SecretUse("station-bot", "s1", NOON, "203.0.113.9")])
    assert await store.add(bot, added, salt=bot.salt, ends=[ending])
    first, second = (await node.clients.get("station-bot")).secrets
    assert (first.last_used_at, first.last_used_from, first.expires_at) == (NOON, "203.0.113.9", NOON)
    assert second == added
