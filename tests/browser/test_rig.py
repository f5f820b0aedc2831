"""The rig sees what it is there to see: what goes wrong in a page, and what keeps people out of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from accessibility import barriers

if TYPE_CHECKING:
    from playwright.sync_api import ConsoleMessage, Page, WebError
    from watching import Watch

TROUBLES = {
    "console: CSP: style-src": "() => document.body.setAttribute('style', 'color: red')",
    "console: CSP: script-src": "() => document.body.setAttribute('onclick', 'true')",
    "console: CSP: connect-src": "() => fetch('https://elsewhere.example/').catch(() => null)",
    "console: something": "() => console.error('something')",
    "weberror: something": "() => { setTimeout(() => { throw new Error('something'); }); }",
}


def told(heard: ConsoleMessage | WebError) -> str:
    return str(getattr(heard, "text", "") or getattr(heard, "error", ""))


@pytest.mark.parametrize("trouble", TROUBLES)
def test_trouble_is_seen(page: Page, watch: Watch, trouble: str) -> None:
    page.goto("/console/login")
    assert watch.seen() == []
    event, _, text = trouble.partition(": ")
    with page.context.expect_event(event, lambda heard: text in told(heard)):
        page.evaluate(TROUBLES[trouble])
    assert any(text in found for found in watch.seen())
    watch.forgive("")


def test_a_request_to_another_host_is_seen_and_goes_nowhere(page: Page, watch: Watch) -> None:
    with pytest.raises(Exception, match="ERR_NAME_NOT_RESOLVED"):
        page.goto("http://elsewhere.example/")
    assert watch.seen() == ["a request to another host: http://elsewhere.example/"]
    watch.forgive("elsewhere.example")


def test_barriers_are_seen(page: Page) -> None:
    page.set_content(
        "<html lang='en'><title>Barriers</title><main><button></button>"
        "<p style='color: #999; background: #fff'>pale</p><div style='width: 500px'>wide</div></main>"
    )
    found = "\n".join(barriers(page))
    for barrier in (
        "a desktop, light: button-name",
        "a phone, dark: button-name",
        "a desktop, light: color-contrast",
        "a phone, dark: wider than the window: the page",
    ):
        assert barrier in found
    assert "a desktop, light: wider" not in found
