from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from plugins.oauth_m2m.mirror import Follower
from plugins.oauth_m2m.models import (
    Change,
    ClientChanged,
    KeysChanged,
    SigningKey,
    SigningKeys,
    TokenRevoked,
)
from plugins.oauth_m2m.stores import ChangeStore, StreamLost, TokenStore
from station.errors import ServiceUnavailable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from plugins.oauth_m2m.models import Client
    from plugins.oauth_m2m.stores import ChangeStream
    from station.resources import Resources
    from tests.plugins.oauth_m2m.conftest import MakeNode, Node
    from tests.plugins.oauth_m2m.mirror.conftest import Clock, Feed, Until

MAX_STALENESS = 15.0


def follower_of(
    node: Node, changes: ChangeStore, clock: Clock | None = None, tokens: TokenStore | None = None
) -> Follower:
    return Follower(
        changes,
        tokens or node.tokens,
        clients=node.cache,
        revoked=node.revoked,
        keyring=node.keyring,
        max_staleness=MAX_STALENESS,
        clock=clock or time.monotonic,
    )


def revoked(jti: str, place: int = 1) -> TokenRevoked:
    return TokenRevoked((place, 1), jti, forgotten=False)


def is_open(follower: Follower) -> bool:
    try:
        follower.check()
    except ServiceUnavailable:
        return False
    return True


@pytest.fixture
def follower(node: Node, feed: Feed, clock: Clock) -> Follower:
    return follower_of(node, feed, clock)


class TestTheStart:
    """The stream is open first, then what happened before is read, and only then the context opens."""

    @pytest.mark.gen_test
    async def test_is_in_this_order(self, node: Node, feed: Feed) -> None:
        events: list[str] = []

        class Tokens(TokenStore):
            async def revoked(self) -> AsyncIterator[list[str]]:
                events.append("reading")
                async for batch in super().revoked():
                    yield batch
                events.append("read")

        feed.opening = lambda: events.append("stream open")
        follower = follower_of(node, feed, tokens=Tokens(node.resources))
        follower.watch(lambda change: events.append("told of a change" if change else "told of all"))
        async with follower.following(serving=True):
            assert events == ["stream open", "reading", "read", "told of all"]
            feed.tell(revoked("j1"))
            await follower.applied(("revocation", "j1", None))
        assert events[4:] == ["told of a change"]

    @pytest.mark.parametrize("when", ["before", "between", "after"])
    @pytest.mark.gen_test
    async def test_misses_no_revocation_whenever_it_happens(
        self, make_node: MakeNode, engine_resources: Resources, bot: Client, when: str
    ) -> None:
        """Before the stream is open, between that and the reading, and after the reading."""
        tokens = TokenStore(engine_resources)

        async def revoke(now: str) -> None:
            if now == when:
                await tokens.revoke(bot, "j1", int(time.time()) + 600)

        class Changes(ChangeStore):
            @contextlib.asynccontextmanager
            async def watch(self, after: Mapping[str, Any] | None = None) -> AsyncIterator[ChangeStream]:
                await revoke("before")
                async with super().watch(after) as stream:
                    await revoke("between")
                    yield stream

        class Tokens(TokenStore):
            async def revoked(self) -> AsyncIterator[list[str]]:
                async for batch in super().revoked():
                    yield batch
                await revoke("after")

        node = make_node(engine_resources)
        follower = follower_of(node, Changes(engine_resources), tokens=Tokens(engine_resources))
        async with follower.following(serving=True):
            assert ("j1" in node.revoked) == (when != "after")
            if when != "before":
                async with asyncio.timeout(10):
                    await follower.applied(("revocation", "j1", None))
            assert "j1" in node.revoked
            assert is_open(follower)

    @pytest.mark.gen_test
    async def test_forgets_the_clients_and_reads_the_keys(
        self, node: Node, follower: Follower, bot: Client
    ) -> None:
        await node.resources.database["signing_keys"].insert_one({"_id": "keyring", "version": 7, "keys": []})
        node.cache._keep(bot)
        async with follower.following(serving=True):
            assert node.cache.peek("station-bot") is None
            assert node.keyring.version == 7

    @pytest.mark.gen_test
    async def test_reads_nothing_for_a_command(self, node: Node, feed: Feed, follower: Follower) -> None:
        await node.resources.database["revoked_tokens"].insert_one(
            {"_id": "j1", "expires_at": datetime(2100, 1, 1, tzinfo=UTC)}
        )
        feed.tell(revoked("j2"))
        async with follower.following(serving=False):
            await follower.applied(("revocation", "j2", None))
            assert ("j1" in node.revoked, "j2" in node.revoked) == (False, True)

    @pytest.mark.parametrize("error", [ServiceUnavailable("away"), StreamLost("Unauthorized")])
    @pytest.mark.gen_test
    async def test_fails_if_the_stream_cannot_be_opened(
        self, feed: Feed, follower: Follower, error: Exception
    ) -> None:
        feed.refusals = [error]
        with pytest.raises(type(error)):
            async with asyncio.timeout(5), follower.following(serving=True):
                raise AssertionError
        assert not is_open(follower)

    @pytest.mark.gen_test
    async def test_fails_if_what_happened_before_cannot_be_read(
        self, node: Node, feed: Feed, clock: Clock
    ) -> None:
        class Tokens(TokenStore):
            async def revoked(self) -> AsyncIterator[list[str]]:
                yield ["j1"]
                raise ServiceUnavailable("away")

        follower = follower_of(node, feed, clock, Tokens(node.resources))
        with pytest.raises(ServiceUnavailable):
            async with follower.following(serving=True):
                raise AssertionError
        assert not is_open(follower)

    @pytest.mark.gen_test
    async def test_and_the_end(self, follower: Follower) -> None:
        async with follower.following(serving=True):
            tasks = len(asyncio.all_tasks())
        assert len(asyncio.all_tasks()) == tasks - 1


class TestApplying:
    """Each change reaches the caches, the watchers and those who wait for it."""

    @pytest.mark.gen_test
    async def test_a_client_that_changed(
        self, node: Node, feed: Feed, follower: Follower, bot: Client
    ) -> None:
        async with follower.following(serving=True):
            node.cache._keep(bot)
            changed = dataclasses.replace(bot, version=2, is_active=False)
            feed.tell(ClientChanged((5, 1), bot.id, changed, 2))
            assert await follower.applied(("client", bot.id, 2)) == (5, 1)
            assert node.cache.peek("station-bot") is changed
            # deleted already, when its last change is told
            feed.tell(ClientChanged((5, 2), bot.id, None, 3))
            assert await follower.applied(("client", bot.id, 3)) == (5, 2)
            assert node.cache.peek("station-bot") is None
            assert follower.position == (5, 2)

    @pytest.mark.gen_test
    async def test_a_revocation_and_its_end(self, node: Node, feed: Feed, follower: Follower) -> None:
        async with follower.following(serving=True):
            feed.tell(revoked("j1"))
            await follower.applied(("revocation", "j1", None))
            assert "j1" in node.revoked
            feed.tell(TokenRevoked((9, 1), "j1", forgotten=True))
            feed.tell(revoked("j2", 10))
            await follower.applied(("revocation", "j2", None))
            assert ("j1" in node.revoked, "j2" in node.revoked) == (False, True)

    @pytest.mark.gen_test
    async def test_keys(self, node: Node, feed: Feed, follower: Follower) -> None:
        made = datetime(2025, 1, 2, tzinfo=UTC)
        keys = SigningKeys(4, (SigningKey("HS256", "HS256", "active", published_at=made),))
        async with follower.following(serving=True):
            feed.tell(KeysChanged((3, 1), keys, 4))
            assert await follower.applied(("keys", "", 4)) == (3, 1)
            assert node.keyring.version == 4
            feed.tell(KeysChanged((3, 2), None, None))  # a collection that somebody has emptied
            assert await follower.applied(("keys", "", None)) == (3, 2)
            assert node.keyring.version == 4

    @pytest.mark.gen_test
    async def test_the_position_never_goes_back(self, feed: Feed, follower: Follower) -> None:
        async with follower.following(serving=True):
            for place in (7, 5, 6):
                feed.tell(revoked(f"j{place}", place))
            await follower.applied(("revocation", "j6", None))
            assert follower.position == (7, 1)

    @pytest.mark.gen_test
    async def test_a_watcher_that_fails_harms_nothing(
        self, node: Node, feed: Feed, follower: Follower, caplog: pytest.LogCaptureFixture
    ) -> None:
        told: list[Change | None] = []

        def failing(_change: Change | None) -> None:
            raise KeyError("a bug")

        follower.watch(failing)
        follower.watch(told.append)
        async with follower.following(serving=True):
            change = revoked("j1")
            feed.tell(change)
            await follower.applied(("revocation", "j1", None))
            assert told == [None, change]
            assert feed.opened == [None]
        assert "a watcher of changes failed" in caplog.text

    @pytest.mark.gen_test
    async def test_who_waits_for_a_change_leaves_nothing_behind(self, feed: Feed, follower: Follower) -> None:
        key = ("revocation", "j1", None)
        first, second = (asyncio.create_task(follower.applied(key)) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await first
        assert list(follower._awaited) == [key]
        async with follower.following(serving=True):
            feed.tell(revoked("j1", 4))
            assert await second == (4, 1)
            assert follower._awaited == {}
            assert await follower.applied(key) == (4, 1)  # at once
        third = asyncio.create_task(follower.applied(("revocation", "j2", None)))
        await asyncio.sleep(0)
        third.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await third
        assert follower._awaited == {}

    @pytest.mark.gen_test
    async def test_what_was_applied_is_remembered_within_bounds(self, feed: Feed, follower: Follower) -> None:
        async with follower.following(serving=True):
            for number in range(10_050):
                feed.tell(revoked(f"j{number}", number))
            await follower.applied(("revocation", "j10049", None))
        assert len(follower._applied) == 10_000
        assert ("revocation", "j49", None) not in follower._applied
        assert ("revocation", "j50", None) in follower._applied


class TestGoingOn:
    """Streams break; nothing is missed."""

    @pytest.mark.gen_test
    async def test_where_it_was_after_the_stream_broke_off(
        self, node: Node, feed: Feed, follower: Follower, bot: Client, caplog: pytest.LogCaptureFixture
    ) -> None:
        told: list[Change | None] = []
        follower.watch(told.append)
        async with follower.following(serving=True):
            node.cache._keep(bot)
            feed.tell(revoked("j1"))
            feed.tell(ServiceUnavailable("a password, and an address"))
            feed.tell(revoked("j2"))
            await follower.applied(("revocation", "j2", None))
            assert feed.opened == [None, {"told": 1}]  # after the last change that was applied
            assert told.count(None) == 1  # nothing is read again
            assert node.cache.peek("station-bot") is bot
        assert "the change stream broke off: ServiceUnavailable" in caplog.text
        assert follower.interruptions == 1
        assert "password" not in caplog.text

    @pytest.mark.gen_test
    async def test_as_often_as_it_takes(self, node: Node, feed: Feed, follower: Follower) -> None:
        async with follower.following(serving=True):
            feed.refusals = [ServiceUnavailable("away"), KeyError("odd"), ServiceUnavailable("away")]
            feed.tell(ServiceUnavailable("away"))
            feed.tell(revoked("j1"))
            await follower.applied(("revocation", "j1", None))
            assert feed.opened == [None] + [{"told": 0}] * 4
            assert "j1" in node.revoked

    @pytest.mark.gen_test
    async def test_everything_is_read_again_if_the_stream_cannot_go_on(
        self, node: Node, feed: Feed, follower: Follower, bot: Client
    ) -> None:
        told: list[Change | None] = []
        follower.watch(told.append)
        async with follower.following(serving=True):
            node.cache._keep(bot)
            node.revoked.add("forgotten")
            feed.tell(revoked("j1"))
            await follower.applied(("revocation", "j1", None))
            for jti in ("j1", "missed"):
                await node.resources.database["revoked_tokens"].insert_one(
                    {"_id": jti, "expires_at": datetime(2100, 1, 1, tzinfo=UTC)}
                )
            feed.tell(ServiceUnavailable("away"))
            feed.refusals = [StreamLost("the resume point is gone")]
            feed.tell(revoked("j2"))
            await follower.applied(("revocation", "j2", None))
            assert feed.opened == [None, {"told": 1}, None]
            assert all(jti in node.revoked for jti in ("j1", "missed", "j2"))
            assert "forgotten" not in node.revoked  # by MongoDB, while nobody listened
            assert node.cache.peek("station-bot") is None
            assert told.count(None) == 2

    @pytest.mark.gen_test
    async def test_a_reading_that_fails_is_begun_again(self, node: Node, feed: Feed, clock: Clock) -> None:
        failures = iter([False, True, False])

        class Tokens(TokenStore):
            async def revoked(self) -> AsyncIterator[list[str]]:
                if next(failures):
                    raise ServiceUnavailable("away")
                async for batch in super().revoked():
                    yield batch

        follower = follower_of(node, feed, clock, Tokens(node.resources))
        async with follower.following(serving=True):
            await node.resources.database["revoked_tokens"].insert_one(
                {"_id": "missed", "expires_at": datetime(2100, 1, 1, tzinfo=UTC)}
            )
            feed.tell(StreamLost("drop"))
            feed.tell(revoked("j1"))
            await follower.applied(("revocation", "j1", None))
            assert feed.opened == [None, None, None]
            assert "missed" in node.revoked

    @pytest.mark.gen_test
    async def test_on_the_engine(
        self, make_node: MakeNode, engine_resources: Resources, bot: Client, until: Until
    ) -> None:
        """A stream that breaks off goes on after the last change, also if others came meanwhile."""
        tokens, broken = TokenStore(engine_resources), asyncio.Event()
        opened: list[object] = []
        gap = asyncio.Event()

        class Changes(ChangeStore):
            @contextlib.asynccontextmanager
            async def watch(self, after: Mapping[str, Any] | None = None) -> AsyncIterator[ChangeStream]:
                opened.append(after)
                if after is not None:
                    await gap.wait()
                async with super().watch(after) as stream:
                    nexts = stream.next

                    async def breaking() -> Change | None:
                        if broken.is_set():
                            broken.clear()
                            raise ServiceUnavailable("broken")
                        return await nexts()

                    stream.next = breaking  # type: ignore[method-assign] # a stream that breaks
                    yield stream

        node = make_node(engine_resources)
        follower = follower_of(node, Changes(engine_resources))
        async with follower.following(serving=True):
            await tokens.revoke(bot, "j1", int(time.time()) + 600)
            await follower.applied(("revocation", "j1", None))
            broken.set()
            await until(lambda: len(opened) == 2)
            await tokens.revoke(bot, "j2", int(time.time()) + 600)
            gap.set()
            async with asyncio.timeout(10):
                await follower.applied(("revocation", "j2", None))
            assert opened[0] is None
            assert opened[1] is not None
            assert "j2" in node.revoked


class TestStaleness:
    """Who may have missed a revocation says so, by the monotonic clock."""

    @pytest.mark.gen_test
    async def test_nothing_is_known_before_the_start(self, follower: Follower) -> None:
        assert not is_open(follower)

    @pytest.mark.gen_test
    async def test_it_is_counted_from_the_last_that_was_heard(
        self, feed: Feed, follower: Follower, clock: Clock, until: Until
    ) -> None:
        async with follower.following(serving=True):
            for silent, expected in ((0, True), (15.0, True), (15.001, False)):
                clock.time = 1000 + silent
                assert is_open(follower) is expected
                assert follower.lag == pytest.approx(silent)
            feed.tell(None, heard_at=1010.0)
            await until(lambda: is_open(follower))
            clock.time = 1025.1
            assert not is_open(follower)
            with pytest.raises(ServiceUnavailable, match="which tokens are revoked"):
                follower.check()

    @pytest.mark.gen_test
    async def test_an_answer_that_was_asked_for_long_ago_opens_nothing(
        self, feed: Feed, follower: Follower, clock: Clock, until: Until
    ) -> None:
        """As after SIGSTOP and SIGCONT: the answer lay in the socket meanwhile."""
        async with follower.following(serving=True):
            clock.time = 1100.0
            feed.tell(revoked("j1"), heard_at=1000.2)
            feed.tell(None, heard_at=1000.4)
            feed.tell(revoked("j2"), heard_at=1000.4)
            await follower.applied(("revocation", "j2", None))
            await asyncio.sleep(0.01)
            assert not is_open(follower)
            feed.tell(None, heard_at=1099.9)
            await until(lambda: is_open(follower))

    @pytest.mark.gen_test
    async def test_who_was_counted_out_hears_mongodb_before_it_goes_on(
        self, feed: Feed, follower: Follower, clock: Clock, until: Until
    ) -> None:
        """Others may have said meanwhile that a revocation has come to all."""
        async with follower.following(serving=True):
            feed.tell(None, heard_at=1000.0)
            follower.counted_until(1003.0)
            clock.time = 1003.0
            assert is_open(follower)
            clock.time = 1003.1
            assert follower.is_left_out
            assert not is_open(follower)
            feed.tell(revoked("j1"), heard_at=1002.9)  # asked for while it still counted
            await follower.applied(("revocation", "j1", None))
            assert not is_open(follower)
            feed.tell(None, heard_at=1003.05)
            await until(lambda: is_open(follower))
            assert not follower.is_left_out

    @pytest.mark.gen_test
    async def test_who_is_counted_by_nobody_is_left_out_of_nothing(
        self, follower: Follower, clock: Clock
    ) -> None:
        async with follower.following(serving=True):
            clock.time += 14
            assert not follower.is_left_out
            assert is_open(follower)

    @pytest.mark.gen_test
    async def test_what_is_heard_of_later_is_never_taken_back(
        self, feed: Feed, follower: Follower, clock: Clock
    ) -> None:
        async with follower.following(serving=True):
            feed.tell(None, heard_at=1020.0)
            feed.tell(None, heard_at=1005.0)
            feed.tell(ServiceUnavailable("broken"))  # and a stream that has heard nothing yet
            feed.tell(revoked("j1"))
            await follower.applied(("revocation", "j1", None))
            clock.time = 1035.0
            assert is_open(follower)

    @pytest.mark.gen_test
    async def test_neither_opening_again_nor_reading_again_is_hearing(
        self, feed: Feed, follower: Follower, clock: Clock, until: Until
    ) -> None:
        async with follower.following(serving=True):
            clock.time = 1100.0
            feed.tell(StreamLost("drop"))
            await until(lambda: len(feed.opened) == 2)
            feed.tell(ServiceUnavailable("broken"))
            await until(lambda: len(feed.opened) == 3)
            assert not is_open(follower)

    @pytest.mark.gen_test
    async def test_a_start_that_took_too_long_is_stale(self, node: Node, feed: Feed, clock: Clock) -> None:
        class Tokens(TokenStore):
            async def revoked(self) -> AsyncIterator[list[str]]:
                clock.time += 16
                yield []

        follower = follower_of(node, feed, clock, Tokens(node.resources))
        async with follower.following(serving=True):
            assert not is_open(follower)

    @pytest.mark.gen_test
    async def test_who_follows_no_more_becomes_stale(
        self, feed: Feed, follower: Follower, clock: Clock
    ) -> None:
        async with follower.following(serving=True):
            pass
        clock.time += 15.1
        assert not is_open(follower)

    @pytest.mark.gen_test
    async def test_on_the_engine_it_stays_fresh_while_nothing_happens(
        self, make_node: MakeNode, engine_resources: Resources, until: Until
    ) -> None:
        follower = follower_of(make_node(engine_resources), ChangeStore(engine_resources))
        async with follower.following(serving=True):
            began = time.monotonic()
            # one that was asked for after this moment has been answered, twice
            await until(lambda: follower._heard_at > began)
            again = time.monotonic()
            await until(lambda: follower._heard_at > again)
            assert follower.lag < MAX_STALENESS
