"""WebSockets that a person's session opened: from where, and until when."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from tornado.httpclient import HTTPClientError, HTTPRequest
from tornado.websocket import WebSocketHandler, websocket_connect

from station import hookimpl
from station.auth import admin_authenticated, user_authenticated
from station.handlers import BaseHandler, Route, route

if TYPE_CHECKING:
    from station.app import Application
    from station.auth.service import AuthService
    from tests.station.auth.conftest import Browser, Fetch

ACCOUNT = {"email": "mia@example.com", "password": "correct horse battery"}
DEADLINE = 1.0
SOMEWHERE_ELSE = [{"Origin": "https://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}]


class _EchoHandler(BaseHandler, WebSocketHandler):
    def on_message(self, message: str | bytes) -> None:
        self.write_message(f"{self.current_user.email}: {message!s}")


@user_authenticated
class NewsHandler(_EchoHandler):
    """For people."""


@admin_authenticated
class ConsoleHandler(_EchoHandler):
    """For operators."""


class NewsPlugin:
    __name__ = "news"

    @hookimpl
    def station_handlers(self) -> list[Route]:
        return [route(r"/news", NewsHandler), route(r"/console", ConsoleHandler)]


@pytest.fixture
def plugins() -> list[object]:
    return [NewsPlugin()]


class Sockets:
    """Opens WebSockets with the cookies of a browser, and closes them in the end."""

    def __init__(self, base_url: str) -> None:
        self._url = base_url.replace("http", "ws", 1)
        self._opened: list[Any] = []

    async def open(self, browser: Browser, path: str = "/news", **headers: str) -> Any:
        cookies = "; ".join(f"{name}={value}" for name, value in browser.jar.items())
        request = HTTPRequest(self._url + path, headers={"Cookie": cookies, **headers})
        self._opened.append(await websocket_connect(request))
        return self._opened[-1]

    def close(self) -> None:
        for socket in self._opened:
            socket.close()


@pytest.fixture
def sockets(base_url: str, http_server: object) -> Sockets:
    return Sockets(base_url)


async def say(socket: Any, message: str) -> str | None:
    await socket.write_message(message)
    answer: str | None = await asyncio.wait_for(socket.read_message(), 10)
    return answer


async def closing(socket: Any) -> tuple[int, str]:
    """With which code and reason it is closed, in time."""
    assert await asyncio.wait_for(socket.read_message(), DEADLINE) is None
    return socket.close_code, socket.close_reason


async def log_in(auth: AuthService, browser: Browser, *roles: str) -> None:
    await auth.create_user(ACCOUNT["email"], ACCOUNT["password"], roles)
    assert (await browser.post("/auth/login", ACCOUNT)).code == 200


async def log_out(_app: Application, browser: Browser) -> None:
    assert (await browser.post("/auth/logout")).code == 204


async def disable(app: Application, _browser: Browser) -> None:
    auth: AuthService = app.settings["auth"]
    await auth.disable(ACCOUNT["email"])


@pytest.mark.gen_test
async def test_no_page_of_another_origin_opens_one(
    auth: AuthService, browser: Browser, sockets: Sockets, base_url: str
) -> None:
    await log_in(auth, browser)
    for headers in SOMEWHERE_ELSE:
        with pytest.raises(HTTPClientError) as refused:
            await sockets.open(browser, **headers)
        assert refused.value.code == 403
    own = await sockets.open(browser, Origin=base_url)
    assert await say(own, "hello") == "mia@example.com: hello"
    sockets.close()
    assert await own.read_message() is None


@pytest.mark.parametrize("ending", [log_out, disable])
@pytest.mark.gen_test
async def test_it_closes_when_the_session_ends(
    app: Application, auth: AuthService, browser: Browser, fetch: Fetch, sockets: Sockets, ending: Any
) -> None:
    await log_in(auth, browser)
    other = type(browser)(fetch)
    await auth.create_user("ben@example.com", ACCOUNT["password"])
    await other.post("/auth/login", {**ACCOUNT, "email": "ben@example.com"})
    socket, others = await sockets.open(browser), await sockets.open(other)
    assert await say(socket, "hello") == "mia@example.com: hello"
    await ending(app, browser)
    assert await closing(socket) == (4401, "unauthorized")
    assert await say(others, "hello") == "ben@example.com: hello"
    sockets.close()
    assert await others.read_message() is None
    while len(auth.connections) or len(app.connections):  # noqa: ASYNC110 - of this nobody is told
        await asyncio.sleep(0)


@pytest.mark.gen_test
async def test_an_operators_closes_when_the_role_is_gone(
    app: Application, auth: AuthService, browser: Browser, sockets: Sockets
) -> None:
    await log_in(auth, browser, "admin")
    console, news = await sockets.open(browser, "/console"), await sockets.open(browser)
    await app.resources.database["users"].update_one({"email": ACCOUNT["email"]}, {"$set": {"roles": []}})
    assert await closing(console) == (4401, "forbidden")
    assert await say(news, "hello") == "mia@example.com: hello"
    sockets.close()
    assert await news.read_message() is None
