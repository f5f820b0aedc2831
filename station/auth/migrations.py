"""The indexes of the collection ``users``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from station.migrations import Migration

if TYPE_CHECKING:
    from motor.motor_asyncio import AsyncIOMotorDatabase

__all__ = ["migrations"]

_EMAIL = "email_unique"
_RESET = "reset_hash"


async def _index_email(database: AsyncIOMotorDatabase[dict[str, Any]]) -> None:
    await database["users"].create_index("email", unique=True, name=_EMAIL)


async def _drop_email_index(database: AsyncIOMotorDatabase[dict[str, Any]]) -> None:
    await _drop(database, _EMAIL)


async def _index_reset(database: AsyncIOMotorDatabase[dict[str, Any]]) -> None:
    await database["users"].create_index("reset.hash", sparse=True, name=_RESET)


async def _drop_reset_index(database: AsyncIOMotorDatabase[dict[str, Any]]) -> None:
    await _drop(database, _RESET)


async def _drop(database: AsyncIOMotorDatabase[dict[str, Any]], index: str) -> None:
    if index in await database["users"].index_information():
        await database["users"].drop_index(index)


migrations = [
    Migration("0001_users_email", "An email has one account.", _index_email, _drop_email_index),
    Migration("0002_users_reset", "A reset token is found by its hash.", _index_reset, _drop_reset_index),
]
