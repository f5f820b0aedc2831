"""Clients, in the collection ``oauth_clients``."""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING, Any

from bson import ObjectId
from pymongo import ASCENDING, ReturnDocument
from pymongo.errors import DuplicateKeyError

from plugins.oauth_m2m.models import Client, ClientPage, ClientSecret
from station.errors import Conflict, NotFound, PreconditionFailed

if TYPE_CHECKING:
    import builtins
    from collections.abc import Collection, Mapping

    from plugins.oauth_m2m.models import ClientQuery
    from station.resources import Resources

__all__ = ["ClientStore"]

_LIST_SECONDS = 2


class ClientStore:
    """The collection ``oauth_clients``."""

    def __init__(self, resources: Resources) -> None:
        self._resources = resources
        self._collection = resources.database["oauth_clients"]

    async def find(self, client_id: str) -> Client | None:
        """The client of this id, or None."""
        with self._resources.available():
            document = await self._collection.find_one({"client_id": client_id})
        return None if document is None else client_of(document)

    async def get(self, client_id: str) -> Client:
        """The client of this id; `NotFound` if there is none."""
        client = await self.find(client_id)
        if client is None:
            raise _not_found(client_id)
        return client

    async def find_many(self, client_ids: Collection[str]) -> builtins.list[Client]:
        """The clients of these ids, as far as they are registered."""
        with self._resources.available():
            found = self._collection.find({"client_id": {"$in": [*client_ids]}})
            return [client_of(document) async for document in found]

    async def list(self, query: ClientQuery) -> ClientPage:
        """A page of the clients that match, by client id; `ServiceUnavailable` if that takes too long."""
        cursor = self._collection.find(_filter(query)).sort("client_id", ASCENDING).limit(query.limit + 1)
        with self._resources.available():
            documents = await cursor.max_time_ms(_LIST_SECONDS * 1000).to_list(None)
        clients = tuple(client_of(document) for document in documents[: query.limit])
        return ClientPage(clients, clients[-1].client_id if len(documents) > query.limit else None)

    async def insert(self, client: Client) -> Client:
        """Add a client and return it with its ``id``; `Conflict` if its client id is taken."""
        document = _document(client)
        try:
            with self._resources.available():
                await self._collection.insert_one(document)
        except DuplicateKeyError as error:
            raise Conflict(f"A client with the id {client.client_id} is registered already.") from error
        return client_of(document)

    async def update(
        self, client_id: str, changes: Mapping[str, Any], versions: Collection[int] | None
    ) -> tuple[Client, Client]:
        """Set fields of a client in one step, with the next version, and return it as it was and as it is.

        Raises `NotFound`, and `PreconditionFailed` if ``versions`` are given and it has none of them.
        """
        fields = dict(changes)
        if "secrets" in fields:
            fields["secrets"] = [dataclasses.asdict(secret) for secret in fields["secrets"]]
        with self._resources.available():
            document = await self._collection.find_one_and_update(
                _selector(client_id, versions),
                {"$set": fields, "$inc": {"version": 1}},
                return_document=ReturnDocument.BEFORE,
            )
        if document is None:
            raise await self._missed(client_id)
        before = client_of(document)
        return before, dataclasses.replace(before, **changes, version=before.version + 1)

    async def delete(self, client_id: str, versions: Collection[int] | None) -> Client:
        """Remove a client and return it as it was; raises what `update` raises."""
        with self._resources.available():
            document = await self._collection.find_one_and_delete(_selector(client_id, versions))
        if document is None:
            raise await self._missed(client_id)
        return client_of(document)

    async def replace_hash(self, client: Client, secret: ClientSecret, *, salt: str, new_hash: str) -> None:
        """Put a hash of another cost in place of a client's only secret, unless the client has changed."""
        with self._resources.available():
            await self._collection.update_one(
                {"client_id": client.client_id, "version": client.version, "secrets.id": secret.id},
                {"$set": {"salt": salt, "secrets.$.hash": new_hash}},
            )

    async def _missed(self, client_id: str) -> NotFound | PreconditionFailed:
        """Why nothing was selected."""
        if await self.find(client_id) is None:
            return _not_found(client_id)
        return PreconditionFailed(f"The client {client_id} has changed; look at it again.")


def _filter(query: ClientQuery) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if query.after:
        found["client_id"] = {"$gt": query.after}
    if query.is_active is not None:
        found["is_active"] = query.is_active
    if query.scope is not None:
        found["scopes"] = query.scope
    if query.search:
        part = {"$regex": re.escape(query.search), "$options": "i"}
        found["$or"] = [{"client_id": part}, {"name": part}]
    return found


def _selector(client_id: str, versions: Collection[int] | None) -> dict[str, Any]:
    of_version = {} if versions is None else {"version": {"$in": list(versions)}}
    return {"client_id": client_id, **of_version}


def _not_found(client_id: str) -> NotFound:
    return NotFound(f"No client with the id {client_id} is registered.")


def client_of(document: dict[str, Any]) -> Client:
    secrets = tuple(
        ClientSecret(
            id=secret["id"],
            hash=secret["hash"],
            created_at=secret["created_at"],
            expires_at=secret["expires_at"],
            last_used_at=secret["last_used_at"],
            last_used_from=secret.get("last_used_from"),
        )
        for secret in document["secrets"]
    )
    return Client(
        id=str(document["_id"]),
        client_id=document["client_id"],
        name=document["name"],
        salt=document["salt"],
        secrets=secrets,
        scopes=tuple(document["scopes"]),
        is_active=document["is_active"],
        token_ttl=document["token_ttl"],
        generation=document["generation"],
        version=document["version"],
        created_at=document["created_at"],
        updated_at=document["updated_at"],
    )


def _document(client: Client) -> dict[str, Any]:
    secrets = [dataclasses.asdict(secret) for secret in client.secrets]
    return {
        "_id": ObjectId(),
        "client_id": client.client_id,
        "name": client.name,
        "salt": client.salt,
        "secrets": secrets,
        "scopes": list(client.scopes),
        "is_active": client.is_active,
        "token_ttl": client.token_ttl,
        "generation": client.generation,
        "version": client.version,
        "created_at": client.created_at,
        "updated_at": client.updated_at,
    }
