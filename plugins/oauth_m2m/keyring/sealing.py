"""Private keys at rest: AES-GCM under a key derived from ``JWT_SECRET``.

A sealed key is a nonce of 12 bytes and what AES-GCM makes of the key's PKCS #8, bound to its id and its
algorithm: moved to another record, it cannot be opened.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, TypeAlias

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from station.errors import StationError
from station.keys import derive_key

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["KeySealer", "PrivateKey", "UnreadableKey"]

PrivateKey: TypeAlias = Ed25519PrivateKey | EllipticCurvePrivateKey | RSAPrivateKey

_NONCE_BYTES = 12  # NIST SP 800-38D 8.2


class UnreadableKey(StationError):
    """No secret that is configured opens the key."""


class KeySealer:
    """Seals under the first of ``jwt_secrets``; the others, former ones, still open."""

    def __init__(self, jwt_secrets: Sequence[str]) -> None:
        self._ciphers = [AESGCM(derive_key(secret, "keyring")) for secret in jwt_secrets]

    def seal(self, kid: str, alg: str, private: PrivateKey) -> bytes:
        """Encrypt a private key."""
        pkcs8 = private.private_bytes(
            serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return self._encrypt(kid, alg, pkcs8)

    def open(self, kid: str, alg: str, sealed: bytes) -> PrivateKey:
        """Decrypt a private key; raises `UnreadableKey`."""
        private = serialization.load_der_private_key(self._decrypt(kid, alg, sealed), password=None)
        assert isinstance(private, PrivateKey)  # noqa: S101 - nobody else can seal
        return private

    def reseal(self, kid: str, alg: str, sealed: bytes) -> bytes:
        """The same private key under the first secret; raises `UnreadableKey`."""
        return self._encrypt(kid, alg, self._decrypt(kid, alg, sealed))

    def _encrypt(self, kid: str, alg: str, pkcs8: bytes) -> bytes:
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._ciphers[0].encrypt(nonce, pkcs8, _associated(kid, alg))

    def _decrypt(self, kid: str, alg: str, sealed: bytes) -> bytes:
        nonce, ciphertext = sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:]
        for cipher in self._ciphers:
            try:
                return cipher.decrypt(nonce, ciphertext, _associated(kid, alg))
            except (InvalidTag, ValueError):  # ValueError: too short to be sealed at all
                continue
        raise UnreadableKey(f"The signing key {kid} was sealed under another JWT_SECRET.")


def _associated(kid: str, alg: str) -> bytes:
    return f"{kid} {alg}".encode()
