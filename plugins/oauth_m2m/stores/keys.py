"""The signing keys, as one document of the collection ``signing_keys``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pymongo.errors import DuplicateKeyError

from plugins.oauth_m2m.models import SigningKey, SigningKeys

if TYPE_CHECKING:
    from collections.abc import Mapping

    from station.resources import Resources

__all__ = ["KeyStore", "keys_of"]

_ID = "keyring"


class KeyStore:
    """The collection ``signing_keys``.

    All keys are one document: which of them is active changes for everybody in one write, and of two nodes
    that change them at once one is told to look again.
    """

    def __init__(self, resources: Resources) -> None:
        self._resources = resources
        self._collection = resources.database["signing_keys"]

    async def load(self) -> SigningKeys:
        """The keys as they are; of version 0 while there are none."""
        with self._resources.available():
            document = await self._collection.find_one({"_id": _ID})
        if document is None:
            return SigningKeys()
        return keys_of(document)

    async def replace(self, keys: SigningKeys) -> bool:
        """Put ``keys`` in the place of the version before; False if another node was faster."""
        document = {"_id": _ID, "version": keys.version, "keys": [_document(key) for key in keys.keys]}
        before = {"_id": _ID, "version": keys.version - 1}
        with self._resources.available():
            if keys.version > 1:
                return (await self._collection.replace_one(before, document)).matched_count == 1
            try:
                await self._collection.insert_one(document)
            except DuplicateKeyError:
                return False
            return True


def keys_of(document: Mapping[str, Any]) -> SigningKeys:
    """The keys that a document holds."""
    return SigningKeys(document["version"], tuple(map(_key, document["keys"])))


def _key(document: dict[str, Any]) -> SigningKey:
    return SigningKey(
        kid=document["kid"],
        alg=document["alg"],
        state=document["state"],
        published_at=document["published_at"],
        jwk=document["jwk"],
        sealed=document["sealed"],
        activated_at=document["activated_at"],
        verifies_until=document["verifies_until"],
    )


def _document(key: SigningKey) -> dict[str, Any]:
    return {
        "kid": key.kid,
        "alg": key.alg,
        "state": key.state,
        "published_at": key.published_at,
        "jwk": dict(key.jwk),
        "sealed": key.sealed,
        "activated_at": key.activated_at,
        "verifies_until": key.verifies_until,
    }
