"""``/docs`` in a browser: fetch a token, call with it, and leave nothing behind."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from accessibility import barriers
from clients import new_client
from playwright.sync_api import expect

if TYPE_CHECKING:
    from leaks import Leaks
    from playwright.sync_api import Locator, Page
    from watching import Watch

    from tests.conftest import Server

STORED = "() => JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie, location.href])"


@pytest.fixture
def credentials(station: Server, leaks: Leaks) -> tuple[str, str]:
    """The id and secret of a new client."""
    return new_client(station, leaks)


def operation(page: Page, name: str) -> Locator:
    return page.locator(f"[id$='-{name}']")


def authorize(page: Page, client_id: str, secret: str) -> None:
    """Fetch a token with the dialog."""
    page.get_by_role("button", name="Authorize", exact=True).click()
    page.get_by_label("client_id").fill(client_id)
    page.get_by_label("client_secret").fill(secret)
    page.get_by_role("button", name="Apply given OAuth2 credentials").click()


def call(page: Page, name: str) -> Locator:
    """Try an operation out; what it was answered."""
    tried = operation(page, name)
    tried.locator(".opblock-summary-control").click()
    tried.get_by_role("button", name="Execute").click()
    return tried.locator(".live-responses-table .response").first


def test_a_token_is_fetched_and_used(page: Page, credentials: tuple[str, str], leaks: Leaks) -> None:
    page.goto("/docs")
    with page.expect_response("**/auth/token") as fetched:
        authorize(page, *credentials)
    leaks.keep(fetched.value.json()["access_token"])
    expect(page.get_by_role("heading", name="Authorized")).to_be_visible()
    page.get_by_role("button", name="Close", exact=True).first.click()

    answered = call(page, "getAuthClient")
    expect(answered).to_contain_text("200")
    expect(answered).to_contain_text(f'"client_id": "{credentials[0]}"')

    stored = page.evaluate(STORED)
    assert credentials[1] not in stored
    assert json.loads(stored)[:3] == [{}, {}, ""]
    page.reload()
    page.get_by_role("button", name="Authorize", exact=True).click()
    expect(page.get_by_label("client_id")).to_have_value("")


def test_a_wrong_secret_is_said(page: Page, watch: Watch, credentials: tuple[str, str]) -> None:
    watch.forgive("status of 401")
    page.goto("/docs")
    authorize(page, credentials[0], credentials[1][::-1])
    expect(page.locator(".modal-ux .errors")).to_contain_text("invalid_client")
    page.get_by_role("button", name="Close", exact=True).first.click()
    expect(call(page, "getAuthClient")).to_contain_text("401")


def test_the_admin_key_is_sent_where_it_belongs(page: Page, station: Server) -> None:
    page.goto("/docs")
    page.get_by_role("button", name="Authorize", exact=True).click()
    form = page.locator(".modal-ux form").filter(has_text="x-internal-api-key")
    form.locator("input").fill(station.admin_key)
    form.get_by_role("button", name="Apply credentials").click()
    page.get_by_role("button", name="Close", exact=True).first.click()
    with page.expect_request("**/oauth-clients") as asked:
        expect(call(page, "getOauthClients")).to_contain_text("nextCursor")
    assert asked.value.headers["x-internal-api-key"] == station.admin_key


def test_no_link_changes_what_it_shows(page: Page, station: Server) -> None:
    elsewhere = "http://elsewhere.example/openapi.json"
    page.goto(f"/docs?url={elsewhere}&configUrl={elsewhere}&urls.primaryName=x&persistAuthorization=true")
    expect(page.get_by_role("heading", name="Station")).to_be_visible()
    expect(page.get_by_label("Server", exact=True)).to_have_value(station.url)


def test_the_page_is_for_everybody(page: Page) -> None:
    page.goto("/docs")
    operation(page, "postAuthToken").locator(".opblock-summary-control").click()
    expect(call(page, "getHealthLive")).to_contain_text("200")
    assert barriers(page, ".information-container", ".scheme-container", ".opblock.is-open") == []
    page.get_by_role("button", name="Authorize", exact=True).click()
    assert barriers(page, ".modal-ux") == []
