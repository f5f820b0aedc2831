"""Changing and resetting passwords: the service, over fakes."""

from __future__ import annotations

import asyncio
import dataclasses
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from motor.motor_asyncio import AsyncIOMotorClient

from station.auth.errors import InvalidResetToken, LoginRequired, WrongPassword
from station.auth.stores import SessionStore
from station.errors import (
    NotFound,
    ServiceUnavailable,
    TooManyRequests,
    Unauthorized,
    ValidationFailed,
)
from station.resources import Resources

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fakeredis import FakeAsyncRedis, FakeServer

    from station.app import Application
    from station.auth.models import User
    from station.auth.service import AuthService
    from station.passwords import Verified
    from tests.station.auth.conftest import CountingHasher, MakeService, Outbox

HOME = "203.0.113.9"
EMAIL = "ada@example.com"
PASSWORD = "correct horse battery"
NEW = "better zebra accumulator"


@pytest.fixture
def plugins(outbox: Outbox) -> list[object]:
    return [outbox]


async def stored(resources: Resources) -> dict[str, Any]:
    document = await resources.database["users"].find_one({"email": EMAIL})
    assert document is not None
    return document


async def forgotten(service: AuthService, outbox: Outbox) -> str:
    """The token that a new message holds."""
    await service.passwords.request_reset(EMAIL, HOME)
    return (await outbox.message()).token


@pytest.mark.gen_test
async def test_a_change_ends_every_session_but_the_one_it_begins(
    service: AuthService, resources: Resources
) -> None:
    await service.create_user(EMAIL, PASSWORD)
    user, mine = await service.login(EMAIL, PASSWORD, HOME)
    _, other = await service.login(EMAIL, PASSWORD, HOME)
    changed, new = await service.passwords.change(user, PASSWORD, NEW, HOME)
    assert await service.authenticate(new.access) == changed
    _, new = await service.refresh(new.refresh)
    for tokens in (mine, other):
        with pytest.raises(Unauthorized):
            await service.authenticate(tokens.access)
        with pytest.raises(Unauthorized):
            await service.refresh(tokens.refresh)
    assert (await service.authenticate(new.access)).id == user.id
    with pytest.raises(Unauthorized):
        await service.login(EMAIL, PASSWORD, HOME)
    await service.login(EMAIL, NEW, HOME)
    assert (await stored(resources))["generation"] == changed.generation != user.generation


@pytest.mark.gen_test
async def test_an_account_from_before_generations_changes_its_password(
    service: AuthService, resources: Resources
) -> None:
    await service.create_user(EMAIL, PASSWORD)
    await resources.database["users"].update_one({}, {"$unset": {"generation": ""}})
    user, old = await service.login(EMAIL, PASSWORD, HOME)
    assert await service.authenticate(old.access) == user
    _, new = await service.passwords.change(user, PASSWORD, NEW, HOME)
    await service.authenticate(new.access)
    with pytest.raises(Unauthorized):
        await service.authenticate(old.access)


@pytest.mark.gen_test
async def test_a_new_password_is_another_one_however_it_is_typed(
    service: AuthService, outbox: Outbox, hasher: CountingHasher
) -> None:
    user = await service.create_user(EMAIL, "caf\u00e9 caf\u00e9 caf\u00e9")
    same = "cafe\u0301 cafe\u0301 cafe\u0301"
    with pytest.raises(ValidationFailed) as refused:
        await service.passwords.change(user, "caf\u00e9 caf\u00e9 caf\u00e9", same, HOME)
    assert set(refused.value.errors) == {"newPassword"}
    assert hasher.asked == []
    token = await forgotten(service, outbox)
    with pytest.raises(ValidationFailed) as refused:
        await service.passwords.reset(token, same, HOME)
    assert set(refused.value.errors) == {"newPassword"}
    await service.passwords.reset(token, NEW, HOME)  # it was not used up
    await service.login(EMAIL, NEW, HOME)


@pytest.mark.parametrize("settings", [{"failure_throttle_limit": 2}])
@pytest.mark.gen_test
async def test_wrong_passwords_and_tokens_count_as_failures_do(
    service: AuthService, outbox: Outbox, hasher: CountingHasher
) -> None:
    user = await service.create_user(EMAIL, PASSWORD)
    token = await forgotten(service, outbox)
    with pytest.raises(WrongPassword):
        await service.passwords.change(user, "wrong horse battery", NEW, "198.51.100.1")
    with pytest.raises(ValidationFailed):
        await service.passwords.reset(token, PASSWORD, "198.51.100.1")
    for address in ("198.51.100.2", "198.51.100.2"):
        with pytest.raises(InvalidResetToken):
            await service.passwords.reset("no token", NEW, address)
    worked = len(hasher.asked)
    for address in ("198.51.100.1", "198.51.100.2"):
        with pytest.raises(TooManyRequests):
            await service.passwords.change(user, PASSWORD, NEW, address)
        with pytest.raises(TooManyRequests):
            await service.passwords.reset(token, NEW, address)
        with pytest.raises(TooManyRequests):
            await service.login(EMAIL, PASSWORD, address)
    assert len(hasher.asked) == worked
    await service.passwords.change(user, PASSWORD, NEW, HOME)


@pytest.mark.gen_test
async def test_of_two_changes_at_once_one_is_made(service: AuthService) -> None:
    user = await service.create_user(EMAIL, PASSWORD)
    outcomes = await asyncio.gather(
        service.passwords.change(user, PASSWORD, NEW, HOME),
        service.passwords.change(user, PASSWORD, NEW + "!", HOME),
        return_exceptions=True,
    )
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["LoginRequired", "tuple"]


class Gate:
    """Holds somebody up in the middle of something."""

    def __init__(self) -> None:
        self.reached, self.open = asyncio.Event(), asyncio.Event()

    async def pass_through(self) -> None:
        self.reached.set()
        await self.open.wait()


@pytest.mark.gen_test
async def test_a_login_that_runs_meanwhile_begins_no_session(
    app: Application, service: AuthService, hasher: CountingHasher, make_service: MakeService
) -> None:
    gate = Gate()

    class HeldHasher(type(hasher)):  # type: ignore[misc] # the class of a fixture
        async def verify(
            self, candidates: Sequence[bytes], hashes: Sequence[str], **more: Any
        ) -> Verified | None:
            verified: Verified | None = await super().verify(candidates, hashes, **more)
            await gate.pass_through()
            return verified

    held = HeldHasher()
    user = await service.create_user(EMAIL, PASSWORD)
    login = asyncio.create_task(make_service(app, held).login(EMAIL, PASSWORD, HOME))
    await gate.reached.wait()
    await service.passwords.change(user, PASSWORD, NEW, HOME)
    gate.open.set()
    _, tokens = await login
    held.close()
    with pytest.raises(Unauthorized):
        await service.authenticate(tokens.access)
    with pytest.raises(Unauthorized):
        await service.refresh(tokens.refresh)


@pytest.mark.gen_test
async def test_a_refresh_that_runs_meanwhile_prolongs_nothing(
    app: Application, service: AuthService, hasher: CountingHasher, make_service: MakeService
) -> None:
    gate = Gate()

    class HeldSessions(SessionStore):
        async def rotate(self, session_id: str, counter: int) -> int | None:
            await gate.pass_through()
            return await super().rotate(session_id, counter)

    user = await service.create_user(EMAIL, PASSWORD)
    _, tokens = await service.login(EMAIL, PASSWORD, HOME)
    other = make_service(app, hasher, HeldSessions(app.resources))
    refresh = asyncio.create_task(other.refresh(tokens.refresh))
    await gate.reached.wait()
    await service.passwords.change(user, PASSWORD, NEW, HOME)
    gate.open.set()
    _, tokens = await refresh
    with pytest.raises(Unauthorized):
        await service.authenticate(tokens.access)
    with pytest.raises(Unauthorized):
        await service.refresh(tokens.refresh)


@pytest.mark.gen_test
async def test_a_token_serves_once_and_signs_nobody_in(
    service: AuthService, outbox: Outbox, resources: Resources, redis: FakeAsyncRedis
) -> None:
    await service.create_user(EMAIL, PASSWORD)
    _, tokens = await service.login(EMAIL, PASSWORD, HOME)
    token = await forgotten(service, outbox)
    assert len(token) == 43
    assert token not in str(await stored(resources))
    sessions = len([key async for key in redis.scan_iter("session:*")])
    await service.passwords.reset(token, NEW, HOME)
    assert len([key async for key in redis.scan_iter("session:*")]) == sessions
    assert "reset" not in await stored(resources)
    with pytest.raises(Unauthorized):
        await service.authenticate(tokens.access)
    with pytest.raises(Unauthorized):
        await service.refresh(tokens.refresh)
    with pytest.raises(InvalidResetToken):
        await service.passwords.reset(token, NEW + "!", HOME)
    await service.login(EMAIL, NEW, HOME)


@pytest.mark.gen_test
async def test_a_token_ends_by_a_newer_one_a_change_a_disabling_and_in_time(
    service: AuthService, outbox: Outbox, resources: Resources
) -> None:
    async def refused(token: str) -> tuple[object, ...]:
        with pytest.raises(InvalidResetToken) as error:
            await service.passwords.reset(token, NEW + "!", HOME)
        return str(error.value), error.value.status, *error.value.headers.items()

    user: User = await service.create_user(EMAIL, PASSWORD)
    answers = {await refused("no token"), await refused(""), await refused("\ud800")}
    older, newer = await forgotten(service, outbox), await forgotten(service, outbox)
    answers.add(await refused(older))
    await service.passwords.change(user, PASSWORD, NEW, HOME)
    answers.add(await refused(newer))

    users = resources.database["users"]
    message = await service.passwords.make_reset(EMAIL)
    left = message.expires_at - datetime.now(UTC)
    assert timedelta(minutes=29) < left <= timedelta(minutes=30)
    past = datetime.now(UTC) - timedelta(seconds=1)
    await users.update_one({}, {"$set": {"reset.expires_at": past}})
    answers.add(await refused(message.token))

    message = await service.passwords.make_reset(EMAIL)
    await users.update_one({}, {"$set": {"is_active": False}})
    answers.add(await refused(message.token))
    await service.disable(EMAIL)
    await service.enable(EMAIL)
    answers.add(await refused(message.token))
    assert len(answers) == 1
    await service.login(EMAIL, NEW, HOME)


@pytest.mark.gen_test
async def test_a_token_replaced_or_expired_while_the_password_is_hashed_serves_nobody(
    app: Application,
    service: AuthService,
    outbox: Outbox,
    hasher: CountingHasher,
    make_service: MakeService,
    resources: Resources,
) -> None:
    await service.create_user(EMAIL, PASSWORD)
    users = resources.database["users"]
    past = datetime.now(UTC) - timedelta(seconds=1)
    for change in (
        {"$set": {"reset.hash": "another"}},
        {"$set": {"reset.expires_at": past}},
        {"$set": {"is_active": False}},
    ):

        class Interrupted(type(hasher)):  # type: ignore[misc] # the class of a fixture
            async def hash(self, secret: bytes, **more: Any) -> str:
                await users.update_one({}, change)  # noqa: B023 - called within this turn
                return str(await super().hash(secret, **more))

        slow = Interrupted()
        token = (await service.passwords.make_reset(EMAIL)).token
        with pytest.raises(InvalidResetToken):
            await make_service(app, slow).passwords.reset(token, NEW, HOME)
        slow.close()
    await service.enable(EMAIL)
    await service.login(EMAIL, PASSWORD, HOME)


@pytest.mark.gen_test
async def test_disabling_ends_sessions_for_good(service: AuthService) -> None:
    await service.create_user(EMAIL, PASSWORD)
    user, tokens = await service.login(EMAIL, PASSWORD, HOME)
    assert await service.disable(EMAIL.upper()) == dataclasses.replace(user, is_active=False)
    with pytest.raises(NotFound):
        await service.passwords.make_reset(EMAIL)
    assert (await service.enable(EMAIL)).is_active
    with pytest.raises(Unauthorized):
        await service.authenticate(tokens.access)
    with pytest.raises(Unauthorized):
        await service.refresh(tokens.refresh)
    await service.login(EMAIL, PASSWORD, HOME)
    for change in (service.disable, service.enable, service.passwords.make_reset):
        with pytest.raises(NotFound):
            await change("nobody@example.com")


@pytest.mark.parametrize("email", [EMAIL, "nobody@example.com"])
@pytest.mark.gen_test
async def test_a_request_asks_mongodb_and_bcrypt_nothing_before_it_is_answered(
    app: Application,
    make_service: MakeService,
    hasher: CountingHasher,
    redis: FakeAsyncRedis,
    email: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    await make_service(app, hasher).create_user(EMAIL, PASSWORD)
    nowhere: AsyncIOMotorClient[dict[str, Any]] = AsyncIOMotorClient(
        "mongodb://127.0.0.1:1", serverSelectionTimeoutMS=20
    )
    app.resources = Resources(nowhere["station"], redis)
    without_mongodb = make_service(app, hasher)
    hasher.close()
    await without_mongodb.passwords.request_reset(email, HOME)
    assert [key async for key in redis.scan_iter("throttle:*")] == [f"throttle:forgot:{HOME}".encode()]
    nowhere.close()


@pytest.mark.parametrize("settings", [{"forgot_throttle_limit": 2}])
@pytest.mark.gen_test
async def test_requests_of_an_address_are_throttled(service: AuthService) -> None:
    for _ in range(2):
        await service.passwords.request_reset("nobody@example.com", HOME)
    with pytest.raises(TooManyRequests):
        await service.passwords.request_reset(EMAIL, HOME)
    await service.passwords.request_reset(EMAIL, "198.51.100.4")


@pytest.mark.parametrize("settings", [{"forgot_throttle_limit": 0}])
@pytest.mark.gen_test
async def test_nobody_floods_a_mailbox_from_many_addresses(
    service: AuthService, outbox: Outbox, resources: Resources
) -> None:
    user = await service.create_user(EMAIL, PASSWORD)
    tokens = [await forgotten(service, outbox) for _ in range(3)]
    await service.passwords.request_reset(EMAIL.upper(), "198.51.100.4")
    refused = await outbox.event("forgot_password.refused")
    assert (refused.target, refused.reason and refused.reason.code) == (user.id, "throttled")
    assert outbox.empty()
    await service.passwords.reset(tokens[-1], NEW, HOME)  # the last one still serves


@pytest.mark.gen_test
async def test_without_redis_nothing_is_changed_or_sent(
    service: AuthService, redis_server: FakeServer, resources: Resources
) -> None:
    user = await service.create_user(EMAIL, PASSWORD)
    before = await stored(resources)
    redis_server.connected = False
    for call in (
        service.passwords.change(user, PASSWORD, NEW, HOME),
        service.passwords.request_reset(EMAIL, HOME),
        service.passwords.reset("no token", NEW, HOME),
    ):
        with pytest.raises(ServiceUnavailable):
            await call
    assert await stored(resources) == before


@pytest.mark.gen_test
async def test_a_change_that_loses_says_that_the_session_has_ended(service: AuthService) -> None:
    user = await service.create_user(EMAIL, PASSWORD)
    await service.disable(EMAIL)
    with pytest.raises(LoginRequired):
        await service.passwords.change(user, PASSWORD, NEW, HOME)
