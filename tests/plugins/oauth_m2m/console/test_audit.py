"""The audit in the console: filters, pages, and the rows that its script asks for."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from station.audit import Actor, AuditStore, Event
from station.errors import Reason

if TYPE_CHECKING:
    from station.app import Application
    from tests.plugins.oauth_m2m.console.conftest import Browser, Element, Page

AUDIT = "/console/audit"
# those that making the console's admin has written are later
NOW = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=30)


def event(number: int, **fields: object) -> Event:
    given: dict[str, object] = {
        "id": f"event-{number:03}",
        "action": "client.changed",
        "actor": Actor("key", "12345678", "203.0.113.9", f"request-{number}"),
        "time": NOW - timedelta(seconds=number),
        "client_id": "station-bot",
        **fields,
    }
    return Event(**given)  # type: ignore[arg-type] # as they are given


async def store(app: Application, *events: Event) -> None:
    await AuditStore(app.resources, timedelta(days=1)).insert(events)


def rows(tree: Element) -> list[str]:
    return [row.attributes["data-event"] for row in tree.all("tr") if "data-event" in row.attributes]


def ours(page: Page) -> list[str]:
    return [id_ for id_ in rows(page.tree) if id_.startswith("event-")]


@pytest.mark.gen_test
async def test_events_are_shown_with_who_and_why(browser: Browser, app: Application) -> None:
    why = Reason("wrong_secret", "the secret is none", "station oauth-clients secrets add", "station-bot")
    await store(
        app,
        event(
            1,
            action="token.refused",
            outcome="refused",
            reason=why,
            actor=Actor("anonymous", "", "203.0.113.7"),
        ),
        event(2, count=3, target="<script>", client_id="Not <b>a client"),
    )
    page = await browser.get(AUDIT)
    [refused] = page.tree.all("tr", **{"data-event": "event-001"})
    for part in (
        "token.refused",
        "refused",
        "station-bot",
        "203.0.113.7",
        "the secret is none",
        "secrets add",
    ):
        assert part in refused.text
    assert refused.one("a").attributes["href"] == "/console/clients/station-bot"
    [odd] = page.tree.all("tr", **{"data-event": "event-002"})
    assert ("\u00d7 3" in odd.text, "<script>" in odd.text, odd.all("a")) == (True, True, [])


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("action=token.refused", ["event-001"]),
        ("outcome=refused", ["event-001"]),
        ("client=other", ["event-002"]),
        ("actor=203.0.113.1", ["event-003"]),
        ("actor=usr_1", ["event-004"]),
        ("since=1h", ["event-001", "event-002", "event-003", "event-004"]),
        ("client=station-bot&outcome=ok&since=24h", ["event-003", "event-004", "event-005"]),
        ("client=&action=&outcome=refused&since=", ["event-001"]),
    ],
)
@pytest.mark.gen_test
async def test_filters_narrow_it_down(
    browser: Browser, app: Application, query: str, found: list[str]
) -> None:
    await store(
        app,
        event(1, action="token.refused", outcome="refused"),
        event(2, client_id="other"),
        event(3, actor=Actor("key", "12345678", "203.0.113.1")),
        event(4, actor=Actor("user", "usr_1", "203.0.113.2")),
        event(5, time=NOW - timedelta(hours=2)),
    )
    page = await browser.get(f"{AUDIT}?{query}")
    assert ours(page) == found
    assert page.form(AUDIT) == {
        name: dict(part.split("=") for part in query.split("&")).get(name, "")
        for name in ("action", "outcome", "client", "actor", "since")
    }
    latest = page.tree.one(id="events").attributes["data-latest"]
    fragment = await browser.fetch("GET", latest)
    assert fragment.status == 200
    assert re.findall(r'data-event="(event-[0-9]+)"', fragment.body.decode()) == found


@pytest.mark.gen_test
async def test_pages_hold_every_event_once_though_many_are_of_one_moment(
    browser: Browser, app: Application
) -> None:
    same = NOW - timedelta(seconds=10)
    await store(
        app,
        *[
            event(number, time=same if 10 <= number < 120 else NOW - timedelta(seconds=number))
            for number in range(130)
        ],
    )
    page = await browser.get(f"{AUDIT}?client=station-bot")
    seen: list[str] = []
    for last in (False, False, True):
        seen += ours(page)
        following = [link.attributes["href"] for link in page.tree.all("a", rel="next")]
        assert bool(following) != last
        if following:
            page = await browser.get(following[0])
            assert page.tree.all(id="pause") == []
            assert [link.text for link in page.tree.all("a") if link.text == "Latest events"] == [
                "Latest events"
            ]
    assert (len(seen), len(set(seen))) == (130, 130)
    assert seen[:10] == [f"event-{number:03}" for number in range(10)]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("action=<b>", "action"),
        ("outcome=well", "outcome"),
        ("client=A%20B", "client"),
        ("since=9d", "since"),
    ],
)
@pytest.mark.gen_test
async def test_a_filter_that_is_wrong_is_marked(browser: Browser, query: str, field: str) -> None:
    page = await browser.get(f"{AUDIT}?{query}")
    assert page.status == 400
    assert page.tree.one(id=field).attributes["aria-invalid"] == "true"
    assert page.tree.one(id=f"{field}-error").text.startswith("Is no")
    assert page.tree.all(id="events") == []


@pytest.mark.gen_test
async def test_a_cursor_that_station_has_not_made_is_refused(browser: Browser) -> None:
    page = await browser.get(f"{AUDIT}?cursor=abc")
    assert page.status == 400
    assert "not there any more" in page.tree.one("p", role="alert").text


@pytest.mark.gen_test
async def test_the_rows_are_for_admins_and_end_with_the_session(stranger: Browser, browser: Browser) -> None:
    assert (await stranger.fetch("GET", f"{AUDIT}/latest")).status == 307
    page = await stranger.get(f"{AUDIT}/latest")
    assert page.url.startswith("/console/login") or "/console/login" in page.url
    assert (await browser.fetch("GET", f"{AUDIT}/latest")).status == 200


@pytest.mark.gen_test
async def test_without_a_script_the_page_says_how_to_look_again(browser: Browser) -> None:
    page = await browser.get(AUDIT)
    assert page.tree.one(id="pause").attributes["hidden"] == ""
    assert page.tree.one(id="tail").attributes["aria-live"] == "polite"
    assert "load the page again" in page.tree.one(id="tail").text
    assert [one.attributes["src"].partition("?")[0] for one in page.tree.all("script")][
        -1
    ] == "/console/static/audit.js"
