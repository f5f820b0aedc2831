"""Keyring: the keys in memory, kept in step with the other nodes."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import jwt

from plugins.oauth_m2m.keyring.cycle import JWKS_MAX_AGE, REFRESH_SECONDS, KeyCycle
from plugins.oauth_m2m.keyring.sealing import KeySealer, UnreadableKey
from plugins.oauth_m2m.models import SigningKey, SigningKeys
from station.background import in_background
from station.errors import ServiceUnavailable, StartError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from plugins.oauth_m2m.stores import KeyStore
    from station.audit import AuditLog

__all__ = ["JWKS_MAX_AGE", "Key", "Keyring"]

_REREAD_SECONDS = 1.0

_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, slots=True)
class Key:
    """A key in memory, for one algorithm; ``material`` is what PyJWT signs or verifies with.

    ``kid`` is None for HS256.
    """

    kid: str | None
    alg: str
    material: Any = dataclasses.field(repr=False)


class Keyring:
    """The keys of all nodes; this one signs with ``alg`` if it is the last that was started.

    ``jwt_secrets`` are ``JWT_SECRET`` and, while rotating it, the former one.
    """

    def __init__(
        self,
        store: KeyStore,
        *,
        audit: AuditLog,
        alg: str,
        jwt_secrets: Sequence[str],
        refresh_seconds: float = REFRESH_SECONDS,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._audit = audit
        self._jwt_secrets = tuple(jwt_secrets)
        self._sealer = KeySealer(jwt_secrets)
        self._cycle = KeyCycle(alg, self._sealer, clock)
        self._refresh_seconds = refresh_seconds
        self._serving = False
        self._stored = SigningKeys()
        self._signer: Key | None = None
        self._verifiers: dict[str | None, tuple[SigningKey, tuple[Key, ...]]] = {}
        self._rereading = asyncio.Lock()
        self._reread_at = float("-inf")

    @property
    def version(self) -> int:
        """The version of the keys that are in force: another one means other keys."""
        return self._stored.version

    def signer(self) -> Key:
        """The key that signs; `ServiceUnavailable` if there is none that this node can use."""
        if self._signer is None:
            raise ServiceUnavailable("There is no signing key that Station can use.")
        return self._signer

    async def find(self, kid: str | None) -> tuple[Key, ...]:
        """The keys that a token with this ``kid`` may be signed with; none for an unknown one, or an ended.

        For a key that is not in memory MongoDB is asked, at most once a second.
        """
        found = self._live(kid)
        if not found:
            async with self._rereading:
                if time.monotonic() - self._reread_at >= _REREAD_SECONDS:
                    try:
                        await self.refresh()
                    finally:
                        # counted from the end: those who wait must not each ask a store that is away
                        self._reread_at = time.monotonic()
            found = self._live(kid)
        return found

    def current(self) -> tuple[SigningKey, ...]:
        """The keys that sign, will sign, or still verify."""
        return tuple(key for key in self._stored.keys if not self._cycle.is_over(key))

    def jwks(self) -> dict[str, list[dict[str, str]]]:
        """The JWK Set (RFC 7517 5): the public members of `current`, and never a symmetric key."""
        public = [key for key in self.current() if key.jwk]
        return {"keys": [{**key.jwk, "kid": key.kid, "alg": key.alg, "use": "sig"} for key in public]}

    async def open(self, *, serving: bool) -> None:
        """Read the keys; when serving, make what is missing and change to this node's algorithm.

        Raises `StartError` if the key that signs cannot be used with the configured secrets.
        """
        self._serving = serving
        if not serving:
            await self.refresh()
            return
        await self._change("keys.prepared", self._cycle.prepared)
        if self._signer is None:
            raise StartError(
                [
                    "JWT_SECRET does not open the key that signs tokens: set JWT_SECRET_PREVIOUS to the "
                    "secret before it, and run `station oauth-keys reencrypt`."
                ]
            )

    @contextlib.asynccontextmanager
    async def following(self) -> AsyncIterator[None]:
        """Follow the other nodes for as long as the context is open."""
        async with in_background(self._follow()):
            yield

    async def refresh(self) -> None:
        """Read the keys again; on `ServiceUnavailable` those in memory stay in force."""
        self.use(await self._store.load())

    def use(self, stored: SigningKeys) -> None:
        """Put what MongoDB holds in force here, unless something newer is."""
        if stored.version <= self._stored.version:
            return
        self._verifiers = {key.kid if key.jwk else None: (key, self._materials(key)) for key in stored.keys}
        self._signer = self._signer_of(stored.in_state("active"))
        self._stored = stored

    async def rotate(self, *, force: bool = False) -> None:
        """Let the next key sign, for `KeyCycle.rotated`'s conditions."""
        await self._change("keys.rotated", partial(self._cycle.rotated, force=force))

    async def retire(self, kid: str) -> None:
        """End a key at once, and with it every token it signed; see `KeyCycle.without`."""
        await self._change("key.retired", partial(self._cycle.without, kid=kid))

    async def reencrypt(self) -> None:
        """Seal every private key under the present ``JWT_SECRET``; see `KeyCycle.resealed`."""
        await self._change("keys.reencrypted", self._cycle.resealed)

    async def _change(self, action: str, rule: Callable[[SigningKeys], tuple[SigningKey, ...]]) -> None:
        """Store what ``rule`` makes of the keys, and only then use it; again if another node was faster."""
        stored = await self._store.load()
        keys = await asyncio.to_thread(rule, stored)  # an RSA key takes long to make
        if keys != stored.keys:
            async with self._audit.change(action, target="keyring") as change:
                while keys != stored.keys and not await self._store.replace(stored.followed_by(keys)):
                    stored = await self._store.load()
                    keys = await asyncio.to_thread(rule, stored)
                change.before = stored.audited()
                stored = stored if keys == stored.keys else stored.followed_by(keys)
                change.after = stored.audited()
        self.use(stored)

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(self._refresh_seconds)
            try:
                await (self._change("keys.rotated", self._cycle.due) if self._serving else self.refresh())
            except Exception as error:
                _log.warning("the signing keys could not be read: %s", type(error).__name__)

    def _live(self, kid: str | None) -> tuple[Key, ...]:
        stored, keys = self._verifiers.get(kid, (None, ()))
        return () if stored is None or self._cycle.is_over(stored) else keys

    def _materials(self, key: SigningKey) -> tuple[Key, ...]:
        """What verifies the signatures of a key: of HS256 there are two secrets while rotating."""
        if not key.jwk:
            return tuple(Key(None, key.alg, secret) for secret in self._jwt_secrets)
        return (Key(key.kid, key.alg, jwt.PyJWK(dict(key.jwk), key.alg).key),)

    def _signer_of(self, active: SigningKey | None) -> Key | None:
        if active is None:
            return None
        if active.sealed is None:
            return Key(None, active.alg, self._jwt_secrets[0])
        try:
            private = self._sealer.open(active.kid, active.alg, active.sealed)
        except UnreadableKey as error:
            _log.error("%s", error)
            return None
        return Key(active.kid, active.alg, private)
