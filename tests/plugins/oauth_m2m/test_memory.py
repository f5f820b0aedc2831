from __future__ import annotations

import dataclasses
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugins.oauth_m2m.memory import SecretMemory, _digest
from plugins.oauth_m2m.models import ClientSecret
from plugins.oauth_m2m.secret_format import generate_secret
from plugins.oauth_m2m.stores import MemoryStore
from station.errors import ServiceUnavailable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fakeredis import FakeServer

    from station.resources import Resources

BOT = "station-bot"
JWT_SECRET = "a-signing-secret-for-the-tests-only-0123456789"
CHOSEN = b"a-client-secret-of-more-than-32-characters"
GENERATED = generate_secret().encode()
MADE = datetime(2025, 1, 2, tzinfo=UTC)
WEEK = 7 * 24 * 3600
FIRST = ClientSecret("s1", "$bcrypt-sha256$v=2,t=2b,r=12$salt$first", MADE)
SECOND = ClientSecret("s2", "$bcrypt-sha256$v=2,t=2b,r=12$salt$second", MADE)


class Clock:
    time = 1000.0

    def __call__(self) -> float:
        return self.time


class Store(MemoryStore):
    """Says what it was asked for."""

    def __init__(self, resources: Resources) -> None:
        super().__init__(resources)
        self.asked: list[int] = []

    async def find(self, digests: Sequence[str]) -> int | None:
        self.asked.append(len(digests))
        return await super().find(digests)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(resources: Resources) -> Store:
    return Store(resources)


def memory_of(store: MemoryStore, *, size: int = 100, clock: Clock | None = None) -> SecretMemory:
    return SecretMemory(store, jwt_secret=JWT_SECRET, size=size, clock=clock or time.monotonic)


# In the process


@pytest.mark.gen_test
async def test_a_secret_that_was_right_is_found_among_the_candidates(store: Store) -> None:
    memory = memory_of(store)
    assert memory.find(BOT, (CHOSEN,), (FIRST, SECOND)) is None
    await memory.remember(BOT, CHOSEN, SECOND)
    for candidates in ((CHOSEN,), (b"another reading", CHOSEN)):
        assert memory.find(BOT, candidates, (FIRST, SECOND)) is SECOND
        assert memory.find(BOT, candidates, (SECOND,)) is SECOND


@pytest.mark.parametrize("candidate", [CHOSEN, GENERATED], ids=["chosen", "generated"])
@pytest.mark.gen_test
async def test_a_wrong_one_is_never_found(store: Store, candidate: bytes) -> None:
    memory = memory_of(store)
    await memory.remember(BOT, candidate, FIRST)
    wrong = (b"", candidate + b"x", candidate[:-1], candidate.upper(), generate_secret().encode(), CHOSEN * 2)
    for client_id, candidates in ((BOT, wrong), ("another-bot", (candidate,)), ("", (candidate,))):
        assert memory.find(client_id, candidates, (FIRST, SECOND)) is None
        assert await memory.recall(client_id, candidates, (FIRST, SECOND)) is None


@pytest.mark.parametrize("candidate", [CHOSEN, GENERATED], ids=["chosen", "generated"])
@pytest.mark.gen_test
async def test_what_was_replaced_disabled_or_ended_is_missed(store: Store, candidate: bytes) -> None:
    memory = memory_of(store)
    await memory.remember(BOT, candidate, FIRST)
    rehashed = dataclasses.replace(FIRST, hash="$bcrypt-sha256$v=2,t=2b,r=13$salt$third")
    for live in ((), (SECOND,), (rehashed,)):  # none: disabled, or expired
        assert memory.find(BOT, (candidate,), live) is None
        assert await memory.recall(BOT, (candidate,), live) is None
    assert memory.find(BOT, (candidate,), (FIRST,)) is FIRST


@pytest.mark.gen_test
async def test_it_is_remembered_for_an_hour(store: Store, clock: Clock) -> None:
    memory = memory_of(store, clock=clock)
    await memory.remember(BOT, CHOSEN, FIRST)
    clock.time += 3599.9
    assert memory.find(BOT, (CHOSEN,), (FIRST,)) is FIRST
    clock.time += 0.1
    assert memory.find(BOT, (CHOSEN,), (FIRST,)) is None
    await memory.remember(BOT, CHOSEN, FIRST)
    assert memory.find(BOT, (CHOSEN,), (FIRST,)) is FIRST


@pytest.mark.gen_test
async def test_it_is_bounded_and_the_oldest_leaves(store: Store) -> None:
    memory = memory_of(store, size=3)

    def found() -> list[bool]:
        return [memory.find(f"bot-{number}", (CHOSEN,), (FIRST,)) is not None for number in range(1, 5)]

    for number in (1, 2, 3, 3):  # who is right again takes nobody's place
        await memory.remember(f"bot-{number}", CHOSEN, FIRST)
    assert found() == [True, True, True, False]
    for number in (1, 4):  # and is new
        await memory.remember(f"bot-{number}", CHOSEN, FIRST)
    assert found() == [True, False, True, True]
    for number in range(100):
        await memory.remember(f"bot-{number}", CHOSEN, FIRST)
    assert len(memory._known) == 3


@pytest.mark.gen_test
async def test_no_secret_is_in_memory_and_every_process_has_a_key_of_its_own(store: Store) -> None:
    memories = [memory_of(store), memory_of(store)]
    for memory in memories:
        await memory.remember(BOT, CHOSEN, FIRST)
        assert [len(digest) for digest in memory._known] == [32]
        assert CHOSEN not in b"".join(memory._known)
    assert memories[0]._known.keys().isdisjoint(memories[1]._known)


# In Redis


@pytest.mark.gen_test
async def test_a_generated_secret_survives_a_restart(store: Store) -> None:
    await memory_of(store).remember(BOT, GENERATED, SECOND)
    restarted = memory_of(store)
    assert restarted.find(BOT, (GENERATED,), (FIRST, SECOND)) is None
    assert await restarted.recall(BOT, (b"another reading", GENERATED), (FIRST, SECOND)) is SECOND
    assert restarted.find(BOT, (GENERATED,), (FIRST, SECOND)) is SECOND  # it is in the process again


@pytest.mark.gen_test
async def test_a_chosen_one_does_not_and_redis_is_not_asked_for_it(
    store: Store, resources: Resources
) -> None:
    almost = GENERATED[:-1] + (b"0" if GENERATED[-1:] != b"0" else b"1")  # a wrong checksum
    for candidate in (CHOSEN, almost):
        await memory_of(store).remember(BOT, candidate, FIRST)
        assert await memory_of(store).recall(BOT, (candidate,), (FIRST,)) is None
    assert store.asked == []
    assert await resources.redis.keys() == []


@pytest.mark.gen_test
async def test_another_jwt_secret_recalls_nothing(store: Store) -> None:
    await memory_of(store).remember(BOT, GENERATED, FIRST)
    other = SecretMemory(store, jwt_secret=JWT_SECRET + "!", size=100)
    assert await other.recall(BOT, (GENERATED,), (FIRST,)) is None


@pytest.mark.gen_test
async def test_it_is_kept_for_a_week_from_its_last_recall(store: Store, resources: Resources) -> None:
    await memory_of(store).remember(BOT, GENERATED, FIRST)
    [key] = await resources.redis.keys()
    assert key[:15] == b"oauth-verified:"
    assert GENERATED not in key
    assert await resources.redis.get(key) == b"1"
    for _ in range(2):
        assert WEEK - 5 < await resources.redis.ttl(key) <= WEEK
        await resources.redis.expire(key, 60)
        await memory_of(store).recall(BOT, (GENERATED,), (FIRST,))
    await resources.redis.delete(key)
    assert await memory_of(store).recall(BOT, (GENERATED,), (FIRST,)) is None


@pytest.mark.gen_test
async def test_redis_is_asked_alike_for_an_unknown_client_and_a_known_one(store: Store) -> None:
    memory = memory_of(store)
    wrong = generate_secret().encode()
    for live in ((), (FIRST,)):
        assert await memory.recall(BOT, (wrong,), live) is None
    assert store.asked == [1, 1]
    await memory.recall(BOT, (wrong, CHOSEN), (FIRST, SECOND))
    assert store.asked[2:] == [2]


@pytest.mark.gen_test
async def test_nobody_without_a_live_secret_is_recalled(store: Store, resources: Resources) -> None:
    """Not even if somebody puts into Redis what stands for no secret."""
    memory = memory_of(store)
    none = dataclasses.replace(FIRST, hash="")
    await memory.remember(BOT, GENERATED, none)
    assert len(await resources.redis.keys()) == 1
    assert await memory_of(store).recall(BOT, (GENERATED,), ()) is None


@pytest.mark.gen_test
async def test_without_redis_it_costs_a_bcrypt_and_no_failure(store: Store, redis_server: FakeServer) -> None:
    redis_server.connected = False
    memory = memory_of(store)
    await memory.remember(BOT, GENERATED, FIRST)
    assert memory.find(BOT, (GENERATED,), (FIRST,)) is FIRST
    restarted = memory_of(store)
    assert await restarted.recall(BOT, (GENERATED,), (FIRST,)) is None
    with pytest.raises(ServiceUnavailable):
        await store.find(["0"])  # it is the memory that bears it


# What is remembered

KEY = b"k" * 32
client_ids = st.from_regex(r"[a-z0-9,-]{0,12}", fullmatch=True)
secrets = st.binary(max_size=12) | st.from_regex(rb"[0-9,a]{0,6}", fullmatch=True)
hashes = st.text(st.characters(codec="ascii"), max_size=12)
triples = st.tuples(client_ids, secrets, hashes)


@given(one=triples, other=triples)
def test_different_triples_are_different_messages(
    one: tuple[str, bytes, str], other: tuple[str, bytes, str]
) -> None:
    assert (_digest(KEY, *one) == _digest(KEY, *other)) == (one == other)


@given(text=st.text(st.sampled_from("0123456789,a"), min_size=2, max_size=8), cuts=st.data())
def test_what_is_one_text_cut_elsewhere_is_another_message(text: str, cuts: st.DataObject) -> None:
    """The lengths lead: without them these would be the same bytes."""
    places = st.tuples(st.integers(0, len(text)), st.integers(0, len(text))).map(sorted)
    cut = [
        (text[:first], text[first:second].encode(), text[second:])
        for first, second in (cuts.draw(places), cuts.draw(places))
    ]
    assert (_digest(KEY, *cut[0]) == _digest(KEY, *cut[1])) == (cut[0] == cut[1])


def test_the_key_decides() -> None:
    assert _digest(KEY, BOT, CHOSEN, FIRST.hash) != _digest(b"K" * 32, BOT, CHOSEN, FIRST.hash)
