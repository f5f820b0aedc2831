from __future__ import annotations

import asyncio
import dataclasses
from typing import TYPE_CHECKING

import pytest

from station.auth.service import open_auth_service
from station.auth.stores import UserStore
from station.errors import (
    Conflict,
    Forbidden,
    ResponseError,
    ServiceUnavailable,
    TooManyRequests,
    Unauthorized,
)
from station.throttle import Throttle

if TYPE_CHECKING:
    from fakeredis import FakeAsyncRedis, FakeServer

    from station.app import Application
    from station.auth.service import AuthService
    from station.config import Config
    from station.resources import Resources
    from tests.station.auth.conftest import CountingHasher, MakeService

HOME = "203.0.113.9"
PASSWORD = "correct horse battery"


async def refusal(service: AuthService, email: str, password: str, address: str = HOME) -> ResponseError:
    with pytest.raises(ResponseError) as refused:
        await service.login(email, password, address)
    return refused.value


@pytest.mark.gen_test
async def test_an_account_logs_in_with_its_email_in_any_case(service: AuthService) -> None:
    made = await service.register("Ada@Example.com", PASSWORD, HOME)
    assert made.email == "ada@example.com"
    assert made.id.startswith("usr_")
    assert made.roles == ()
    user, tokens = await service.login("ADA@example.com", PASSWORD, HOME)
    assert user == made
    assert await service.authenticate(tokens.access) == made


@pytest.mark.gen_test
async def test_one_of_two_that_race_for_an_email_gets_it(service: AuthService) -> None:
    outcomes = await asyncio.gather(
        *[service.register(email, PASSWORD, HOME) for email in ("ada@example.com", "ADA@example.com")],
        return_exceptions=True,
    )
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["Conflict", "User"]


@pytest.mark.parametrize("settings", [{"auth_registration": "closed"}])
@pytest.mark.gen_test
async def test_closed_registration_is_closed_to_people_and_not_to_operators(service: AuthService) -> None:
    with pytest.raises(Forbidden):
        await service.register("ada@example.com", PASSWORD, HOME)
    assert (await service.create_user("ada@example.com", PASSWORD, ["admin"])).is_admin


@pytest.mark.gen_test
async def test_unknown_inactive_and_wrong_are_refused_alike(
    service: AuthService, hasher: CountingHasher, resources: Resources
) -> None:
    await service.create_user("ada@example.com", PASSWORD)
    await service.create_user("bob@example.com", PASSWORD)
    await resources.database["users"].update_one({"email": "bob@example.com"}, {"$set": {"is_active": False}})
    refused = [
        await refusal(service, "nobody@example.com", "wrong horse"),
        await refusal(service, "bob@example.com", PASSWORD),
        await refusal(service, "bob@example.com", "wrong horse"),
        await refusal(service, "ada@example.com", "wrong horse"),
    ]
    assert len({(type(error), str(error), *error.headers.items()) for error in refused}) == 1
    assert isinstance(refused[0], Unauthorized)
    # each was one bcrypt; without hashes the hasher works on its dummy
    assert hasher.asked == [
        ([b"wrong horse"], 0),
        ([PASSWORD.encode()], 0),
        ([b"wrong horse"], 0),
        ([b"wrong horse"], 1),
    ]


@pytest.mark.gen_test
async def test_a_password_is_any_text_and_one_text_however_it_is_typed(service: AuthService) -> None:
    for index, password in enumerate(["\0" * 12, "\ud800" * 12, "é" * 128, "\U0001f40e" * 128]):
        await service.create_user(f"{index}@example.com", password)
        await service.login(f"{index}@example.com", password, HOME)
        assert isinstance(await refusal(service, f"{index}@example.com", password[:-1] + "x"), Unauthorized)
    await service.create_user("ada@example.com", "caf\u00e9 caf\u00e9 caf\u00e9")
    await service.login("ada@example.com", "cafe\u0301 cafe\u0301 cafe\u0301", HOME)


@pytest.mark.gen_test
async def test_a_hash_of_another_cost_is_replaced_at_login(
    app: Application,
    service: AuthService,
    hasher: CountingHasher,
    make_service: MakeService,
    resources: Resources,
) -> None:
    await service.create_user("ada@example.com", PASSWORD)
    dearer = type(hasher)(cost=5)
    other = make_service(app, dearer)
    users = UserStore(resources)
    before = await users.find_by_email("ada@example.com")
    await refusal(other, "ada@example.com", "wrong horse")
    assert await users.find_by_email("ada@example.com") == before
    await other.login("ada@example.com", PASSWORD, HOME)
    after = await users.find_by_email("ada@example.com")
    assert before is not None
    assert after is not None
    assert ("r=4$" in before.password, "r=5$" in after.password) == (True, True)
    await other.login("ada@example.com", PASSWORD, HOME)
    assert await users.find_by_email("ada@example.com") == after
    dearer.close()


@pytest.mark.gen_test
async def test_an_account_that_is_gone_or_not_active_has_no_sessions(
    service: AuthService, resources: Resources
) -> None:
    users = resources.database["users"]
    await service.create_user("ada@example.com", PASSWORD)
    user, tokens = await service.login("ada@example.com", PASSWORD, HOME)
    await users.update_one({"_id": user.id}, {"$set": {"is_active": False}})
    for _ in range(2):
        with pytest.raises(Unauthorized):
            await service.authenticate(tokens.access)
        with pytest.raises(Unauthorized):
            await service.refresh(tokens.refresh)
        await users.delete_one({"_id": user.id})


@pytest.mark.gen_test
async def test_roles_are_read_for_every_request(service: AuthService, resources: Resources) -> None:
    await service.create_user("ada@example.com", PASSWORD, ["admin"])
    user, tokens = await service.login("ada@example.com", PASSWORD, HOME)
    assert (await service.authenticate_admin(tokens.access)).is_admin
    await resources.database["users"].update_one({"_id": user.id}, {"$set": {"roles": []}})
    with pytest.raises(Forbidden):
        await service.authenticate_admin(tokens.access)


@pytest.mark.gen_test
async def test_a_session_belongs_to_one_account(service: AuthService, redis: FakeAsyncRedis) -> None:
    await service.create_user("ada@example.com", PASSWORD)
    _, tokens = await service.login("ada@example.com", PASSWORD, HOME)
    [key] = [key async for key in redis.scan_iter("session:*")]
    await redis.hset(key, "user_id", "usr_another")
    with pytest.raises(Unauthorized):
        await service.authenticate(tokens.access)


@pytest.mark.gen_test
async def test_forged_and_foreign_tokens_end_nothing(service: AuthService) -> None:
    await service.create_user("ada@example.com", PASSWORD)
    _, tokens = await service.login("ada@example.com", PASSWORD, HOME)
    for forged in ("", "garbage", tokens.refresh[:-4] + "AAAA", tokens.access):
        with pytest.raises(Unauthorized):
            await service.refresh(forged)
        await service.logout(forged if forged != tokens.access else "", forged)
    assert (await service.authenticate(tokens.access)).email == "ada@example.com"


@pytest.mark.parametrize("which", ["access", "refresh"])
@pytest.mark.gen_test
async def test_either_token_logs_out(service: AuthService, which: str) -> None:
    await service.create_user("ada@example.com", PASSWORD)
    _, tokens = await service.login("ada@example.com", PASSWORD, HOME)
    _, elsewhere = await service.login("ada@example.com", PASSWORD, HOME)
    await service.logout(
        tokens.access if which == "access" else "", tokens.refresh if which == "refresh" else ""
    )
    with pytest.raises(Unauthorized):
        await service.authenticate(tokens.access)
    with pytest.raises(Unauthorized):
        await service.refresh(tokens.refresh)
    assert (await service.authenticate(elsewhere.access)).email == "ada@example.com"


@pytest.mark.gen_test
async def test_without_redis_nobody_is_let_in(service: AuthService, redis_server: FakeServer) -> None:
    await service.create_user("ada@example.com", PASSWORD)
    _, tokens = await service.login("ada@example.com", PASSWORD, HOME)
    redis_server.connected = False
    for call in (
        service.authenticate(tokens.access),
        service.refresh(tokens.refresh),
        service.logout(tokens.access, tokens.refresh),
        service.authenticate_admin_key(b"wrong", HOME),
    ):
        with pytest.raises(ServiceUnavailable):
            await call
    assert isinstance(await refusal(service, "ada@example.com", PASSWORD), ServiceUnavailable)


@pytest.mark.parametrize("settings", [{"login_throttle_limit": 2, "failure_throttle_limit": 0}])
@pytest.mark.gen_test
async def test_logins_of_an_address_are_throttled(service: AuthService) -> None:
    await service.create_user("ada@example.com", PASSWORD)
    await service.login("ada@example.com", PASSWORD, "2001:db8::1")
    assert isinstance(await refusal(service, "ada@example.com", "wrong", "2001:db8::2"), Unauthorized)
    assert isinstance(await refusal(service, "ada@example.com", PASSWORD, "2001:db8::3"), TooManyRequests)
    await service.login("ada@example.com", PASSWORD, HOME)


@pytest.mark.parametrize("settings", [{"failure_throttle_limit": 2}])
@pytest.mark.gen_test
async def test_failures_of_an_address_are_throttled_and_successes_are_not(
    service: AuthService, hasher: CountingHasher
) -> None:
    await service.create_user("ada@example.com", PASSWORD)
    for _ in range(5):
        await service.login("ada@example.com", PASSWORD, HOME)
    for _ in range(2):
        assert isinstance(await refusal(service, "nobody@example.com", "wrong"), Unauthorized)
    worked = len(hasher.asked)
    assert isinstance(await refusal(service, "ada@example.com", PASSWORD), TooManyRequests)
    assert len(hasher.asked) == worked  # refused before any bcrypt
    await service.login("ada@example.com", PASSWORD, "198.51.100.4")


@pytest.mark.parametrize("settings", [{"register_throttle_limit": 1}])
@pytest.mark.gen_test
async def test_registrations_of_an_address_are_throttled(service: AuthService) -> None:
    await service.register("ada@example.com", PASSWORD, HOME)
    with pytest.raises(TooManyRequests):
        await service.register("bob@example.com", PASSWORD, HOME)
    with pytest.raises(Conflict):
        await service.register("ada@example.com", PASSWORD, "198.51.100.4")


@pytest.mark.parametrize("settings", [{"internal_api_key": " " * 32, "internal_api_key_previous": ""}])
@pytest.mark.parametrize("key", [b"", b" " * 32])
@pytest.mark.gen_test
async def test_a_blank_key_opens_nothing(service: AuthService, key: bytes) -> None:
    with pytest.raises(Unauthorized):
        await service.authenticate_admin_key(key, HOME)


@pytest.mark.gen_test
async def test_sessions_survive_the_rotation_of_the_secret(
    app: Application, config: Config, resources: Resources
) -> None:
    throttle = Throttle(resources.redis)
    async with open_auth_service(config, resources, throttle, app.audit, app.messages) as service:
        await service.create_user("ada@example.com", PASSWORD)
        user, tokens = await service.login("ada@example.com", PASSWORD, HOME)
    rotating = dataclasses.replace(config, jwt_secret="n" * 32, jwt_secret_previous=config.jwt_secret)
    async with open_auth_service(rotating, resources, throttle, app.audit, app.messages) as service:
        assert await service.authenticate(tokens.access) == user
        _, tokens = await service.refresh(tokens.refresh)
    rotated = dataclasses.replace(rotating, jwt_secret_previous=None)
    async with open_auth_service(rotated, resources, throttle, app.audit, app.messages) as service:
        assert await service.authenticate(tokens.access) == user


@pytest.mark.gen_test
async def test_the_bcrypt_threads_end_with_the_service(
    app: Application, config: Config, resources: Resources
) -> None:
    async with open_auth_service(
        config, resources, Throttle(resources.redis), app.audit, app.messages
    ) as service:
        await service.create_user("ada@example.com", PASSWORD)
    with pytest.raises(ServiceUnavailable):
        await service.create_user("bob@example.com", PASSWORD)
