"""The secrets of a client on pages: a new one with overlap, and the end of one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from station.audit import AuditFilter

if TYPE_CHECKING:
    from leaks import Leaks

    from station.app import Application
    from tests.conftest import Wire
    from tests.plugins.oauth_m2m.console.conftest import Browser

BOT = "/console/clients/station-bot"
NEW = f"{BOT}/secrets/new"


async def secrets_of(wire: Wire) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = (await wire.admin("GET", "/oauth-clients/station-bot/secrets")).json[
        "secrets"
    ]
    return listed


@pytest.mark.gen_test
async def test_a_secret_is_rotated_with_overlap(
    browser: Browser, wire: Wire, app: Application, admin: str, leaks: Leaks
) -> None:
    old = await wire.register()
    form = await browser.get(NEW)
    assert "station-bot has 0 live tokens. It has never used a secret." in form.tree.one("main").text
    page = await browser.post(NEW, {**form.form(NEW), "endOthersIn": "3600", "expiresAt": "2099-12-31"})
    assert (page.status, page.heading) == (201, "The secret of station-bot")
    assert page.answer.headers["Cache-Control"] == "no-store"
    secret = page.tree.one("input", id="secret").attributes["value"]
    leaks.keep(secret)
    for credentials in (old, ("station-bot", secret)):
        assert (await wire.token(credentials)).status == 200
    before, after = await secrets_of(wire)
    ends = datetime.fromisoformat(before["expiresAt"]) - datetime.now(UTC)
    assert timedelta(minutes=59) < ends <= timedelta(hours=1)
    assert after["expiresAt"] == "2099-12-31T00:00:00.000Z"
    (event,) = await app.audit.find(AuditFilter(action="secret.added"), limit=5)
    assert (event.actor.kind, event.actor.id, event.outcome) == ("user", admin, "ok")
    assert secret.encode() not in (await browser.get(BOT)).answer.body


@pytest.mark.gen_test
async def test_loading_a_new_secret_again_adds_none(browser: Browser, wire: Wire) -> None:
    await wire.register()
    form = (await browser.get(NEW)).form(NEW)
    assert (await browser.post(NEW, form)).status == 201
    again = await browser.post(NEW, form)
    assert again.status == 412
    assert "no secret was added by it" in again.tree.one(role="alert").text
    assert again.tree.all(id="secret") == []
    assert len(await secrets_of(wire)) == 2
    assert (await browser.post(NEW, again.form(NEW))).status == 201  # whoever means it, may


@pytest.mark.gen_test
async def test_secrets_that_have_ended_are_in_nobodys_way(
    browser: Browser, wire: Wire, app: Application
) -> None:
    await wire.register()
    past = datetime.now(UTC) - timedelta(seconds=1)
    clients = app.resources.database["oauth_clients"]
    await clients.update_one({"client_id": "station-bot"}, {"$set": {"secrets.0.expires_at": past}})
    form = (await browser.get(NEW)).form(NEW)
    assert (await browser.post(NEW, form)).status == 201
    assert (await browser.post(NEW, form)).status == 412
    assert len(await secrets_of(wire)) == 1


@pytest.mark.gen_test
async def test_all_others_can_end_at_once(browser: Browser, wire: Wire) -> None:
    old = await wire.register()
    form = (await browser.get(NEW)).form(NEW)
    page = await browser.post(NEW, {**form, "endOthersIn": "0"})
    assert page.status == 201
    assert (await wire.token(old)).status == 401


@pytest.mark.gen_test
async def test_what_cannot_be_is_marked_and_kept(browser: Browser, wire: Wire) -> None:
    await wire.register()
    form = (await browser.get(NEW)).form(NEW)
    page = await browser.post(
        NEW, {**form, "expiresAt": "2001-01-01", "endOthersIn": "604800", "clientSecret": "short"}
    )
    assert page.status == 400
    assert page.form(NEW) == {
        "version": "1",
        "endOthersIn": "604800",
        "expiresAt": "2001-01-01",
        "clientSecret": "",
    }
    assert page.tree.one(id="expiresAt-error").text == "Must lie in the future."
    assert page.tree.one(id="clientSecret-error").text
    for name, value in (("expiresAt", "soon"), ("endOthersIn", "x"), ("endOthersIn", "-1")):
        page = await browser.post(NEW, {**form, name: value})
        assert page.status == 400, value
        assert page.tree.one(id=f"{name}-error").text, value
    assert len(await secrets_of(wire)) == 1


@pytest.mark.gen_test
async def test_a_sixth_live_secret_is_refused_with_the_reason(browser: Browser, wire: Wire) -> None:
    await wire.register()
    for _ in range(4):
        await wire.admin("POST", "/oauth-clients/station-bot/secrets")
    form = (await browser.get(NEW)).form(NEW)
    page = await browser.post(NEW, {**form, "endOthersIn": ""})
    assert page.status == 409
    assert "5 live secrets" in page.tree.one(role="alert").text
    assert page.form(NEW)["endOthersIn"] == ""


@pytest.mark.gen_test
async def test_a_secret_that_was_chosen_is_not_shown(browser: Browser, wire: Wire, leaks: Leaks) -> None:
    await wire.register()
    chosen = "another-secret-that-an-operator-chose-012345"
    leaks.keep(chosen)
    form = (await browser.get(NEW)).form(NEW)
    page = await browser.post(NEW, {**form, "clientSecret": chosen})
    assert (page.url, page.notice) == (BOT, "station-bot has the secret that you chose.")
    assert chosen.encode() not in page.answer.body
    assert (await wire.token(("station-bot", chosen))).status == 200


@pytest.mark.gen_test
async def test_a_secret_is_ended(browser: Browser, wire: Wire, app: Application, admin: str) -> None:
    old = await wire.register()
    token = await wire.access_token(old)
    await wire.admin("POST", "/oauth-clients/station-bot/secrets")
    first, _ = await secrets_of(wire)
    path = f"{BOT}/secrets/{first['id']}/end"
    page = await browser.get(path)
    assert page.heading == f"End the secret {first['id']}?"
    assert "1 live token" in page.tree.one(class_="breaks").text
    assert [box.attributes["name"] for box in page.tree.all("input", type="checkbox")] == ["revokeTokens"]
    after = await browser.post(path, {"revokeTokens": "true"})
    assert (after.url, after.notice) == (BOT, f"The secret {first['id']} has ended.")
    assert (await wire.token(old)).status == 401
    assert (await wire.fetch("GET", "/auth/client", bearer=token)).status == 401
    (event,) = await app.audit.find(AuditFilter(action="secret.ended"), limit=5)
    assert (event.actor.kind, event.actor.id) == ("user", admin)


@pytest.mark.gen_test
async def test_the_last_secret_ends_for_whoever_says_so(browser: Browser, wire: Wire) -> None:
    credentials = await wire.register()
    (only,) = await secrets_of(wire)
    path = f"{BOT}/secrets/{only['id']}/end"
    boxes = (await browser.get(path)).tree.all("input", type="checkbox")
    assert [(box.attributes["name"], "required" in box.attributes) for box in boxes] == [
        ("revokeTokens", False),
        ("force", True),
    ]
    page = await browser.post(path, {})
    assert (page.status, page.heading) == (409, f"End the secret {only['id']}?")
    assert "the client's last live secret" in page.tree.one(role="alert").text
    assert (await wire.token(credentials)).status == 200
    assert (await browser.post(path, {"force": "true"})).status == 200
    assert (await wire.token(credentials)).status == 401
    assert "It has no secret" in (await browser.get(BOT)).tree.one("main").text


@pytest.mark.gen_test
async def test_a_secret_that_is_not_there_is_a_page(browser: Browser, wire: Wire) -> None:
    await wire.register()
    for method in ("GET", "POST"):
        page = await browser.go(method, f"{BOT}/secrets/no-such/end", {} if method == "POST" else None)
        assert (page.status, page.heading) == (404, "404 Not Found")
