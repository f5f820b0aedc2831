"""The list of clients: search, filters, pages."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.conftest import Wire
    from tests.plugins.oauth_m2m.console.conftest import Browser, Page

LIST = "/console/clients"


def ids(page: Page) -> list[str]:
    return [cell.one("a").text for cell in page.tree.one("table").one("tbody").all("th")]


@pytest.mark.gen_test
async def test_an_empty_list_says_what_to_do(browser: Browser) -> None:
    page = await browser.get(LIST)
    assert page.heading == "Clients"
    empty = page.tree.one(class_="empty")
    assert "No machine can get in yet" in empty.text
    assert empty.one("a").attributes["href"] == "/console/register"


@pytest.mark.gen_test
async def test_clients_are_found_by_id_name_scope_and_state(browser: Browser, wire: Wire) -> None:
    await wire.register("fleet-bot", name="The Fleet", scopes=["fleet:read", "bot:api"])
    await wire.register("mail-bot", name="Mail (50% off)", scopes=["mail:send"])
    await wire.register("old-bot", scopes=["bot:api"])
    await wire.admin("PATCH", "/oauth-clients/old-bot", {"isActive": False})
    for query, expected in {
        "": ["fleet-bot", "mail-bot", "old-bot"],
        "?search=FLEET": ["fleet-bot"],
        "?search=(50%25": ["mail-bot"],
        "?scope=bot:api": ["fleet-bot", "old-bot"],
        "?isActive=false": ["old-bot"],
        "?search=bot&scope=bot:api&isActive=true": ["fleet-bot"],
        "?search=&scope=&isActive=": ["fleet-bot", "mail-bot", "old-bot"],  # as a form sends it
    }.items():
        assert ids(await browser.get(LIST + query)) == expected, query
    page = await browser.get(f"{LIST}?search=FLEET&isActive=true")
    assert page.form(LIST) == {"search": "FLEET", "scope": "", "isActive": "true"}  # what was asked stays
    row = page.tree.one("tbody").one("tr")
    assert "The Fleet" in row.text
    assert "active" in row.text
    assert [code.text for code in row.all("code")] == ["fleet:read", "bot:api"]
    nothing = await browser.get(f"{LIST}?search=nothing")
    assert "No client matches" in nothing.tree.one(class_="empty").text


@pytest.mark.gen_test
async def test_pages_follow_each_other_and_keep_what_was_asked_for(browser: Browser, wire: Wire) -> None:
    for number in range(53):
        await wire.register(f"bot-{number:02}", clientSecret=f"{number:02}" + "-a-secret-for-the-tests" * 2)
    first = await browser.get(f"{LIST}?search=bot")
    assert len(ids(first)) == 50
    following = first.tree.one("a", rel="next").attributes["href"]
    assert following.startswith(f"{LIST}?search=bot&cursor=")
    second = await browser.get(following)
    assert ids(second) == ["bot-50", "bot-51", "bot-52"]
    assert second.tree.all("a", rel="next") == []
    back = second.tree.one("nav", aria_label="Pages of the list").one("a").attributes["href"]
    assert back == f"{LIST}?search=bot"


@pytest.mark.gen_test
async def test_a_filter_that_cannot_be_is_marked_and_kept(browser: Browser) -> None:
    page = await browser.get(f"{LIST}?scope=a,b&search=bot")
    assert page.status == 400
    assert page.form(LIST) == {"search": "bot", "scope": "a,b", "isActive": ""}
    field = page.tree.one(id="scope")
    assert field.attributes["aria-invalid"] == "true"
    assert "Is not a scope name" in page.tree.one(id=field.attributes["aria-describedby"]).text


@pytest.mark.gen_test
async def test_a_cursor_that_is_not_ours_begins_again(browser: Browser) -> None:
    page = await browser.get(f"{LIST}?cursor=forged")
    assert page.status == 400
    assert page.tree.one(role="alert").one("a").attributes["href"] == LIST
