"""Charts of usage, as ``_chart.html`` draws them: bars without words, so that they are right at any width."""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING

from plugins.oauth_m2m.models import Usage
from plugins.oauth_m2m.services import services_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from plugins.oauth_m2m.models import Client, Hint
    from plugins.oauth_m2m.usage import UsageReport
    from station.handlers import BaseHandler

__all__ = ["HEIGHT", "Bar", "Chart", "Plot", "Range", "Refused", "chart_of", "chart_of_all", "draw"]

HEIGHT = 100
"""The height of a plot in its own units; its width is a hundred for each ten bars."""

_BAR, _GAP = 10, 2


@dataclasses.dataclass(frozen=True, slots=True)
class Range:
    """How far back a chart looks: ``hours``, in bars of so many ``seconds``, with ``times`` written below."""

    hours: int
    seconds: int
    label: str
    each: str
    times: int

    @property
    def bars(self) -> int:
        """How many bars there are: a multiple of the times."""
        return self.hours * 3600 // self.seconds


RANGES = (
    Range(6, 300, "6 hours", "five minutes", 6),
    Range(24, 1800, "24 hours", "half hour", 4),
    Range(168, 10_800, "7 days", "three hours", 7),
    Range(720, 86_400, "30 days", "day", 5),
)
_USUAL = RANGES[1]


@dataclasses.dataclass(frozen=True, slots=True)
class Bar:
    """Where a bar stands, and how high its two parts are: ``lower`` below ``upper``."""

    x: int
    width: int
    lower: float
    upper: float


@dataclasses.dataclass(frozen=True, slots=True)
class Plot:
    """Two numbers over time, one upon the other; the first of ``names`` is the lower one."""

    id: str
    title: str
    description: str
    names: tuple[str, str]
    totals: tuple[int, int]
    most: int
    width: int
    bars: tuple[Bar, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Refused:
    """How many requests an endpoint refused for a reason."""

    endpoint: str
    reason: str
    count: int


@dataclasses.dataclass(frozen=True, slots=True)
class Chart:
    """All that the template shows; ``rows`` are the periods in which something happened, the latest first."""

    shown: Range
    path: str
    plots: tuple[Plot, ...]
    times: tuple[str, ...]
    rows: tuple[Usage, ...]
    introspections: int
    refused: tuple[Refused, ...]
    hints: tuple[Hint, ...] = ()
    ranges: tuple[Range, ...] = RANGES


async def chart_of(handler: BaseHandler, client: Client) -> Chart:
    """The usage of a client, for as long as the query of the page asks (``hours``)."""
    services, shown = services_of(handler.application), _asked(handler)
    report = await services.reports.get(client.client_id, hours=shown.hours)
    hint = await services.hints.find_of(client)
    hints = () if hint is None else (hint,)
    return draw(report, shown, path=handler.request.path, of=client.client_id, hints=hints)


async def chart_of_all(handler: BaseHandler) -> Chart:
    """The usage of all clients together."""
    services, shown = services_of(handler.application), _asked(handler)
    report = await services.reports.get(hours=shown.hours)
    hints = await services.hints.recent()
    return draw(report, shown, path=handler.request.path, of="all clients", hints=hints)


def draw(
    report: UsageReport, shown: Range, *, path: str, of: str = "all clients", hints: tuple[Hint, ...] = ()
) -> Chart:
    """The chart of a report."""
    periods = report.every(shown.seconds)[-shown.bars :]  # the first one of more would not be whole
    begins = periods[0].at if periods else report.since
    report = dataclasses.replace(
        report, since=begins, periods=tuple(one for one in report.periods if one.at >= begins)
    )
    plots = (
        _plot(
            "tokens", ("issued", "refused"), [(one.issued, one.tokens_refused) for one in periods], shown, of
        ),
        _plot(
            "calls", ("accepted", "refused"), [(one.calls, one.calls_refused) for one in periods], shown, of
        ),
    )
    total = report.total
    refused = [
        Refused(endpoint, reason, count)
        for endpoint, counted in total.refused.items()
        for reason, count in counted.items()
    ]
    happened = [one for one in reversed(periods) if one != Usage(at=one.at)]
    return Chart(
        shown,
        path,
        plots,
        _times(periods, shown),
        tuple(happened),
        total.introspections,
        tuple(sorted(refused, key=lambda one: (-one.count, one.endpoint, one.reason))),
        hints,
    )


def _asked(handler: BaseHandler) -> Range:
    """The range that is asked for; the usual one for what is none."""
    hours = handler.get_query_argument("hours", "")
    found = int(hours) if re.fullmatch(r"[0-9]{1,4}", hours) else 0
    return next((range_ for range_ in RANGES if range_.hours == found), _USUAL)


def _plot(
    what: str,
    names: tuple[str, str],
    pairs: Sequence[tuple[int, int]],
    shown: Range,
    of: str,
) -> Plot:
    most = max((sum(pair) for pair in pairs), default=0)
    scale = HEIGHT / most if most else 0.0
    bars = tuple(
        Bar(place * _BAR, _BAR - _GAP, round(lower * scale, 2), round(upper * scale, 2))
        for place, (lower, upper) in enumerate(pairs)
        if lower or upper
    )
    totals = (sum(lower for lower, _ in pairs), sum(upper for _, upper in pairs))
    title = f"{what.capitalize()} of {of} in the last {shown.label}"
    said = f"{totals[0]} {names[0]}, {totals[1]} {names[1]}; at most {most} in one {shown.each}."
    return Plot(what, title, said, names, totals, most, max(len(pairs), 1) * _BAR, bars)


def _times(periods: Sequence[Usage], shown: Range) -> tuple[str, ...]:
    """What stands below the bars: the beginnings of some, evenly."""
    form = "%H:%M" if shown.hours <= _USUAL.hours else "%b %d"
    return tuple(f"{one.at:{form}}" for one in periods[:: shown.bars // shown.times])
