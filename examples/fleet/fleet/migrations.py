"""The plugin's collection and its indexes."""

from __future__ import annotations

from typing import Any

from station.migrations import Migration

__all__ = ["MIGRATIONS"]


async def _create(database: Any) -> None:
    await database["fleet_bots"].create_index("name", unique=True, name="name")
    await database["fleet_bots"].create_index("place", unique=True, name="place")


async def _drop(database: Any) -> None:
    await database["fleet_bots"].drop_indexes()


MIGRATIONS = (Migration("0001-bots", "unique names and places of bots", up=_create, down=_drop),)
