"""The whole story of a client, told in the console, with a real bot that calls meanwhile."""

from __future__ import annotations

import re
import uuid
from typing import TYPE_CHECKING

from bots import CALL, TOKEN, WorkingBot
from playwright.sync_api import expect

if TYPE_CHECKING:
    from leaks import Leaks
    from playwright.sync_api import BrowserContext, Locator, Page

    from tests.conftest import Server

CLIPBOARD = "() => navigator.clipboard.readText()"


def ask(page: Page, name: str | re.Pattern[str], *, within: Locator | None = None) -> Locator:
    """Click what asks before it does something; the question."""
    (within or page).get_by_role("button", name=name).click()
    question = page.get_by_role("dialog")
    expect(question).to_be_visible()
    return question


def say(page: Page, text: str | re.Pattern[str]) -> None:
    """What the page says was done."""
    expect(page.get_by_role("status")).to_contain_text(text)


def take_secret(page: Page, leaks: Leaks) -> str:
    """Copy the secret that is shown once, and go on."""
    field = page.get_by_label("Client secret")
    secret = field.input_value()
    leaks.keep(secret)
    page.get_by_role("button", name="Copy").click()
    say(page, "Copied")
    assert page.evaluate(CLIPBOARD) == secret
    page.get_by_role("button", name="Go on").click()
    expect(field, "it is not left before it is confirmed").to_be_visible()
    page.get_by_label("I have stored the secret").check()
    page.get_by_role("button", name="Go on").click()
    return secret


def test_the_whole_story_of_a_client(
    signed_in: Page, context: BrowserContext, station: Server, leaks: Leaks
) -> None:
    page, client_id = signed_in, f"station-bot-{uuid.uuid4().hex[:8]}"
    context.grant_permissions(["clipboard-read", "clipboard-write"])

    page.get_by_role("link", name="Register a client").first.click()
    page.get_by_label("Client id").fill(client_id)
    page.get_by_label("Name").fill("The bot of the story")
    page.get_by_label("Scopes").fill("demo:read")
    page.get_by_role("button", name="Register").click()
    first = take_secret(page, leaks)

    expect(page).to_have_url(re.compile(rf"/console/clients/{client_id}\??$"))
    expect(page.get_by_role("heading", name=client_id, exact=True)).to_be_visible()
    assert first not in page.content()
    tokens = page.get_by_role("region", name="Live tokens").first
    secrets = page.get_by_role("region", name="Secrets").first

    with WorkingBot(station.url, client_id, first, leaks) as bot:
        bot.sees((TOKEN, 200), (CALL, 200), (CALL, 200))
        page.reload()
        expect(tokens.get_by_role("row")).to_have_count(2)
        expect(tokens.get_by_role("rowheader")).to_have_text(bot.jti)
        expect(tokens).to_contain_text("demo:read")
        expect(tokens).to_contain_text("127.0.0.1")

        # rotate: the new secret beside the old one, then the old one ends
        page.get_by_role("link", name="Rotate").click()
        page.get_by_label("The secrets that it has end").select_option(label="in a day")
        page.get_by_role("button", name="Make the secret").click()
        second = take_secret(page, leaks)
        assert second != first
        expect(secrets.get_by_role("row")).to_have_count(3)
        bot.only_sees((CALL, 200))
        bot.take(second)
        bot.sees((TOKEN, 200), (CALL, 200))
        page.reload()
        question = ask(page, "End the secret", within=secrets.get_by_role("row").nth(1))  # the oldest
        expect(question).to_contain_text("What will break: Whoever still has it gets no more tokens.")
        question.get_by_role("button", name="End the secret").click()
        say(page, "has ended")
        expect(secrets.get_by_role("row")).to_have_count(2)
        bot.sees((CALL, 200))
        bot.only_sees((CALL, 200))

        # revoke the token that it has: the bot's next call is refused and it takes another
        expect(tokens.get_by_role("row")).to_have_count(3)
        question = ask(page, f"Revoke the token {bot.jti}")
        question.get_by_role("button", name="Revoke the token").click()
        say(page, re.compile(r"is revoked. 1 process confirms it, and no other is left"))
        bot.sees((CALL, 401), (TOKEN, 200), (CALL, 200))

        # revoke them all
        page.reload()
        expect(tokens.get_by_role("row")).to_have_count(3)
        ask(page, "Revoke all").get_by_role("button", name="Revoke them all").click()
        say(page, "2 live tokens are revoked. 1 process confirms it, and no other is left.")
        bot.sees((CALL, 401), (TOKEN, 200), (CALL, 200))

        # disable, and enable again
        question = ask(page, "Disable")
        expect(question).to_contain_text("What will break:")
        expect(question).to_contain_text("live token")
        question.get_by_role("button", name="Disable").click()
        say(page, f"{client_id} is disabled. 1 process confirms it")
        bot.sees((CALL, 401), (TOKEN, 401))
        expect(page.get_by_text("disabled: it gets no tokens")).to_be_visible()
        ask(page, "Enable").get_by_role("button", name="Enable").click()
        say(page, f"{client_id} is enabled.")
        bot.sees((TOKEN, 200), (CALL, 200))

        # delete
        page.reload()
        question = ask(page, "Delete")
        expect(question).to_contain_text("This cannot be undone")
        question.get_by_role("button", name="Delete").click()
        say(page, f"{client_id} is deleted.")
        expect(page).to_have_url(f"{station.url}/console/clients")
        bot.sees((CALL, 401), (TOKEN, 401))
    expect(page.get_by_role("link", name=client_id)).to_have_count(0)
