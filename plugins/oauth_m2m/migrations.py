"""The plugin's collections and their indexes."""

from __future__ import annotations

from typing import Any

from station.migrations import Migration

__all__ = ["MIGRATIONS"]


async def _create(database: Any) -> None:
    await database["oauth_clients"].create_index("client_id", unique=True, name="client_id")
    await database["revoked_tokens"].create_index("expires_at", expireAfterSeconds=0, name="expires_at")


async def _drop(database: Any) -> None:
    await database["oauth_clients"].drop_indexes()
    await database["revoked_tokens"].drop_indexes()


MIGRATIONS = (
    Migration(
        id="0001-clients-and-revocations",
        description="unique client ids; revocations are forgotten when their token has expired",
        up=_create,
        down=_drop,
    ),
)
