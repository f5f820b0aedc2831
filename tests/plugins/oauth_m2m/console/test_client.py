"""The page of a client: what it shows, and the form that changes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from station.audit import AuditFilter

if TYPE_CHECKING:
    from station.app import Application
    from tests.conftest import Wire
    from tests.plugins.oauth_m2m.console.conftest import Browser

BOT = "/console/clients/station-bot"
HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>"


@pytest.mark.gen_test
async def test_everything_about_a_client_is_on_its_page(
    browser: Browser, wire: Wire, app: Application
) -> None:
    credentials = await wire.register(name="The bot", scopes=["bot:api", "bot:write"])
    granted = await wire.token(credentials, scope="bot:api")
    await wire.token(("station-bot", "w" * 40))
    await app.audit.flush()
    page = await browser.get(BOT)
    assert (page.status, page.heading) == (200, "station-bot")
    main = page.tree.one("main")
    assert "The bot" in main.text
    assert page.form(BOT) == {
        "version": "1",
        "name": "The bot",
        "scopes": "bot:api\nbot:write",
        "tokenTtl": "",
    }
    secrets, tokens, events = (
        page.tree.one("section", aria_labelledby=name) for name in ("secrets", "tokens", "events")
    )
    (listed,) = (await wire.admin("GET", "/oauth-clients/station-bot/secrets")).json["secrets"]
    assert listed["id"] in secrets.text
    (token,) = (await wire.admin("GET", "/oauth-clients/station-bot/tokens")).json["tokens"]
    assert token["jti"] in tokens.text
    assert "127.0.0.1" in tokens.text
    assert granted.json["access_token"] not in page.answer.body.decode()
    assert "client.registered" in events.text
    assert "token.refused" in events.text
    assert "it matches none" in events.text or "secret" in events.text
    for path in ("disable", "delete", "secrets/new", f"secrets/{listed['id']}/end", "tokens/revoke"):
        assert page.tree.all("a", href=f"{BOT}/{path}"), path


@pytest.mark.gen_test
async def test_a_client_is_changed(browser: Browser, wire: Wire, app: Application, admin: str) -> None:
    await wire.register()
    form = (await browser.get(BOT)).form(BOT)
    page = await browser.post(BOT, {**form, "name": "New", "scopes": "bot:write", "tokenTtl": "120"})
    assert (page.status, page.url) == (200, BOT)
    assert page.notice.startswith("station-bot is saved. 1 process confirms it")
    shown = (await wire.admin("GET", "/oauth-clients/station-bot")).json
    assert (shown["name"], shown["scopes"], shown["tokenTtl"], shown["version"]) == (
        "New",
        ["bot:write"],
        120,
        2,
    )
    (event,) = await app.audit.find(AuditFilter(action="client.changed"), limit=5)
    assert (event.actor.kind, event.actor.id) == ("user", admin)
    default = await browser.post(BOT, {**page.form(BOT), "tokenTtl": ""})
    assert default.status == 200
    assert (await wire.admin("GET", "/oauth-clients/station-bot")).json["tokenTtl"] is None


@pytest.mark.gen_test
async def test_of_two_who_edit_at_once_nobody_loses_anything(browser: Browser, wire: Wire) -> None:
    await wire.register()
    form = (await browser.get(BOT)).form(BOT)
    await wire.admin("PATCH", "/oauth-clients/station-bot", {"name": "Theirs"})
    mine = {**form, "name": "Mine", "scopes": "bot:api bot:mine", "tokenTtl": "77"}
    page = await browser.post(BOT, mine)
    assert page.status == 412
    alert = page.tree.one(role="alert")
    assert "Somebody else has changed this client" in alert.text
    assert "Theirs" in alert.text
    assert page.form(BOT) == {**mine, "version": "2"}
    assert (await wire.admin("GET", "/oauth-clients/station-bot")).json["name"] == "Theirs"
    again = await browser.post(BOT, page.form(BOT))
    assert again.status == 200
    assert (await wire.admin("GET", "/oauth-clients/station-bot")).json["name"] == "Mine"


@pytest.mark.gen_test
async def test_a_mistake_hides_no_conflict(browser: Browser, wire: Wire) -> None:
    await wire.register()
    form = (await browser.get(BOT)).form(BOT)
    await wire.admin("PATCH", "/oauth-clients/station-bot", {"name": "Theirs"})
    page = await browser.post(BOT, {**form, "name": "Mine", "tokenTtl": "1"})
    assert page.status == 400
    assert page.tree.one(id="tokenTtl-error").text
    assert page.form(BOT)["version"] == "1"
    again = await browser.post(BOT, {**page.form(BOT), "tokenTtl": ""})
    assert again.status == 412


@pytest.mark.gen_test
async def test_a_form_without_its_version_changes_nothing(browser: Browser, wire: Wire) -> None:
    await wire.register()
    for version in ("", "x", "0", "99", "-1", "1; 2"):
        page = await browser.post(BOT, {"name": "Mine", "scopes": "bot:api", "version": version})
        assert page.status == 412, version
    assert (await wire.admin("GET", "/oauth-clients/station-bot")).json["name"] == ""


@pytest.mark.gen_test
async def test_what_a_client_says_of_itself_is_text(browser: Browser, wire: Wire, app: Application) -> None:
    credentials = await wire.register(name=HOSTILE, scopes=["bot:api", "<b>", "'onload=x"])
    await wire.fetch(
        "POST",
        "/auth/token",
        form={"grant_type": "client_credentials"},
        basic=credentials,
        headers={"User-Agent": HOSTILE},
    )
    await app.audit.flush()
    urls = ["/console/clients", BOT, f"{BOT}/tokens", f"{BOT}/disable", f"{BOT}/delete", f"{BOT}/secrets/new"]
    for url in [*urls, f"/console/clients?search={'%3Cscript%3E%22'}"]:
        page = await browser.get(url)
        assert page.status == 200, url
        assert [script.attributes.get("src", "")[:16] for script in page.tree.all("script")] == [
            "/console/static/"
        ]
        assert page.tree.all("img") == []
        assert not [name for one in page.tree.all() for name in one.attributes if name.startswith("on")]
    tokens = await browser.get(f"{BOT}/tokens")
    assert HOSTILE in tokens.tree.one("table").text
    form = (await browser.get(BOT)).form(BOT)
    assert (form["name"], form["scopes"]) == (HOSTILE, "bot:api\n<b>\n'onload=x")
    wrong = await browser.post(
        "/console/register", {"clientId": HOSTILE, "name": HOSTILE, "scopes": "</textarea>"}
    )
    assert wrong.status == 400
    assert wrong.form("/console/register")["clientId"] == HOSTILE
    assert wrong.form("/console/register")["scopes"] == "</textarea>"


@pytest.mark.gen_test
async def test_a_client_that_is_not_there_is_a_page(browser: Browser) -> None:
    for path in (
        "",
        "/disable",
        "/enable",
        "/delete",
        "/secrets/new",
        "/secrets/x/end",
        "/tokens",
        "/tokens/revoke",
    ):
        page = await browser.get(f"/console/clients/nobody{path}")
        assert (page.status, page.heading) == (404, "404 Not Found"), path
        assert "nobody" in page.tree.one("main").text
