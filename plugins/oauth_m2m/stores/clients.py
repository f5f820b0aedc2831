"""Clients, in the collection ``oauth_clients``."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from bson import ObjectId
from pymongo import ASCENDING, ReturnDocument
from pymongo.errors import DuplicateKeyError

from plugins.oauth_m2m.models import Client, ClientSecret
from station.errors import Conflict, NotFound

if TYPE_CHECKING:
    from station.resources import Resources

__all__ = ["ClientStore"]


class ClientStore:
    """The collection ``oauth_clients``."""

    def __init__(self, resources: Resources) -> None:
        self._resources = resources
        self._collection = resources.database["oauth_clients"]

    async def find(self, client_id: str) -> Client | None:
        """The client of this id, or None."""
        with self._resources.available():
            document = await self._collection.find_one({"client_id": client_id})
        return None if document is None else _client(document)

    async def get(self, client_id: str) -> Client:
        """The client of this id; `NotFound` if there is none."""
        client = await self.find(client_id)
        if client is None:
            raise _not_found(client_id)
        return client

    async def list(self) -> list[Client]:
        """All clients by id."""
        with self._resources.available():
            return [
                _client(document) async for document in self._collection.find().sort("client_id", ASCENDING)
            ]

    async def insert(self, client: Client) -> Client:
        """Add a client and return it with its ``id``; `Conflict` if its client id is taken."""
        document = _document(client)
        try:
            with self._resources.available():
                await self._collection.insert_one(document)
        except DuplicateKeyError as error:
            raise Conflict(f"A client with the id {client.client_id} is registered already.") from error
        return _client(document)

    async def set_active(self, client_id: str, *, is_active: bool, generation: str | None) -> Client:
        """Enable or disable a client, with a new ``generation`` if given; `NotFound` if there is none."""
        changes: dict[str, object] = {"is_active": is_active, "updated_at": datetime.now(UTC)}
        if generation is not None:
            changes["generation"] = generation
        with self._resources.available():
            document = await self._collection.find_one_and_update(
                {"client_id": client_id},
                {"$set": changes, "$inc": {"version": 1}},
                return_document=ReturnDocument.AFTER,
            )
        if document is None:
            raise _not_found(client_id)
        return _client(document)

    async def replace_hash(self, client: Client, secret: ClientSecret, *, salt: str, new_hash: str) -> None:
        """Put a hash of another cost in place of a client's only secret, unless the client has changed."""
        with self._resources.available():
            await self._collection.update_one(
                {"client_id": client.client_id, "version": client.version, "secrets.id": secret.id},
                {"$set": {"salt": salt, "secrets.$.hash": new_hash}},
            )


def _not_found(client_id: str) -> NotFound:
    return NotFound(f"No client with the id {client_id} is registered.")


def _client(document: dict[str, Any]) -> Client:
    secrets = tuple(
        ClientSecret(
            id=secret["id"],
            hash=secret["hash"],
            created_at=secret["created_at"],
            expires_at=secret["expires_at"],
            last_used_at=secret["last_used_at"],
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
    secrets = [
        {
            "id": secret.id,
            "hash": secret.hash,
            "created_at": secret.created_at,
            "expires_at": secret.expires_at,
            "last_used_at": secret.last_used_at,
        }
        for secret in client.secrets
    ]
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
