from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import time
from typing import TYPE_CHECKING, Any

import pytest

from plugins.oauth_m2m.mirror import Follower, Propagation
from plugins.oauth_m2m.models import ClientChanged, Confirmation, TokenRevoked
from plugins.oauth_m2m.stores import ChangeStore, ClientStore, NodeStore, TokenStore
from station.resources import open_resources

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from fakeredis import FakeServer

    from plugins.oauth_m2m.models import Client, Position
    from station.config import Config
    from station.resources import Resources
    from tests.plugins.oauth_m2m.conftest import MakeNode, Node
    from tests.plugins.oauth_m2m.mirror.conftest import Feed, Until

JTI = "3f0c"


class Process:
    """This process: it follows what a test tells the feed, over MongoDB and Redis as fakes."""

    def __init__(self, node: Node, feed: Feed, nodes: NodeStore | None = None) -> None:
        self.node, self.feed = node, feed
        self.nodes = nodes or NodeStore(node.resources)
        self.follower = Follower(
            feed,
            node.tokens,
            clients=node.cache,
            revoked=node.revoked,
            keyring=node.keyring,
            max_staleness=15,
        )
        self.propagation = Propagation(self.follower, self.nodes, clients=node.cache, revoked=node.revoked)

    @contextlib.asynccontextmanager
    async def running(self, *, serving: bool = True) -> AsyncIterator[None]:
        async with (
            self.follower.following(serving=serving),
            self.propagation.announcing(serving=serving),
        ):
            yield

    def hear(self, place: int, jti: str = JTI) -> Position:
        """Let MongoDB tell of the revocation."""
        self.feed.tell(TokenRevoked((place, 1), jti, forgotten=False))
        return place, 1


@pytest.fixture
def process(node: Node, feed: Feed) -> Process:
    return Process(node, feed)


class Nodes(NodeStore):
    """Counts how often this process is announced, and asks for positions."""

    def __init__(self, resources: Resources) -> None:
        super().__init__(resources)
        self.announced: list[Position] = []
        self.asked = 0

    async def announce(self, node: str, position: Position) -> bool:
        self.announced.append(position)
        return await super().announce(node, position)

    async def positions(self) -> dict[str, Position]:
        self.asked += 1
        return await super().positions()


# How many know


@pytest.mark.gen_test
async def test_alone_it_knows_at_once(process: Process) -> None:
    async with process.running():
        before = time.monotonic()
        # its own stream has not told it, and need not: it has made the change
        assert await process.propagation.token_revoked(JTI) == Confirmation(1, 0)
        assert time.monotonic() - before < 0.2


@pytest.mark.parametrize("others", [1, 3])
@pytest.mark.gen_test
async def test_it_waits_for_every_other(process: Process, others: int) -> None:
    async with process.running():
        for number in range(others):
            await process.nodes.announce(f"n{number}", (4, 9))
        waiting = asyncio.create_task(process.propagation.token_revoked(JTI))
        place = process.hear(5)
        for number in range(others):
            await asyncio.sleep(0.02)
            assert not waiting.done()
            await process.nodes.announce(f"n{number}", place)
        assert await waiting == Confirmation(1 + others, 0)


@pytest.mark.gen_test
async def test_who_does_not_confirm_is_pending(process: Process) -> None:
    async with process.running():
        await process.nodes.announce("fast", (5, 1))
        await process.nodes.announce("slow", (4, 9))
        process.hear(5)
        before = time.monotonic()
        assert await process.propagation.token_revoked(JTI) == Confirmation(2, 1)
        assert time.monotonic() - before >= 0.24


@pytest.mark.gen_test
async def test_who_ends_meanwhile_is_waited_for_no_more(process: Process) -> None:
    async with process.running():
        await process.nodes.announce("ending", (4, 9))
        process.hear(5)
        waiting = asyncio.create_task(process.propagation.token_revoked(JTI))
        await asyncio.sleep(0.02)
        assert not waiting.done()
        await process.nodes.leave("ending")
        assert await waiting == Confirmation(1, 0)


@pytest.mark.parametrize(
    ("place", "pending"), [((5, 0), 1), ((4, 99), 1), ((5, 1), 0), ((5, 2), 0), ((6, 0), 0)]
)
@pytest.mark.gen_test
async def test_places_are_compared_by_second_and_then_by_number(
    process: Process, place: Position, pending: int
) -> None:
    async with process.running():
        await process.nodes.announce("other", place)
        process.hear(5)
        assert await process.propagation.token_revoked(JTI) == Confirmation(2 - pending, pending)


@pytest.mark.gen_test
async def test_while_mongodb_says_nothing_all_others_are_pending(process: Process) -> None:
    async with process.running():
        for number in range(2):
            await process.nodes.announce(f"n{number}", (2_000_000_000, 1))
        assert await process.propagation.token_revoked(JTI) == Confirmation(1, 2)
        assert process.follower._awaited == {}


@pytest.mark.gen_test
async def test_it_is_this_change_that_is_waited_for(process: Process) -> None:
    async with process.running():
        await process.nodes.announce("other", (5, 1))
        process.hear(5, jti="another")
        assert await process.propagation.token_revoked(JTI) == Confirmation(1, 1)


@pytest.mark.gen_test
async def test_a_command_counts_nobody_for_itself(process: Process) -> None:
    async with process.running(serving=False):
        assert await process.nodes.positions() == {}
        assert await process.propagation.token_revoked(JTI) == Confirmation(0, 0)
        await process.nodes.announce("server", (5, 1))
        process.hear(5)
        assert await process.propagation.token_revoked(JTI) == Confirmation(1, 0)


@pytest.mark.gen_test
async def test_without_redis_nobody_knows_how_many_there_are(
    process: Process, redis_server: FakeServer
) -> None:
    async with process.running():
        redis_server.connected = False
        assert await process.propagation.token_revoked(JTI) == Confirmation(1, None)
        assert JTI in process.node.revoked


@pytest.mark.gen_test
async def test_what_becomes_of_changes_is_counted(
    process: Process, bot: Client, redis_server: FakeServer
) -> None:
    propagation = process.propagation
    async with process.running():
        await propagation.client_changed(bot)
        await process.nodes.announce("slow", (4, 9))
        process.hear(5)
        await propagation.token_revoked(JTI)
        redis_server.connected = False
        await propagation.client_deleted(bot)
    assert propagation.outcomes == {
        ("client_changed", "confirmed"): 1,
        ("token_revoked", "pending"): 1,
        ("client_deleted", "unknown"): 1,
    }
    assert propagation.durations.count == 3
    assert propagation.durations.total >= 0.24  # what it waits for the slow one


@pytest.mark.gen_test
async def test_a_redis_that_does_not_answer_is_not_waited_for(node: Node, feed: Feed) -> None:
    class Hanging(NodeStore):
        async def positions(self) -> dict[str, Position]:
            await asyncio.Event().wait()
            raise AssertionError

    process = Process(node, feed, Hanging(node.resources))
    async with process.running():
        async with asyncio.timeout(1):
            assert await process.propagation.token_revoked(JTI) == Confirmation(1, None)


@pytest.mark.gen_test
async def test_a_redis_that_has_lost_its_data_knows_nobody_until_all_have_come_back(
    process: Process, until: Until
) -> None:
    redis = process.node.resources.redis
    async with process.running():
        await process.nodes.announce("other", (2_000_000_000, 1))
        await redis.flushdb()
        assert await process.propagation.token_revoked("j1") == Confirmation(1, None)
        process.hear(5, jti="j2")  # news, with which this process comes back
        async with asyncio.timeout(2):
            while not await process.nodes.positions():  # noqa: ASYNC110 - Redis tells nobody
                await asyncio.sleep(0.001)
        assert await process.propagation.token_revoked("j3") == Confirmation(1, None)


@pytest.mark.gen_test
async def test_who_was_counted_out_does_not_say_that_it_lives(node: Node, feed: Feed, until: Until) -> None:
    """Not before it has heard MongoDB: it would be counted among those that know."""
    nodes = Nodes(node.resources)
    process = Process(node, feed, nodes)
    async with process.running():
        process.follower.counted_until(time.monotonic() - 0.001)
        process.feed.tell(TokenRevoked((5, 1), "j1", forgotten=False), heard_at=0.0)
        await process.follower.applied(("revocation", "j1", None))
        await asyncio.sleep(0.02)
        assert nodes.announced == [(0, 0)]
        process.feed.tell(None, heard_at=time.monotonic())
        process.hear(6, jti="j2")
        await until(lambda: (6, 1) in nodes.announced)


@pytest.mark.gen_test
async def test_it_counts_for_as_long_as_it_is_known_to_live(node: Node, feed: Feed, until: Until) -> None:
    nodes = Nodes(node.resources)
    process = Process(node, feed, nodes)
    before = time.monotonic()
    async with process.running():
        assert before + 3 <= process.follower._counted_until <= time.monotonic() + 3
        counted_until = process.follower._counted_until
        process.hear(5)
        await until(lambda: process.follower._counted_until > counted_until)


@pytest.mark.gen_test
async def test_if_redis_goes_meanwhile_what_was_known_counts(
    process: Process, redis_server: FakeServer
) -> None:
    async with process.running():
        await process.nodes.announce("fast", (5, 1))
        await process.nodes.announce("slow", (4, 1))
        process.hear(5)
        waiting = asyncio.create_task(process.propagation.token_revoked(JTI))
        await asyncio.sleep(0.05)
        redis_server.connected = False
        assert await waiting == Confirmation(2, 1)


# What this process has changed, it applies itself


@pytest.mark.gen_test
async def test_a_revocation_is_known_here_before_anybody_is_asked(
    process: Process, redis_server: FakeServer
) -> None:
    redis_server.connected = False
    waiting = asyncio.create_task(process.propagation.token_revoked(JTI))
    await asyncio.sleep(0)
    assert JTI in process.node.revoked
    assert await waiting == Confirmation(0, None)


@pytest.mark.gen_test
async def test_a_client_is_as_it_was_changed_here(process: Process, bot: Client) -> None:
    async with process.running():
        process.node.cache._keep(bot)
        await process.nodes.announce("other", (5, 1))
        disabled = dataclasses.replace(bot, version=2, is_active=False)
        waiting = asyncio.create_task(process.propagation.client_changed(disabled))
        await asyncio.sleep(0)
        assert process.node.cache.peek("station-bot") is disabled
        process.feed.tell(ClientChanged((4, 1), bot.id, bot, 1))  # the change before, heard late
        process.feed.tell(ClientChanged((5, 1), bot.id, disabled, 2))
        assert await waiting == Confirmation(2, 0)
        assert process.node.cache.peek("station-bot") is disabled


@pytest.mark.gen_test
async def test_a_client_is_gone_that_was_deleted_here(process: Process, bot: Client) -> None:
    async with process.running():
        process.node.cache._keep(bot)
        await process.nodes.announce("other", (5, 1))
        waiting = asyncio.create_task(process.propagation.client_deleted(bot))
        await asyncio.sleep(0)
        assert process.node.cache.peek("station-bot") is None
        # neither its last change nor one that made no version is the deletion
        process.feed.tell(ClientChanged((4, 1), bot.id, None, 2))
        process.feed.tell(ClientChanged((4, 2), bot.id, None, 0))
        await asyncio.sleep(0.02)
        assert not waiting.done()
        process.feed.tell(ClientChanged((5, 1), bot.id, None, None))
        assert await waiting == Confirmation(2, 0)


# Announcing


@pytest.mark.gen_test
async def test_it_says_how_far_it_has_come_and_when_it_ends(node: Node, feed: Feed, until: Until) -> None:
    nodes = Nodes(node.resources)
    process = Process(node, feed, nodes)
    async with process.running():
        assert nodes.announced == [(0, 0)]  # it lives, before it serves
        assert list((await nodes.positions()).values()) == [(0, 0)]
        for number in (5, 6):
            place = process.hear(number, jti=f"j{number}")
            await until(lambda: place in nodes.announced)  # noqa: B023 - called at once
        assert list((await nodes.positions()).values()) == [(6, 1)]
    assert await nodes.positions() == {}


@pytest.mark.gen_test
async def test_it_says_every_second_that_it_lives(node: Node, feed: Feed, until: Until) -> None:
    nodes = Nodes(node.resources)
    async with Process(node, feed, nodes).running():
        began = time.monotonic()
        await until(lambda: len(nodes.announced) == 2)
        assert time.monotonic() - began < 1.5  # thrice within the life of what it says


@pytest.mark.gen_test
async def test_it_goes_on_saying_so_after_redis_was_away(
    process: Process, redis_server: FakeServer, until: Until
) -> None:
    redis_server.connected = False
    async with process.running():
        process.hear(5)
        await process.follower.applied(("revocation", JTI, None))
        await asyncio.sleep(0.01)
        redis_server.connected = True
        process.hear(6, jti="another")
        await process.follower.applied(("revocation", "another", None))
        async with asyncio.timeout(2):
            while not await process.nodes.positions():  # noqa: ASYNC110 - Redis tells nobody
                await asyncio.sleep(0.005)
        assert list((await process.nodes.positions()).values()) == [(6, 1)]
        assert process.propagation.unannounced >= 1
        redis_server.connected = False  # and it ends without complaint


@pytest.mark.gen_test
async def test_a_command_does_not_announce_itself(node: Node, feed: Feed) -> None:
    nodes = Nodes(node.resources)
    process = Process(node, feed, nodes)
    async with process.running(serving=False):
        process.hear(5)
        await process.follower.applied(("revocation", JTI, None))
        await asyncio.sleep(0.01)
    assert nodes.announced == []


# On the engines


@pytest.mark.gen_test
async def test_three_processes_and_a_command_agree(
    make_node: MakeNode, engine_resources: Resources, config: Config, bot: Client
) -> None:
    async with contextlib.AsyncExitStack() as stack:
        processes: list[tuple[Node, Propagation]] = []
        followers: list[Follower] = []
        for number in range(4):
            resources = engine_resources
            if number:
                resources = await stack.enter_async_context(open_resources(config))
            node = make_node(resources)
            follower = Follower(
                ChangeStore(resources),
                node.tokens,
                clients=node.cache,
                revoked=node.revoked,
                keyring=node.keyring,
                max_staleness=15,
            )
            propagation = Propagation(
                follower, NodeStore(resources), clients=node.cache, revoked=node.revoked
            )
            serving = number < 3
            await stack.enter_async_context(follower.following(serving=serving))
            await stack.enter_async_context(propagation.announcing(serving=serving))
            processes.append((node, propagation))
            followers.append(follower)
        (first, by_server), *_, (_, by_command) = processes
        client = await first.clients.insert(bot)
        # a read that the news of the registration overtakes would not be kept
        await asyncio.gather(*(follower.applied(("client", client.id, 1)) for follower in followers))
        others: list[Any] = [node for node, _ in processes[1:3]]
        for node in others:
            assert await node.cache.find("station-bot") == client

        _, changed = await ClientStore(engine_resources).update("station-bot", {"is_active": False}, None)
        assert await by_server.client_changed(changed) == Confirmation(3, 0)
        assert [node.cache.peek("station-bot") for node in others] == [changed, changed]

        await TokenStore(engine_resources).revoke(client, JTI, int(time.time()) + 600)
        assert await by_command.token_revoked(JTI) == Confirmation(3, 0)
        assert all(JTI in node.revoked for node, _ in processes[:3])

        deleted = await ClientStore(engine_resources).delete("station-bot", None)
        assert await by_server.client_deleted(deleted) == Confirmation(3, 0)
        assert [node.cache.peek("station-bot") for node in others] == [None, None]
