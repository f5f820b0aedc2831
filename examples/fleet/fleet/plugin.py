"""The plugin's hook implementations, and nothing else; `station.hookspecs` says when each is called."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, cast

from fleet.config import FleetConfig
from fleet.handlers import SCOPES, routes
from fleet.migrations import MIGRATIONS
from fleet.stores import FleetStore
from station import hookimpl
from station.health import HealthCheck

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from contextlib import AbstractAsyncContextManager

    from station.app import Application
    from station.handlers import Route
    from station.migrations import Migration


@hookimpl
def station_settings() -> type:
    """``FLEET_SIZE``."""
    return FleetConfig


@hookimpl
def station_handlers() -> Sequence[Route]:
    """The fleet and its bots."""
    return routes


@hookimpl
def station_scopes() -> Mapping[str, str]:
    """What a client needs to be registered for."""
    return SCOPES


@hookimpl
def station_lifespan(app: Application) -> AbstractAsyncContextManager[FleetStore]:
    """The store, which handlers find in ``app.settings["fleet"]``; it holds nothing to release."""
    settings = cast("FleetConfig", app.config.sections["fleet"])
    return contextlib.nullcontext(FleetStore(app.resources, settings.size))


@hookimpl
def station_migrations() -> Sequence[Migration]:
    """The indexes."""
    return MIGRATIONS


@hookimpl
def station_health_checks(app: Application) -> Sequence[HealthCheck]:
    """Ready means that the fleet can be read."""
    fleet: FleetStore = app.settings["fleet"]
    return [HealthCheck("fleet", fleet.list)]
