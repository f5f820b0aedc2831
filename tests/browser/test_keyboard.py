"""The console without a mouse: where the focus is, what it may not leave, and where it comes back to."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from people import EMAIL, PASSWORD
from playwright.sync_api import expect

if TYPE_CHECKING:
    from leaks import Leaks
    from playwright.sync_api import Locator, Page

MANY = 60
IS_FOCUSED = "(element) => element === document.activeElement"
# the focus is in the dialog, or in the browser's own controls, which look like the body from inside
IS_TRAPPED = "() => document.activeElement.matches('body, dialog, dialog *')"
OUTLINE = """(element) => {
    const { outlineStyle, outlineWidth, boxShadow } = getComputedStyle(element);
    return (outlineStyle !== "none" && outlineWidth !== "0px") || boxShadow !== "none";
}"""


def tab_to(page: Page, wanted: Locator) -> None:
    """Press Tab until it has the focus, which can be seen."""
    for _ in range(MANY):
        page.keyboard.press("Tab")
        if wanted.evaluate(IS_FOCUSED):
            assert wanted.evaluate(OUTLINE), "nobody sees where the focus is"
            return
    raise AssertionError(f"Tab never comes to {wanted}")


def test_everything_is_done_with_the_keyboard(page: Page, leaks: Leaks) -> None:
    client_id = f"bot-{uuid.uuid4().hex[:8]}"
    leaks.keep(PASSWORD)
    page.goto("/console")
    expect(page.get_by_label("E-mail")).to_be_focused()
    page.keyboard.type(EMAIL)
    tab_to(page, page.get_by_label("Password"))
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Clients", exact=True)).to_be_visible()

    skip = page.get_by_role("link", name="Skip to the content")
    tab_to(page, skip)
    page.keyboard.press("Enter")
    expect(page.get_by_role("main")).to_be_focused()
    tab_to(page, page.get_by_role("link", name="Register a client").first)
    page.keyboard.press("Enter")
    for label, text in (("Client id", client_id), ("Scopes", "demo:read")):
        tab_to(page, page.get_by_label(label))
        page.keyboard.type(text)
    tab_to(page, page.get_by_role("button", name="Register"))
    page.keyboard.press("Enter")

    expect(page.get_by_role("heading", name=f"The secret of {client_id}")).to_be_visible()
    leaks.keep(page.get_by_label("Client secret").input_value())
    tab_to(page, page.get_by_label("I have stored the secret"))
    page.keyboard.press("Space")
    tab_to(page, page.get_by_role("button", name="Go on"))
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name=client_id, exact=True)).to_be_visible()

    disable = page.get_by_role("button", name="Disable")
    tab_to(page, disable)
    dialog = page.get_by_role("dialog", name=f"Disable {client_id}?")
    for key in ("Enter", "Space"):
        page.keyboard.press(key)
        expect(dialog).to_be_visible()
        for _ in range(5):
            page.keyboard.press("Tab")
            assert page.evaluate(IS_TRAPPED)
        page.keyboard.press("Escape")
        expect(dialog).to_have_count(0)
        expect(disable).to_be_focused()
    page.keyboard.press("Enter")
    tab_to(page, dialog.get_by_role("button", name="Disable"))
    page.keyboard.press("Enter")
    expect(page.get_by_role("status")).to_contain_text(f"{client_id} is disabled.")
