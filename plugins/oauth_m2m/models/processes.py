"""The processes that serve, for people to look at."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from plugins.oauth_m2m.models.changes import Position

__all__ = ["Process"]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """A process that serves, as it says of itself every other second.

    ``position`` is how far it has followed MongoDB, and ``silence`` for how many seconds it has not heard of
    it. ``bcrypt_waiting`` secrets wait for ``bcrypt_threads``, at most ``bcrypt_places``. ``throttled`` says
    how many requests each throttle has refused since the process started.
    """

    id: str
    host: str
    pid: int
    worker: int
    version: str
    started_at: datetime
    position: Position
    silence: float
    bcrypt_threads: int
    bcrypt_running: int
    bcrypt_waiting: int
    bcrypt_places: int
    throttled: Mapping[str, int] = dataclasses.field(default_factory=dict)
