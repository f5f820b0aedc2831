from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from station import hookimpl
from station.auth import admin_authenticated, user_authenticated
from station.auth.decorators import ADMIN_KEY_HEADER
from station.handlers import BaseHandler, Route, route
from station.security import Security, security_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from fakeredis import FakeServer
    from tornado.httpclient import HTTPResponse

    from station.app import Application
    from station.auth.service import AuthService

    Fetch = Callable[..., Awaitable[HTTPResponse]]

KEY = "the-current-key-of-at-least-32-bytes-é"
PREVIOUS = "the-former-key-of-at-least-32-bytes"
KEYS = {"internal_api_key": KEY, "internal_api_key_previous": PREVIOUS}
BLANK = {"internal_api_key": " " * 32, "internal_api_key_previous": ""}
HOME = "203.0.113.9"


class _WhoHandler(BaseHandler):
    def answer(self) -> None:
        user = self.current_user
        self.write_json({"user": user and user.email})


@admin_authenticated
class AdminHandler(_WhoHandler):
    def get(self) -> None:
        self.answer()


class PersonHandler(_WhoHandler):
    @user_authenticated
    async def get(self) -> None:
        self.answer()


class WhoPlugin:
    __name__ = "who"

    @hookimpl
    def station_handlers(self) -> list[Route]:
        return [route(r"/admin", AdminHandler), route(r"/person", PersonHandler)]


@pytest.fixture
def plugins() -> list[object]:
    return [WhoPlugin()]


@pytest.fixture
def settings() -> dict[str, object]:
    return dict(KEYS)


async def session_of(auth: AuthService, roles: list[str]) -> dict[str, str]:
    """The headers of somebody with ``roles`` who is logged in."""
    email = f"{roles[0] if roles else 'user'}@example.com"
    await auth.create_user(email, "correct horse battery", roles)
    _, tokens = await auth.login(email, "correct horse battery", HOME)
    return {"Cookie": f"station_access={tokens.access}"}


def key_header(key: str) -> dict[str, str]:
    # Tornado's client writes headers as Latin-1
    return {"x-internal-api-key": key.encode().decode("latin-1")}


@pytest.mark.parametrize(
    ("settings", "key", "who", "status"),
    [
        (KEYS, None, None, 401),
        (KEYS, "wrong", None, 401),
        (KEYS, KEY, None, 200),
        (KEYS, PREVIOUS, None, 200),
        (KEYS, KEY[:-1], None, 401),
        (KEYS, KEY + "x", None, 401),
        (KEYS, KEY.upper(), None, 401),
        (KEYS, f"{KEY},{KEY}", None, 401),
        (KEYS, "", None, 401),
        (KEYS, "", "admin", 401),
        (KEYS, "wrong", "admin", 401),
        (KEYS, KEY, "user", 200),
        (KEYS, None, "user", 403),
        (KEYS, None, "auditor", 403),
        (KEYS, None, "admin", 200),
        ({}, None, None, 401),
        ({}, "", None, 401),
        ({}, "None", None, 401),
        ({}, None, "admin", 200),
        (BLANK, "", None, 401),
        (BLANK, " " * 32, None, 401),
        (BLANK, None, "admin", 200),
    ],
)
@pytest.mark.row("G4")
@pytest.mark.gen_test
async def test_who_is_an_admin(
    fetch: Fetch, auth: AuthService, key: str | None, who: str | None, status: int
) -> None:
    headers = {} if key is None else key_header(key)
    if who is not None:
        headers |= await session_of(auth, [who] if who != "user" else [])
    answer = await fetch("GET", "/admin", headers=headers)
    assert answer.code == status
    if status == 401:
        assert answer.headers["WWW-Authenticate"] == 'Session realm="station"'
    if status == 200:
        # the key decides alone: it does not become the person whose cookie came along
        assert json.loads(answer.body)["user"] == (None if key else "admin@example.com")


@pytest.mark.gen_test
async def test_the_key_counts_in_the_header_alone(fetch: Fetch) -> None:
    for headers in ({"Authorization": f"Bearer {PREVIOUS}"}, {"Cookie": f"x-internal-api-key={PREVIOUS}"}):
        assert (await fetch("GET", "/admin", headers=headers)).code == 401
    assert (await fetch("GET", f"/admin?x-internal-api-key={PREVIOUS}")).code == 401


@pytest.mark.gen_test
async def test_a_key_is_no_person(fetch: Fetch, auth: AuthService) -> None:
    assert (await fetch("GET", "/person", headers=key_header(KEY))).code == 401
    session = await session_of(auth, [])
    answer = await fetch("GET", "/person", headers=session | key_header("wrong"))
    assert (answer.code, json.loads(answer.body)) == (200, {"user": "user@example.com"})


@pytest.mark.parametrize("settings", [KEYS | {"failure_throttle_limit": 2}])
@pytest.mark.row("G4")
@pytest.mark.gen_test
async def test_only_failures_are_throttled(fetch: Fetch, auth: AuthService) -> None:
    session = await session_of(auth, ["admin"])
    for _ in range(4):
        assert (await fetch("GET", "/admin", headers=key_header(KEY))).code == 200
        assert (await fetch("GET", "/admin")).code == 401  # nobody asked for anything: no failure of a key
    answers = [await fetch("GET", "/admin", headers=key_header("wrong")) for _ in range(3)]
    assert [answer.code for answer in answers] == [401, 401, 429]
    assert int(answers[-1].headers["Retry-After"]) >= 1
    assert (await fetch("GET", "/admin", headers=key_header(KEY))).code == 200
    assert (await fetch("GET", "/admin", headers=session)).code == 200


@pytest.mark.gen_test
async def test_without_redis_the_key_opens_and_a_wrong_one_does_not(
    fetch: Fetch, redis_server: FakeServer, app: Application
) -> None:
    redis_server.connected = False
    assert (await fetch("GET", "/admin", headers=key_header(KEY))).code == 200
    assert (await fetch("GET", "/admin", headers=key_header("wrong"))).code == 503


def test_what_the_methods_declare() -> None:
    assert security_of(AdminHandler.get) == Security("admin")
    assert security_of(PersonHandler.get) == Security("session")
    assert ADMIN_KEY_HEADER == "x-internal-api-key"


def test_a_method_has_one_of_the_two() -> None:
    with pytest.raises(TypeError, match="admin and session"):

        class Torn(BaseHandler):
            @user_authenticated
            @admin_authenticated
            def get(self) -> None: ...
