"""Keys derived from one secret: each use has a label of its own, and none reveals another.

::

    derive_key(config.jwt_secret, "sessions")    # signs the tokens of people
"""

from __future__ import annotations

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

__all__ = ["derive_key"]

_KEY_BYTES = 32


def derive_key(secret: str, label: str) -> bytes:
    """32 bytes made from ``secret`` for the use that ``label`` names: HKDF-SHA256 without salt (RFC 5869)."""
    return HKDF(SHA256(), _KEY_BYTES, salt=None, info=label.encode()).derive(secret.encode())
