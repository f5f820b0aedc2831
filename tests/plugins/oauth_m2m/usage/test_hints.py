"""Who is named, who is not, and by how many processes."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from plugins.oauth_m2m.models import Hint, UsageKey
from plugins.oauth_m2m.stores import HintStore, UsageStore
from plugins.oauth_m2m.usage import HintService

if TYPE_CHECKING:
    from collections.abc import Mapping

    from station.resources import Resources
    from tests.plugins.oauth_m2m.conftest import Node
    from tests.plugins.oauth_m2m.usage.conftest import MakeClient

NOON = datetime(2025, 1, 2, 12, tzinfo=UTC)
BOT = "station-bot"


class Did(Protocol):
    """Let a client do this so many minutes before the present five minutes."""

    async def __call__(self, minutes_ago: int, counted: Mapping[str, int], client_id: str = BOT) -> None: ...


@pytest.fixture
def did(store: UsageStore) -> Did:
    """See `Did`."""

    async def do(minutes_ago: int, counted: Mapping[str, int], client_id: str = BOT) -> None:
        at = NOON - timedelta(minutes=minutes_ago)
        await store.add({UsageKey(client_id, int(at.timestamp())): counted})

    return do


class AskedStore(HintStore):
    """Tells when somebody has been told whether it is his."""

    def __init__(self, resources: Resources) -> None:
        super().__init__(resources)
        self.asked = asyncio.Event()

    async def claim(self, name: str, *, seconds: int) -> bool:
        claimed = await super().claim(name, seconds=seconds)
        self.asked.set()
        return claimed


class ListeningService(HintService):
    """Tells when it looks."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.looked = asyncio.Event()

    async def find(self) -> tuple[Hint, ...]:
        self.looked.set()
        return await super().find()


def service(
    node: Node, store: UsageStore, *, token_ttl: int = 3600, excepted: tuple[str, ...] = ()
) -> HintService:
    return HintService(
        store,
        HintStore(node.resources),
        node.clients,
        token_ttl=token_ttl,
        excepted=excepted,
        clock=lambda: NOON + timedelta(minutes=4),
    )


async def hints(node: Node, made: HintService) -> list[Hint]:
    """What is found among all, which is what is found of the client alone."""
    found = list(await made.find())
    alone = await made.find_of(await node.clients.get(BOT))
    assert found == ([] if alone is None else [alone])
    return found


@pytest.mark.gen_test
async def test_a_client_that_fetches_a_token_for_every_call_is_named(
    node: Node, store: UsageStore, did: Did, make_client: MakeClient
) -> None:
    await node.clients.insert(make_client())
    await did(60, {"issued": 10, "calls": 12})
    await did(5, {"issued": 10, "introspections": 3})
    [hint] = await hints(node, service(node, store))
    assert hint == Hint(BOT, 20, 15)
    assert hint.ratio == 0.75
    assert str(hint) == (
        "station-bot got 20 tokens in an hour and used each 0.8 times. "
        "A token should be kept until expires_in has passed; docs/clients/ shows how."
    )


@pytest.mark.parametrize(
    ("minutes_ago", "counted"),
    [
        (5, {"issued": 19}),
        (5, {"issued": 20, "calls": 40}),
        (5, {"issued": 20, "calls": 10, "introspections": 30}),
        (65, {"issued": 20}),
        (0, {"issued": 20}),
    ],
    ids=["too few", "used", "used elsewhere", "long ago", "only just issued"],
)
@pytest.mark.gen_test
async def test_nobody_is_named_without_need(
    node: Node,
    store: UsageStore,
    did: Did,
    make_client: MakeClient,
    minutes_ago: int,
    counted: Mapping[str, int],
) -> None:
    await node.clients.insert(make_client())
    await did(minutes_ago, counted)
    assert await hints(node, service(node, store)) == []


@pytest.mark.gen_test
async def test_uses_of_the_present_minutes_count(
    node: Node, store: UsageStore, did: Did, make_client: MakeClient
) -> None:
    await node.clients.insert(make_client())
    await did(5, {"issued": 20})
    await did(0, {"calls": 40})
    assert await hints(node, service(node, store)) == []


@pytest.mark.gen_test
async def test_tokens_of_a_short_life_must_be_fetched_more_often(
    node: Node, store: UsageStore, did: Did, make_client: MakeClient
) -> None:
    await node.clients.insert(make_client(token_ttl=60))
    await did(5, {"issued": 119})
    assert await hints(node, service(node, store)) == []
    await did(5, {"issued": 1})
    assert await hints(node, service(node, store)) == [Hint(BOT, 120, 0)]


@pytest.mark.gen_test
async def test_the_lifetime_that_all_tokens_have_counts_too(
    node: Node, store: UsageStore, did: Did, make_client: MakeClient
) -> None:
    await node.clients.insert(make_client())
    await did(5, {"issued": 20})
    assert await hints(node, service(node, store, token_ttl=300)) == []


@pytest.mark.gen_test
async def test_whoever_is_excepted_or_deleted_is_not_named(
    node: Node, store: UsageStore, did: Did, make_client: MakeClient
) -> None:
    await node.clients.insert(make_client())
    await did(5, {"issued": 20})
    await did(5, {"issued": 20}, "deleted")
    assert await hints(node, service(node, store)) == [Hint(BOT, 20, 0)]
    assert await hints(node, service(node, store, excepted=(BOT,))) == []


@pytest.mark.gen_test
async def test_one_of_several_processes_warns_once_an_hour(
    node: Node,
    store: UsageStore,
    did: Did,
    make_client: MakeClient,
    resources: Resources,
    caplog: pytest.LogCaptureFixture,
) -> None:
    await node.clients.insert(make_client())
    await did(5, {"issued": 20})
    one, other = service(node, store), service(node, store)
    with caplog.at_level(logging.WARNING):
        for process in (one, other, one):
            await process.warn()
        assert [record.message for record in caplog.records] == [str(Hint(BOT, 20, 0))]
        assert 3590 < await resources.redis.ttl(f"oauth-hint:{BOT}") <= 3600
        await resources.redis.flushdb()  # an hour later
        await other.warn()
    assert len(caplog.records) == 2


@pytest.mark.gen_test
async def test_of_processes_that_serve_one_looks_in_each_round(
    node: Node, store: UsageStore, resources: Resources
) -> None:
    claims = [AskedStore(resources) for _ in range(3)]
    one, other, command = (
        ListeningService(store, asked, node.clients, token_ttl=3600, round_seconds=0.01) for asked in claims
    )
    async with command.watching(serving=False), one.watching(serving=True):
        await one.looked.wait()
    await resources.redis.set("oauth-hint::round", "1", ex=3600)  # somebody has this round
    async with other.watching(serving=True):
        await claims[1].asked.wait()
    assert (other.looked.is_set(), command.looked.is_set()) == (False, False)


@pytest.mark.gen_test
async def test_pages_ask_once_in_half_a_minute_and_do_not_fail_with_mongodb(
    node: Node, store: UsageStore, did: Did, make_client: MakeClient, without_mongodb: Resources
) -> None:
    await node.clients.insert(make_client())
    made = service(node, store)
    assert await made.recent() == ()
    await did(5, {"issued": 20})
    assert await made.recent() == ()
    assert await service(node, store).recent() == (Hint(BOT, 20, 0),)
    away = UsageStore(without_mongodb, retention=timedelta(days=1))
    assert await service(node, away).recent() == ()
