"""The way in and out, and that nobody is thrown out while they work."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pytest

from plugins.oauth_m2m.console.access import HOME, local_path
from station.audit import AuditFilter
from tests.plugins.oauth_m2m.console.conftest import EMAIL, PASSWORD

if TYPE_CHECKING:
    from station.app import Application
    from station.audit import Event
    from station.config import Config
    from tests.conftest import Wire
    from tests.plugins.oauth_m2m.console.conftest import Browser

LOGIN = "/console/login"


async def events(app: Application, **wanted: str) -> list[Event]:
    await app.audit.flush()
    return await app.audit.find(AuditFilter(**wanted), limit=50)  # type: ignore[arg-type] # no time is asked for


@pytest.mark.gen_test
async def test_who_is_not_logged_in_is_sent_to_the_login_and_back(stranger: Browser, admin: str) -> None:
    page = await stranger.get("/console/register")
    assert stranger.visited == [
        "GET /console/register",
        "GET /auth/console?next=%2Fconsole%2Fregister",
        "GET /console/login?next=%2Fconsole%2Fregister",
    ]
    assert page.heading == "Log in"
    assert "Clients" not in page.tree.one("header").text
    form = page.form(LOGIN)
    assert form["next"] == "/console/register"
    after = await stranger.post(LOGIN, {**form, "email": EMAIL, "password": PASSWORD})
    assert (after.url, after.heading) == ("/console/register", "Register a client")
    assert EMAIL in after.tree.one("header").text
    assert admin.startswith("usr_")


@pytest.mark.gen_test
async def test_the_way_back_knows_what_was_asked_for(stranger: Browser) -> None:
    page = await stranger.get("/console/clients?search=station-bot&isActive=true&cursor=a_b-c")
    assert page.form(LOGIN)["next"] == "/console/clients?search=station-bot&isActive=true&cursor=a_b-c"


ELSEWHERE = [
    "https://evil.example/",
    "//evil.example/console",
    "/\\evil.example",
    "/console\\..\\..",
    "/console/../auth/logout",
    "/console//evil.example",
    "/console@evil.example",
    "/console.evil.example",
    "/consoles",
    "/auth/console/logout",
    "javascript:alert(1)",
    "/console\nLocation: https://evil.example/",
    "/console?next=https://evil.example/#",
    " /console",
    "",
]


@pytest.mark.parametrize("wanted", ELSEWHERE)
def test_a_path_elsewhere_is_not_taken(wanted: str) -> None:
    assert local_path(wanted) == HOME


@pytest.mark.gen_test
async def test_no_link_leads_elsewhere_by_the_login(stranger: Browser, admin: str) -> None:
    assert admin
    for wanted in ("https://evil.example/", "//evil.example", "/\\evil.example", "/oauth-clients"):
        form = {"email": EMAIL, "password": PASSWORD, "next": wanted}
        answer = await stranger.fetch("POST", LOGIN, form)
        assert (answer.status, answer.headers["Location"]) == (303, HOME)
        renewed = await stranger.wire.fetch("GET", f"/auth/console?next={wanted.replace(chr(92), '%5C')}")
        assert renewed.headers["Location"] == "/console/login?next=%2Fconsole%2Fclients"


@pytest.mark.gen_test
async def test_a_wrong_password_is_401_and_keeps_the_email_and_the_way(
    stranger: Browser, admin: str, app: Application
) -> None:
    form = {"email": EMAIL, "password": "a wrong password of some length", "next": "/console/register"}
    page = await stranger.post(LOGIN, form)
    assert (page.status, page.heading) == (401, "Log in")
    assert page.tree.one(role="alert").text == "The email or the password is wrong."
    again = page.form(LOGIN)
    assert again == {"email": EMAIL, "password": "", "next": "/console/register"}
    assert stranger.cookies == {}
    (event,) = await events(app, action="login.refused")
    assert event.reason is not None
    assert event.reason.because == f"the password was not that of {admin}"
    assert event.target == "POST /console/login"


@pytest.fixture
def config(config: Config, request: pytest.FixtureRequest) -> Config:
    changes: dict[str, int] = getattr(request, "param", {})
    return dataclasses.replace(config, **changes)  # type: ignore[arg-type] # limits


@pytest.mark.parametrize("config", [{"login_throttle_limit": 2}], indirect=True)
@pytest.mark.gen_test
async def test_the_login_has_the_throttle_of_the_endpoint(stranger: Browser, wire: Wire, admin: str) -> None:
    assert admin
    guess = {"email": EMAIL, "password": "a wrong password of some length"}
    await wire.fetch("POST", "/auth/login", document=guess)
    await stranger.post(LOGIN, guess)
    page = await stranger.post(LOGIN, {"email": EMAIL, "password": PASSWORD})
    assert page.status == 429
    assert int(page.answer.headers["Retry-After"]) > 0
    assert "Too many requests" in page.tree.one(role="alert").text


@pytest.mark.gen_test
async def test_whoever_lacks_the_role_is_told_so(stranger: Browser, app: Application) -> None:
    user = await app.settings["auth"].create_user("ada@example.com", PASSWORD)
    page = await stranger.log_in("ada@example.com")
    assert (page.status, page.heading) == (403, "403 Forbidden")
    assert "ada@example.com" in page.tree.one("main").text
    assert "does not have the role admin" in page.tree.one("main").text
    assert "Clients" not in page.tree.one("header").text  # no way to pages that would say the same
    (event,) = await events(app, action="console.refused")
    assert (event.actor.id, event.reason and event.reason.code) == (user.id, "role")
    assert (await stranger.post("/auth/console/logout", {})).heading == "Log in"


@pytest.mark.gen_test
async def test_a_session_goes_on_when_its_access_token_has_ended(browser: Browser) -> None:
    refresh = browser.cookies["station_refresh", "/auth"]
    browser.forget("station_access")
    browser.visited.clear()
    page = await browser.get("/console/register")
    assert browser.visited == [
        "GET /console/register",
        "GET /auth/console?next=%2Fconsole%2Fregister",
        "GET /console/register",
    ]
    assert page.heading == "Register a client"
    assert browser.cookies["station_refresh", "/auth"] != refresh


@pytest.mark.gen_test
async def test_no_form_is_lost_when_the_access_token_has_ended(browser: Browser, wire: Wire) -> None:
    form = (await browser.get("/console/register")).form("/console/register")
    browser.forget("station_access")
    browser.visited.clear()
    page = await browser.post("/console/register", {**form, "clientId": "station-bot", "scopes": "bot:api"})
    assert browser.visited == [
        "POST /console/register",
        "POST /auth/console?next=%2Fconsole%2Fregister",
        "POST /console/register",
    ]
    assert (page.status, page.heading) == (201, "The secret of station-bot")
    shown = await wire.admin("GET", "/oauth-clients/station-bot")
    assert shown.json["scopes"] == ["bot:api"]


@pytest.mark.gen_test
async def test_a_session_that_has_ended_leads_to_the_login_once(browser: Browser, app: Application) -> None:
    await app.settings["auth"].disable(EMAIL)
    browser.visited.clear()
    page = await browser.get("/console/clients")
    assert page.heading == "Log in"
    assert len(browser.visited) == 3


@pytest.mark.gen_test
async def test_a_refresh_token_that_was_stolen_ends_the_session_and_is_audited(
    browser: Browser, app: Application
) -> None:
    old = browser.cookies["station_refresh", "/auth"]
    for _ in range(2):  # the one before the last is another tab's for ten seconds
        browser.forget("station_access")
        await browser.get("/console/clients")
    browser.forget("station_access")
    browser.cookies["station_refresh", "/auth"] = old
    assert (await browser.get("/console/clients")).heading == "Log in"
    (event,) = await events(app, action="console.refused")
    assert event.reason is not None
    assert event.reason.code == "reused"


@pytest.mark.gen_test
async def test_logging_out_ends_the_session(browser: Browser, wire: Wire) -> None:
    access = browser.cookies["station_access", "/"]
    page = await browser.post("/auth/console/logout", {})
    assert (page.heading, page.notice) == ("Log in", "You are logged out.")
    assert not [name for name, _ in browser.cookies if name.startswith("station_")]
    me = await wire.fetch("GET", "/auth/me", headers={"Cookie": f"station_access={access}"})
    assert me.status == 401
    assert (await browser.get(LOGIN)).notice == ""  # it is said once


@pytest.mark.gen_test
async def test_a_logout_without_an_access_token_ends_the_session_too(browser: Browser, wire: Wire) -> None:
    refresh = browser.cookies["station_refresh", "/auth"]
    browser.forget("station_access")
    await browser.post("/auth/console/logout", {})
    cookie = {"Cookie": f"station_refresh={refresh}"}
    assert (await wire.fetch("POST", "/auth/refresh", headers=cookie, body="")).status == 401


@pytest.mark.gen_test
async def test_a_notice_that_somebody_else_wrote_is_not_shown(browser: Browser) -> None:
    browser.cookies["station_notice", "/console"] = "ZXZpbA"
    assert (await browser.get("/console/clients")).notice == ""
    assert ("station_notice", "/console") not in browser.cookies


@pytest.mark.gen_test
async def test_the_refresh_token_is_sent_to_no_page(browser: Browser) -> None:
    assert {(name, path) for name, path in browser.cookies if name.startswith("station_")} == {
        ("station_access", "/"),
        ("station_refresh", "/auth"),
    }
