"""The site in a browser, which asks nobody else for anything."""

from __future__ import annotations

import functools
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Literal

import pytest
from chromium import MISSING, find_chromium, running_chromium
from playwright.sync_api import expect
from watching import Watch

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Browser

PATIENCE_MS = 15_000
LOADED = "() => [...document.images].every((image) => image.complete && image.naturalWidth > 0)"


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's name for it
        """Log nothing."""


@pytest.fixture(scope="module")
def url(site: Path) -> Iterator[str]:
    """Where the site is served."""
    handler = functools.partial(Quiet, directory=str(site))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """The system's Chromium."""
    executable = find_chromium()
    if executable is None:
        pytest.skip(MISSING)
    with running_chromium(executable) as running:
        yield running


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_show_their_pictures_and_fetch_nothing_from_elsewhere(
    browser: Browser, site: Path, url: str, scheme: Literal["light", "dark"]
) -> None:
    with browser.new_context(base_url=url, color_scheme=scheme) as context:
        context.set_default_timeout(PATIENCE_MS)
        watch = Watch(context, url)
        page = context.new_page()
        illustrated = [file for file in sorted(site.rglob("*.html")) if "<img" in file.read_text()]
        assert site / "architecture.html" in illustrated
        for file in (site / "index.html", site / "reference" / "operations.html", *illustrated):
            page.goto(f"/{file.relative_to(site)}")
            page.wait_for_function(LOADED)
        assert watch.seen() == []


def test_the_search_finds_without_a_network(browser: Browser, url: str) -> None:
    with browser.new_context(base_url=url) as context:
        context.set_default_timeout(PATIENCE_MS)
        watch = Watch(context, url)
        page = context.new_page()
        page.goto("/index.html")
        page.locator("button.md-search__button").click()
        page.keyboard.type("revocation")
        expect(page.get_by_role("option", name="A revocation", exact=True)).to_be_visible()
        assert watch.seen() == []
