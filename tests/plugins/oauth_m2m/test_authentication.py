from __future__ import annotations

import asyncio
import dataclasses
import re
import threading
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import bcrypt
import pytest

from plugins.oauth_m2m.authentication import ClientAuthenticator
from plugins.oauth_m2m.credentials import ClientCredentials
from plugins.oauth_m2m.errors import InvalidClient
from plugins.oauth_m2m.memory import SecretMemory
from plugins.oauth_m2m.mirror import ClientCache, Follower
from plugins.oauth_m2m.models import Client, ClientSecret, Registration
from plugins.oauth_m2m.stores import ChangeStore, ClientStore, MemoryStore
from station.errors import ServiceUnavailable, TooManyRequests
from station.passwords import PasswordHasher, parse_hash
from station.throttle import Hit, Limit, Throttle

if TYPE_CHECKING:
    from fakeredis import FakeServer
    from tornado.ioloop import IOLoop

    from plugins.oauth_m2m.clients import ClientService
    from station.resources import Resources
    from tests.plugins.oauth_m2m.conftest import FullHasher, MakeNode, MeteredHasher, Node

SECRET = "a-client-secret-of-more-than-32-characters"
OTHER = "another-secret-of-more-than-32-characters"
REGISTRATION = Registration("station-bot", ("bot:api",), client_secret=SECRET)
COST = 5


@pytest.fixture
def service(node: Node, hasher: MeteredHasher) -> ClientService:
    return node.client_service(hasher)


async def rotate(node: Node, hasher: PasswordHasher, client: Client, client_id: str) -> Client:
    """Store ``client`` under another id with a second live secret, OTHER, as a rotation does."""
    second = ClientSecret(
        id="second", hash=await hasher.hash(OTHER.encode(), salt=client.salt), created_at=client.created_at
    )
    return await node.clients.insert(
        dataclasses.replace(client, client_id=client_id, secrets=(*client.secrets, second))
    )


async def expire(node: Node, client: Client, client_id: str) -> Client:
    """Store ``client`` under another id with its secrets expired a moment ago."""
    past = datetime.now(UTC) - timedelta(milliseconds=1)
    secrets = tuple(dataclasses.replace(secret, expires_at=past) for secret in client.secrets)
    return await node.clients.insert(dataclasses.replace(client, client_id=client_id, secrets=secrets))


async def refused(
    node: Node,
    presenting: PasswordHasher | ClientAuthenticator,
    *secrets: str,
    client_id: str = "station-bot",
) -> InvalidClient:
    with pytest.raises(InvalidClient) as error:
        await node.authenticate(presenting, *secrets, client_id=client_id)
    return error.value


@pytest.mark.gen_test
async def test_any_reading_of_the_secret_may_be_the_right_one(
    node: Node, service: ClientService, hasher: MeteredHasher
) -> None:
    client, _ = await service.register(REGISTRATION)
    hasher.rounds.clear()
    for readings in ((SECRET, "x"), ("x", SECRET), (SECRET,)):
        assert (await node.authenticate(hasher, *readings)).client == client
    assert len(hasher.rounds) == 3  # one place of the queue each
    await refused(node, hasher, "x", "y")


@pytest.mark.gen_test
async def test_while_a_secret_is_rotated_both_authenticate(
    node: Node, service: ClientService, hasher: MeteredHasher
) -> None:
    client, _ = await service.register(REGISTRATION)
    rotated = await rotate(node, hasher, client, "rotated")
    hasher.rounds.clear()
    for secret, stored in zip((SECRET, OTHER), rotated.secrets, strict=True):
        authenticated = await node.authenticate(hasher, secret, client_id="rotated")
        assert (authenticated.client, authenticated.secret) == (rotated, stored)
    assert hasher.rounds == [2**COST] * 2  # their salt is one, so one bcrypt checks both
    await refused(node, hasher, OTHER)


@pytest.mark.gen_test
async def test_every_failure_is_one_error_after_the_same_work(
    node: Node, service: ClientService, hasher: MeteredHasher, cheap_hasher: PasswordHasher
) -> None:
    await node.client_service(cheap_hasher).register(dataclasses.replace(REGISTRATION, client_id="cheap"))
    client, _ = await service.register(REGISTRATION)
    await rotate(node, hasher, client, "rotated")
    await expire(node, client, "expired")
    await node.clients.insert(dataclasses.replace(client, client_id="disabled", is_active=False))
    await node.clients.insert(dataclasses.replace(client, client_id="without-secrets", secrets=()))
    hasher.rounds.clear()
    door = node.authenticator(hasher)
    errors = [
        await refused(node, door, secret, client_id=client_id)
        for client_id, secret in [
            ("unknown", SECRET),
            ("disabled", SECRET),
            ("disabled", "wrong"),
            ("expired", SECRET),
            ("expired", "wrong"),
            ("without-secrets", SECRET),
            ("station-bot", "wrong"),
            ("rotated", "wrong"),
            ("cheap", "wrong"),
        ]
    ]
    assert hasher.rounds == [2**COST] * len(errors)
    hasher.rounds.clear()
    errors += [
        await refused(node, door, "wrong", "as sent", client_id=client_id)
        for client_id in ("unknown", "disabled", "expired", "station-bot", "rotated", "cheap")
    ]
    assert set(hasher.rounds) == {2 * 2**COST}  # both readings, for everybody
    assert len({(error.status, str(error.body("")), str(error.headers)) for error in errors}) == 1


@pytest.mark.gen_test
async def test_bcrypt_is_never_on_the_event_loop(
    node: Node, service: ClientService, hasher: MeteredHasher
) -> None:
    await service.register(REGISTRATION)
    await node.authenticate(hasher, SECRET)
    await refused(node, hasher, "wrong")
    await refused(node, hasher, "wrong", client_id="unknown")
    assert len(hasher.rounds) == 4
    assert hasher.threads
    assert threading.get_ident() not in hasher.threads


class TestARememberedSecret:
    """What was right once costs no bcrypt again in the same process."""

    @pytest.mark.gen_test
    async def test_costs_no_bcrypt_and_no_round_trip(
        self, node: Node, service: ClientService, hasher: MeteredHasher, redis_server: FakeServer
    ) -> None:
        client, _ = await service.register(REGISTRATION)
        door = node.authenticator(hasher)
        await node.authenticate(door, SECRET)
        hasher.rounds.clear()
        redis_server.connected = False
        for readings in ((SECRET,), ("x", SECRET)):
            authenticated = await node.authenticate(door, *readings)
            assert (authenticated.client, authenticated.secret) == (client, client.secrets[0])
        assert hasher.rounds == []

    @pytest.mark.gen_test
    async def test_leaves_it_to_the_caller_to_settle_the_throttle(
        self, node: Node, service: ClientService, hasher: MeteredHasher
    ) -> None:
        """The counter travels with the token's record then; before bcrypt it is waited for."""
        await service.register(REGISTRATION)
        throttle = Throttle(node.resources.redis)
        door, one = node.authenticator(hasher), Limit(60_000, 1)
        right = ClientCredentials("station-bot", (SECRET.encode(),), "client_secret_basic")
        wrong = ClientCredentials("station-bot", (b"wrong",), "client_secret_basic")
        await door.authenticate(right, admission=throttle.admit(Hit("token", "here", one)))
        hasher.rounds.clear()
        late = throttle.admit(Hit("token", "here", one))
        await door.authenticate(right, admission=late)
        with pytest.raises(TooManyRequests):
            await late.settled()
        with pytest.raises(TooManyRequests):
            await door.authenticate(wrong, admission=throttle.admit(Hit("token", "here", one)))
        assert hasher.rounds == []

    @pytest.mark.gen_test
    async def test_is_not_remembered_in_place_of_another(
        self, node: Node, service: ClientService, hasher: MeteredHasher
    ) -> None:
        await service.register(REGISTRATION)
        await service.register(dataclasses.replace(REGISTRATION, client_id="other", client_secret=OTHER))
        door = node.authenticator(hasher)
        await node.authenticate(door, SECRET)
        hasher.rounds.clear()
        for secret, client_id in (("wrong", "station-bot"), (SECRET, "other"), (SECRET, "unknown")):
            await refused(node, door, secret, client_id=client_id)
        assert hasher.rounds == [2**COST] * 3

    @pytest.mark.gen_test
    async def test_ends_with_the_client_and_with_the_secret(
        self, node: Node, service: ClientService, hasher: MeteredHasher
    ) -> None:
        await service.register(REGISTRATION)
        door = node.authenticator(hasher)
        await node.authenticate(door, SECRET)
        await service.change("station-bot", {"is_active": False})
        await refused(node, door, SECRET)
        await service.change("station-bot", {"is_active": True})
        await node.authenticate(door, SECRET)
        hashed = bcrypt.hashpw(OTHER.encode(), bcrypt.gensalt(COST)).decode()
        await service.change("station-bot", {"secret_hashes": (hashed,)})
        await refused(node, door, SECRET)
        await service.delete("station-bot")
        await refused(node, door, OTHER)

    @pytest.mark.gen_test
    async def test_ends_when_it_expires(
        self, node: Node, service: ClientService, hasher: MeteredHasher
    ) -> None:
        client, _ = await service.register(REGISTRATION)
        door = node.authenticator(hasher)
        await node.authenticate(door, SECRET)
        past = datetime.now(UTC) - timedelta(milliseconds=1)
        expired = dataclasses.replace(client.secrets[0], expires_at=past)
        _, changed = await node.clients.update("station-bot", {"secrets": (expired,)}, None)
        node.cache.put(changed)
        await refused(node, door, SECRET)

    @pytest.mark.gen_test
    async def test_is_right_for_the_other_processes_only_if_station_generated_it(
        self, make_node: MakeNode, node: Node, service: ClientService, hasher: MeteredHasher
    ) -> None:
        await service.register(REGISTRATION)
        _, generated = await service.register(
            dataclasses.replace(REGISTRATION, client_id="generated", client_secret=None)
        )
        assert generated is not None
        bots = (("station-bot", SECRET), ("generated", generated))
        for client_id, secret in bots:
            await node.authenticate(hasher, secret, client_id=client_id)
        hasher.rounds.clear()
        restarted = make_node(node.resources)
        door = restarted.authenticator(hasher)
        for client_id, secret in bots:
            await restarted.authenticate(door, secret, client_id=client_id)
        assert hasher.rounds == [2**COST]


class TestSimultaneousRequests:
    """Those that ask the same share the work."""

    @pytest.mark.gen_test
    async def test_share_one_bcrypt(self, node: Node, service: ClientService, hasher: MeteredHasher) -> None:
        client, _ = await service.register(REGISTRATION)
        hasher.rounds.clear()
        door = node.authenticator(hasher)
        found = await asyncio.gather(*[node.authenticate(door, SECRET) for _ in range(50)])
        assert {one.client for one in found} == {client}
        assert hasher.rounds == [2**COST]

    @pytest.mark.gen_test
    async def test_share_their_refusal_and_it_is_not_remembered(
        self, node: Node, service: ClientService, hasher: MeteredHasher
    ) -> None:
        await service.register(REGISTRATION)
        hasher.rounds.clear()
        door = node.authenticator(hasher)
        for _ in range(2):
            await asyncio.gather(*[refused(node, door, "wrong") for _ in range(10)])
        assert hasher.rounds == [2**COST] * 2

    @pytest.mark.gen_test
    async def test_one_that_ends_takes_nothing_from_the_others(
        self, node: Node, service: ClientService, hasher: MeteredHasher
    ) -> None:
        client, _ = await service.register(REGISTRATION)
        door = node.authenticator(hasher)
        first, second = (asyncio.create_task(node.authenticate(door, SECRET)) for _ in range(2))
        while not door._flights:  # noqa: ASYNC110 - the first has to have begun
            await asyncio.sleep(0)
        first.cancel()
        assert (await second).client == client
        assert first.cancelled()

    @pytest.mark.gen_test
    async def test_take_a_new_cost_once(
        self, node: Node, hasher: MeteredHasher, cheap_hasher: PasswordHasher
    ) -> None:
        await node.client_service(cheap_hasher).register(REGISTRATION)
        door = node.authenticator(hasher)
        await asyncio.gather(*[node.authenticate(door, SECRET) for _ in range(10)])
        assert hasher.rounds[1:] == [2**COST]  # after the one that has found it outdated


class TestANewCost:
    """A client of a lower cost meets a service whose cost was raised."""

    @pytest.fixture
    def client(self, io_loop: IOLoop, node: Node, cheap_hasher: PasswordHasher) -> Client:
        client: Client
        client, _ = io_loop.run_sync(lambda: node.client_service(cheap_hasher).register(REGISTRATION))
        return client

    @staticmethod
    async def cost(node: Node, client_id: str = "station-bot") -> set[str]:
        client = await node.clients.get(client_id)
        return set(re.findall(r"r=(\d+)\$", " ".join(secret.hash for secret in client.secrets)))

    @pytest.mark.gen_test
    async def test_is_taken_at_the_next_success(
        self, client: Client, node: Node, hasher: MeteredHasher
    ) -> None:
        store = node.clients
        await refused(node, hasher, "wrong")
        assert await store.get("station-bot") == client
        assert (await node.authenticate(hasher, "as sent", SECRET)).client == client
        assert await self.cost(node) == {str(COST)}
        replaced = await store.get("station-bot")
        assert replaced.salt != client.salt
        assert replaced.salt in replaced.secrets[0].hash
        assert [secret.id for secret in replaced.secrets] == [secret.id for secret in client.secrets]
        hasher.rounds.clear()
        assert (await node.authenticate(hasher, SECRET)).client == replaced
        assert hasher.rounds == [2**COST]  # and not again
        assert await store.get("station-bot") == replaced

    @pytest.mark.gen_test
    async def test_is_not_taken_while_two_secrets_live(
        self, client: Client, node: Node, hasher: MeteredHasher, cheap_hasher: PasswordHasher
    ) -> None:
        rotated = await rotate(node, cheap_hasher, client, "rotated")
        for secret in (SECRET, OTHER):
            await node.authenticate(hasher, secret, client_id="rotated")
        assert await node.clients.get("rotated") == rotated

    @pytest.mark.gen_test
    async def test_is_taken_beside_a_secret_that_has_expired(
        self, client: Client, node: Node, hasher: MeteredHasher, cheap_hasher: PasswordHasher
    ) -> None:
        rotated = await rotate(node, cheap_hasher, client, "rotated")
        past = datetime.now(UTC) - timedelta(seconds=1)
        first, second = rotated.secrets
        await node.clients.insert(
            dataclasses.replace(
                rotated, client_id="aged", secrets=(dataclasses.replace(first, expires_at=past), second)
            )
        )
        await node.authenticate(hasher, OTHER, client_id="aged")
        await node.authenticate(hasher, OTHER, client_id="aged")
        await refused(node, hasher, SECRET, client_id="aged")
        aged = await node.clients.get("aged")
        assert (aged.secrets[0].hash, aged.secrets[1].hash != second.hash) == (first.hash, True)

    @pytest.mark.gen_test
    async def test_waits_when_no_bcrypt_is_free(
        self, client: Client, node: Node, full_hasher: FullHasher
    ) -> None:
        assert (await node.authenticate(full_hasher, SECRET)).client == client
        assert await node.clients.get("station-bot") == client


class TestImportedHashes:
    """A client whose secret was hashed elsewhere, by bcrypt alone."""

    IMPORT = dataclasses.replace(REGISTRATION, client_secret=None)

    @staticmethod
    def raw(secret: str, cost: int = COST) -> str:
        return bcrypt.hashpw(secret.encode(), bcrypt.gensalt(cost)).decode()

    @pytest.mark.parametrize("cost", [COST - 1, COST])
    @pytest.mark.parametrize("secret", [SECRET, "s" * 72])
    @pytest.mark.gen_test
    async def test_its_secret_goes_on_working_and_is_rehashed_at_the_first_success(
        self, service: ClientService, node: Node, hasher: MeteredHasher, secret: str, cost: int
    ) -> None:
        stored = self.raw(secret, cost)
        client = await service.import_client(self.IMPORT, [stored])
        assert (client.secrets[0].hash, client.salt) == (stored, stored[7:29])
        hasher.rounds.clear()
        for wrong in ("wrong", "w" * 72, "w" * 73, "w" * 128, secret + "x"):
            await refused(node, hasher, wrong)
        await refused(node, hasher, "wrong", client_id="unknown")
        assert set(hasher.rounds) == {2**COST}
        assert await node.clients.get("station-bot") == client
        assert (await node.authenticate(hasher, secret)).client == client
        rehashed = await node.clients.get("station-bot")
        assert rehashed.secrets[0].hash.startswith(f"$bcrypt-sha256$v=2,t=2b,r={COST}$")
        assert rehashed.secrets[0].id == client.secrets[0].id
        assert (rehashed.version, rehashed.salt) == (1, parse_hash(rehashed.secrets[0].hash).salt)
        hasher.rounds.clear()
        assert (await node.authenticate(hasher, secret)).client == rehashed
        await refused(node, hasher, "wrong")
        assert hasher.rounds == [2**COST] * 2

    @pytest.mark.gen_test
    async def test_what_the_other_tool_cut_off_at_72_bytes_does_not_work(
        self, service: ClientService, node: Node, hasher: MeteredHasher
    ) -> None:
        secret = "s" * 72 + "and more"
        await service.import_client(self.IMPORT, [self.raw(secret[:72])])
        hasher.rounds.clear()
        await refused(node, hasher, secret)
        assert hasher.rounds == [2**COST]

    @pytest.mark.gen_test
    async def test_hashes_of_ours_may_be_several_if_one_bcrypt_checks_them(
        self, service: ClientService, node: Node, hasher: MeteredHasher
    ) -> None:
        salt = hasher.new_salt()
        hashes = [await hasher.hash(secret.encode(), salt=salt) for secret in (SECRET, OTHER)]
        client = await service.import_client(self.IMPORT, hashes)
        hasher.rounds.clear()
        for secret in (SECRET, OTHER):
            assert (await node.authenticate(hasher, secret)).client == client
        await refused(node, hasher, "wrong")
        assert hasher.rounds == [2**COST] * 3


class FadingStore(ClientStore):
    """MongoDB is away from when it is told."""

    away = False

    async def find(self, client_id: str) -> Client | None:
        if self.away:
            raise ServiceUnavailable("away")
        return await super().find(client_id)


@pytest.mark.gen_test
async def test_without_mongodb_those_that_are_remembered_go_on(
    node: Node, service: ClientService, hasher: MeteredHasher, resources: Resources
) -> None:
    client, _ = await service.register(REGISTRATION)
    store = FadingStore(resources)
    memory = SecretMemory(MemoryStore(resources), jwt_secret="x" * 32, size=10)
    cache = ClientCache(store, size=10)
    door = ClientAuthenticator(store, cache, node.follower, memory=memory, hasher=hasher)
    await node.authenticate(door, SECRET)
    store.away = True
    assert (await node.authenticate(door, SECRET)).client == client
    hasher.rounds.clear()
    for secret, client_id in (("wrong", "station-bot"), (SECRET, "unknown")):
        with pytest.raises(ServiceUnavailable):
            await node.authenticate(door, secret, client_id=client_id)
    assert hasher.rounds == []


@pytest.mark.gen_test
async def test_a_process_that_is_stale_authenticates_nobody(
    node: Node, service: ClientService, hasher: MeteredHasher, resources: Resources
) -> None:
    await service.register(REGISTRATION)
    stale = Follower(
        ChangeStore(resources),
        node.tokens,
        clients=node.cache,
        revoked=node.revoked,
        keyring=node.keyring,
        max_staleness=3600,  # and it has never heard of MongoDB
    )
    memory = SecretMemory(MemoryStore(resources), jwt_secret="x" * 32, size=10)
    door = ClientAuthenticator(node.clients, node.cache, stale, memory=memory, hasher=hasher)
    for secret in (SECRET, "wrong"):
        with pytest.raises(ServiceUnavailable):
            await node.authenticate(door, secret)
