"""Disable, enable and delete: each asks first, and says what will break."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from station.audit import AuditFilter

if TYPE_CHECKING:
    from station.app import Application
    from tests.conftest import Wire
    from tests.plugins.oauth_m2m.console.conftest import Browser

BOT = "/console/clients/station-bot"
ALL = "1 process confirms it"


@pytest.mark.gen_test
async def test_a_client_is_disabled_and_enabled(
    browser: Browser, wire: Wire, app: Application, admin: str
) -> None:
    credentials = await wire.register()
    token = await wire.access_token(credentials)
    page = await browser.get(f"{BOT}/disable")
    assert page.heading == "Disable station-bot?"
    assert "1 live token, given to 127.0.0.1" in page.tree.one(class_="breaks").text
    assert page.tree.one("a", class_="secondary").attributes["href"] == BOT
    assert (await wire.fetch("GET", "/auth/client", bearer=token)).status == 200  # asking does nothing

    after = await browser.post(f"{BOT}/disable", page.form(f"{BOT}/disable"))
    assert after.url == BOT
    assert after.notice.startswith(f"station-bot is disabled. {ALL}")
    assert (await wire.fetch("GET", "/auth/client", bearer=token)).status == 401
    assert (await wire.token(credentials)).status == 401
    assert after.tree.all("a", href=f"{BOT}/disable") == []

    assert (await browser.get(f"{BOT}/enable")).heading == "Enable station-bot?"
    again = await browser.post(f"{BOT}/enable", {})
    assert again.notice.startswith(f"station-bot is enabled. {ALL}")
    assert (await wire.token(credentials)).status == 200
    assert (await wire.fetch("GET", "/auth/client", bearer=token)).status == 401
    for action in ("client.disabled", "client.enabled"):
        (event,) = await app.audit.find(AuditFilter(action=action), limit=5)
        assert (event.actor.kind, event.actor.id, event.outcome) == ("user", admin, "ok")


@pytest.mark.gen_test
async def test_a_client_is_deleted(browser: Browser, wire: Wire, app: Application, admin: str) -> None:
    credentials = await wire.register()
    page = await browser.get(f"{BOT}/delete")
    assert "This cannot be undone" in page.tree.one(id="ask").text
    after = await browser.post(f"{BOT}/delete", page.form(f"{BOT}/delete"))
    assert (after.url, after.notice) == ("/console/clients", "station-bot is deleted.")
    assert (await wire.admin("GET", "/oauth-clients/station-bot")).status == 404
    assert (await wire.token(credentials)).status == 401
    (event,) = await app.audit.find(AuditFilter(action="client.deleted"), limit=5)
    assert (event.actor.kind, event.actor.id) == ("user", admin)


@pytest.mark.gen_test
async def test_a_client_that_has_changed_meanwhile_is_not_deleted(browser: Browser, wire: Wire) -> None:
    await wire.register()
    form = (await browser.get(f"{BOT}/delete")).form(f"{BOT}/delete")
    await wire.admin("PATCH", "/oauth-clients/station-bot", {"name": "Still needed"})
    for sent in (form, {}, {"version": "x"}):
        page = await browser.post(f"{BOT}/delete", sent)
        assert (page.status, page.heading) == (412, "Delete station-bot?")
        assert "has changed" in page.tree.one(role="alert").text
        assert page.form(f"{BOT}/delete")["version"] == "2"
    assert (await wire.admin("GET", "/oauth-clients/station-bot")).json["name"] == "Still needed"
