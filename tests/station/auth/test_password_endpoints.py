"""Changing and resetting passwords over HTTP, on the embedded engines and two nodes."""

from __future__ import annotations

import asyncio
import json
import logging
import uuid
from typing import TYPE_CHECKING, Any

import pymongo
import pytest
import redis as sync_redis
from tornado.httpserver import HTTPServer
from tornado.testing import bind_unused_port

from station.app import Application, make_app
from station.config import Config
from station.resources import Resources, open_resources

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tornado.httpclient import HTTPResponse
    from tornado.ioloop import IOLoop

    from station.embedded import Endpoints
    from tests.station.auth.conftest import Browser, Fetch, Outbox

ADA = {"email": "ada@example.com", "password": "correct horse battery"}
NEW = "better zebra accumulator"
CHANGE = {"currentPassword": ADA["password"], "newPassword": NEW}


@pytest.fixture
def config(engines: Endpoints, tmp_path: Path, settings: dict[str, Any]) -> Config:
    defaults: dict[str, Any] = {
        "env": "test",
        "data_dir": tmp_path,
        "plugins": (),
        "mongodb_uri": engines.mongodb_uri,
        "mongodb_database": f"test_{uuid.uuid4().hex}",
        "redis_url": engines.redis_url,
        "jwt_secret": "the secret of the tests, 32 bytes and more",
        "auth_bcrypt_cost": 4,
        "auth_reset_url": "https://console.example/reset#{token}",
        "login_throttle_limit": 0,
        "register_throttle_limit": 0,
        "forgot_throttle_limit": 0,
    }
    return Config(**(defaults | settings))


@pytest.fixture
def resources(io_loop: IOLoop, config: Config) -> Iterator[Resources]:
    opening = open_resources(config)
    yield io_loop.run_sync(opening.__aenter__)
    io_loop.run_sync(lambda: opening.__aexit__(None, None, None))
    with pymongo.MongoClient[dict[str, Any]](config.mongodb_uri) as mongodb:
        mongodb.drop_database(config.mongodb_database)
    with sync_redis.Redis.from_url(str(config.redis_url)) as client:
        client.flushdb()


@pytest.fixture
def plugins(outbox: Outbox) -> list[object]:
    return [outbox]


@pytest.fixture
def elsewhere(
    io_loop: IOLoop,
    app: Application,
    config: Config,
    resources: Resources,
    fetch_from: Callable[[str], Fetch],
) -> Iterator[Fetch]:
    """A second node on the same stores."""
    node = make_app(config, resources)
    lifespan = node.lifespan()
    io_loop.run_sync(lifespan.__aenter__)
    listening, port = bind_unused_port()
    server = HTTPServer(node)
    server.add_socket(listening)
    yield fetch_from(f"http://127.0.0.1:{port}")
    server.stop()
    io_loop.run_sync(server.close_all_connections)
    io_loop.run_sync(lambda: lifespan.__aexit__(None, None, None))


async def logged_in(browser: Browser, fetch: Fetch) -> Browser:
    """A browser of its own with a new session."""
    other = type(browser)(fetch)
    assert (await other.post("/auth/login", ADA)).code == 200
    return other


def body(response: HTTPResponse) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(response.body)
    return document


def shown(response: HTTPResponse) -> tuple[object, ...]:
    """What of an answer could tell something: all but its id and date."""
    request_id = response.headers["X-Request-Id"].encode()
    headers = {
        name: value for name, value in response.headers.get_all() if name not in {"Date", "X-Request-Id"}
    }
    return response.code, response.body.replace(request_id, b""), *sorted(headers.items())


@pytest.mark.gen_test
async def test_a_change_ends_the_other_sessions_on_every_node(
    browser: Browser, fetch: Fetch, elsewhere: Fetch, outbox: Outbox
) -> None:
    account = body(await browser.post("/auth/register", ADA))
    await browser.post("/auth/login", ADA)
    others = [await logged_in(browser, fetch), await logged_in(browser, elsewhere)]
    stolen = type(browser)(fetch)
    stolen.jar, stolen.paths = dict(browser.jar), dict(browser.paths)

    changed = await browser.post("/auth/change-password", CHANGE)
    assert (changed.code, body(changed)) == (200, account)
    assert set(browser.cookies_of(changed)) == {"station_access", "station_refresh"}
    assert await browser.me() == 200
    assert (await browser.post("/auth/refresh")).code == 200
    assert await browser.me() == 200
    for other in (*others, stolen):
        assert await other.me() == 401
        assert (await other.post("/auth/refresh")).code == 401
    assert await browser.me() == 200  # the old refresh token ended nothing
    assert (await browser.post("/auth/login", ADA)).code == 401
    assert (await browser.post("/auth/login", ADA | {"password": NEW})).code == 200
    event = await outbox.event("password.changed")
    assert (event.outcome, event.target, event.actor.id) == ("ok", account["id"], account["id"])


@pytest.mark.parametrize(
    ("document", "status", "code"),
    [
        (CHANGE | {"currentPassword": "wrong horse battery"}, 403, "wrong-password"),
        (CHANGE | {"newPassword": ADA["password"]}, 400, "validation-failed"),
        (CHANGE | {"newPassword": "x" * 11}, 400, "validation-failed"),
        (CHANGE | {"newPassword": "x" * 129}, 400, "validation-failed"),
        (CHANGE | {"currentPassword": "x" * 129}, 400, "validation-failed"),
        (CHANGE | {"currentPassword": {"$ne": ""}}, 400, "validation-failed"),
        (CHANGE | {"email": "bob@example.com"}, 400, "validation-failed"),
        ({}, 400, "validation-failed"),
        ([CHANGE], 400, "bad-request"),
    ],
)
@pytest.mark.gen_test
async def test_a_change_that_is_refused_changes_nothing(
    browser: Browser, outbox: Outbox, document: object, status: int, code: str
) -> None:
    await browser.post("/auth/register", ADA)
    await browser.post("/auth/login", ADA)
    before = dict(browser.jar)
    refused = await browser.post("/auth/change-password", document)
    assert (refused.code, body(refused)["code"]) == (status, code)
    assert refused.headers["Content-Type"] == "application/problem+json"
    assert browser.jar == before
    assert await browser.me() == 200
    assert (await browser.post("/auth/login", ADA)).code == 200
    event = await outbox.event("change_password.refused")
    assert event.reason is not None
    assert event.reason.code == ("wrong_password" if status == 403 else code)


@pytest.mark.gen_test
async def test_a_change_needs_a_session(browser: Browser) -> None:
    await browser.post("/auth/register", ADA)
    refused = await browser.post("/auth/change-password", CHANGE)
    assert (refused.code, refused.headers["WWW-Authenticate"]) == (401, 'Session realm="station"')


@pytest.mark.gen_test
async def test_a_forgotten_password_is_reset_once_and_ends_every_session(
    browser: Browser, fetch: Fetch, elsewhere: Fetch, outbox: Outbox
) -> None:
    account = body(await browser.post("/auth/register", ADA))
    sessions = [await logged_in(browser, fetch), await logged_in(browser, elsewhere)]
    assert (await browser.post("/auth/forgot-password", {"email": "ADA@example.com"})).code == 202
    message = await outbox.message()
    assert (message.kind, message.recipient) == ("password-reset", "ada@example.com")
    assert message.link == f"https://console.example/reset#{message.token}"
    event = await outbox.event("password.reset_requested")
    assert (event.outcome, event.target, event.actor.kind) == ("ok", account["id"], "anonymous")
    assert event.actor.address == "127.0.0.1"

    reset = {"token": message.token, "newPassword": NEW}
    node = type(browser)(elsewhere)
    answers = await asyncio.gather(
        *[tab.post("/auth/reset-password", reset) for tab in (browser, node) for _ in range(4)]
    )
    assert sorted(answer.code for answer in answers) == [204, *[400] * 7]
    assert not browser.jar
    assert not node.jar
    for session in sessions:
        assert await session.me() == 401
        assert (await session.post("/auth/refresh")).code == 401
    assert (await browser.post("/auth/login", ADA)).code == 401
    assert (await browser.post("/auth/login", ADA | {"password": NEW})).code == 200
    event = await outbox.event("password.reset")
    assert (event.target, event.actor.kind) == (account["id"], "anonymous")


@pytest.mark.gen_test
async def test_unknown_used_replaced_and_expired_tokens_get_the_same_answer(
    browser: Browser, outbox: Outbox, resources: Resources
) -> None:
    await browser.post("/auth/register", ADA)
    tokens = ["", "garbage", "A" * 43, "\u00e9" * 43]
    for _ in range(2):
        await browser.post("/auth/forgot-password", {"email": ADA["email"]})
        tokens.append((await outbox.message()).token)
        await outbox.event("password.reset_requested")
    used = tokens.pop()
    answers = [await browser.post("/auth/reset-password", {"token": t, "newPassword": NEW}) for t in tokens]
    assert (await browser.post("/auth/reset-password", {"token": used, "newPassword": NEW})).code == 204
    answers.append(await browser.post("/auth/reset-password", {"token": used, "newPassword": NEW}))
    await browser.post("/auth/forgot-password", {"email": ADA["email"]})
    expired = (await outbox.message()).token
    await outbox.event("password.reset_requested")
    await resources.database["users"].update_one({}, [{"$set": {"reset.expires_at": "$created_at"}}])
    answers.append(await browser.post("/auth/reset-password", {"token": expired, "newPassword": NEW + "!"}))
    assert {answer.code for answer in answers} == {400}
    assert body(answers[0])["code"] == "invalid-reset-token"
    assert len({shown(answer) for answer in answers}) == 1
    reasons = [(await outbox.event("reset_password.refused")).reason for _ in answers]
    assert [reason and reason.code for reason in reasons] == [*["unknown_token"] * 6, "expired_token"]


@pytest.mark.parametrize(
    ("path", "document", "fields"),
    [
        ("forgot", {}, {"email"}),
        ("forgot", {"email": "x" * 255}, {"email"}),
        ("forgot", {"email": {"$gt": ""}}, {"email"}),
        ("forgot", {"email": "a@example.com", "password": "x"}, {"password"}),
        ("reset", {}, {"token", "newPassword"}),
        ("reset", {"token": "x" * 129, "newPassword": "x" * 129}, {"token", "newPassword"}),
        ("reset", {"token": {"$ne": 1}, "newPassword": NEW}, {"token"}),
        ("reset", {"token": "x", "newPassword": "x" * 11}, {"newPassword"}),
    ],
)
@pytest.mark.gen_test
async def test_bad_fields_are_named(browser: Browser, path: str, document: object, fields: set[str]) -> None:
    answer = await browser.post(f"/auth/{path}-password", document)
    assert answer.code == 400
    assert set(body(answer)["errors"]) == fields


@pytest.mark.gen_test
async def test_the_answer_says_nothing_of_the_account_and_comes_before_the_message(
    browser: Browser, outbox: Outbox, resources: Resources
) -> None:
    users = resources.database["users"]
    for email in ("ada@example.com", "bob@example.com", "eve@example.com"):
        await browser.post("/auth/register", ADA | {"email": email})
    await users.update_one({"email": "bob@example.com"}, {"$set": {"is_active": False}})
    for _ in range(3):
        await browser.post("/auth/forgot-password", {"email": "eve@example.com"})
        await outbox.message()
    outbox.open.clear()  # no delivery ends before it is opened
    emails = ["ada@example.com", "bob@example.com", "eve@example.com", "nobody@example.com", "no email", ""]
    answers = [await browser.post("/auth/forgot-password", {"email": email}) for email in emails]
    assert {answer.code for answer in answers} == {202}
    assert len({shown(answer) for answer in answers}) == 1
    assert (await outbox.message()).recipient == "ada@example.com"
    reasons = [(await outbox.event("forgot_password.refused")).reason for _ in emails[1:]]
    assert sorted(reason.code for reason in reasons if reason) == ["inactive", "throttled", *["unknown"] * 3]
    assert outbox.empty()
    outbox.open.set()


@pytest.mark.parametrize("settings", [{"forgot_throttle_limit": 2}])
@pytest.mark.gen_test
async def test_requests_of_an_address_are_throttled(browser: Browser) -> None:
    answers = [await browser.post("/auth/forgot-password", {"email": "nobody@example.com"}) for _ in range(3)]
    assert [answer.code for answer in answers] == [202, 202, 429]
    assert 1 <= int(answers[-1].headers["Retry-After"]) <= 60


@pytest.mark.gen_test
async def test_a_delivery_that_fails_is_no_error_to_the_caller(
    browser: Browser, outbox: Outbox, caplog: pytest.LogCaptureFixture
) -> None:
    await browser.post("/auth/register", ADA)
    outbox.fault = RuntimeError("refused by the mail server")
    assert (await browser.post("/auth/forgot-password", {"email": ADA["email"]})).code == 202
    message = await outbox.message()
    event = await outbox.event("password.reset_requested")
    assert event.outcome == "failed"
    assert "a message password-reset was not delivered: RuntimeError" in caplog.text
    assert message.token not in caplog.text


class TestWithoutDelivery:
    """Nothing is configured to deliver, and it is not development."""

    @pytest.fixture
    def plugins(self, outbox: Outbox) -> list[object]:
        outbox.delivers = False
        return [outbox]

    @pytest.mark.gen_test
    async def test_the_answer_is_the_same_and_the_audit_knows(
        self, browser: Browser, outbox: Outbox, resources: Resources, caplog: pytest.LogCaptureFixture
    ) -> None:
        account = body(await browser.post("/auth/register", ADA))
        answers = [
            await browser.post("/auth/forgot-password", {"email": email})
            for email in (ADA["email"], "nobody@example.com")
        ]
        assert {answer.code for answer in answers} == {202}
        assert len({shown(answer) for answer in answers}) == 1
        events = [await outbox.event("forgot_password.refused") for _ in answers]
        reasons = {event.target: event.reason and event.reason.code for event in events}
        assert reasons == {account["id"]: "undeliverable", "": "unknown"}
        user = await resources.database["users"].find_one({})
        assert user is not None
        assert "reset" not in user
        assert "curl" not in caplog.text


class TestInDevelopment:
    """The developer reads the messages in the log."""

    @pytest.fixture
    def settings(self) -> dict[str, Any]:
        return {"env": "development"}

    @pytest.fixture
    def plugins(self) -> list[object]:
        return []

    @pytest.mark.gen_test
    async def test_the_log_shows_what_to_do(
        self, browser: Browser, app: Application, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO)
        written = asyncio.Event()

        class Watch(logging.Handler):
            def emit(self, record: logging.LogRecord) -> None:
                if record.name == "station.auth.links":
                    written.set()

        watch = Watch()
        logging.getLogger("station.auth.links").addHandler(watch)
        await browser.post("/auth/register", ADA)
        await browser.post("/auth/forgot-password", {"email": ADA["email"]})
        await asyncio.wait_for(written.wait(), 10)
        logging.getLogger("station.auth.links").removeHandler(watch)
        document = json.loads(caplog.text.partition(" -d '")[2].partition("'")[0])
        assert (await browser.post("/auth/reset-password", document)).code == 204


@pytest.mark.gen_test
async def test_no_log_event_or_store_holds_a_password_or_a_token(
    browser: Browser, outbox: Outbox, resources: Resources, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(0)
    logging.getLogger("pymongo").setLevel(logging.WARNING)  # as Station's own configuration does
    await browser.post("/auth/register", ADA)
    await browser.post("/auth/login", ADA)
    wrong = {"currentPassword": "wrong horse battery", "newPassword": NEW + "!"}
    await browser.post("/auth/change-password", wrong)
    await browser.post("/auth/change-password", CHANGE)
    secrets = [ADA["password"], *wrong.values(), *CHANGE.values(), *browser.jar.values()]
    await browser.post("/auth/forgot-password", {"email": wrong["currentPassword"]})
    for password in (NEW, NEW + "?"):
        await browser.post("/auth/forgot-password", {"email": ADA["email"]})
        token = (await outbox.message()).token
        await outbox.event("password.reset_requested")
        secrets += [token, password]
        await browser.post("/auth/reset-password", {"token": token, "newPassword": password})
        await browser.post(f"/auth/reset-password?token={token}", {"token": token, "newPassword": "short"})
    await outbox.event("password.reset")
    await outbox.event("reset_password.refused")
    kept = [vars(record) for record in caplog.records]
    for collection in ("users", "audit_events"):
        kept += await resources.database[collection].find().to_list(None)
    kept += [{"key": key} async for key in resources.redis.scan_iter("*")]
    logging.getLogger("pymongo").setLevel(logging.NOTSET)
    text = "\n".join(map(str, kept))
    assert "/auth/reset-password" in text
    assert [secret for secret in secrets if secret in text] == []
