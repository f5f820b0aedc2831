"""Liveness and readiness, with named checks from the core and the plugins.

``GET /health/live`` answers 200 while the process turns its loop. ``GET /health/ready`` runs every check
and answers 200, or 503 with the names of those that failed; reasons go to the log alone.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from typing import TYPE_CHECKING

from marshmallow import Schema, fields

from station import hookimpl
from station.handlers import BaseHandler, Route, route
from station.openapi import describe
from station.security import public

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from station.app import Application

__all__ = ["HealthCheck"]

_log = logging.getLogger(__name__)
_TIMEOUT_SECONDS = 3.0


@dataclasses.dataclass(frozen=True, slots=True)
class HealthCheck:
    """A named condition of readiness; ``run`` raises, or takes over three seconds, when it does not hold."""

    name: str
    run: Callable[[], Awaitable[object]]


class LivenessSchema(Schema):
    """``{"status": "live"}``."""

    status = fields.String(required=True)


class ReadinessSchema(LivenessSchema):
    """``status``, and every check by its name: ``ok`` or ``failed``."""

    checks = fields.Dict(keys=fields.String(), values=fields.String(), required=True)


class LiveHandler(BaseHandler):
    """``GET /health/live``."""

    @public
    @describe(responses={200: LivenessSchema})
    def get(self) -> None:
        """Answer 200."""
        self.write_json({"status": "live"})


class ReadyHandler(BaseHandler):
    """``GET /health/ready``."""

    @public
    @describe(responses={200: ReadinessSchema, 503: ReadinessSchema})
    async def get(self) -> None:
        """Answer 200 if every check holds, else 503."""
        checks = self.application.health_checks
        states = await asyncio.gather(*map(_state, checks))
        ready = all(state == "ok" for state in states)
        body = {
            "status": "ready" if ready else "unavailable",
            "checks": {check.name: state for check, state in zip(checks, states, strict=True)},
        }
        self.write_json(body, 200 if ready else 503)


async def _state(check: HealthCheck) -> str:
    try:
        await asyncio.wait_for(check.run(), _TIMEOUT_SECONDS)
    except Exception as error:
        _log.warning("the check %s failed: %s", check.name, type(error).__name__)
        return "failed"
    return "ok"


@hookimpl
def station_handlers() -> Sequence[Route]:
    """Route the two endpoints."""
    return [route(r"/health/live", LiveHandler), route(r"/health/ready", ReadyHandler)]


@hookimpl
def station_health_checks(app: Application) -> Sequence[HealthCheck]:
    """Check both stores."""
    return [
        HealthCheck("mongodb", app.resources.ping_mongodb),
        HealthCheck("redis", app.resources.ping_redis),
    ]
