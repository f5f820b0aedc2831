from __future__ import annotations

import asyncio
import dataclasses
import re
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import bcrypt
import pytest
from fakeredis import FakeAsyncRedis
from motor.motor_asyncio import AsyncIOMotorClient

from plugins.oauth_m2m.clients import ClientService
from plugins.oauth_m2m.errors import InvalidClient
from plugins.oauth_m2m.migrations import MIGRATIONS
from plugins.oauth_m2m.models import ClientQuery, Registration
from station.audit import AuditLog, AuditStore
from station.errors import NotFound, PreconditionFailed, ServiceUnavailable, ValidationFailed
from station.migrations import Migrator
from station.resources import Resources

if TYPE_CHECKING:
    from tests.plugins.oauth_m2m.conftest import FullHasher, MeteredHasher, Node

SECRET = "a-client-secret-of-more-than-32-characters"
OTHER = "another-secret-of-more-than-32-characters"
REGISTRATION = Registration("station-bot", ("bot:api",), client_secret=SECRET, name="The bot", token_ttl=60)
COST = 5


@pytest.fixture
def service(node: Node, hasher: MeteredHasher) -> ClientService:
    return node.client_service(hasher)


async def refused(node: Node, hasher: MeteredHasher, secret: str) -> None:
    with pytest.raises(InvalidClient):
        await node.authenticate(hasher, secret)


@pytest.mark.gen_test
async def test_a_client_is_registered_with_a_secret_of_its_own(
    service: ClientService, resources: Resources, node: Node, hasher: MeteredHasher
) -> None:
    client, generated = await service.register(REGISTRATION)
    assert generated is None
    assert (client.client_id, client.name, client.scopes) == ("station-bot", "The bot", ("bot:api",))
    assert (client.is_active, client.token_ttl, client.version) == (True, 60, 1)
    assert client.created_at == client.updated_at
    assert await service.get("station-bot") == client
    assert (await node.authenticate(hasher, SECRET)).client == client
    [document] = [document async for document in resources.database["oauth_clients"].find()]
    assert SECRET not in str(document)


@pytest.mark.gen_test
async def test_a_generated_secret_has_256_bits_and_is_told_once(
    service: ClientService, resources: Resources, node: Node, hasher: MeteredHasher
) -> None:
    generated = []
    for client_id in ("one", "two"):
        client, secret = await service.register(Registration(client_id, ("bot:api",)))
        assert secret is not None
        assert re.fullmatch(r"stn_[0-9A-Za-z]{49}", secret)
        assert (await node.authenticate(hasher, secret, client_id=client_id)).client == client
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
    node: Node, hasher: MeteredHasher
) -> None:
    service = node.client_service(hasher, {"bot:api": "Call the API."})
    wanted = dataclasses.replace(REGISTRATION, scopes=("bot:api", "bot:write", "bot:admin"))
    with pytest.raises(ValidationFailed) as error:
        await service.register(wanted)
    [(field, messages)] = error.value.errors.items()
    assert (field, [text.split()[0] for text in messages]) == ("scopes", ["bot:write", "bot:admin"])
    assert (await service.list(ClientQuery())).clients == ()
    assert hasher.rounds == []
    await service.register(REGISTRATION)


@pytest.mark.gen_test
async def test_nothing_is_stored_when_no_bcrypt_is_free(node: Node, full_hasher: FullHasher) -> None:
    with pytest.raises(ServiceUnavailable):
        await node.client_service(full_hasher).register(REGISTRATION)
    assert (await node.clients.list(ClientQuery())).clients == ()


@pytest.mark.gen_test
async def test_disabling_ends_the_generation_and_enabling_does_not_bring_it_back(
    service: ClientService, node: Node, hasher: MeteredHasher
) -> None:
    client, _ = await service.register(REGISTRATION)
    disabled, _ = await service.change("station-bot", {"is_active": False})
    await refused(node, hasher, SECRET)
    enabled, _ = await service.change("station-bot", {"is_active": True})
    assert (disabled.is_active, enabled.is_active) == (False, True)
    assert client.generation != disabled.generation == enabled.generation
    assert (await node.authenticate(hasher, SECRET)).client == enabled


@pytest.mark.gen_test
async def test_generations_are_never_the_same(service: ClientService) -> None:
    seen = set()
    for client_id in ("one", "two"):
        client, _ = await service.register(dataclasses.replace(REGISTRATION, client_id=client_id))
        seen.add(client.generation)
        for _ in range(3):
            disabled, _ = await service.change(client_id, {"is_active": False})
            seen.add(disabled.generation)
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
    changed, _ = await service.change("station-bot", {"name": "Other", "token_ttl": None})
    assert changed == dataclasses.replace(
        client, name="Other", token_ttl=None, version=2, updated_at=changed.updated_at
    )
    assert await service.get("station-bot") == changed
    assert changed.generation == client.generation


@pytest.mark.gen_test
async def test_a_version_that_has_passed_changes_and_deletes_nothing(service: ClientService) -> None:
    await service.register(REGISTRATION)
    changed, _ = await service.change("station-bot", {"name": "Other"}, versions={1, 7})
    for versions in ({1}, {3, 4}, set[int]()):
        with pytest.raises(PreconditionFailed):
            await service.change("station-bot", {"name": "Late"}, versions=versions)
        with pytest.raises(PreconditionFailed):
            await service.delete("station-bot", versions=versions)
    assert await service.get("station-bot") == changed
    await service.delete("station-bot", versions={2})


@pytest.mark.gen_test
async def test_all_clients_are_read_page_by_page(service: ClientService, node: Node) -> None:
    client, _ = await service.register(REGISTRATION)
    ids = [f"bot-{number:03}" for number in range(405)]
    for client_id in ids:
        await node.clients.insert(dataclasses.replace(client, client_id=client_id))
    assert [one.client_id async for one in service.all()] == [*ids, "station-bot"]


@pytest.mark.gen_test
async def test_without_its_event_nothing_is_changed(
    service: ClientService, node: Node, hasher: MeteredHasher
) -> None:
    client, _ = await service.register(REGISTRATION)
    nowhere: AsyncIOMotorClient[dict[str, Any]] = AsyncIOMotorClient(
        "mongodb://127.0.0.1:1", serverSelectionTimeoutMS=20
    )
    away = AuditLog(AuditStore(Resources(nowhere["station"], FakeAsyncRedis()), timedelta(days=1)))
    unaudited = ClientService(
        node.clients, propagation=node.propagation, hasher=hasher, catalogue=None, audit=away
    )
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

    @pytest.mark.gen_test
    async def test_hashes_take_the_place_of_all_secrets(
        self, service: ClientService, node: Node, hasher: MeteredHasher
    ) -> None:
        before, _ = await service.register(REGISTRATION)
        after, _ = await service.change("station-bot", {"secret_hashes": (self.raw(OTHER),)})
        assert (after.version, after.generation) == (2, before.generation)
        assert len(after.secrets) == 1
        await refused(node, hasher, SECRET)
        assert (await node.authenticate(hasher, OTHER)).client == after

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
