from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import jwt
import pytest
from motor.motor_asyncio import AsyncIOMotorClient

from plugins.oauth_m2m.keyring import Key, Keyring
from plugins.oauth_m2m.models import SigningKey, SigningKeys
from plugins.oauth_m2m.stores import KeyStore
from station.audit import AuditLog, AuditStore
from station.errors import Conflict, ServiceUnavailable, StartError
from station.resources import Resources, open_resources

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from station.config import Config
    from tests.plugins.oauth_m2m.keyring.conftest import Clock

SECRET = "a-signing-secret-for-these-tests-0123456789"
OLD = "the-signing-secret-before-it-0123456789"
PUBLIC = ["EdDSA", "ES256", "RS256"]


class CountingStore(KeyStore):
    """Counts how often it was read; it stores nothing while ``full``, and cannot be read while ``broken``."""

    def __init__(self, resources: Resources) -> None:
        super().__init__(resources)
        self.read = 0
        self.full = False
        self.broken = False

    async def load(self) -> SigningKeys:
        self.read += 1
        if self.broken:
            raise KeyError("version")
        return await super().load()

    async def replace(self, keys: SigningKeys) -> bool:
        if self.full:
            raise ServiceUnavailable("full")
        return await super().replace(keys)


def audit_of(resources: Resources) -> AuditLog:
    return AuditLog(AuditStore(resources, timedelta(days=1)))


class Cluster:
    """Starts nodes on one store and one clock."""

    def __init__(self, resources: Resources, clock: Callable[[], float]) -> None:
        self.store = CountingStore(resources)
        self.audit = audit_of(resources)
        self.clock = clock

    def node(self, alg: str = "EdDSA", *secrets: str, refresh_seconds: float = 1000) -> Keyring:
        """A node that has not read the keys yet."""
        return Keyring(
            self.store,
            audit=self.audit,
            alg=alg,
            jwt_secrets=secrets or [SECRET],
            refresh_seconds=refresh_seconds,
            clock=self.clock,
        )

    async def start(self, alg: str = "EdDSA", *secrets: str) -> Keyring:
        keyring = self.node(alg, *secrets)
        await keyring.open(serving=True)
        return keyring


@pytest.fixture
def cluster(resources: Resources, clock: Clock) -> Cluster:
    return Cluster(resources, clock)


def kid_of(keyring: Keyring) -> str | None:
    return keyring.signer().kid


def next_kid(keyring: Keyring) -> str:
    [kid] = [key.kid for key in keyring.current() if key.state == "next"]
    return kid


def published(keyring: Keyring) -> set[str]:
    return {key["kid"] for key in keyring.jwks()["keys"]}


def sign(key: Key) -> str:
    return jwt.encode({"n": 1}, key.material, key.alg)


async def verifies(keyring: Keyring, key: Key) -> bool:
    """Whether a node accepts what ``key`` signs."""
    for found in await keyring.find(key.kid):
        with contextlib.suppress(jwt.InvalidSignatureError):
            return jwt.decode(sign(key), found.material, [found.alg]) == {"n": 1}
    return False


@pytest.mark.parametrize("alg", [*PUBLIC, "HS256"])
@pytest.mark.gen_test
async def test_what_a_node_signs_every_node_verifies(cluster: Cluster, alg: str) -> None:
    here, there = await cluster.start(alg), await cluster.start(alg)
    assert here.signer().alg == alg
    assert (kid_of(here) is None) == (alg == "HS256")
    for one, other in ((here, there), (there, here), (here, here)):
        assert await verifies(one, other.signer())


@pytest.mark.parametrize("alg", [*PUBLIC, "HS256"])
@pytest.mark.gen_test
async def test_nodes_that_start_at_once_agree(config: Config, alg: str) -> None:
    async with real_store(config) as resources:
        nodes = [
            Keyring(KeyStore(resources), audit=audit_of(resources), alg=alg, jwt_secrets=[SECRET])
            for _ in range(5)
        ]
        await asyncio.gather(*[node.open(serving=True) for node in nodes])
        assert len(set(map(seen_by, nodes))) == 1
        if alg != "HS256":
            outcomes = await asyncio.gather(
                *[node.rotate(force=True) for node in nodes], *[node.reencrypt() for node in nodes]
            )
            assert len(outcomes) == 10
            for node in nodes:
                await node.refresh()
            assert len(set(map(seen_by, nodes))) == 1
            states = [key.state for key in nodes[0].current()]
            assert sorted(states) == ["active", "next", *["retired"] * 5]


def seen_by(keyring: Keyring) -> tuple[object, ...]:
    """What a node knows, as a value that can be compared."""
    return (kid_of(keyring), *((key.kid, key.state) for key in keyring.current()))


@contextlib.asynccontextmanager
async def real_store(config: Config) -> AsyncIterator[Resources]:
    """The embedded engines, and an empty database."""
    async with open_resources(config) as resources:
        yield resources
        await resources.database.client.drop_database(resources.database.name)


@pytest.mark.row("J9")
@pytest.mark.parametrize("alg", PUBLIC)
@pytest.mark.gen_test
async def test_the_life_of_a_key(cluster: Cluster, clock: Clock, alg: str) -> None:
    keyring = await cluster.start(alg)
    first, second = keyring.signer(), next_kid(keyring)
    assert published(keyring) == {first.kid, second}  # before its first use
    with pytest.raises(Conflict):
        await keyring.rotate()
    assert kid_of(keyring) == first.kid
    clock.time += 305
    await keyring.rotate()
    assert kid_of(keyring) == second
    third = next_kid(keyring)
    for elapsed in (0, 3600, 59):
        clock.time += elapsed
        assert await verifies(keyring, first)
        assert published(keyring) == {first.kid, second, third}
    clock.time += 1
    assert not await verifies(keyring, first)
    assert published(keyring) == {second, third}
    assert {key.kid for key in keyring.current()} == {second, third}
    assert await verifies(keyring, keyring.signer())


@pytest.mark.parametrize(("before", "then"), [("HS256", "EdDSA"), ("ES256", "HS256")])
@pytest.mark.gen_test
async def test_after_a_change_of_algorithm_what_was_signed_lives_on_for_one_lifetime(
    cluster: Cluster, clock: Clock, before: str, then: str
) -> None:
    here, there = await cluster.start(before), await cluster.start(before)
    old = here.signer()
    changed = await cluster.start(then)
    assert changed.signer().alg == then
    await there.refresh()
    assert there.signer().alg == then  # what MongoDB says counts, not what the node was started with
    clock.time += 1800
    late = await cluster.start(then)  # the time runs since the change, not since a start
    clock.time += 1859
    for node in (here, there, changed, late):
        assert await verifies(node, old)
        assert await verifies(node, changed.signer())
    clock.time += 1
    for node in (there, changed, late):
        assert not await verifies(node, old)
        assert await verifies(node, changed.signer())


@pytest.mark.row("J10")
@pytest.mark.gen_test
async def test_secrets_in_another_order_and_keys_that_were_read_at_another_time(cluster: Cluster) -> None:
    one, other = await cluster.start("HS256", OLD, SECRET), await cluster.start("HS256", SECRET, OLD)
    assert await verifies(one, other.signer())
    assert await verifies(other, one.signer())
    assert sign(one.signer()) != sign(other.signer())
    changed = await cluster.start("EdDSA", SECRET, OLD)
    assert await verifies(one, changed.signer())  # whose key it has never seen
    await changed.rotate(force=True)
    for signer in (changed.signer(), other.signer()):
        for node in (one, other, changed):
            assert await verifies(node, signer)


@pytest.mark.row("J8")
@pytest.mark.gen_test
async def test_unknown_keys_are_looked_up_at_most_once_a_second(cluster: Cluster) -> None:
    keyring = await cluster.start()
    before = cluster.store.read
    kids: list[str | None] = ["HS256", "", "../../etc/passwd", "http://evil.example/key", "' OR 1=1 --", None]
    found = await asyncio.gather(*[keyring.find(kid) for kid in kids * 50])
    assert not any(found)
    assert cluster.store.read <= before + 2  # two, should this take over a second
    await asyncio.sleep(1.01)
    assert await keyring.find("unknown") == ()
    assert cluster.store.read >= before + 2


@pytest.mark.gen_test
async def test_nodes_follow_by_themselves(cluster: Cluster) -> None:
    there = cluster.node(refresh_seconds=0.01)
    await there.open(serving=True)
    async with there.following():
        here = await cluster.start()
        await here.rotate(force=True)
        while kid_of(there) != kid_of(here):  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.01)
        cluster.store.broken = True  # what fails in between ends nothing
        await asyncio.sleep(0.05)
        cluster.store.broken = False
        await here.retire(next_kid(here))
        while next_kid(there) != next_kid(here):  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.01)


@pytest.mark.gen_test
async def test_a_change_between_public_algorithms_is_made_by_a_node_that_follows(
    cluster: Cluster, clock: Clock
) -> None:
    await cluster.start("EdDSA")
    changing = cluster.node("ES256", refresh_seconds=0.01)
    await changing.open(serving=True)
    assert changing.signer().alg == "EdDSA"
    async with changing.following():
        await asyncio.sleep(0.05)
        assert changing.signer().alg == "EdDSA"
        clock.time += 305
        while changing.signer().alg != "ES256":  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.01)


@pytest.mark.gen_test
async def test_a_command_reads_the_keys_and_changes_none(cluster: Cluster) -> None:
    command = cluster.node("RS256")
    await command.open(serving=False)
    assert command.current() == ()
    with pytest.raises(ServiceUnavailable):
        command.signer()
    node = await cluster.start("HS256")
    command = cluster.node("EdDSA", refresh_seconds=0.01)
    await command.open(serving=False)
    async with command.following():
        await asyncio.sleep(0.05)
    assert command.signer() == node.signer()
    assert (await cluster.store.load()).version == 1


@pytest.mark.parametrize("alg", PUBLIC)
@pytest.mark.gen_test
async def test_no_key_without_its_record(cluster: Cluster, alg: str) -> None:
    keyring = cluster.node(alg)
    cluster.store.full = True
    with pytest.raises(ServiceUnavailable):
        await keyring.open(serving=True)
    assert (keyring.current(), keyring.jwks()) == ((), {"keys": []})
    with pytest.raises(ServiceUnavailable):
        keyring.signer()
    cluster.store.full = False
    await keyring.open(serving=True)
    keys, signer = keyring.current(), keyring.signer()
    cluster.store.full = True
    for change in (keyring.rotate(force=True), keyring.retire(next_kid(keyring)), keyring.reencrypt()):
        with pytest.raises(ServiceUnavailable):
            await change
        assert (keyring.current(), keyring.signer()) == (keys, signer)


@pytest.mark.row("M9")
@pytest.mark.gen_test
async def test_without_mongodb_signing_and_verifying_go_on(resources: Resources, clock: Clock) -> None:
    nowhere: AsyncIOMotorClient[dict[str, Any]] = AsyncIOMotorClient(
        "mongodb://127.0.0.1:1", serverSelectionTimeoutMS=20
    )
    store = KeyStore(dataclasses.replace(resources, database=nowhere["station"]))
    cluster = Cluster(resources, clock)
    keyring = Keyring(
        store, audit=cluster.audit, alg="EdDSA", jwt_secrets=[SECRET], refresh_seconds=0.01, clock=clock
    )
    await cluster.start()
    keyring.use(await KeyStore(resources).load())
    jwks = keyring.jwks()
    async with keyring.following():
        await asyncio.sleep(0.05)
        assert await verifies(keyring, keyring.signer())
    assert keyring.jwks() == jwks
    with pytest.raises(ServiceUnavailable):
        await keyring.find("unknown")
    with pytest.raises(ServiceUnavailable):
        await keyring.rotate(force=True)
    nowhere.close()


@pytest.mark.gen_test
async def test_private_parts_are_opened_by_the_former_secret_until_they_are_encrypted_anew(
    cluster: Cluster,
) -> None:
    before = await cluster.start("EdDSA", OLD)
    signer = before.signer()
    with pytest.raises(StartError, match="JWT_SECRET_PREVIOUS") as refused:
        await cluster.start("EdDSA", SECRET)
    assert SECRET not in str(refused.value)
    rotating = await cluster.start("EdDSA", SECRET, OLD)
    assert kid_of(rotating) == signer.kid
    await rotating.reencrypt()
    for node in (rotating, await cluster.start("EdDSA", SECRET)):
        assert kid_of(node) == signer.kid
        assert await verifies(node, signer)
        assert await verifies(before, node.signer())
    await before.refresh()  # a node that was left behind verifies still, and issues no more
    assert await verifies(before, rotating.signer())
    with pytest.raises(ServiceUnavailable):
        before.signer()
    with pytest.raises(StartError):
        await cluster.start("EdDSA", OLD)


@pytest.mark.parametrize("alg", PUBLIC)
@pytest.mark.gen_test
async def test_nothing_private_is_stored_readably_or_published(cluster: Cluster, alg: str) -> None:
    keyring = await cluster.start(alg)
    await keyring.rotate(force=True)
    document = await cluster.store._collection.find_one({"_id": "keyring"})
    assert document is not None
    material = keyring.signer().material
    if alg == "EdDSA":
        secret = material.private_bytes_raw()
    elif alg == "ES256":
        secret = material.private_numbers().private_value.to_bytes(32, "big")
    else:
        secret = material.private_numbers().p.to_bytes(128, "big")
    assert secret not in b"".join(key["sealed"] or b"" for key in document["keys"])
    assert [bool(key["sealed"]) for key in document["keys"]] == [False, True, True]
    for key in keyring.jwks()["keys"]:
        assert key.keys() <= {"kty", "crv", "x", "y", "n", "e", "kid", "alg", "use"}
        assert (key["alg"], key["use"]) == (alg, "sig")
    assert SECRET not in json.dumps(keyring.jwks()) + repr(keyring.current()) + repr(keyring.signer())


@pytest.mark.gen_test
async def test_of_two_states_the_newer_is_in_force(cluster: Cluster) -> None:
    keyring = await cluster.start()
    stored = await cluster.store.load()
    await keyring.rotate(force=True)
    keys = keyring.current()
    keyring.use(stored)
    assert keyring.current() == keys
    hs256 = SigningKey("HS256", "HS256", "active", published_at=keys[0].published_at)
    keyring.use(SigningKeys(100, (hs256,)))
    assert kid_of(keyring) is None


@pytest.mark.gen_test
async def test_every_change_is_audited_and_what_changes_nothing_is_not(
    cluster: Cluster, resources: Resources
) -> None:
    keyring = await cluster.start()
    first, second = kid_of(keyring), next_kid(keyring)
    await cluster.start()
    await keyring.refresh()
    with pytest.raises(Conflict):
        await keyring.rotate()
    await keyring.rotate(force=True)
    third = next_kid(keyring)
    await keyring.retire(str(first))
    await keyring.reencrypt()
    events = [event async for event in resources.database["audit_events"].find()]
    assert [(event["action"], event["outcome"]) for event in events] == [
        ("keys.prepared", "ok"),
        ("keys.rotated", "ok"),
        ("key.retired", "ok"),
        ("keys.reencrypted", "ok"),
    ]
    assert events[1]["before"] == {first: "EdDSA active", second: "EdDSA next"}
    assert events[1]["after"] == {first: "EdDSA retired", second: "EdDSA active", third: "EdDSA next"}
    assert events[2]["after"] == {second: "EdDSA active", third: "EdDSA next"}
