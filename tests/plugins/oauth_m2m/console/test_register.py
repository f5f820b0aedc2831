"""Registering a client, and its secret, which is shown once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from plugins.oauth_m2m.secret_format import is_generated
from station.audit import AuditFilter

if TYPE_CHECKING:
    from leaks import Leaks

    from station.app import Application
    from tests.conftest import Wire
    from tests.plugins.oauth_m2m.console.conftest import Browser

REGISTER = "/console/register"
BOT = {"clientId": "station-bot", "name": "Bot", "scopes": "bot:api  bot:write,bot:api\nx", "tokenTtl": "600"}


@pytest.mark.gen_test
async def test_a_client_is_registered_and_its_secret_shown_once(
    browser: Browser, wire: Wire, app: Application, admin: str, leaks: Leaks
) -> None:
    form = (await browser.get(REGISTER)).form(REGISTER)
    page = await browser.post(REGISTER, {**form, **BOT})
    assert (page.status, page.heading) == (201, "The secret of station-bot")
    secret = page.tree.one("input", id="secret").attributes["value"]
    leaks.keep(secret)
    assert is_generated(secret.encode())
    assert page.answer.headers["Cache-Control"] == "no-store"
    assert page.answer.headers["Pragma"] == "no-cache"
    assert (await wire.token(("station-bot", secret))).status == 200

    shown = (await wire.admin("GET", "/oauth-clients/station-bot")).json
    assert shown["scopes"] == ["bot:api", "bot:write", "x"]
    assert (shown["name"], shown["tokenTtl"]) == ("Bot", 600)
    (event,) = await app.audit.find(AuditFilter(action="client.registered"), limit=5)
    assert (event.actor.kind, event.actor.id, event.outcome) == ("user", admin, "ok")

    # the way on asks whether it is stored, and the secret is nowhere else from then on
    onward = page.tree.one("form", action="/console/clients/station-bot")
    box = onward.one("input", type="checkbox")
    assert "required" in box.attributes
    assert "name" not in box.attributes  # nothing of it comes into the URL
    for url in (
        "/console/clients/station-bot?",
        "/console/clients",
        "/console/clients/station-bot/secrets/new",
    ):
        assert secret.encode() not in (await browser.get(url)).answer.body
    assert not [url for url in browser.visited if secret in url]


@pytest.mark.gen_test
async def test_loading_the_secret_again_registers_nothing_and_shows_nothing(
    browser: Browser, wire: Wire, leaks: Leaks
) -> None:
    page = await browser.post(REGISTER, BOT)
    secret = page.tree.one("input", id="secret").attributes["value"]
    leaks.keep(secret)
    again = await browser.post(REGISTER, BOT)
    assert (again.status, again.heading) == (409, "Register a client")
    assert secret.encode() not in again.answer.body
    alert = again.tree.one(role="alert")
    assert "its secret is not shown twice" in alert.text
    assert alert.one("a").attributes["href"] == "/console/clients/station-bot"
    assert len((await wire.admin("GET", "/oauth-clients")).json["clients"]) == 1
    assert (await wire.token(("station-bot", secret))).status == 200


@pytest.mark.gen_test
async def test_what_was_typed_stays_beside_what_is_wrong_with_it(browser: Browser, wire: Wire) -> None:
    typed = {"clientId": "Station Bot", "name": "n" * 201, "scopes": 'good a"b', "tokenTtl": "59"}
    page = await browser.post(REGISTER, {**typed, "clientSecret": "too short"})
    assert (page.status, page.heading) == (400, "Register a client")
    assert page.form(REGISTER) == {**typed, "clientSecret": ""}  # no secret is sent back
    for name in [*typed, "clientSecret"]:
        field = page.tree.one(id=name)
        assert field.attributes["aria-invalid"] == "true", name
        assert f"{name}-error" in field.attributes["aria-describedby"].split()
        assert page.tree.one(id=f"{name}-error").text, name
    assert "open" in page.tree.one("details").attributes
    assert (await wire.admin("GET", "/oauth-clients")).json["clients"] == []


@pytest.mark.gen_test
async def test_a_lifetime_that_is_no_number_is_refused(browser: Browser) -> None:
    for number in ("six hundred", "6e2", "\u0661\u0662\u0660", "-60", "99999999999"):
        page = await browser.post(REGISTER, {**BOT, "tokenTtl": number})
        assert page.status == 400, number
        assert page.form(REGISTER)["tokenTtl"] == number
        assert page.tree.one(id="tokenTtl-error").text


@pytest.mark.gen_test
async def test_an_empty_form_names_what_it_needs(browser: Browser) -> None:
    page = await browser.post(REGISTER, {})
    assert page.status == 400
    assert page.tree.one(id="clientId-error").text
    assert page.tree.one(id="scopes-error").text


@pytest.mark.gen_test
async def test_a_secret_that_was_chosen_is_not_shown(browser: Browser, wire: Wire, leaks: Leaks) -> None:
    chosen = "a-secret-that-an-operator-chose-0123456789"
    leaks.keep(chosen)
    page = await browser.post(REGISTER, {**BOT, "clientSecret": chosen})
    assert (page.status, page.url) == (200, "/console/clients/station-bot")
    assert page.notice == "station-bot is registered, with the secret that you chose."
    assert chosen.encode() not in page.answer.body
    assert (await wire.token(("station-bot", chosen))).status == 200


@pytest.mark.gen_test
async def test_the_form_says_which_scopes_are_known(browser: Browser) -> None:
    page = await browser.get(REGISTER)
    assert "oauth:introspect" in page.tree.one(id="scopes-help").text
