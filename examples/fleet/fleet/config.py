"""The plugin's settings: ``FLEET_*`` in the environment, ``[fleet]`` in ``station.toml``."""

from __future__ import annotations

import dataclasses

from station.settings import integer, setting

__all__ = ["FleetConfig"]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class FleetConfig:
    """How large the fleet may grow."""

    size: int = setting("How many bots the fleet may have.", default=100, parse=integer(minimum=1))
