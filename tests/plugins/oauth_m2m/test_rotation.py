"""What SecretService does beyond what test_rfc7591_secrets.py sees over HTTP."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import bcrypt
import pytest

from plugins.oauth_m2m.hashes import imported_secrets
from plugins.oauth_m2m.models import Client, ClientSecret, SecretAddition
from plugins.oauth_m2m.rotation import SecretService
from plugins.oauth_m2m.stores import ClientStore, SecretStore
from station.errors import Conflict, PreconditionFailed, ServiceUnavailable
from station.passwords import parse_hash

if TYPE_CHECKING:
    from collections.abc import Collection

    from tornado.ioloop import IOLoop

    from station.passwords import PasswordHasher
    from station.resources import Resources
    from tests.plugins.oauth_m2m.conftest import Node

SECRET = "a-client-secret-of-more-than-32-characters"
NOON = datetime(2025, 1, 2, 12, tzinfo=UTC)
COST = 5


class MovingStore(SecretStore):
    """Somebody else changes the client between the first ``moves`` reads and writes."""

    def __init__(self, resources: Resources, moves: int) -> None:
        super().__init__(resources)
        self.moves = moves

    async def add(
        self, client: Client, secret: ClientSecret, *, salt: str, ends: Collection[ClientSecret]
    ) -> Client | None:
        await self._move(client)
        return await super().add(client, secret, salt=salt, ends=ends)

    async def remove(
        self, client: Client, ids: Collection[str], *, at: datetime, generation: str | None = None
    ) -> Client | None:
        await self._move(client)
        return await super().remove(client, ids, at=at, generation=generation)

    async def _move(self, client: Client) -> None:
        if self.moves:
            self.moves -= 1
            await self._collection.update_one({"client_id": client.client_id}, {"$inc": {"version": 1}})


class RehashedStore(SecretStore):
    """A hash of another cost takes the place of one before the first write, which makes no version."""

    rehashed = False

    async def add(
        self, client: Client, secret: ClientSecret, *, salt: str, ends: Collection[ClientSecret]
    ) -> Client | None:
        if not self.rehashed:
            self.rehashed = True
            await self._collection.update_one({"client_id": client.client_id}, {"$set": {"salt": "other"}})
        return await super().add(client, secret, salt=salt, ends=ends)


@pytest.fixture
def bot(io_loop: IOLoop, resources: Resources, cheap_hasher: PasswordHasher) -> Client:
    """A client whose only secret has a lower cost than the configured one."""

    async def make() -> Client:
        salt = cheap_hasher.new_salt()
        secret = ClientSecret("s1", await cheap_hasher.hash(SECRET.encode(), salt=salt), created_at=NOON)
        return await insert(resources, salt, secret)

    client: Client = io_loop.run_sync(make)
    return client


async def insert(resources: Resources, salt: str, *secrets: ClientSecret) -> Client:
    client = Client(
        id="",
        client_id="station-bot",
        name="",
        salt=salt,
        secrets=secrets,
        scopes=("bot:api",),
        is_active=True,
        token_ttl=None,
        generation="g1",
        version=1,
        created_at=NOON,
        updated_at=NOON,
    )
    return await ClientStore(resources).insert(client)


def make_service(
    node: Node,
    hasher: PasswordHasher,
    store: SecretStore | None = None,
    clients: ClientStore | None = None,
) -> SecretService:
    return SecretService(
        clients or node.clients,
        store or SecretStore(node.resources),
        propagation=node.propagation,
        hasher=hasher,
        audit=node.audit,
    )


@pytest.mark.gen_test
async def test_a_secret_shares_the_salt_and_the_cost_of_those_that_live(
    node: Node, resources: Resources, hasher: PasswordHasher, bot: Client
) -> None:
    service = make_service(node, hasher)
    await service.add("station-bot", SecretAddition())
    found = await ClientStore(resources).get("station-bot")
    assert [(parse_hash(one.hash).salt, parse_hash(one.hash).cost) for one in found.secrets] == [
        (bot.salt, COST - 1)
    ] * 2
    for secret in found.secrets:
        await service.end("station-bot", secret.id, force=True)
    added, _ = await service.add("station-bot", SecretAddition())
    found = await ClientStore(resources).get("station-bot")
    assert found.secrets == (added,)
    assert found.salt != bot.salt
    assert (parse_hash(added.hash).salt, parse_hash(added.hash).cost) == (found.salt, COST)


@pytest.mark.gen_test
async def test_beside_an_imported_secret_there_is_no_other(
    node: Node, resources: Resources, hasher: PasswordHasher
) -> None:
    stored = bcrypt.hashpw(SECRET.encode(), bcrypt.gensalt(COST)).decode()
    salt, secrets = imported_secrets([stored], max_cost=COST, now=NOON)
    await insert(resources, salt, *secrets)
    service = make_service(node, hasher)
    with pytest.raises(Conflict, match="imported"):
        await service.add("station-bot", SecretAddition())
    await service.end("station-bot", secrets[0].id, force=True)
    await service.add("station-bot", SecretAddition())


@pytest.mark.gen_test
async def test_a_secret_for_a_version_that_was_is_not_added(
    node: Node, resources: Resources, hasher: PasswordHasher, bot: Client
) -> None:
    moving = make_service(node, hasher, MovingStore(resources, 1))
    with pytest.raises(PreconditionFailed):  # it changes between the reading and the writing
        await moving.add("station-bot", SecretAddition(), versions={bot.version})
    service = make_service(node, hasher)
    with pytest.raises(PreconditionFailed):
        await service.add("station-bot", SecretAddition(), versions={bot.version})
    with pytest.raises(PreconditionFailed):
        await service.add("station-bot", SecretAddition(), versions=())
    assert len((await node.clients.get("station-bot")).secrets) == 1
    await service.add("station-bot", SecretAddition(), versions={1, 2})
    assert len((await node.clients.get("station-bot")).secrets) == 2


@pytest.mark.gen_test
async def test_the_end_of_those_that_have_ended_is_no_change_by_somebody_else(
    node: Node, resources: Resources, hasher: PasswordHasher
) -> None:
    salt = hasher.new_salt()
    ended = ClientSecret("s1", await hasher.hash(b"x", salt=salt), created_at=NOON, expires_at=NOON)
    await insert(resources, salt, ended)
    service = make_service(node, hasher, RehashedStore(resources))
    added, _ = await service.add("station-bot", SecretAddition(), versions={1})
    assert (await node.clients.get("station-bot")).secrets == (added,)


@pytest.mark.usefixtures("bot")
@pytest.mark.gen_test
async def test_a_change_is_tried_again_when_the_client_has_changed(
    node: Node, resources: Resources, hasher: PasswordHasher
) -> None:
    store = MovingStore(resources, 3)
    service = make_service(node, hasher, store)
    added, _ = await service.add("station-bot", SecretAddition())
    store.moves = 3
    await service.end("station-bot", "s1")
    assert (await ClientStore(resources).get("station-bot")).secrets == (added,)
    store.moves = 1000
    for change in (
        service.add("station-bot", SecretAddition()),
        service.end("station-bot", added.id, force=True),
    ):
        with pytest.raises(Conflict, match="try again"):
            await change
    assert (await ClientStore(resources).get("station-bot")).secrets == (added,)


class FadingStore(ClientStore):
    """Can be read once, and is away then."""

    reads = 1

    async def get(self, client_id: str) -> Client:
        if not self.reads:
            raise ServiceUnavailable("away")
        self.reads -= 1
        return await super().get(client_id)


@pytest.mark.gen_test
async def test_a_secret_that_was_stored_is_shown_whatever_happens_to_the_store(
    node: Node, resources: Resources, hasher: PasswordHasher, bot: Client
) -> None:
    """The others have ended with it: a 503 instead of the text would leave a client that nobody can use."""
    service = make_service(node, hasher, clients=FadingStore(resources))
    secret, text = await service.add("station-bot", SecretAddition(end_others_in=0))
    assert text is not None
    found = await ClientStore(resources).get("station-bot")
    assert found.secrets[-1].id == secret.id


@pytest.mark.gen_test
async def test_a_client_with_another_salt_is_another_client(resources: Resources, bot: Client) -> None:
    """A hash of another cost took the place of the one that was read, which is no new version."""
    await ClientStore(resources).replace_hash(bot, bot.secrets[0], salt="new", new_hash="$new")
    added = ClientSecret("s2", "$hash", created_at=NOON)
    assert not await SecretStore(resources).add(bot, added, salt=bot.salt, ends=[])
    assert len((await ClientStore(resources).get("station-bot")).secrets) == 1


@pytest.mark.gen_test
async def test_five_secrets_share_one_salt_and_cost(
    node: Node, resources: Resources, hasher: PasswordHasher, bot: Client
) -> None:
    for _ in range(4):
        await make_service(node, hasher).add("station-bot", SecretAddition())
    found = await ClientStore(resources).get("station-bot")
    assert len(found.secrets) == 5
    assert len({(parse_hash(one.hash).salt, parse_hash(one.hash).cost) for one in found.secrets}) == 1
