from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from plugins.oauth_m2m.models import Usage, UsageKey
from plugins.oauth_m2m.usage import UsageReport, UsageReports

if TYPE_CHECKING:
    from plugins.oauth_m2m.stores import UsageStore

NOON = datetime(2025, 1, 2, 12, tzinfo=UTC)


def minutes(number: int) -> datetime:
    return NOON + timedelta(minutes=number)


@pytest.mark.gen_test
async def test_a_report_holds_what_happened_in_the_hours_that_are_asked_for(store: UsageStore) -> None:
    for at in (minutes(-65), minutes(-60), minutes(-5), minutes(0)):
        await store.add({UsageKey("bot", int(at.timestamp())): {"issued": 1}})
    reports = UsageReports(store, clock=lambda: minutes(3))
    hour = await reports.get("bot", hours=1)
    assert (hour.step, hour.since, hour.until) == (300, minutes(-55), minutes(3))
    assert [period.at for period in hour.periods] == [minutes(-5), minutes(0)]
    until = minutes(5)
    exact = await UsageReports(store, clock=lambda: until).get("bot", hours=1)
    assert (exact.since, len(exact.periods)) == (minutes(-55), 2)
    month = await reports.get("bot", hours=30 * 24)
    assert month.step == 3600
    assert [(period.at, period.issued) for period in month.periods] == [
        (minutes(-120), 1),
        (minutes(-60), 2),
        (minutes(0), 1),
    ]
    assert month.total.issued == 4
    assert (await reports.get(hours=1)).periods == ()


def test_periods_are_put_together_without_a_gap() -> None:
    periods = (
        Usage(at=minutes(5), issued=1, refused={"token": {"scope": 1}}),
        Usage(
            at=minutes(10),
            issued=2,
            calls=1,
            refused={"token": {"scope": 1, "unknown": 1}, "bearer": {"x": 1}},
        ),
        Usage(at=minutes(35), introspections=4),
    )
    report = UsageReport(300, minutes(0), minutes(46), periods)
    first = Usage(
        at=minutes(0),
        issued=3,
        calls=1,
        refused={"token": {"scope": 2, "unknown": 1}, "bearer": {"x": 1}},
    )
    third = Usage(at=minutes(30), introspections=4)
    every = report.every(900)
    assert every == [first, Usage(at=minutes(15)), third, Usage(at=minutes(45))]
    assert (first.tokens_refused, first.calls_refused) == (3, 1)
    assert report.total.introspections == 4
