"""axe-core's rules for WCAG 2.1 A and AA, and a page that never scrolls sideways."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from axe_playwright_python.sync_playwright import Axe

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Page, ViewportSize

Scheme = Literal["light", "dark"]

__all__ = ["SCHEMES", "barriers"]

SCHEMES: tuple[Scheme, ...] = ("light", "dark")
WINDOWS: tuple[tuple[str, Scheme, ViewportSize], ...] = (
    ("a desktop, light", "light", {"width": 1280, "height": 800}),
    ("a phone, dark", "dark", {"width": 360, "height": 740}),
)
_OPTIONS = {
    "resultTypes": ["violations"],
    "preload": False,
    "runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"],
}
_SIDEWAYS = """() => document.documentElement.scrollWidth <= innerWidth ? [] : ["the page",
    ...[...document.querySelectorAll("body *")]
        .filter((element) => element.getBoundingClientRect().right > innerWidth + 1)
        .slice(0, 5).map((element) => element.outerHTML.slice(0, 120))]"""


def barriers(page: Page, *within: str) -> list[str]:
    """What keeps people out of the page as it is now: on a desktop in light, on a phone in dark.

    ``within`` are selectors of what the rules are applied to, if not to everything.
    """
    before = page.viewport_size
    found = []
    for name, scheme, size in WINDOWS:
        page.set_viewport_size(size)
        page.emulate_media(color_scheme=scheme)
        found += [f"{name}: wider than the window: {element}" for element in page.evaluate(_SIDEWAYS)]
        found += [f"{name}: {violation}" for violation in _violations(page, within)]
    page.emulate_media(color_scheme="light")
    if before is not None:
        page.set_viewport_size(before)
    return found


def _violations(page: Page, within: tuple[str, ...]) -> Iterator[str]:
    context = {"include": [[selector] for selector in within]} if within else None
    results: dict[str, Any] = Axe().run(page, context=context, options=_OPTIONS).response
    for violation in results["violations"]:
        for node in violation["nodes"]:
            yield f"{violation['id']}: {node['html'][:120]} ({' '.join(node['failureSummary'].split())})"
