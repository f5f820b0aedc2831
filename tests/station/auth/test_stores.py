from __future__ import annotations

import asyncio
import dataclasses
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from motor.motor_asyncio import AsyncIOMotorClient

from station.auth.migrations import migrations
from station.auth.models import User
from station.auth.stores import SessionStore, UserStore
from station.errors import Conflict, ServiceUnavailable
from station.migrations import Migrator
from station.resources import Resources

if TYPE_CHECKING:
    from fakeredis import FakeAsyncRedis, FakeServer

ADA = User(
    id="usr_1",
    email="ada@example.com",
    password="$hash",
    roles=("admin",),
    is_active=True,
    created_at=datetime(2025, 1, 2, 3, 4, 5, 678_000, UTC),
)
KEY = "session:s1"


@pytest.fixture
def sessions(resources: Resources) -> SessionStore:
    return SessionStore(resources)


@pytest.mark.gen_test
async def test_a_user_is_read_back_as_it_was_stored(resources: Resources) -> None:
    users = UserStore(resources)
    await users.add(ADA)
    assert await users.find("usr_1") == ADA
    assert await users.find_by_email("ada@example.com") == ADA
    assert await users.find("usr_2") is None


@pytest.mark.gen_test
async def test_an_email_has_one_account_and_the_index_says_so(resources: Resources) -> None:
    migrator = Migrator(resources.database, {"auth": migrations})
    await migrator.up()
    users = UserStore(resources)
    await users.add(ADA)
    twin = User("usr_2", ADA.email, "$hash", (), is_active=True, created_at=ADA.created_at)
    with pytest.raises(Conflict):
        await users.add(twin)
    await migrator.down(steps=len(migrations))
    for migration in migrations:
        await migration.down(resources.database)  # once more, as after a crash halfway
    await users.add(twin)


@pytest.mark.gen_test
async def test_a_password_replaced_in_the_meantime_stays(resources: Resources) -> None:
    users = UserStore(resources)
    await users.add(ADA)
    await users.replace_password(ADA, "$new")
    await users.replace_password(ADA, "$late")
    stored = await users.find("usr_1")
    assert stored is not None
    assert stored.password == "$new"


@pytest.mark.gen_test
async def test_an_account_that_is_disabled_gets_no_reset_token_and_no_password(resources: Resources) -> None:
    users = UserStore(resources)
    await users.add(ADA)
    later = datetime(2999, 1, 1, tzinfo=UTC)
    assert await users.set_reset(ADA, "h1", later)
    assert await users.find_by_reset("h1") == (ADA, later)
    await users.disable(ADA, "g2")
    assert await users.find_by_reset("h1") is None
    assert not await users.set_reset(ADA, "h2", later)
    assert not await users.change_password(dataclasses.replace(ADA, generation="g2"), ADA)
    await users.enable(ADA)
    assert await users.find("usr_1") == dataclasses.replace(ADA, generation="g2")


@pytest.mark.gen_test
async def test_a_session_lives_seven_days(sessions: SessionStore, redis: FakeAsyncRedis) -> None:
    assert await sessions.start("s1", "usr_1") == 1
    assert await sessions.find_user_id("s1") == "usr_1"
    assert await redis.ttl(KEY) in {604_799, 604_800}
    await sessions.end("s1")
    assert await sessions.find_user_id("s1") is None
    await sessions.end("s1")


@pytest.mark.gen_test
async def test_rotation_counts_up_and_prolongs(sessions: SessionStore, redis: FakeAsyncRedis) -> None:
    await sessions.start("s1", "usr_1")
    await redis.expire(KEY, 60)
    assert [await sessions.rotate("s1", n) for n in (1, 2, 3)] == [2, 3, 4]
    assert await redis.ttl(KEY) > 60


@pytest.mark.gen_test
async def test_the_tab_that_was_late_gets_the_current_token(
    sessions: SessionStore, redis: FakeAsyncRedis
) -> None:
    await sessions.start("s1", "usr_1")
    assert await asyncio.gather(*[sessions.rotate("s1", 1) for _ in range(5)]) == [2] * 5
    await redis.hincrby(KEY, "rotated_at", -9_000)
    await redis.expire(KEY, 60)
    assert await sessions.rotate("s1", 1) == 2
    assert await redis.ttl(KEY) <= 60  # what is late does not prolong
    assert await sessions.rotate("s1", 2) == 3


@pytest.mark.parametrize(("counter", "age_ms"), [(2, 10_000), (1, 0), (0, 0), (4, 0), (-1, 0)])
@pytest.mark.gen_test
async def test_any_other_token_ends_the_session(
    sessions: SessionStore, redis: FakeAsyncRedis, counter: int, age_ms: int, caplog: pytest.LogCaptureFixture
) -> None:
    await sessions.start("s1", "usr_1")
    for n in (1, 2):
        await sessions.rotate("s1", n)
    await redis.hincrby(KEY, "rotated_at", -age_ms)
    assert await sessions.rotate("s1", counter) is None
    assert await redis.exists(KEY) == 0
    assert "the session s1 ended" in caplog.text


@pytest.mark.gen_test
async def test_before_the_first_rotation_nothing_is_late(sessions: SessionStore) -> None:
    await sessions.start("s1", "usr_1")
    assert await sessions.rotate("s1", 0) is None
    assert await sessions.find_user_id("s1") is None


@pytest.mark.gen_test
async def test_a_session_that_ended_is_not_rotated(
    sessions: SessionStore, redis: FakeAsyncRedis, caplog: pytest.LogCaptureFixture
) -> None:
    assert await sessions.rotate("s1", 1) is None
    assert await redis.keys() == []
    assert caplog.text == ""


@pytest.mark.gen_test
async def test_without_redis(sessions: SessionStore, redis_server: FakeServer) -> None:
    redis_server.connected = False
    for call in (
        sessions.start("s1", "usr_1"),
        sessions.find_user_id("s1"),
        sessions.rotate("s1", 1),
        sessions.end("s1"),
    ):
        with pytest.raises(ServiceUnavailable):
            await call


@pytest.mark.gen_test
async def test_without_mongodb(redis: FakeAsyncRedis) -> None:
    nowhere: AsyncIOMotorClient[dict[str, Any]] = AsyncIOMotorClient(
        "mongodb://127.0.0.1:1", serverSelectionTimeoutMS=20
    )
    users = UserStore(Resources(nowhere["station"], redis))
    for call in (users.add(ADA), users.find("usr_1"), users.replace_password(ADA, "$new")):
        with pytest.raises(ServiceUnavailable):
            await call
    nowhere.close()
