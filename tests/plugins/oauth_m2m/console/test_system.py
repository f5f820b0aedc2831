"""The system page: what it shows of each process, and that it answers at once when a store is away."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from typing import TYPE_CHECKING

import pytest

from plugins.oauth_m2m.console.system import SystemHandler, seen
from plugins.oauth_m2m.services import services_of
from plugins.oauth_m2m.stores import ProcessStore
from station import hookimpl
from station.errors import ServiceUnavailable
from station.handlers import Route, route
from station.health import HealthCheck
from station.security import public
from tests.plugins.oauth_m2m.conftest import PROCESS

if TYPE_CHECKING:
    from station.app import Application
    from tests.plugins.oauth_m2m.console.conftest import Browser

SYSTEM = "/console/system"


class UnknownHandler(SystemHandler):
    """The page for whom cannot be known, because a store is away."""

    @public
    async def get(self) -> None:
        """Refuse."""
        raise ServiceUnavailable("Redis is away.")


class AwayPlugin:
    """A plugin object with that page."""

    __name__ = "away"

    @hookimpl
    def station_handlers(self) -> list[Route]:
        """One route."""
        return [route(r"/away", UnknownHandler)]


@pytest.fixture
def plugins() -> list[object]:
    """The page besides."""
    return [AwayPlugin()]


@pytest.mark.gen_test
async def test_the_page_shows_health_processes_throttles_and_versions(
    browser: Browser, app: Application
) -> None:
    await ProcessStore(app.resources).say(PROCESS)
    await ProcessStore(app.resources).say(services_of(app).processes.this)
    page = await browser.get(SYSTEM)
    assert (page.status, page.heading) == (200, "System")
    health = page.tree.one("div", **{"aria-label": "Table of checks"})
    checks = {row.one("th").text: row.all("td")[0].text for row in health.one("tbody").all("tr")}
    assert checks == {"mongodb": "ok", "redis": "ok", "oauth_m2m": "ok"}
    processes = page.tree.one("div", **{"aria-label": "Table of processes"}).one("tbody").all("tr")
    assert len(processes) == 2
    [other] = [row.text for row in processes if "other.example" in row.text]
    for part in ("pid 4711", "3", "2025-01-02 00:00 UTC", "0.0.9", "1 of 2 threads", "5 of 64 places"):
        assert part in other
    [this] = [row.text for row in processes if "answers you" in row.text]
    assert "follows" in this
    shown = page.tree.one("main").text
    assert "3 requests refused since" in shown
    for part in ("Tornado", "Python", "oauth_m2m"):
        assert part in shown
    assert "not known" not in shown


def test_how_far_each_process_has_followed_mongodb() -> None:
    furthest = dataclasses.replace(PROCESS, id="furthest", position=(1_735_700_010, 1))
    near = dataclasses.replace(PROCESS, id="near", position=(1_735_700_006, 1))
    silent = dataclasses.replace(PROCESS, id="silent", silence=6.0)
    new = dataclasses.replace(PROCESS, id="new", position=(0, 0))
    found = {one.process.id: one for one in seen([furthest, PROCESS, near, silent, new], "near")}
    states = {id_: (one.state, one.is_well) for id_, one in found.items()}
    assert states == {
        "furthest": ("follows", True),
        "other": ("is behind", False),
        "near": ("follows", True),
        "silent": ("does not hear MongoDB", False),
        "new": ("follows", True),
    }
    assert (found["other"].behind, found["furthest"].behind) == (10, 0)
    assert [id_ for id_, one in found.items() if one.is_this] == ["near"]


@pytest.mark.gen_test
async def test_a_check_that_fails_or_never_ends_is_said_to_be_away(
    browser: Browser, app: Application
) -> None:
    async def fail() -> None:
        raise ConnectionError("at secret.example")

    async def hang() -> None:
        await asyncio.Event().wait()

    app.health_checks = [HealthCheck("failing", fail), HealthCheck("hanging", hang)]
    began = time.monotonic()
    page = await browser.get(SYSTEM)
    assert page.status == 200
    assert time.monotonic() - began < 5
    text = page.tree.one("div", **{"aria-label": "Table of checks"}).text
    assert "away: ConnectionError" in text
    assert "away: no answer within 1 s" in text
    assert "secret.example" not in page.answer.body.decode()


@pytest.mark.gen_test
async def test_what_is_away_is_said_even_if_it_keeps_people_from_being_known(
    stranger: Browser, app: Application
) -> None:
    async def fail() -> None:
        raise ConnectionError

    app.health_checks = [HealthCheck("redis", fail)]
    page = await stranger.get("/away")
    assert (page.status, page.heading) == (503, "Something that Station needs is away")
    assert "away: ConnectionError" in page.tree.one("div", **{"aria-label": "Table of checks"}).text
    assert page.tree.all("div", **{"aria-label": "Table of processes"}) == []
