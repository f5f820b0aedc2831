"""The pages that show how it goes: the audit as it happens, the keys, the system; and the way in and out."""

from __future__ import annotations

import re
import uuid
from typing import TYPE_CHECKING

import httpx2
from clients import be_refused, new_client
from people import PASSWORD, log_in
from playwright.sync_api import expect

if TYPE_CHECKING:
    from leaks import Leaks
    from playwright.sync_api import BrowserContext, Page
    from watching import Watch

    from tests.conftest import Server


def test_the_audit_is_seen_as_it_happens(signed_in: Page, station: Server, leaks: Leaks) -> None:
    page, asked = signed_in, list[str]()
    (client_id, _), (other, _) = (new_client(station, leaks) for _ in range(2))
    page.clock.install()
    page.get_by_role("link", name="Audit").click()
    expect(page.get_by_text("New events appear by themselves.")).to_be_visible()
    refused = page.get_by_role("row").filter(has_text="token.refused")
    be_refused(station, client_id)
    expect(refused.filter(has_text=client_id)).to_have_count(1)

    pause = page.get_by_role("button", name="Pause")
    pause.click()
    expect(pause).to_have_attribute("aria-pressed", "true")
    be_refused(station, other)
    page.on("request", lambda request: asked.append(request.url))
    page.clock.run_for(10_000)
    assert asked == []
    pause.click()
    expect(refused.filter(has_text=other)).to_have_count(1)

    page.get_by_label("Client").fill(client_id)
    page.get_by_label("Outcome").select_option("refused")
    page.get_by_role("button", name="Find").click()
    expect(refused.filter(has_text=client_id)).to_have_count(1)
    expect(refused.filter(has_text=other)).to_have_count(0)


def test_the_signing_key_is_replaced_and_ended(signed_in: Page, station: Server) -> None:
    page = signed_in
    page.get_by_role("link", name="Keys").click()
    rows = page.get_by_role("table").get_by_role("row")
    following = rows.filter(has_text="signs nothing yet").get_by_role("rowheader").inner_text()
    page.get_by_role("button", name="Rotate").click()
    question = page.get_by_role("dialog")
    expect(question).to_contain_text(f"New tokens are signed with {following}")
    question.get_by_label("Do not wait").check()
    question.get_by_role("button", name="Rotate").click()
    expect(page.get_by_role("status")).to_contain_text(f"{following} signs now.")
    expect(rows.filter(has_text=following)).to_contain_text("active: signs")
    retired = rows.filter(has_text="verifies only")
    expect(retired).to_have_count(1)

    kid = retired.get_by_role("rowheader").inner_text()
    retired.get_by_role("button", name="Retire").click()
    expect(question).to_contain_text("What will break: Every token that")
    question.get_by_role("button", name="Retire").click()
    expect(page.get_by_role("status")).to_contain_text(f"{kid} is retired")
    expect(rows.filter(has_text=kid)).to_have_count(0)
    published = httpx2.get(f"{station.url}/.well-known/jwks.json").json()
    assert kid not in {key["kid"] for key in published["keys"]}


def test_the_system_says_how_it_is(signed_in: Page, station: Server) -> None:
    page = signed_in
    page.get_by_role("link", name="System").click()
    health = page.get_by_role("table").first.get_by_role("row")
    for check in ("mongodb", "redis", "oauth_m2m"):
        expect(health.filter(has_text=check)).to_contain_text("ok")
    process = page.get_by_role("row").filter(has_text="answers you")
    expect(process).to_contain_text(f"pid {station.pid}")
    expect(process).to_contain_text("follows")


def test_only_an_admin_who_is_logged_in_sees_it(
    page: Page, context: BrowserContext, station: Server, watch: Watch, leaks: Leaks
) -> None:
    watch.forgive("status of 401")
    leaks.keep(PASSWORD)
    page.goto("/console/keys")
    expect(page).to_have_url(f"{station.url}/console/login?next=%2Fconsole%2Fkeys")
    log_in(page, "not-the-password-of-this-account")
    expect(page.get_by_role("alert")).to_be_visible()
    expect(page.get_by_label("Password")).to_have_value("")
    log_in(page)
    expect(page).to_have_url(f"{station.url}/console/keys")
    leaks.keep(*(cookie["value"] for cookie in context.cookies()))

    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_role("heading", name="Log in")).to_be_visible()
    assert [cookie["name"] for cookie in context.cookies() if cookie["name"].startswith("station_")] == []
    page.go_back()
    page.goto("/console/keys")
    expect(page).to_have_url(re.compile("/console/login"))


def test_a_form_is_not_lost_with_the_access_token(
    signed_in: Page, context: BrowserContext, leaks: Leaks
) -> None:
    page, client_id = signed_in, f"bot-{uuid.uuid4().hex[:8]}"
    page.get_by_role("link", name="Register a client").first.click()
    page.get_by_label("Client id").fill(client_id)
    page.get_by_label("Scopes").fill("demo:read")
    context.clear_cookies(name="station_access")  # as if a quarter of an hour had passed
    page.get_by_role("button", name="Register").click()
    expect(page.get_by_role("heading", name=f"The secret of {client_id}")).to_be_visible()
    leaks.keep(page.get_by_label("Client secret").input_value())
