"""What the fleet knows of a bot."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

__all__ = ["Bot"]


@dataclasses.dataclass(frozen=True, slots=True)
class Bot:
    """A bot as it was last reported, and which client reported it when."""

    name: str
    status: str
    version: str
    reported_by: str
    reported_at: datetime
