"""A Station and a browser in front of it.

The browser is driven by Playwright's synchronous API, which runs an event loop in this thread as long as it
is open. So it is open for one module of tests at a time, which use none of pytest-tornado; the Station is a
process, and bots run in threads of their own.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from chromium import MISSING, find_chromium, running_chromium
from configured import SETTINGS
from people import PASSWORD, make_admin, sign_in
from playwright.sync_api import expect
from watching import Watch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from leaks import Leaks
    from playwright.sync_api import Browser, BrowserContext, Page

    from tests.conftest import Serve, Server

PATIENCE_MS = 15_000

PICTURES = Path(__file__).parents[2] / "docs" / "console"

expect.set_options(timeout=PATIENCE_MS)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Pictures for the documentation are taken when somebody asks for them: no two runs look the same."""
    parser.addoption(
        "--screenshots",
        action="store_true",
        help="write pictures of the console's pages into docs/console/",
    )


@pytest.fixture(scope="session")
def pictures(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where pictures go."""
    # where more than these tests run, this file is read too late to add an option
    wanted = request.config.getoption("--screenshots", default=False)
    return PICTURES if wanted else tmp_path_factory.mktemp("pictures")


@pytest.fixture(scope="session")
def station(tmp_path_factory: pytest.TempPathFactory, serve: Serve) -> Iterator[Server]:
    """A whole Station, with an admin."""
    with serve(tmp_path_factory.mktemp("station"), **SETTINGS) as running:
        make_admin(running.data_dir)
        yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """The system's Chromium."""
    executable = find_chromium()
    if executable is None:
        pytest.skip(MISSING)
    with running_chromium(executable) as running:
        yield running


@pytest.fixture
def context(browser: Browser, station: Server) -> Iterator[BrowserContext]:
    """A browser that was never here before, at a Station."""
    with browser.new_context(base_url=station.url, reduced_motion="reduce") as opened:
        opened.set_default_timeout(PATIENCE_MS)
        yield opened


@pytest.fixture
def watch(context: BrowserContext, station: Server) -> Iterator[Watch]:
    """Fails the test for whatever goes wrong in the browser."""
    watching = Watch(context, station.url)
    yield watching
    assert watching.seen() == []


@pytest.fixture
def page(context: BrowserContext, watch: Watch) -> Page:
    """A page, which is watched."""
    return context.new_page()


@pytest.fixture
def signed_in(page: Page, station: Server, leaks: Leaks) -> Page:
    """The console's first page, where an admin is logged in."""
    leaks.keep(PASSWORD, *sign_in(page.context, station.url))
    page.goto("/console")
    return page
