"""The master of Redis dies, hangs or steps down while clients hammer: Station follows the new one."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import jwt
import pytest
import redis.exceptions

from station.redis_client import open_redis
from station.redis_url import parse_redis_url

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from station.app import Application
    from station.config import Config
    from tests.conftest import Wire
    from tests.faults.conftest import ClusterRedis, RedisProcess, SentinelRedis, SingleRedis

RECOVERY_SECONDS = 5.0
CLIENTS = 6


class Hammer:
    """Clients that ask for tokens, and one that uses the token it has, on and on."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.statuses: Counter[int] = Counter()
        self.protected: Counter[int] = Counter()
        self.tokens: list[str] = []
        self.longest = 0.0
        self.credentials: list[tuple[str, str]] = []
        self._ended = False
        self._answered = asyncio.Condition()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[Hammer]:
        self.credentials = [await self.wire.register(f"bot-{number}") for number in range(CLIENTS)]
        bearer = await self.wire.access_token(self.credentials[0])
        loops = [asyncio.create_task(self._ask(one)) for one in self.credentials]
        loops += [asyncio.create_task(self._use(bearer)) for _ in range(2)]
        try:
            await self.answers(20)
            yield self
        finally:
            self._ended = True
            await asyncio.gather(*loops)

    async def answers(self, count: int) -> None:
        """Wait until so many more tokens were answered."""
        goal = len(self.tokens) + count
        async with self._answered:
            await self._answered.wait_for(lambda: len(self.tokens) >= goal)

    async def recovers(self) -> None:
        """Within the time of a recovery one token after the other is answered again."""
        async with asyncio.timeout(RECOVERY_SECONDS):
            good = 0
            while good < 5:
                good = good + 1 if (await self.wire.token(self.credentials[0])).status == 200 else 0

    async def _ask(self, credentials: tuple[str, str]) -> None:
        while not self._ended:
            began = time.monotonic()
            answer = await self.wire.token(credentials)
            self.longest = max(self.longest, time.monotonic() - began)
            self.statuses[answer.status] += 1
            if answer.status == 200:
                self.tokens.append(answer.json["access_token"])
                async with self._answered:
                    self._answered.notify_all()
            else:
                assert answer.json["error"] == "temporarily_unavailable"
                assert answer.headers["Retry-After"]
            await asyncio.sleep(0.01)

    async def _use(self, bearer: str) -> None:
        while not self._ended:
            self.protected[(await self.wire.fetch("GET", "/probe", bearer=bearer)).status] += 1
            await asyncio.sleep(0.01)

    def check(self) -> None:
        """What holds whatever happened."""
        assert set(self.statuses) <= {200, 503}
        assert set(self.protected) == {200}
        assert self.longest < 4


@pytest.fixture
def hammer(wire: Wire) -> Hammer:
    return Hammer(wire)


async def listed(wire: Wire) -> set[str]:
    """The ids of all tokens that Station lists."""
    found: set[str] = set()
    for number in range(CLIENTS):
        cursor = ""
        while cursor is not None:
            path = f"/oauth-clients/bot-{number}/tokens?limit=100" + (f"&cursor={cursor}" if cursor else "")
            page = (await wire.admin("GET", path)).json
            found |= {token["jti"] for token in page["tokens"]}
            cursor = page["nextCursor"]
    return found


def unacknowledged(tokens: list[str], found: set[str], lost: RedisProcess | None = None) -> set[str]:
    """The tokens that are neither listed nor in what the process wrote down before it died.

    Redis replicates after it has acknowledged: the last records may be on the disk of the old master alone.
    """
    written = b""
    if lost is not None:
        written = b"".join(file.read_bytes() for file in lost.directory.glob("appendonlydir/*"))
    ids = {str(jwt.decode(token, options={"verify_signature": False})["jti"]) for token in tokens}
    return {jti for jti in ids - found if jti.encode() not in written}


class TestSentinel:
    @pytest.fixture
    def config(self, config: Config, redis_sentinel: SentinelRedis) -> Config:
        return dataclasses.replace(config, redis_url=redis_sentinel.url)

    @pytest.mark.gen_test
    async def test_the_master_is_killed(
        self, hammer: Hammer, wire: Wire, redis_sentinel: SentinelRedis
    ) -> None:
        async with hammer.running():
            master = redis_sentinel.master
            await asyncio.to_thread(master.kill)
            await asyncio.to_thread(redis_sentinel.wait_for_new_master, master)
            await hammer.recovers()
        hammer.check()
        assert hammer.statuses[503]
        assert not unacknowledged(hammer.tokens, await listed(wire), master)

    @pytest.mark.gen_test
    async def test_the_master_hangs_and_comes_back(
        self, hammer: Hammer, wire: Wire, redis_sentinel: SentinelRedis
    ) -> None:
        async with hammer.running():
            master = redis_sentinel.master
            await asyncio.to_thread(master.pause)
            await asyncio.to_thread(redis_sentinel.wait_for_new_master, master)
            await hammer.recovers()
            await asyncio.to_thread(master.resume)
            await hammer.answers(100)
            await hammer.recovers()
        hammer.check()

    @pytest.mark.parametrize("needed", [0, 1])
    @pytest.mark.gen_test
    async def test_the_master_is_replaced_and_does_not_know_it(
        self, hammer: Hammer, app: Application, wire: Wire, redis_sentinel: SentinelRedis, needed: int
    ) -> None:
        configure(redis_sentinel, needed)
        try:
            async with hammer.running():
                before = redis_sentinel.master
                after = await asyncio.to_thread(redis_sentinel.promote)
                async with asyncio.timeout(RECOVERY_SECONDS):
                    while (await app.resources.redis.info("server"))["tcp_port"] != after.port:
                        await hammer.answers(1)
                assert before.ask("ROLE")[0] == b"master"
                await hammer.recovers()
                since = len(hammer.tokens)
                await hammer.answers(100)
        finally:
            configure(redis_sentinel, 1)
        hammer.check()
        assert not unacknowledged(hammer.tokens[since:], await listed(wire))

    @pytest.mark.gen_test
    async def test_sentinels_die_but_one(
        self, hammer: Hammer, app: Application, redis_sentinel: SentinelRedis
    ) -> None:
        async with hammer.running():
            redis_sentinel.sentinels[0].kill()
            redis_sentinel.sentinels[1].pause()
            await app.resources.redis.connection_pool.disconnect()  # type: ignore[union-attr] # no cluster
            await hammer.recovers()
        hammer.check()


class TestCluster:
    @pytest.fixture
    def config(self, config: Config, redis_cluster: ClusterRedis) -> Config:
        return dataclasses.replace(config, redis_url=redis_cluster.url)

    @pytest.mark.parametrize("how", ["kill", "pause"])
    @pytest.mark.gen_test
    async def test_one_of_three_masters_goes(
        self, hammer: Hammer, app: Application, wire: Wire, redis_cluster: ClusterRedis, how: str
    ) -> None:
        async with hammer.running():
            master = redis_cluster.master_of(await index_of(app, "bot-0"))
            await asyncio.to_thread(getattr(master, how))
            await asyncio.to_thread(redis_cluster.wait_for_new_master, master)
            await hammer.recovers()
            ready = await wire.fetch("GET", "/health/ready")
            assert ready.status == 200, ready.body
            await asyncio.to_thread(master.resume)
            await asyncio.to_thread(redis_cluster.start)
            await hammer.answers(100)
            await hammer.recovers()
        hammer.check()
        assert hammer.statuses[503]

    @pytest.mark.gen_test
    async def test_no_acknowledged_record_is_lost_when_a_replica_takes_over_in_order(
        self, hammer: Hammer, app: Application, wire: Wire, redis_cluster: ClusterRedis
    ) -> None:
        async with hammer.running():
            key = await index_of(app, "bot-0")
            await asyncio.to_thread(redis_cluster.promote, key)
            await hammer.recovers()
        hammer.check()
        assert not unacknowledged(hammer.tokens, await listed(wire))


def configure(servers: SentinelRedis, needed: int) -> None:
    """Let every server need so many replicas to take a write."""
    for process in servers.processes:
        process.ask("CONFIG", "SET", "min-replicas-to-write", needed)


async def index_of(app: Application, client_id: str) -> str:
    document: Any = await app.resources.database["oauth_clients"].find_one({"client_id": client_id})
    return f"client-tokens:{client_id}:{document['generation']}"


@pytest.mark.gen_test
async def test_a_server_that_has_become_a_replica_is_left(redis_single: SingleRedis) -> None:
    """As behind a name or a proxy that leads to the master."""
    [server] = redis_single.processes
    async with open_redis(parse_redis_url(redis_single.url)) as client:
        assert not isinstance(client, redis.asyncio.RedisCluster)
        before = await client.client_id()
        server.ask("REPLICAOF", "127.0.0.1", "1")
        try:
            with pytest.raises(redis.exceptions.ConnectionError):
                await client.set("a", "b")
            with pytest.raises(redis.exceptions.ConnectionError):
                await client.eval("return redis.call('SET', KEYS[1], 'b')", 1, "a")
            async with client.pipeline(transaction=False) as pipe:
                pipe.get("a")
                pipe.set("a", "b")
                with pytest.raises(redis.exceptions.ConnectionError):
                    await pipe.execute(raise_on_error=False)
        finally:
            server.ask("REPLICAOF", "NO", "ONE")
        assert await client.client_id() > before
        assert await client.set("a", "b")
