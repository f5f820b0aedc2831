from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING, Any

import jwt
import pytest

from station.keys import derive_key

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from fakeredis import FakeAsyncRedis, FakeServer
    from tornado.httpclient import HTTPResponse

    from station.auth.service import AuthService
    from station.config import Config
    from station.resources import Resources
    from tests.station.auth.conftest import Browser

ADA = {"email": "Ada@Example.com", "password": "correct horse battery"}
PRODUCTION = {
    "env": "production",
    "mongodb_uri": "mongodb://given-by-the-test",
    "redis_url": "redis://given-by-the-test",
    "internal_api_key": "k" * 32,
    "allowed_origin": ("https://console.example",),
    "auth_registration": "open",
}


def body(response: HTTPResponse) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(response.body)
    return document


@pytest.fixture
def other_tab(browser: Browser, fetch: Callable[..., Awaitable[HTTPResponse]]) -> Callable[[], Browser]:
    """Another browser with the cookies that the first has now."""

    def copy() -> Browser:
        tab = type(browser)(fetch)
        tab.jar, tab.paths = dict(browser.jar), dict(browser.paths)
        return tab

    return copy


@pytest.mark.gen_test
async def test_register_log_in_refresh_log_out(browser: Browser) -> None:
    registered = await browser.post("/auth/register", ADA)
    assert registered.code == 201
    account = body(registered)
    assert set(account) == {"id", "email", "roles", "createdAt"}
    assert account["email"] == "ada@example.com"
    assert account["roles"] == []
    assert not browser.jar
    assert await browser.me() == 401

    logged_in = await browser.post("/auth/login", ADA)
    assert (logged_in.code, body(logged_in)) == (200, account)
    me = await browser.send("GET", "/auth/me")
    assert (me.code, body(me)) == (200, account)

    before = dict(browser.jar)
    refreshed = await browser.post("/auth/refresh")
    assert (refreshed.code, body(refreshed)) == (200, account)
    assert browser.jar["station_access"] != before["station_access"]
    assert browser.jar["station_refresh"] != before["station_refresh"]
    assert await browser.me() == 200

    after = dict(browser.jar)
    logged_out = await browser.post("/auth/logout")
    assert (logged_out.code, logged_out.body) == (204, b"")
    assert not browser.jar
    browser.jar = after
    assert await browser.me() == 401
    assert (await browser.post("/auth/refresh")).code == 401
    browser.jar = {}
    assert (await browser.post("/auth/logout")).code == 204


@pytest.mark.parametrize(
    ("settings", "secure"), [({"env": "development"}, ""), (PRODUCTION | {"issuer": "https://s"}, True)]
)
@pytest.mark.gen_test
async def test_what_the_cookies_are(browser: Browser, secure: object) -> None:
    assert (await browser.post("/auth/register", ADA)).code == 201
    for path in ("/auth/login", "/auth/refresh", "/auth/logout"):
        cookies = browser.cookies_of(await browser.post(path, ADA))
        assert {name: cookie["path"] for name, cookie in cookies.items()} == {
            "station_access": "/",
            "station_refresh": "/auth",
        }
        for cookie in cookies.values():
            assert (cookie["httponly"], cookie["samesite"], cookie["secure"]) == (True, "Lax", secure)
            assert cookie["domain"] == ""
        if path == "/auth/logout":
            assert [cookie.value for cookie in cookies.values()] == ["", ""]
        else:
            assert cookies["station_access"]["max-age"] == "900"
            assert cookies["station_refresh"]["max-age"] == "604800"


@pytest.mark.gen_test
async def test_two_tabs_that_refresh_together_both_stay(
    browser: Browser, other_tab: Callable[[], Browser]
) -> None:
    await browser.post("/auth/register", ADA)
    await browser.post("/auth/login", ADA)
    second = other_tab()
    answers = await asyncio.gather(browser.post("/auth/refresh"), second.post("/auth/refresh"))
    assert [answer.code for answer in answers] == [200, 200]
    assert [await browser.me(), await second.me()] == [200, 200]
    assert (await second.post("/auth/refresh")).code == 200
    assert (await browser.post("/auth/refresh")).code == 200


@pytest.mark.gen_test
async def test_reuse_of_an_old_refresh_token_ends_the_session(
    browser: Browser, other_tab: Callable[[], Browser], redis: FakeAsyncRedis
) -> None:
    await browser.post("/auth/register", ADA)
    await browser.post("/auth/login", ADA)
    thief = other_tab()
    await browser.post("/auth/refresh")
    [key] = [key async for key in redis.scan_iter("session:*")]
    await redis.hincrby(key, "rotated_at", -10_000)
    assert await browser.me() == 200
    assert (await thief.post("/auth/refresh")).code == 401
    assert [await browser.me(), await thief.me()] == [401, 401]
    assert (await browser.post("/auth/refresh")).code == 401


@pytest.mark.gen_test
async def test_unknown_inactive_and_wrong_get_the_same_answer(browser: Browser, resources: Resources) -> None:
    await browser.post("/auth/register", ADA)
    await browser.post("/auth/register", ADA | {"email": "bob@example.com"})
    await resources.database["users"].update_one({"email": "bob@example.com"}, {"$set": {"is_active": False}})
    answers = [
        await browser.post("/auth/login", {"email": email, "password": password})
        for email, password in [
            ("nobody@example.com", ADA["password"]),
            ("bob@example.com", ADA["password"]),
            ("ada@example.com", "wrong horse battery"),
        ]
    ]
    assert {answer.code for answer in answers} == {401}
    seen = set()
    for answer in answers:
        request_id = answer.headers["X-Request-ID"]
        headers = {k: v for k, v in answer.headers.get_all() if k not in {"Date", "X-Request-Id"}}
        assert headers["Www-Authenticate"] == 'Session realm="station"'
        seen.add((answer.body.replace(request_id.encode(), b""), *sorted(headers.items())))
    assert len(seen) == 1


def forgeries(config: Config, good: str) -> dict[str, str]:
    """Access tokens that are none, made from one that is."""
    key = derive_key(config.jwt_secret, "sessions")
    claims = jwt.decode(good, options={"verify_signature": False})
    header = {"typ": "session+jwt"}
    now = int(time.time())
    return {
        "no algorithm": jwt.encode(claims, "", "none", headers=header),
        "another key": jwt.encode(claims, "x" * 32, "HS256", headers=header),
        "the secret itself": jwt.encode(claims, config.jwt_secret, "HS256", headers=header),
        "expired": jwt.encode(claims | {"exp": now, "iat": now - 900}, key, "HS256", headers=header),
        "a machine's": jwt.encode(claims | {"type": "client"}, key, "HS256", headers={"typ": "at+jwt"}),
        "another session": jwt.encode(claims | {"sid": "nowhere"}, key, "HS256", headers=header),
        "another user": jwt.encode(claims | {"sub": "usr_nobody"}, key, "HS256", headers=header),
        "cut": good[:-1],
        "empty": "",
        "garbage": "{}[]%00=",
        "long": "a" * 20_000,
        "deep": "W1tb" * 900 + ".e30.AA",
    }


@pytest.mark.gen_test
async def test_forged_tokens_are_refused_and_end_nothing(browser: Browser, config: Config) -> None:
    await browser.post("/auth/register", ADA)
    await browser.post("/auth/login", ADA)
    good = dict(browser.jar)
    tokens = forgeries(config, good["station_access"]) | {"a refresh token": good["station_refresh"]}
    for name, token in tokens.items():
        browser.jar = {"station_access": token}
        assert await browser.me() == 401, name
    for name, token in tokens.items():
        browser.jar = {"station_refresh": good["station_access"] if name == "a refresh token" else token}
        assert (await browser.post("/auth/refresh")).code == 401, name
    browser.jar = good
    assert await browser.me() == 200
    assert (await browser.post("/auth/refresh")).code == 200


@pytest.mark.gen_test
async def test_only_the_cookie_says_who_it_is(browser: Browser) -> None:
    await browser.post("/auth/register", ADA)
    await browser.post("/auth/login", ADA)
    token = browser.jar["station_access"]
    bearer = {"Authorization": f"Bearer {token}"}
    assert (await browser.send("GET", "/auth/me", headers={"Authorization": "Bearer x.y.z"})).code == 200
    browser.jar = {}
    assert (await browser.send("GET", "/auth/me", headers=bearer)).code == 401
    assert (await browser.send("GET", f"/auth/me?station_access={token}")).code == 401


@pytest.mark.parametrize(
    ("document", "fields"),
    [
        ({}, {"email", "password"}),
        ({"email": "no email", "password": "short"}, {"email", "password"}),
        (ADA | {"password": "a" * 11}, {"password"}),
        (ADA | {"password": "a" * 129}, {"password"}),
        (ADA | {"email": "a@example.com\0"}, {"email"}),
        (ADA | {"email": "a" * 250 + "@example.com"}, {"email"}),
        (ADA | {"roles": ["admin"], "isActive": True}, {"roles", "isActive"}),
        ({"email": ["a@example.com"], "password": {"$ne": ""}}, {"email", "password"}),
    ],
)
@pytest.mark.gen_test
async def test_a_bad_registration_names_every_bad_field(
    browser: Browser, resources: Resources, document: object, fields: set[str]
) -> None:
    answer = await browser.post("/auth/register", document)
    assert answer.code == 400
    assert set(body(answer)["errors"]) == fields
    assert await resources.database["users"].count_documents({}) == 0


@pytest.mark.parametrize("password", ["\0" * 12, "\u00e9" * 128, "\U0001f40e" * 128, " " * 12])
@pytest.mark.gen_test
async def test_a_password_may_be_any_text(browser: Browser, password: str) -> None:
    assert (await browser.post("/auth/register", ADA | {"password": password})).code == 201
    assert (await browser.post("/auth/login", ADA | {"password": password})).code == 200
    assert (await browser.post("/auth/login", ADA | {"password": password[1:] + "x"})).code == 401


@pytest.mark.parametrize(
    ("document", "status"),
    [
        (ADA | {"email": "a\0b"}, 401),
        (ADA | {"email": ""}, 401),
        (ADA | {"email": {"$gt": ""}}, 400),
        (ADA | {"email": "\ud800"}, 400),
        (ADA | {"password": "\ud800" * 12}, 400),
        (ADA | {"email": "x" * 60_000}, 400),
        (ADA | {"password": "\u0301" * 9_000}, 400),
        (ADA | {"password": None}, 400),
        ([ADA], 400),
        (ADA | {"password": "x" * 70_000}, 413),
    ],
)
@pytest.mark.gen_test
async def test_a_strange_login_is_refused(browser: Browser, document: object, status: int) -> None:
    answer = await browser.post("/auth/login", document)
    assert answer.code == status
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert not browser.jar


@pytest.mark.gen_test
async def test_an_email_is_registered_once(browser: Browser) -> None:
    answers = await asyncio.gather(*[browser.post("/auth/register", ADA) for _ in range(3)])
    assert sorted(answer.code for answer in answers) == [201, 409, 409]


@pytest.mark.parametrize("settings", [{"auth_registration": "closed"}])
@pytest.mark.gen_test
async def test_closed_registration(browser: Browser) -> None:
    assert (await browser.post("/auth/register", ADA)).code == 403


@pytest.mark.parametrize("settings", [{"login_throttle_limit": 2, "register_throttle_limit": 1}])
@pytest.mark.gen_test
async def test_throttles_answer_429_whatever_a_stranger_forwards(browser: Browser) -> None:
    statuses = {"/auth/register": [201, 429, 429], "/auth/login": [200, 200, 429]}
    for path, expected in statuses.items():
        answers = [
            await browser.send("POST", path, json=ADA, headers={"X-Forwarded-For": f"198.51.100.{n}"})
            for n in range(3)
        ]
        assert [answer.code for answer in answers] == expected
        assert 1 <= int(answers[-1].headers["Retry-After"]) <= 60


@pytest.mark.gen_test
async def test_without_redis_the_answer_is_503(browser: Browser, redis_server: FakeServer) -> None:
    await browser.post("/auth/register", ADA)
    await browser.post("/auth/login", ADA)
    redis_server.connected = False
    for method, path in (("GET", "/auth/me"), ("POST", "/auth/refresh"), ("POST", "/auth/logout")):
        answer = await browser.send(method, path)
        assert (answer.code, answer.headers["Retry-After"]) == (503, "1")
    assert set(browser.jar) == {"station_access", "station_refresh"}
    redis_server.connected = True
    assert await browser.me() == 200


@pytest.mark.gen_test
async def test_writes_from_another_origin_are_refused(browser: Browser) -> None:
    await browser.post("/auth/register", ADA)
    await browser.post("/auth/login", ADA)
    evil = await browser.send("POST", "/auth/logout", headers={"Origin": "https://evil.example"})
    assert evil.code == 403
    assert await browser.me() == 200


@pytest.mark.gen_test
async def test_no_log_holds_a_password_or_a_token(
    browser: Browser, auth: AuthService, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(0)
    await browser.post("/auth/register", ADA)
    await browser.post("/auth/login", ADA)
    await browser.post("/auth/login", ADA | {"password": "wrong horse battery"})
    secrets = [ADA["password"], "wrong horse battery", *browser.jar.values()]
    await browser.post("/auth/refresh")
    await browser.me()
    secrets += browser.jar.values()
    logged = "\n".join(str(vars(record)) for record in caplog.records)
    assert "/auth/login" in logged
    assert not [secret for secret in secrets if secret in logged]
    assert repr(auth).startswith("<station.auth.service.AuthService object")
