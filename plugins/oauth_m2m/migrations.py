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


async def _index_lists(database: Any) -> None:
    clients = database["oauth_clients"]
    await clients.create_index([("is_active", 1), ("client_id", 1)], name="is_active_client_id")
    await clients.create_index([("scopes", 1), ("client_id", 1)], name="scopes_client_id")
    # lets a search look at keys, and only at the documents that match
    await clients.create_index([("client_id", 1), ("name", 1)], name="client_id_name")


async def _drop_lists(database: Any) -> None:
    for name in ("is_active_client_id", "scopes_client_id", "client_id_name"):
        await database["oauth_clients"].drop_index(name)


async def _create_usage(database: Any) -> None:
    usage = database["client_usage"]
    await usage.create_index("expires_at", expireAfterSeconds=0, name="expires_at")
    await usage.create_index([("step", 1), ("at", 1)], name="step_at")


async def _drop_usage(database: Any) -> None:
    await database["client_usage"].drop_indexes()


MIGRATIONS = (
    Migration(
        id="0001-clients-and-revocations",
        description="unique client ids; revocations are forgotten when their token has expired",
        up=_create,
        down=_drop,
    ),
    Migration(
        id="0002-lists-of-clients",
        description="clients are listed by state, by scope and by a part of their name",
        up=_index_lists,
        down=_drop_lists,
    ),
    Migration(
        id="0003-usage-of-clients",
        description="what clients did is found by time, and forgotten",
        up=_create_usage,
        down=_drop_usage,
    ),
)
