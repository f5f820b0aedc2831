"""The indexes of the collection ``users``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from station.migrations import Migration

if TYPE_CHECKING:
    from motor.motor_asyncio import AsyncIOMotorDatabase

__all__ = ["migrations"]

_EMAIL = "email_unique"


async def _index_email(database: AsyncIOMotorDatabase[dict[str, Any]]) -> None:
    await database["users"].create_index("email", unique=True, name=_EMAIL)


async def _drop_email_index(database: AsyncIOMotorDatabase[dict[str, Any]]) -> None:
    if _EMAIL in await database["users"].index_information():
        await database["users"].drop_index(_EMAIL)


migrations = [
    Migration("0001_users_email", "An email has one account.", _index_email, _drop_email_index),
]
