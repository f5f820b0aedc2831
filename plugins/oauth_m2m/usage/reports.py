"""UsageReports: what a client did over time, for charts and scripts."""

from __future__ import annotations

import dataclasses
import math
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from plugins.oauth_m2m.models import Usage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from plugins.oauth_m2m.stores import UsageStore

__all__ = ["UsageReport", "UsageReports"]

_FINEST_HOURS = 48


@dataclasses.dataclass(frozen=True, slots=True)
class UsageReport:
    """What happened from ``since`` to ``until`` in periods of ``step`` seconds, oldest first.

    ``periods`` are those in which something happened.
    """

    step: int
    since: datetime
    until: datetime
    periods: tuple[Usage, ...]

    @property
    def total(self) -> Usage:
        """All periods as one."""
        return _together(self.since, self.periods)

    def every(self, seconds: int) -> list[Usage]:
        """All periods without a gap, each of so many seconds: a multiple of ``step``."""
        first = int(self.since.timestamp()) // seconds * seconds
        begins = range(first, int(self.until.timestamp()), seconds)
        parts: dict[int, list[Usage]] = {at: [] for at in begins}
        for period in self.periods:
            parts.setdefault(int(period.at.timestamp()) // seconds * seconds, []).append(period)
        return [_together(datetime.fromtimestamp(at, UTC), parts[at]) for at in sorted(parts)]


class UsageReports:
    """Reads what all processes have counted."""

    def __init__(self, store: UsageStore, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._store = store
        self._clock = clock

    async def get(self, client_id: str = "", *, hours: int = 24) -> UsageReport:
        """The last ``hours`` of a client, or of all: by five minutes up to two days, by the hour beyond."""
        step = self._store.FIVE_MINUTES if hours <= _FINEST_HOURS else self._store.HOUR
        until = self._clock()
        whole = math.ceil((until - timedelta(hours=hours)).timestamp() / step)
        since = datetime.fromtimestamp(whole * step, UTC)
        periods = await self._store.find(client_id, step=step, since=since)
        return UsageReport(step, since, until, tuple(periods))


def _together(at: datetime, periods: Iterable[Usage]) -> Usage:
    issued = calls = introspections = 0
    refused: dict[str, dict[str, int]] = {}
    for period in periods:
        issued += period.issued
        calls += period.calls
        introspections += period.introspections
        for endpoint, counted in period.refused.items():
            _add(refused.setdefault(endpoint, {}), counted)
    return Usage(at=at, issued=issued, calls=calls, introspections=introspections, refused=refused)


def _add(into: dict[str, int], counted: Mapping[str, int]) -> None:
    for reason, number in counted.items():
        into[reason] = into.get(reason, 0) + number
