"""The secrets of clients, inside the documents of ``oauth_clients``."""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from pymongo import ReturnDocument, UpdateOne

from plugins.oauth_m2m.stores.clients import client_of

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from datetime import datetime

    from plugins.oauth_m2m.models import Client, ClientSecret, SecretUse
    from station.resources import Resources

__all__ = ["SecretStore"]

_MINUTE = timedelta(minutes=1)


class SecretStore:
    """Changes the secrets of a client that was read, and of no other: each change is one conditional update.

    It returns the client as it is now; None says that the client has changed since it was read, and nothing
    was done.
    """

    def __init__(self, resources: Resources) -> None:
        self._resources = resources
        self._collection = resources.database["oauth_clients"]

    async def add(
        self, client: Client, secret: ClientSecret, *, salt: str, ends: Collection[ClientSecret]
    ) -> Client | None:
        """Add ``secret``, whose hash has this ``salt``, and give those of ``ends`` their ``expires_at``."""
        places = {known.id: place for place, known in enumerate(client.secrets)}
        changes: dict[str, Any] = {f"secrets.{len(client.secrets)}": dataclasses.asdict(secret)}
        # one by one: a last use that is noted meanwhile is not lost
        changes |= {f"secrets.{places[ending.id]}.expires_at": ending.expires_at for ending in ends}
        changes |= {"salt": salt, "updated_at": secret.created_at}
        return await self._update(client, {"$set": changes})

    async def remove(
        self, client: Client, ids: Collection[str], *, at: datetime, generation: str | None = None
    ) -> Client | None:
        """Remove these secrets; with a new ``generation`` the client's live tokens end in the same step."""
        changes: dict[str, Any] = {"updated_at": at}
        if generation is not None:
            changes["generation"] = generation
        return await self._update(client, {"$pull": {"secrets": {"id": {"$in": list(ids)}}}, "$set": changes})

    async def note_uses(self, uses: Sequence[SecretUse]) -> None:
        """Note when and from where secrets were last used, once a minute; that is no change of a client."""
        with self._resources.available():
            await self._collection.bulk_write([_note(use) for use in uses], ordered=False)

    async def _update(self, client: Client, update: dict[str, Any]) -> Client | None:
        # a hash of another cost may take the place of one without a new version: the salt tells
        as_read = {"client_id": client.client_id, "version": client.version, "salt": client.salt}
        with self._resources.available():
            document = await self._collection.find_one_and_update(
                as_read, {**update, "$inc": {"version": 1}}, return_document=ReturnDocument.AFTER
            )
        return client_of(document) if document else None


def _note(use: SecretUse) -> UpdateOne:
    noted_before: dict[str, Any] = {
        "$or": [{"last_used_at": None}, {"last_used_at": {"$lte": use.at - _MINUTE}}]
    }
    return UpdateOne(
        {"client_id": use.client_id, "secrets": {"$elemMatch": {"id": use.secret_id, **noted_before}}},
        # used_at marks the change as one that no change stream needs to tell
        {
            "$set": {
                "secrets.$.last_used_at": use.at,
                "secrets.$.last_used_from": use.address,
                "used_at": use.at,
            }
        },
    )
