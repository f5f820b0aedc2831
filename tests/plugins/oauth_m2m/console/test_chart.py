"""Charts: bars that say what happened, words that say the same, and nothing that the CSP forbids."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from plugins.oauth_m2m.console.chart import RANGES, Bar, Refused, draw
from plugins.oauth_m2m.models import Usage, UsageKey
from plugins.oauth_m2m.stores import UsageStore
from plugins.oauth_m2m.usage import UsageReport

if TYPE_CHECKING:
    from station.app import Application
    from tests.conftest import Wire
    from tests.plugins.oauth_m2m.console.conftest import Browser

NOON = datetime(2025, 1, 2, 12, tzinfo=UTC)
DAY = RANGES[1]


def test_bars_are_as_high_as_what_they_stand_for() -> None:
    periods = (
        Usage(at=NOON, issued=30, refused={"token": {"wrong_secret": 10}, "bearer": {"scope": 1}}),
        Usage(at=NOON + timedelta(minutes=5), issued=10, calls=4, introspections=2),
        Usage(at=NOON + timedelta(hours=1), refused={"token": {"unknown": 5}}),
    )
    report = UsageReport(300, NOON, NOON + timedelta(minutes=61), periods)
    chart = draw(report, dataclasses.replace(DAY, times=48), path="/console/usage", of="station-bot")
    tokens, calls = chart.plots
    assert tokens.bars == (Bar(0, 8, 80.0, 20.0), Bar(20, 8, 0.0, 10.0))
    assert (tokens.most, tokens.totals, tokens.width) == (50, (40, 15), 30)
    assert tokens.title == "Tokens of station-bot in the last 24 hours"
    assert tokens.description == "40 issued, 15 refused; at most 50 in one half hour."
    assert calls.bars == (Bar(0, 8, 80.0, 20.0),)
    assert chart.times == ("12:00", "12:30", "13:00")
    assert [row.at for row in chart.rows] == [NOON + timedelta(hours=1), NOON]
    assert chart.refused == (
        Refused("token", "wrong_secret", 10),
        Refused("token", "unknown", 5),
        Refused("bearer", "scope", 1),
    )


def test_a_chart_of_nothing_says_so() -> None:
    chart = draw(UsageReport(300, NOON, NOON + timedelta(hours=24), ()), DAY, path="/console/usage")
    assert [plot.bars for plot in chart.plots] == [(), ()]
    assert (chart.rows, chart.refused) == ((), ())
    assert chart.plots[0].description == "0 issued, 0 refused; at most 0 in one half hour."


@pytest.mark.parametrize("range_", RANGES, ids=lambda range_: range_.label)
def test_every_range_has_bars_that_can_be_seen_on_a_phone(range_: object) -> None:
    assert isinstance(range_, type(DAY))
    step = 3600 if range_.hours > 48 else 300
    first = NOON - timedelta(hours=range_.hours)
    for since, until in (
        (first, NOON),
        (first + timedelta(seconds=step), NOON + timedelta(minutes=3)),
    ):
        chart = draw(UsageReport(step, since, until, ()), range_, path="/")
        assert chart.plots[0].width == 10 * range_.bars
        assert 30 <= range_.bars <= 72
        assert len(chart.times) == range_.times
        assert range_.bars % range_.times == 0  # so that each stands below its bar


async def use(app: Application, client_id: str, **counted: int) -> None:
    store = UsageStore(app.resources, retention=timedelta(days=30))
    at = int((datetime.now(UTC) - timedelta(minutes=10)).timestamp())
    await store.add({UsageKey(client_id, at): counted, UsageKey("", at): counted})


@pytest.mark.gen_test
async def test_the_page_of_a_client_has_its_charts_and_its_hint(
    wire: Wire, app: Application, browser: Browser
) -> None:
    await wire.register()
    await use(app, "station-bot", issued=40, calls=39, introspections=2)
    page = await browser.get("/console/clients/station-bot?hours=6")
    assert page.status == 200
    first, second = page.tree.all("svg")
    for svg, title, said in (
        (
            first,
            "Tokens of station-bot in the last 6 hours",
            "40 issued, 0 refused; at most 40 in one five minutes.",
        ),
        (second, "Calls of station-bot in the last 6 hours", "39 accepted, 0 refused;"),
    ):
        assert svg.attributes["role"] == "img"
        named = svg.attributes["aria-labelledby"].split()
        assert [svg.one(id=id_).tag for id_ in named] == ["title", "desc"]
        assert svg.one("title").text == title
        assert said in svg.one("desc").text
        assert len(svg.all("rect")) == 1
    table = page.tree.one("div", **{"aria-label": "Usage in numbers"})
    assert [cell.text for cell in table.all("td")] == ["40", "0", "39", "0", "2"]
    assert "heard 2 times that a token is active" in page.tree.one("main").text
    hint = page.tree.one("div", class_="hints")
    assert "station-bot got 40 tokens in an hour and used each 1.0 times." in hint.text
    chosen = page.tree.one("a", **{"aria-current": "true"})
    assert (chosen.text, chosen.attributes["href"]) == ("6 hours", "/console/clients/station-bot?hours=6")


@pytest.mark.gen_test
async def test_the_page_of_all_clients_adds_them_up_and_names_hints(
    wire: Wire, app: Application, admin: str, stranger: Browser
) -> None:
    await wire.register()
    await use(app, "station-bot", issued=40, calls=41)
    assert "station-bot" in (await stranger.log_in()).tree.one("div", class_="hints").text
    page = await stranger.get("/console/usage")
    assert (page.status, page.heading) == (200, "Usage of all clients")
    assert "40 issued" in page.tree.all("desc")[0].text
    assert "station-bot" in page.tree.one("div", class_="hints").text


@pytest.mark.parametrize("query", ["?hours=", "?hours=7", "?hours=x", "?hours=99999", ""])
@pytest.mark.gen_test
async def test_a_range_that_there_is_not_is_the_usual_one(browser: Browser, query: str) -> None:
    page = await browser.get(f"/console/usage{query}")
    assert page.tree.one("a", **{"aria-current": "true"}).text == "24 hours"
    assert "Nothing in this time." in page.tree.all("figure")[0].text
    assert page.tree.all("div", class_="hints") == []


@pytest.mark.gen_test
async def test_nothing_is_drawn_by_inline_style(wire: Wire, app: Application, browser: Browser) -> None:
    await wire.register()
    await use(app, "station-bot", issued=40)
    page = await browser.get("/console/usage")
    assert [one.tag for one in page.tree.all() if "style" in one.attributes or one.tag == "style"] == []
