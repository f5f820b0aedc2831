"""SecretMemory: secrets that were right lately, so that bcrypt is paid once and not for every token.

What is remembered is a MAC over client id, secret and stored hash. It is asked only for a client that is
active and a secret of it that lives, so a secret that was replaced, disabled or ended is missed by
construction, and a wrong one is never found.

There are two levels. The first is in the process, under a key made at its start. The second is in Redis,
under a key derived from ``JWT_SECRET``, so that a restart does not cost a fleet its bcrypts; it holds only
secrets that Station generated, because nobody can guess those from a digest, whoever gets hold of the key.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from typing import TYPE_CHECKING

from plugins.oauth_m2m.secret_format import is_generated
from station.errors import ServiceUnavailable
from station.keys import derive_key

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from plugins.oauth_m2m.models import ClientSecret
    from plugins.oauth_m2m.stores import MemoryStore

__all__ = ["SecretMemory"]

_SECONDS = 3600.0
_STORED_SECONDS = 7 * 24 * 3600
_NO_SECRET = ""


class SecretMemory:
    """Remembers up to ``size`` secrets for an hour, and generated ones in ``store`` for a week.

    ``hits`` counts secrets that the first level knew, ``recalled`` those that the second level knew, and
    ``misses`` those that neither did, which cost a bcrypt.
    """

    def __init__(
        self,
        store: MemoryStore,
        *,
        jwt_secret: str,
        size: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._size = size
        self._clock = clock
        self._key = secrets.token_bytes(32)
        self._stored_key = derive_key(jwt_secret, "secret memory")
        self._known: dict[bytes, float] = {}
        self.hits = self.recalled = self.misses = 0

    def __len__(self) -> int:
        return len(self._known)

    def find(
        self, client_id: str, candidates: Sequence[bytes], live: Sequence[ClientSecret]
    ) -> ClientSecret | None:
        """The live secret that one of the candidates is known to be; the first level alone is asked."""
        now = self._clock()
        for candidate in candidates:
            for secret in live:
                if self._known.get(_digest(self._key, client_id, candidate, secret.hash), now) > now:
                    self.hits += 1
                    return secret
        return None

    async def recall(
        self, client_id: str, candidates: Sequence[bytes], live: Sequence[ClientSecret]
    ) -> ClientSecret | None:
        """As `find`, of the second level. Redis is asked alike for whoever has no live secret at all."""
        secret = await self._recall(client_id, candidates, live)
        if secret is None:
            self.misses += 1
        else:
            self.recalled += 1
        return secret

    async def _recall(
        self, client_id: str, candidates: Sequence[bytes], live: Sequence[ClientSecret]
    ) -> ClientSecret | None:
        hashes = [secret.hash for secret in live] or [_NO_SECRET]
        pairs = [
            (place, candidate)
            for candidate in candidates
            if is_generated(candidate)
            for place in range(len(hashes))
        ]
        digests = [
            _digest(self._stored_key, client_id, candidate, hashes[place]).hex() for place, candidate in pairs
        ]
        if not digests:
            return None
        try:
            found = await self._store.find(digests)
        except ServiceUnavailable:
            return None
        if found is None or not live:
            return None
        place, candidate = pairs[found]
        await self.remember(client_id, candidate, live[place])
        return live[place]

    async def remember(self, client_id: str, candidate: bytes, secret: ClientSecret) -> None:
        """The candidate is this secret: bcrypt has said so, or the second level."""
        known = _digest(self._key, client_id, candidate, secret.hash)
        self._known.pop(known, None)
        if len(self._known) >= self._size:
            del self._known[next(iter(self._known))]
        self._known[known] = self._clock() + _SECONDS
        if is_generated(candidate):
            digest = _digest(self._stored_key, client_id, candidate, secret.hash).hex()
            try:
                await self._store.remember(digest, seconds=_STORED_SECONDS)
            except ServiceUnavailable:
                return  # it costs a bcrypt after the next start


def _digest(key: bytes, client_id: str, secret: bytes, stored_hash: str) -> bytes:
    """Keyed BLAKE2b, a MAC (RFC 7693 2.9) in a fifth of HMAC-SHA256's time.

    The lengths lead, so that no two triples are one message.
    """
    lengths = b"%d,%d," % (len(client_id), len(secret))
    message = lengths + client_id.encode() + secret + stored_hash.encode()
    return hashlib.blake2b(message, key=key, digest_size=32).digest()
