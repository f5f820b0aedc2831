"""The live tokens of a client on pages, and their end."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from station.audit import AuditFilter

if TYPE_CHECKING:
    from station.app import Application
    from tests.conftest import Wire
    from tests.plugins.oauth_m2m.console.conftest import Browser, Page

BOT = "/console/clients/station-bot"
ALL = "1 process confirms it"


def jtis(page: Page) -> list[str]:
    return [cell.text for cell in page.tree.one("tbody").all("th")]


@pytest.mark.gen_test
async def test_one_token_is_revoked(browser: Browser, wire: Wire, app: Application, admin: str) -> None:
    credentials = await wire.register()
    tokens = [await wire.access_token(credentials) for _ in range(2)]
    listed = (await wire.admin("GET", "/oauth-clients/station-bot/tokens")).json["tokens"]
    claims = {token: await status(wire, token) for token in tokens}
    assert set(claims.values()) == {200}
    path = f"{BOT}/tokens/{listed[0]['jti']}/revoke"
    page = await browser.get(path)
    assert listed[0]["jti"] in page.tree.one(id="ask").text
    after = await browser.post(path, {})
    assert after.url == BOT
    assert after.notice.startswith(f"The token {listed[0]['jti']} is revoked. {ALL}")
    assert sorted([await status(wire, token) for token in tokens]) == [200, 401]
    assert jtis(await browser.get(f"{BOT}/tokens")) == [listed[1]["jti"]]
    (event,) = await app.audit.find(AuditFilter(action="token.revoked"), limit=5)
    assert (event.actor.kind, event.actor.id, event.target) == ("user", admin, listed[0]["jti"])
    again = await browser.post(path, {})
    assert (again.status, again.heading) == (404, "404 Not Found")


async def status(wire: Wire, token: str) -> int:
    return (await wire.fetch("GET", "/auth/client", bearer=token)).status


@pytest.mark.gen_test
async def test_all_tokens_are_revoked(browser: Browser, wire: Wire, app: Application, admin: str) -> None:
    credentials = await wire.register()
    tokens = [await wire.access_token(credentials) for _ in range(3)]
    page = await browser.get(f"{BOT}/tokens/revoke")
    assert "3 live tokens, given to 127.0.0.1" in page.tree.one(class_="breaks").text
    after = await browser.post(f"{BOT}/tokens/revoke", {})
    assert after.url == BOT
    assert after.notice.startswith(f"3 live tokens are revoked. {ALL}")
    assert {await status(wire, token) for token in tokens} == {401}
    assert "It has no live token" in after.tree.one("section", aria_labelledby="tokens").text
    assert (await wire.token(credentials)).status == 200
    (event,) = await app.audit.find(AuditFilter(action="tokens.revoked"), limit=5)
    assert (event.actor.kind, event.actor.id) == ("user", admin)


@pytest.mark.gen_test
async def test_many_tokens_are_paged(browser: Browser, wire: Wire) -> None:
    credentials = await wire.register()
    for _ in range(52):
        assert (await wire.token(credentials)).status == 200
    page = await browser.get(BOT)
    assert "10 live tokens of 52" in page.tree.one("section", aria_labelledby="tokens").one("caption").text
    assert page.tree.all("a", href=f"{BOT}/tokens")
    first = await browser.get(f"{BOT}/tokens")
    second = await browser.get(first.tree.one("a", rel="next").attributes["href"])
    assert (len(jtis(first)), len(jtis(second))) == (50, 2)
    assert len({*jtis(first), *jtis(second)}) == 52
    assert second.tree.all("a", href=f"{BOT}/tokens")
    forged = await browser.get(f"{BOT}/tokens?cursor=forged")
    assert forged.status == 400
