"""What stands at the top of every page."""

from __future__ import annotations

import dataclasses

__all__ = ["NAVIGATION", "Entry"]


@dataclasses.dataclass(frozen=True, slots=True)
class Entry:
    """A page that the navigation names; handlers whose ``section`` is its path show it as current."""

    path: str
    label: str


NAVIGATION = (
    Entry("/console/clients", "Clients"),
    Entry("/console/usage", "Usage"),
    Entry("/console/keys", "Keys"),
    Entry("/console/audit", "Audit"),
    Entry("/console/system", "System"),
)
