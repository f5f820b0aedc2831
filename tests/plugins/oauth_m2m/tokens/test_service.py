"""What an access token is worth; what forged ones are worth is in test_rfc9068.py."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import time
from typing import TYPE_CHECKING, Any

import jwt
import pytest
from fakeredis import FakeAsyncRedis, FakeServer
from motor.motor_asyncio import AsyncIOMotorClient
from pymongo import ReturnDocument

from plugins.oauth_m2m.errors import InvalidGrant, InvalidToken
from plugins.oauth_m2m.mirror import ClientCache, Follower
from plugins.oauth_m2m.models import Client, IssuedToken
from plugins.oauth_m2m.stores import ChangeStore, ClientStore
from plugins.oauth_m2m.stores.clients import client_of
from plugins.oauth_m2m.tokens import TokenService
from station.errors import ServiceUnavailable, TooManyRequests
from station.throttle import Hit, Limit, Throttle
from tests.plugins.oauth_m2m.conftest import BOT as STATION_BOT

if TYPE_CHECKING:
    from redis.asyncio.client import Pipeline
    from tornado.ioloop import IOLoop

    from station.resources import Resources
    from tests.plugins.oauth_m2m.conftest import MakeNode, Node

KEY = "a-signing-key-of-more-than-32-bytes-for-the-tests"
OLD_KEY = "an-older-signing-key-of-more-than-32-bytes-for-tests"
ISSUER = "https://station.example"
AUDIENCE = "https://api.station.example"
BOT = dataclasses.replace(STATION_BOT, scopes=("bot:api", "bot:write"))


class SlowRedis(FakeAsyncRedis):
    """Acknowledges nothing before ``go`` is set."""

    def __init__(self, server: FakeServer) -> None:
        super().__init__(server=server)
        self.asked, self.go = asyncio.Event(), asyncio.Event()

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        """Of a turn of the loop, whose commands travel as one."""
        await self._wait()
        return await super().execute_command(*args, **options)  # type: ignore[no-untyped-call] # of fakeredis

    def pipeline(self, transaction: bool = True, shard_hint: str | None = None) -> Pipeline:
        pipe: Pipeline = super().pipeline(transaction, shard_hint)
        execute = pipe.execute

        async def wait(raise_on_error: bool = True) -> list[Any]:
            await self._wait()
            return await execute(raise_on_error)

        pipe.execute = wait  # type: ignore[method-assign] # of this one pipeline
        return pipe

    async def _wait(self) -> None:
        self.asked.set()
        await self.go.wait()


@pytest.fixture
def bot(io_loop: IOLoop, resources: Resources) -> Client:
    client: Client = io_loop.run_sync(lambda: ClientStore(resources).insert(BOT))
    return client


def service_of(node: Node) -> TokenService:
    return TokenService(
        node.tokens,
        clients=node.cache,
        revoked=node.revoked,
        follower=node.follower,
        propagation=node.propagation,
        keyring=node.keyring,
        audit=node.audit,
        issuer=ISSUER,
        audience=AUDIENCE,
        ttl=600,
        remembered=100,
    )


@pytest.fixture
def node(make_node: MakeNode, resources: Resources) -> Node:
    return make_node(resources, KEY)


@pytest.fixture
def service(node: Node) -> TokenService:
    return service_of(node)


async def issue(
    service: TokenService, client: Client, *scopes: str, user_agent: str = "curl/8"
) -> IssuedToken:
    return await service.issue(
        client,
        scopes or client.scopes,
        admission=Throttle(FakeAsyncRedis()).admit(),
        address="203.0.113.9",
        user_agent=user_agent,
    )


async def refused(service: TokenService, token: str) -> None:
    with pytest.raises(InvalidToken):
        await service.verify(token)


async def change(node: Node, **changes: object) -> None:
    """Change the client as another node does, and let this one hear of it."""
    changed = await node.resources.database["oauth_clients"].find_one_and_update(
        {"client_id": "station-bot"},
        {"$set": changes, "$inc": {"version": 1}},
        return_document=ReturnDocument.AFTER,
    )
    node.cache.put(client_of(changed))


@pytest.mark.gen_test
async def test_what_was_issued_is_verified(service: TokenService, bot: Client) -> None:
    issued = await issue(service, bot, "bot:api")
    assert (issued.expires_in, issued.scopes) == (600, ("bot:api",))
    token = await service.verify(issued.access_token)
    assert token.sub == token.client_id == "station-bot"
    assert token.scopes == {"bot:api"}
    assert (token.jti, token.exp - token.iat) == (issued.jti, 600)


@pytest.mark.gen_test
async def test_header_and_claims(service: TokenService, bot: Client) -> None:
    before = int(time.time())
    issued = await issue(service, bot)
    decoded = jwt.decode_complete(
        issued.access_token, KEY, algorithms=["HS256"], audience=AUDIENCE, issuer=ISSUER
    )
    assert decoded["header"] == {"alg": "HS256", "typ": "at+jwt"}
    claims = decoded["payload"]
    assert before <= claims["iat"] <= time.time()
    assert claims == {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": "station-bot",
        "client_id": "station-bot",
        "type": "client",
        "scopes": ["bot:api", "bot:write"],
        "scope": "bot:api bot:write",
        "gen": "g1",
        "jti": issued.jti,
        "iat": claims["iat"],
        "exp": claims["iat"] + 600,
    }


@pytest.mark.gen_test
async def test_a_client_may_have_a_lifetime_of_its_own(service: TokenService, bot: Client) -> None:
    issued = await issue(service, dataclasses.replace(bot, token_ttl=60))
    token = await service.verify(issued.access_token)
    assert issued.expires_in == token.exp - token.iat == 60


@pytest.mark.gen_test
async def test_tokens_of_one_moment_are_distinct_and_live_side_by_side(
    service: TokenService, bot: Client
) -> None:
    issued = await asyncio.gather(*[issue(service, bot) for _ in range(3)])
    assert len({token.jti for token in issued}) == 3
    for token in issued:
        await service.verify(token.access_token)


@pytest.mark.gen_test
async def test_the_record_tells_what_was_granted_and_who_got_it(
    service: TokenService, bot: Client, resources: Resources
) -> None:
    issued = await issue(service, bot, "bot:write", user_agent="x" * 1000)
    key = f"client-token:station-bot:{issued.jti}"
    live = f"client-tokens:station-bot:{bot.generation}"
    assert sorted(await resources.redis.keys()) == sorted([key.encode(), live.encode()])
    record = json.loads(await resources.redis.get(key) or b"")
    assert (record["scopes"], record["address"]) == (["bot:write"], "203.0.113.9")
    assert (record["expires_at"] - record["issued_at"], record["user_agent"]) == (600, "x" * 256)
    assert 599 <= await resources.redis.ttl(key) <= 600


@pytest.mark.gen_test
async def test_no_token_leaves_before_its_record_is_acknowledged(
    make_node: MakeNode, resources: Resources, redis_server: FakeServer, bot: Client
) -> None:
    slow = SlowRedis(redis_server)
    service = service_of(make_node(dataclasses.replace(resources, redis=slow)))
    issuing = asyncio.create_task(issue(service, bot))
    await slow.asked.wait()
    done, _ = await asyncio.wait([issuing], timeout=0.05)
    assert not done
    slow.go.set()
    issued = await issuing
    assert await resources.redis.exists(f"client-token:station-bot:{issued.jti}") == 1


@pytest.mark.gen_test
async def test_without_redis_there_is_no_token_and_those_that_live_are_verified(
    service: TokenService, bot: Client, redis_server: FakeServer
) -> None:
    issued = await issue(service, bot)
    redis_server.connected = False
    with pytest.raises(ServiceUnavailable):
        await issue(service, bot)
    await service.verify(issued.access_token)


class FadingStore(ClientStore):
    """MongoDB is away from when it is told."""

    away = False

    async def find(self, client_id: str) -> Client | None:
        if self.away:
            raise ServiceUnavailable("away")
        return await super().find(client_id)


@pytest.mark.gen_test
async def test_without_mongodb_the_tokens_of_clients_that_are_in_memory_go_on(
    node: Node, resources: Resources, bot: Client
) -> None:
    store = FadingStore(resources)
    node.cache = ClientCache(store, size=10)
    service = service_of(node)
    issued, later = await issue(service, bot), await issue(service, bot)
    await service.verify(issued.access_token)
    store.away = True
    for token in (issued, later):
        await service.verify(token.access_token)
    node.cache.clear()
    with pytest.raises(ServiceUnavailable):
        await service.verify(issued.access_token)


@pytest.mark.gen_test
async def test_without_mongodb_nothing_is_verified_anew_or_revoked(
    make_node: MakeNode, resources: Resources, redis_server: FakeServer, bot: Client
) -> None:
    nowhere: AsyncIOMotorClient[dict[str, Any]] = AsyncIOMotorClient(
        "mongodb://127.0.0.1:1", serverSelectionTimeoutMS=20
    )
    service = service_of(make_node(dataclasses.replace(resources, database=nowhere["station"])))
    issued = await issue(service, bot)
    outcomes = await asyncio.gather(
        service.verify(issued.access_token), service.revoke(bot, issued.access_token), return_exceptions=True
    )
    assert [type(outcome) for outcome in outcomes] == [ServiceUnavailable] * 2
    assert not await resources.redis.exists(f"blacklist:{issued.jti}")
    nowhere.close()


@pytest.mark.gen_test
async def test_a_process_that_is_stale_verifies_nothing(
    service: TokenService, node: Node, resources: Resources, bot: Client
) -> None:
    issued = await issue(service, bot)
    await service.verify(issued.access_token)
    node.follower = Follower(
        ChangeStore(resources),
        node.tokens,
        clients=node.cache,
        revoked=node.revoked,
        keyring=node.keyring,
        max_staleness=3600,  # and it has never heard of MongoDB
    )
    with pytest.raises(ServiceUnavailable):
        await service_of(node).verify(issued.access_token)


@pytest.mark.gen_test
async def test_of_a_token_that_a_throttle_refuses_nothing_stays(
    make_node: MakeNode, engine_resources: Resources
) -> None:
    node = make_node(engine_resources, KEY)
    service, bot = service_of(node), await node.clients.insert(BOT)
    throttle = Throttle(node.resources.redis, node.resources.pipeline)

    async def ask() -> IssuedToken:
        admission = throttle.admit(Hit("token", "here", Limit(60_000, 1)))
        return await service.issue(bot, bot.scopes, admission=admission, address="", user_agent="")

    answers = await asyncio.gather(*[ask() for _ in range(3)], return_exceptions=True)
    [issued] = [answer for answer in answers if isinstance(answer, IssuedToken)]
    assert [type(answer) for answer in answers].count(TooManyRequests) == 2
    assert await node.resources.redis.keys("client-token:*") == [
        f"client-token:station-bot:{issued.jti}".encode()
    ]
    assert [token.jti for token in (await node.tokens.list(bot, limit=10)).tokens] == [issued.jti]
    await node.audit.flush()
    counted = await node.resources.database["audit_events"].find_one({"action": "token.issued"})
    assert counted is not None
    assert counted["count"] == 1


@pytest.mark.gen_test
async def test_losing_redis_revives_no_token(
    service: TokenService, make_node: MakeNode, bot: Client, resources: Resources
) -> None:
    dead, alive = await issue(service, bot), await issue(service, bot)
    await service.revoke(bot, dead.access_token)
    await resources.redis.flushall()
    restarted = make_node(resources, KEY)
    async for jtis in restarted.tokens.revoked():  # as it does before it serves
        for jti in jtis:
            restarted.revoked.add(jti)
    for process in (service, service_of(restarted)):
        await refused(process, dead.access_token)
        await process.verify(alive.access_token)


@pytest.mark.gen_test
async def test_a_revocation_is_in_mongodb_before_redis_is_asked(
    service: TokenService,
    make_node: MakeNode,
    bot: Client,
    resources: Resources,
    redis_server: FakeServer,
) -> None:
    issued = await issue(service, bot)
    slow = SlowRedis(redis_server)
    revoker = service_of(make_node(dataclasses.replace(resources, redis=slow), KEY))
    revoking = asyncio.create_task(revoker.revoke(bot, issued.access_token))
    await slow.asked.wait()
    await refused(revoker, issued.access_token)
    assert await resources.database["revoked_tokens"].find_one({"_id": issued.jti})
    assert not revoking.done()
    slow.go.set()
    await revoking
    assert await resources.redis.keys() == [f"blacklist:{issued.jti}".encode()]


@pytest.mark.gen_test
async def test_a_revocation_that_redis_does_not_hear_is_no_success_and_holds(
    service: TokenService, bot: Client, redis_server: FakeServer
) -> None:
    issued = await issue(service, bot)
    redis_server.connected = False
    with pytest.raises(ServiceUnavailable):
        await service.revoke(bot, issued.access_token)
    redis_server.connected = True
    await refused(service, issued.access_token)
    await service.revoke(bot, issued.access_token)  # and the client, who tries again, gets its answer


@pytest.mark.gen_test
async def test_only_ones_own_tokens_are_revoked(
    service: TokenService, bot: Client, resources: Resources
) -> None:
    issued = await issue(service, bot)
    with pytest.raises(InvalidGrant):
        await service.revoke(dataclasses.replace(bot, client_id="another"), issued.access_token)
    head, _, _ = issued.access_token.rpartition(".")
    for garbage in ("", "x", "a.b.c", f"{head}.", f"{head}.{'A' * 43}"):
        await service.revoke(bot, garbage)
    assert await resources.database["revoked_tokens"].count_documents({}) == 0
    await service.verify(issued.access_token)


@pytest.mark.parametrize(
    "changes", [{"generation": "g2"}, {"is_active": False}, {"client_id": "renamed"}], ids=str
)
@pytest.mark.gen_test
async def test_a_token_dies_with_its_client_and_its_generation(
    service: TokenService, bot: Client, node: Node, changes: dict[str, object]
) -> None:
    issued = await issue(service, bot)
    await service.verify(issued.access_token)
    await change(node, **changes)
    await refused(service, issued.access_token)


@pytest.mark.gen_test
async def test_registering_an_id_again_revives_no_token(
    service: TokenService, bot: Client, node: Node, resources: Resources
) -> None:
    issued = await issue(service, bot)
    await service.verify(issued.access_token)
    await resources.database["oauth_clients"].delete_one({"client_id": "station-bot"})
    node.cache.drop(bot.id)
    await refused(service, issued.access_token)
    again = await ClientStore(resources).insert(dataclasses.replace(bot, generation="g2"))
    await refused(service, issued.access_token)
    await service.verify((await issue(service, again)).access_token)


@pytest.mark.gen_test
async def test_a_scope_that_the_client_loses_is_lost_to_its_live_tokens(
    service: TokenService, bot: Client, node: Node
) -> None:
    narrow, wide = await issue(service, bot, "bot:write"), await issue(service, bot)

    async def scopes() -> list[frozenset[str]]:
        return [(await service.verify(token.access_token)).scopes for token in (narrow, wide)]

    await change(node, scopes=["bot:api", "bot:admin"])
    assert await scopes() == [frozenset(), {"bot:api"}]  # what was not granted is not gained either
    await change(node, scopes=["bot:api", "bot:write"])
    assert await scopes() == [{"bot:write"}, {"bot:api", "bot:write"}]


@pytest.mark.gen_test
async def test_the_previous_key_verifies_and_never_signs(
    make_node: MakeNode, resources: Resources, bot: Client
) -> None:
    old, new = service_of(make_node(resources, OLD_KEY)), service_of(make_node(resources, KEY))
    rotating = service_of(make_node(resources, KEY, OLD_KEY))
    before, during = await issue(old, bot), await issue(rotating, bot)
    for issued in (before, during):
        await rotating.verify(issued.access_token)
    await new.verify(during.access_token)
    await refused(old, during.access_token)
    await refused(new, before.access_token)
