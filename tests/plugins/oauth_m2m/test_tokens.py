"""What an access token is worth; what forged ones are worth is in test_rfc9068.py."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import jwt
import pytest
from fakeredis import FakeAsyncRedis, FakeServer
from mongomock_motor import AsyncMongoMockClient
from motor.motor_asyncio import AsyncIOMotorClient

from plugins.oauth_m2m.errors import InvalidGrant, InvalidToken
from plugins.oauth_m2m.keyring import Keyring
from plugins.oauth_m2m.models import Client, IssuedToken, SigningKey, SigningKeys
from plugins.oauth_m2m.stores import ClientStore, KeyStore, TokenStore
from plugins.oauth_m2m.tokens import TokenService
from station.audit import AuditLog, AuditStore
from station.errors import ServiceUnavailable
from station.resources import Resources

if TYPE_CHECKING:
    from redis.asyncio.client import Pipeline
    from tornado.ioloop import IOLoop

KEY = "a-signing-key-of-more-than-32-bytes-for-the-tests"
OLD_KEY = "an-older-signing-key-of-more-than-32-bytes-for-tests"
ISSUER = "https://station.example"
AUDIENCE = "https://api.station.example"
BOT = Client(
    id="",
    client_id="station-bot",
    name="",
    salt="",
    secrets=(),
    scopes=("bot:api", "bot:write"),
    is_active=True,
    token_ttl=None,
    generation="g1",
    version=1,
    created_at=datetime(2025, 1, 2, tzinfo=UTC),
    updated_at=datetime(2025, 1, 2, tzinfo=UTC),
)


class SlowRedis(FakeAsyncRedis):
    """Acknowledges nothing before ``go`` is set."""

    def __init__(self, server: FakeServer) -> None:
        super().__init__(server=server)
        self.asked, self.go = asyncio.Event(), asyncio.Event()

    def pipeline(self, transaction: bool = True, shard_hint: str | None = None) -> Pipeline:
        pipe: Pipeline = super().pipeline(transaction, shard_hint)
        execute = pipe.execute

        async def wait(raise_on_error: bool = True) -> list[Any]:
            self.asked.set()
            await self.go.wait()
            return await execute(raise_on_error)

        pipe.execute = wait  # type: ignore[method-assign] # of this one pipeline
        return pipe


@pytest.fixture
def redis_server() -> FakeServer:
    return FakeServer()


@pytest.fixture
def resources(redis_server: FakeServer) -> Resources:
    return Resources(AsyncMongoMockClient(tz_aware=True)["station"], FakeAsyncRedis(server=redis_server))


@pytest.fixture
def bot(io_loop: IOLoop, resources: Resources) -> Client:
    client: Client = io_loop.run_sync(lambda: ClientStore(resources).insert(BOT))
    return client


def make_service(resources: Resources, *keys: str) -> TokenService:
    audit = AuditLog(AuditStore(resources, timedelta(days=1)))
    keyring = Keyring(KeyStore(resources), audit=audit, alg="HS256", jwt_secrets=keys or [KEY])
    keyring.use(SigningKeys(1, (SigningKey("HS256", "HS256", "active", published_at=BOT.created_at),)))
    return TokenService(
        ClientStore(resources),
        TokenStore(resources),
        keyring=keyring,
        audit=audit,
        issuer=ISSUER,
        audience=AUDIENCE,
        ttl=600,
    )


@pytest.fixture
def service(resources: Resources) -> TokenService:
    return make_service(resources)


async def issue(
    service: TokenService, client: Client, *scopes: str, user_agent: str = "curl/8"
) -> IssuedToken:
    return await service.issue(client, scopes or client.scopes, address="203.0.113.9", user_agent=user_agent)


async def refused(service: TokenService, token: str) -> None:
    with pytest.raises(InvalidToken):
        await service.verify(token)


async def change(resources: Resources, **changes: object) -> None:
    """Change the client behind the service's back, as another node does."""
    await resources.database["oauth_clients"].update_one({"client_id": "station-bot"}, {"$set": changes})


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
    assert await resources.redis.expiretime(key) == record["expires_at"]


@pytest.mark.gen_test
async def test_no_token_leaves_before_its_record_is_acknowledged(
    resources: Resources, redis_server: FakeServer, bot: Client
) -> None:
    slow = SlowRedis(redis_server)
    issuing = asyncio.create_task(issue(make_service(dataclasses.replace(resources, redis=slow)), bot))
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


@pytest.mark.gen_test
async def test_without_mongodb_nothing_is_verified(resources: Resources, bot: Client) -> None:
    nowhere: AsyncIOMotorClient[dict[str, Any]] = AsyncIOMotorClient(
        "mongodb://127.0.0.1:1", serverSelectionTimeoutMS=20
    )
    service = make_service(dataclasses.replace(resources, database=nowhere["station"]))
    issued = await issue(service, bot)
    outcomes = await asyncio.gather(
        service.verify(issued.access_token), service.revoke(bot, issued.access_token), return_exceptions=True
    )
    assert [type(outcome) for outcome in outcomes] == [ServiceUnavailable] * 2
    nowhere.close()


@pytest.mark.gen_test
async def test_losing_redis_revives_no_token(
    service: TokenService, bot: Client, resources: Resources
) -> None:
    dead, alive = await issue(service, bot), await issue(service, bot)
    await service.revoke(bot, dead.access_token)
    await resources.redis.flushall()
    await refused(service, dead.access_token)
    await service.verify(alive.access_token)


@pytest.mark.gen_test
async def test_a_revocation_is_in_mongodb_before_redis_is_asked(
    service: TokenService, bot: Client, resources: Resources, redis_server: FakeServer
) -> None:
    issued = await issue(service, bot)
    slow = SlowRedis(redis_server)
    revoking = asyncio.create_task(
        make_service(dataclasses.replace(resources, redis=slow)).revoke(bot, issued.access_token)
    )
    await slow.asked.wait()
    await refused(service, issued.access_token)
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
    service: TokenService, bot: Client, resources: Resources, changes: dict[str, object]
) -> None:
    issued = await issue(service, bot)
    await service.verify(issued.access_token)
    await change(resources, **changes)
    await refused(service, issued.access_token)


@pytest.mark.gen_test
async def test_registering_an_id_again_revives_no_token(
    service: TokenService, bot: Client, resources: Resources
) -> None:
    issued = await issue(service, bot)
    await resources.database["oauth_clients"].delete_one({"client_id": "station-bot"})
    await refused(service, issued.access_token)
    again = await ClientStore(resources).insert(dataclasses.replace(bot, generation="g2"))
    await refused(service, issued.access_token)
    await service.verify((await issue(service, again)).access_token)


@pytest.mark.gen_test
async def test_a_scope_that_the_client_loses_is_lost_to_its_live_tokens(
    service: TokenService, bot: Client, resources: Resources
) -> None:
    narrow, wide = await issue(service, bot, "bot:write"), await issue(service, bot)

    async def scopes() -> list[frozenset[str]]:
        return [(await service.verify(token.access_token)).scopes for token in (narrow, wide)]

    await change(resources, scopes=["bot:api", "bot:admin"])
    assert await scopes() == [frozenset(), {"bot:api"}]  # what was not granted is not gained either
    await change(resources, scopes=["bot:api", "bot:write"])
    assert await scopes() == [{"bot:write"}, {"bot:api", "bot:write"}]


@pytest.mark.gen_test
async def test_the_previous_key_verifies_and_never_signs(resources: Resources, bot: Client) -> None:
    old, new = make_service(resources, OLD_KEY), make_service(resources, KEY)
    rotating = make_service(resources, KEY, OLD_KEY)
    before, during = await issue(old, bot), await issue(rotating, bot)
    for issued in (before, during):
        await rotating.verify(issued.access_token)
    await new.verify(during.access_token)
    await refused(old, during.access_token)
    await refused(new, before.access_token)
