"""All pages of the console, in the order in which their paths are tried."""

from __future__ import annotations

from typing import TYPE_CHECKING

from plugins.oauth_m2m.console import (
    audit,
    client,
    clients,
    entrance,
    files,
    keys,
    lifecycle,
    register,
    secrets,
    system,
    tokens,
    usage,
)

if TYPE_CHECKING:
    from station.handlers import Route

__all__ = ["routes"]

_MODULES = (
    entrance,
    clients,
    register,
    client,
    secrets,
    tokens,
    lifecycle,
    usage,
    keys,
    audit,
    system,
    files,
)

routes: list[Route] = [route for module in _MODULES for route in module.routes] + files.nothing
