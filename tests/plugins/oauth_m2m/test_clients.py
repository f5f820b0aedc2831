from __future__ import annotations

import asyncio
import dataclasses
import re
import sys
import threading
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import bcrypt
import pytest
from fakeredis import FakeAsyncRedis
from mongomock_motor import AsyncMongoMockClient
from motor.motor_asyncio import AsyncIOMotorClient

from plugins.oauth_m2m.clients import ClientService
from plugins.oauth_m2m.credentials import ClientCredentials
from plugins.oauth_m2m.errors import InvalidClient
from plugins.oauth_m2m.migrations import MIGRATIONS
from plugins.oauth_m2m.models import Client, ClientQuery, ClientSecret, Registration
from plugins.oauth_m2m.stores import ClientStore
from station.audit import AuditLog, AuditStore
from station.errors import NotFound, PreconditionFailed, ServiceUnavailable, ValidationFailed
from station.migrations import Migrator
from station.passwords import PasswordHasher, parse_hash
from station.resources import Resources

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

    from tornado.ioloop import IOLoop

T = TypeVar("T")
SECRET = "a-client-secret-of-more-than-32-characters"
OTHER = "another-secret-of-more-than-32-characters"
REGISTRATION = Registration("station-bot", ("bot:api",), client_secret=SECRET, name="The bot", token_ttl=60)
COST = 5


class MeteredHasher(PasswordHasher):
    """Counts the rounds of bcrypt of each job, and keeps the threads that did them."""

    def __init__(self, cost: int = COST) -> None:
        super().__init__(cost, workers=1)
        self.rounds: list[int] = []
        self.threads: set[int] = set()

    async def _run(self, work: Callable[..., T], *arguments: object) -> T:
        def metered() -> T:
            digests: list[int] = []

            def count(frame: FrameType, event: str, _argument: object) -> None:
                if event == "call" and frame.f_code.co_name == "_digest":
                    digests.append(frame.f_locals["cost"])

            sys.setprofile(count)
            try:
                return work(*arguments)
            finally:
                sys.setprofile(None)
                self.rounds.append(sum(2**cost for cost in digests))
                self.threads.add(threading.get_ident())

        return await super()._run(metered)


class FullHasher(PasswordHasher):
    """Verifies, but has no place left to hash."""

    async def hash(self, secret: bytes, *, salt: str | None = None, cost: int | None = None) -> str:
        raise ServiceUnavailable("Too many secrets are being verified.")


@pytest.fixture
def resources() -> Resources:
    return Resources(AsyncMongoMockClient(tz_aware=True)["station"], FakeAsyncRedis())


@pytest.fixture
def store(resources: Resources) -> ClientStore:
    return ClientStore(resources)


@pytest.fixture
def audit(resources: Resources) -> AuditLog:
    return AuditLog(AuditStore(resources, timedelta(days=1)))


@pytest.fixture
def hasher() -> Iterator[MeteredHasher]:
    hasher = MeteredHasher()
    yield hasher
    hasher.close()


@pytest.fixture
def service(store: ClientStore, hasher: MeteredHasher, audit: AuditLog) -> ClientService:
    return ClientService(store, hasher, None, audit)


def credentials(*secrets: str, client_id: str = "station-bot") -> ClientCredentials:
    return ClientCredentials(client_id, tuple(secret.encode() for secret in secrets), "client_secret_basic")


async def rotate(store: ClientStore, hasher: PasswordHasher, client: Client, client_id: str) -> Client:
    """Store ``client`` under another id with a second live secret, OTHER, as a rotation does."""
    second = ClientSecret(
        id="second", hash=await hasher.hash(OTHER.encode(), salt=client.salt), created_at=client.created_at
    )
    return await store.insert(
        dataclasses.replace(client, client_id=client_id, secrets=(*client.secrets, second))
    )


async def expire(store: ClientStore, client: Client, client_id: str) -> Client:
    """Store ``client`` under another id with its secrets expired a moment ago."""
    past = datetime.now(UTC) - timedelta(milliseconds=1)
    secrets = tuple(dataclasses.replace(secret, expires_at=past) for secret in client.secrets)
    return await store.insert(dataclasses.replace(client, client_id=client_id, secrets=secrets))


async def refused(service: ClientService, presented: ClientCredentials) -> InvalidClient:
    with pytest.raises(InvalidClient) as error:
        await service.authenticate(presented)
    return error.value


@pytest.mark.gen_test
async def test_a_client_is_registered_with_a_secret_of_its_own(
    service: ClientService, resources: Resources
) -> None:
    client, generated = await service.register(REGISTRATION)
    assert generated is None
    assert (client.client_id, client.name, client.scopes) == ("station-bot", "The bot", ("bot:api",))
    assert (client.is_active, client.token_ttl, client.version) == (True, 60, 1)
    assert client.created_at == client.updated_at
    assert await service.get("station-bot") == client
    assert (await service.authenticate(credentials(SECRET))).client == client
    [document] = [document async for document in resources.database["oauth_clients"].find()]
    assert SECRET not in str(document)


@pytest.mark.gen_test
async def test_a_generated_secret_has_256_bits_and_is_told_once(
    service: ClientService, resources: Resources
) -> None:
    generated = []
    for client_id in ("one", "two"):
        client, secret = await service.register(Registration(client_id, ("bot:api",)))
        assert secret is not None
        assert re.fullmatch(r"stn_[0-9A-Za-z]{49}", secret)
        assert (await service.authenticate(credentials(secret, client_id=client_id))).client == client
        generated.append(secret)
    assert generated[0] != generated[1]
    documents = [document async for document in resources.database["oauth_clients"].find()]
    assert not [secret for secret in generated if secret in str(documents)]


@pytest.mark.gen_test
async def test_one_of_two_that_race_for_an_id_gets_it(service: ClientService, resources: Resources) -> None:
    await Migrator(resources.database, {"oauth_m2m": MIGRATIONS}).up()
    outcomes = await asyncio.gather(
        *[service.register(REGISTRATION) for _ in range(2)], return_exceptions=True
    )
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["Conflict", "tuple"]
    assert len((await service.list(ClientQuery())).clients) == 1


@pytest.mark.gen_test
async def test_a_closed_catalogue_names_every_scope_that_is_not_in_it(
    store: ClientStore, hasher: MeteredHasher, audit: AuditLog
) -> None:
    service = ClientService(store, hasher, {"bot:api": "Call the API."}, audit)
    wanted = dataclasses.replace(REGISTRATION, scopes=("bot:api", "bot:write", "bot:admin"))
    with pytest.raises(ValidationFailed) as error:
        await service.register(wanted)
    [(field, messages)] = error.value.errors.items()
    assert (field, [text.split()[0] for text in messages]) == ("scopes", ["bot:write", "bot:admin"])
    assert (await service.list(ClientQuery())).clients == ()
    assert hasher.rounds == []
    await service.register(REGISTRATION)


@pytest.mark.gen_test
async def test_nothing_is_stored_when_no_bcrypt_is_free(store: ClientStore, audit: AuditLog) -> None:
    hasher = FullHasher(COST)
    with pytest.raises(ServiceUnavailable):
        await ClientService(store, hasher, None, audit).register(REGISTRATION)
    assert (await store.list(ClientQuery())).clients == ()
    hasher.close()


@pytest.mark.gen_test
async def test_any_reading_of_the_secret_may_be_the_right_one(
    service: ClientService, hasher: MeteredHasher
) -> None:
    client, _ = await service.register(REGISTRATION)
    hasher.rounds.clear()
    for presented in (credentials(SECRET, "x"), credentials("x", SECRET), credentials(SECRET)):
        assert (await service.authenticate(presented)).client == client
    assert len(hasher.rounds) == 3  # one place of the queue each
    await refused(service, credentials("x", "y"))


@pytest.mark.gen_test
async def test_while_a_secret_is_rotated_both_authenticate(
    store: ClientStore, service: ClientService, hasher: MeteredHasher
) -> None:
    client, _ = await service.register(REGISTRATION)
    rotated = await rotate(store, hasher, client, "rotated")
    hasher.rounds.clear()
    for secret in (SECRET, OTHER):
        assert (await service.authenticate(credentials(secret, client_id="rotated"))).client == rotated
    assert hasher.rounds == [2**COST] * 2  # their salt is one, so one bcrypt checks both
    await refused(service, credentials(OTHER))


@pytest.mark.gen_test
async def test_every_failure_is_one_error_after_the_same_work(
    store: ClientStore, service: ClientService, hasher: MeteredHasher, audit: AuditLog
) -> None:
    cheap = PasswordHasher(COST - 1)
    await ClientService(store, cheap, None, audit).register(
        dataclasses.replace(REGISTRATION, client_id="cheap")
    )
    cheap.close()
    client, _ = await service.register(REGISTRATION)
    await rotate(store, hasher, client, "rotated")
    await expire(store, client, "expired")
    await store.insert(dataclasses.replace(client, client_id="disabled", is_active=False))
    await store.insert(dataclasses.replace(client, client_id="without-secrets", secrets=()))
    hasher.rounds.clear()
    errors = [
        await refused(service, credentials(secret, client_id=client_id))
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
    assert set(hasher.rounds) == {2**COST}
    assert len(hasher.rounds) == len(errors)
    hasher.rounds.clear()
    errors += [
        await refused(service, credentials("wrong", "as sent", client_id=client_id))
        for client_id in ("unknown", "disabled", "expired", "station-bot", "rotated", "cheap")
    ]
    assert set(hasher.rounds) == {2 * 2**COST}  # both readings, for everybody
    assert len({(error.status, str(error.body("")), str(error.headers)) for error in errors}) == 1


@pytest.mark.gen_test
async def test_bcrypt_is_never_on_the_event_loop(service: ClientService, hasher: MeteredHasher) -> None:
    await service.register(REGISTRATION)
    await service.authenticate(credentials(SECRET))
    await refused(service, credentials("wrong"))
    await refused(service, credentials("wrong", client_id="unknown"))
    assert len(hasher.rounds) == 4
    assert hasher.threads
    assert threading.get_ident() not in hasher.threads


class TestANewCost:
    """A client of a lower cost meets a service whose cost was raised."""

    @pytest.fixture
    def client(self, io_loop: IOLoop, store: ClientStore, audit: AuditLog) -> Client:
        cheap = PasswordHasher(COST - 1)
        client: Client
        client, _ = io_loop.run_sync(lambda: ClientService(store, cheap, None, audit).register(REGISTRATION))
        cheap.close()
        return client

    @staticmethod
    async def cost(store: ClientStore, client_id: str = "station-bot") -> set[str]:
        client = await store.get(client_id)
        return set(re.findall(r"r=(\d+)\$", " ".join(secret.hash for secret in client.secrets)))

    @pytest.mark.gen_test
    async def test_is_taken_at_the_next_success(
        self, client: Client, store: ClientStore, service: ClientService, hasher: MeteredHasher
    ) -> None:
        await refused(service, credentials("wrong"))
        assert await store.get("station-bot") == client
        assert (await service.authenticate(credentials("as sent", SECRET))).client == client
        assert await self.cost(store) == {str(COST)}
        replaced = await store.get("station-bot")
        assert replaced.salt != client.salt
        assert replaced.salt in replaced.secrets[0].hash
        assert [secret.id for secret in replaced.secrets] == [secret.id for secret in client.secrets]
        hasher.rounds.clear()
        assert (await service.authenticate(credentials(SECRET))).client == replaced
        assert hasher.rounds == [2**COST]  # and not again
        assert await store.get("station-bot") == replaced

    @pytest.mark.gen_test
    async def test_is_not_taken_while_two_secrets_live(
        self, client: Client, store: ClientStore, service: ClientService
    ) -> None:
        cheap = PasswordHasher(COST - 1)
        rotated = await rotate(store, cheap, client, "rotated")
        cheap.close()
        for secret in (SECRET, OTHER):
            await service.authenticate(credentials(secret, client_id="rotated"))
        assert await store.get("rotated") == rotated

    @pytest.mark.gen_test
    async def test_is_taken_beside_a_secret_that_has_expired(
        self, client: Client, store: ClientStore, service: ClientService
    ) -> None:
        cheap = PasswordHasher(COST - 1)
        rotated = await rotate(store, cheap, client, "rotated")
        cheap.close()
        past = datetime.now(UTC) - timedelta(seconds=1)
        first, second = rotated.secrets
        await store.insert(
            dataclasses.replace(
                rotated, client_id="aged", secrets=(dataclasses.replace(first, expires_at=past), second)
            )
        )
        await service.authenticate(credentials(OTHER, client_id="aged"))
        await service.authenticate(credentials(OTHER, client_id="aged"))
        await refused(service, credentials(SECRET, client_id="aged"))
        aged = await store.get("aged")
        assert (aged.secrets[0].hash, aged.secrets[1].hash != second.hash) == (first.hash, True)

    @pytest.mark.gen_test
    async def test_waits_when_no_bcrypt_is_free(
        self, client: Client, store: ClientStore, audit: AuditLog
    ) -> None:
        hasher = FullHasher(COST)
        service = ClientService(store, hasher, None, audit)
        assert (await service.authenticate(credentials(SECRET))).client == client
        assert await store.get("station-bot") == client
        hasher.close()


@pytest.mark.gen_test
async def test_disabling_ends_the_generation_and_enabling_does_not_bring_it_back(
    service: ClientService,
) -> None:
    client, _ = await service.register(REGISTRATION)
    disabled = await service.change("station-bot", {"is_active": False})
    await refused(service, credentials(SECRET))
    enabled = await service.change("station-bot", {"is_active": True})
    assert (disabled.is_active, enabled.is_active) == (False, True)
    assert client.generation != disabled.generation == enabled.generation
    assert (await service.authenticate(credentials(SECRET))).client == enabled


@pytest.mark.gen_test
async def test_generations_are_never_the_same(service: ClientService) -> None:
    seen = set()
    for client_id in ("one", "two"):
        client, _ = await service.register(dataclasses.replace(REGISTRATION, client_id=client_id))
        seen.add(client.generation)
        for _ in range(3):
            seen.add((await service.change(client_id, {"is_active": False})).generation)
    assert len(seen) == 8


@pytest.mark.gen_test
async def test_a_client_that_is_not_there(service: ClientService) -> None:
    with pytest.raises(NotFound):
        await service.get("station-bot")
    with pytest.raises(NotFound):
        await service.change("station-bot", {"is_active": True})
    with pytest.raises(NotFound):
        await service.delete("station-bot")
    assert (await service.list(ClientQuery())).clients == ()


@pytest.mark.gen_test
async def test_a_change_touches_what_it_names_and_says_what_came_of_it(service: ClientService) -> None:
    client, _ = await service.register(REGISTRATION)
    changed = await service.change("station-bot", {"name": "Other", "token_ttl": None})
    assert changed == dataclasses.replace(
        client, name="Other", token_ttl=None, version=2, updated_at=changed.updated_at
    )
    assert await service.get("station-bot") == changed
    assert changed.generation == client.generation


@pytest.mark.gen_test
async def test_a_version_that_has_passed_changes_and_deletes_nothing(service: ClientService) -> None:
    await service.register(REGISTRATION)
    changed = await service.change("station-bot", {"name": "Other"}, versions={1, 7})
    for versions in ({1}, {3, 4}, set[int]()):
        with pytest.raises(PreconditionFailed):
            await service.change("station-bot", {"name": "Late"}, versions=versions)
        with pytest.raises(PreconditionFailed):
            await service.delete("station-bot", versions=versions)
    assert await service.get("station-bot") == changed
    await service.delete("station-bot", versions={2})


@pytest.mark.gen_test
async def test_all_clients_are_read_page_by_page(service: ClientService, store: ClientStore) -> None:
    client, _ = await service.register(REGISTRATION)
    ids = [f"bot-{number:03}" for number in range(405)]
    for client_id in ids:
        await store.insert(dataclasses.replace(client, client_id=client_id))
    assert [one.client_id async for one in service.all()] == [*ids, "station-bot"]


@pytest.mark.gen_test
async def test_without_its_event_nothing_is_changed(
    service: ClientService, store: ClientStore, hasher: MeteredHasher
) -> None:
    client, _ = await service.register(REGISTRATION)
    nowhere: AsyncIOMotorClient[dict[str, Any]] = AsyncIOMotorClient(
        "mongodb://127.0.0.1:1", serverSelectionTimeoutMS=20
    )
    away = AuditLog(AuditStore(Resources(nowhere["station"], FakeAsyncRedis()), timedelta(days=1)))
    unaudited = ClientService(store, hasher, None, away)
    with pytest.raises(ServiceUnavailable):
        await unaudited.change("station-bot", {"is_active": False})
    with pytest.raises(ServiceUnavailable):
        await unaudited.delete("station-bot")
    with pytest.raises(ServiceUnavailable):
        await unaudited.register(dataclasses.replace(REGISTRATION, client_id="other"))
    assert [one async for one in service.all()] == [client]
    nowhere.close()


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
        self, service: ClientService, store: ClientStore, hasher: MeteredHasher, secret: str, cost: int
    ) -> None:
        stored = self.raw(secret, cost)
        client = await service.import_client(self.IMPORT, [stored])
        assert (client.secrets[0].hash, client.salt) == (stored, stored[7:29])
        hasher.rounds.clear()
        for wrong in ("wrong", "w" * 72, "w" * 73, "w" * 128, secret + "x"):
            await refused(service, credentials(wrong))
        await refused(service, credentials("wrong", client_id="unknown"))
        assert set(hasher.rounds) == {2**COST}
        assert await store.get("station-bot") == client
        assert (await service.authenticate(credentials(secret))).client == client
        rehashed = await store.get("station-bot")
        assert rehashed.secrets[0].hash.startswith(f"$bcrypt-sha256$v=2,t=2b,r={COST}$")
        assert rehashed.secrets[0].id == client.secrets[0].id
        assert (rehashed.version, rehashed.salt) == (1, parse_hash(rehashed.secrets[0].hash).salt)
        hasher.rounds.clear()
        assert (await service.authenticate(credentials(secret))).client == rehashed
        await refused(service, credentials("wrong"))
        assert hasher.rounds == [2**COST] * 2

    @pytest.mark.gen_test
    async def test_what_the_other_tool_cut_off_at_72_bytes_does_not_work(
        self, service: ClientService, hasher: MeteredHasher
    ) -> None:
        secret = "s" * 72 + "and more"
        await service.import_client(self.IMPORT, [self.raw(secret[:72])])
        hasher.rounds.clear()
        await refused(service, credentials(secret))
        assert hasher.rounds == [2**COST]

    @pytest.mark.gen_test
    async def test_hashes_of_ours_may_be_several_if_one_bcrypt_checks_them(
        self, service: ClientService, hasher: MeteredHasher
    ) -> None:
        salt = hasher.new_salt()
        hashes = [await hasher.hash(secret.encode(), salt=salt) for secret in (SECRET, OTHER)]
        client = await service.import_client(self.IMPORT, hashes)
        hasher.rounds.clear()
        for secret in (SECRET, OTHER):
            assert (await service.authenticate(credentials(secret))).client == client
        await refused(service, credentials("wrong"))
        assert hasher.rounds == [2**COST] * 3

    @pytest.mark.gen_test
    async def test_hashes_take_the_place_of_all_secrets(self, service: ClientService) -> None:
        before, _ = await service.register(REGISTRATION)
        after = await service.change("station-bot", {"secret_hashes": (self.raw(OTHER),)})
        assert (after.version, after.generation) == (2, before.generation)
        assert len(after.secrets) == 1
        await refused(service, credentials(SECRET))
        assert (await service.authenticate(credentials(OTHER))).client == after

    @pytest.mark.gen_test
    async def test_what_cannot_be_imported_is_named_and_changes_nothing(self, service: ClientService) -> None:
        client, _ = await service.register(REGISTRATION)
        wanted = dataclasses.replace(self.IMPORT, client_id="other")
        for hashes in (
            [],
            [self.raw("x", COST + 1)],
            [self.raw("x"), self.raw("y")],
            ["$2b$05$short"],
            [""],
            [SECRET],
        ):
            with pytest.raises(ValidationFailed) as error:
                await service.import_client(wanted, hashes)
            assert set(error.value.errors) == {"secretHash"}
            assert not [stored for stored in hashes if stored and stored in str(error.value.errors)]
        with pytest.raises(ValidationFailed):
            await service.change("station-bot", {"secret_hashes": (self.raw("x", COST + 1),)})
        assert [one async for one in service.all()] == [client]
