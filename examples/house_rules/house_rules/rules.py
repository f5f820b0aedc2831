"""The rules themselves: what the hooks return."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

from plugins.oauth_m2m import Issuance, IssuanceRefused
from station.audit import Event, event_json

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from house_rules.config import HouseRulesConfig

__all__ = ["HouseRules"]


class HouseRules:
    """The rules of one house."""

    def __init__(self, settings: HouseRulesConfig) -> None:
        self._settings = settings

    async def office(self, _issuance: Issuance) -> Mapping[str, object]:
        """Every token says where it was issued."""
        office = self._settings.office
        return {"office": office} if office else {}

    async def freeze(self, issuance: Issuance) -> None:
        """Nobody gets a frozen scope. The description is for the client: it says no more than it may know."""
        frozen = [scope for scope in issuance.scopes if scope in self._settings.frozen_scopes]
        if frozen:
            raise IssuanceRefused(f"There is a freeze: no token for {' '.join(frozen)} is issued now.")

    async def keep(self, events: Sequence[Event]) -> None:
        """Append the events to the file, off the event loop."""
        if self._settings.audit_file is not None:
            lines = "".join(json.dumps(event_json(event)) + "\n" for event in events)
            await asyncio.to_thread(self._append, lines)

    def _append(self, lines: str) -> None:
        assert self._settings.audit_file is not None  # noqa: S101 - keep() has looked
        with self._settings.audit_file.open("a", encoding="utf-8") as file:
            file.write(lines)
