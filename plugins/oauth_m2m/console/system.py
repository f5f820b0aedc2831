"""``/console/system``: how Station is, and what it stands on. It answers at once, whatever is away."""

from __future__ import annotations

import asyncio
import dataclasses
import platform
import time
from collections import Counter
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, TypeVar

import tornado

from plugins.oauth_m2m.console.access import console_authenticated
from plugins.oauth_m2m.console.page import ConsoleHandler
from plugins.oauth_m2m.services import services_of
from station import __version__
from station.handlers import route

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence

    from plugins.oauth_m2m.models import Position, Process
    from station.errors import ResponseError
    from station.health import HealthCheck

__all__ = ["Checked", "Seen", "routes", "seen"]

_SYSTEM = "/console/system"
_SECONDS = 1.0
_BEHIND_SECONDS = 5
_SILENT_SECONDS = 5.0

T = TypeVar("T")


@dataclasses.dataclass(frozen=True, slots=True)
class Checked:
    """A health check: how long it took in milliseconds, and what went ``wrong``, if anything."""

    name: str
    took: float
    wrong: str


@dataclasses.dataclass(frozen=True, slots=True)
class Seen:
    """A process that serves, and what there is to say about how far it has followed MongoDB."""

    process: Process
    is_this: bool
    behind: int
    state: str

    @property
    def is_well(self) -> bool:
        """Whether it keeps up."""
        return self.state == "follows"


class SystemHandler(ConsoleHandler):
    """Health, processes, queues and versions."""

    section = _SYSTEM
    _checked: Sequence[Checked] = ()

    async def prepare(self) -> None:  # type: ignore[override] # Tornado awaits it
        """Make the checks of ``/health/ready`` first: who asks can perhaps not be known while they fail."""
        super().prepare()
        self._checked = await asyncio.gather(*map(_checked, self.application.health_checks))

    @console_authenticated
    async def get(self) -> None:
        """Show them. What does not answer within a second is said to be away."""
        app, services = self.application, services_of(self.application)
        processes, versions, plugins = await asyncio.gather(
            _within(services.processes.all()),
            _within(services.processes.versions()),
            asyncio.to_thread(app.plugins.infos),  # which reads files
        )
        this = services.processes.this
        mongodb, redis = versions or ("", "")
        self.show(
            "system.html",
            checked=self._checked,
            processes=seen(processes or [this], this.id),
            knows_others=processes is not None,
            throttled=_throttled(processes or [this]),
            versions={
                "Station": __version__,
                "MongoDB": mongodb or "not known: it or Redis is away",
                "Redis": redis or "not known: it or MongoDB is away",
                "Python": platform.python_version(),
                "Tornado": tornado.version,
            },
            plugins=[info for info in plugins if info.enabled],
            now=datetime.now(UTC),
        )

    def error_page(self, error: ResponseError) -> bytes:
        """What is away, as ``/health/ready`` tells everybody, where it keeps people from being known."""
        if error.status != HTTPStatus.SERVICE_UNAVAILABLE:
            return super().error_page(error)
        return self.page("system_away.html", checked=self._checked)


def seen(processes: Sequence[Process], this: str) -> list[Seen]:
    """How far each process is behind the one that is furthest."""
    furthest: Position = max(process.position for process in processes)
    return [_seen(process, furthest, is_this=process.id == this) for process in processes]


def _seen(process: Process, furthest: Position, *, is_this: bool) -> Seen:
    # what it said of itself is up to two seconds old, in which the others may have gone on
    behind = furthest[0] - process.position[0] if process.position < furthest else 0
    if process.silence > _SILENT_SECONDS:
        state = "does not hear MongoDB"
    elif process.position[0] and behind > _BEHIND_SECONDS:
        state = "is behind"
    else:
        state = "follows"
    return Seen(process, is_this, behind, state)


def _throttled(processes: Sequence[Process]) -> list[tuple[str, int]]:
    total: Counter[str] = Counter()
    for process in processes:
        total.update(process.throttled)
    return total.most_common()


async def _checked(check: HealthCheck) -> Checked:
    began = time.perf_counter()
    try:
        await asyncio.wait_for(check.run(), _SECONDS)
    except TimeoutError:
        wrong = f"no answer within {_SECONDS:.0f} s"
    except Exception as error:
        wrong = type(error).__name__  # its words may name hosts and users
    else:
        wrong = ""
    return Checked(check.name, (time.perf_counter() - began) * 1000, wrong)


async def _within(asked: Awaitable[T]) -> T | None:
    """What is answered within a second, else None."""
    try:
        return await asyncio.wait_for(asked, _SECONDS)
    except Exception:
        return None


routes = [route(_SYSTEM, SystemHandler)]
