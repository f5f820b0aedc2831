"""The secrets that Station generates: 256 random bits in a form that leak scanners recognise.

::

    stn_ 9fQ2...x (43 characters: 32 random bytes in base62) 4kX0aB (6 characters: their CRC-32 in base62)

The prefix finds candidates in a repository or a log, the checksum drops those that only look like one. Client
authentication decides by neither: a secret with a wrong checksum is a wrong secret, after the same bcrypt.
"""

from __future__ import annotations

import secrets
import string
import zlib

__all__ = ["PREFIX", "generate_secret", "is_generated"]

PREFIX = "stn_"

_DIGITS = string.digits + string.ascii_uppercase + string.ascii_lowercase
_RANDOM_BYTES = 32
_RANDOM_LENGTH = 43  # 62**43 > 2**256
_CHECKSUM_LENGTH = 6  # 62**6 > 2**32


def generate_secret() -> str:
    """A new secret: ``stn_`` and 49 letters and digits, which no encoding has to escape."""
    random = _base62(int.from_bytes(secrets.token_bytes(_RANDOM_BYTES)), _RANDOM_LENGTH)
    return PREFIX + random + _base62(zlib.crc32(random.encode()), _CHECKSUM_LENGTH)


def is_generated(secret: bytes) -> bool:
    """Whether a secret has the form and the checksum of those that Station generates."""
    random, checksum = secret[len(PREFIX) : -_CHECKSUM_LENGTH], secret[-_CHECKSUM_LENGTH:]
    return (
        secret.startswith(PREFIX.encode())
        and len(random) == _RANDOM_LENGTH
        and checksum.decode("latin-1") == _base62(zlib.crc32(random), _CHECKSUM_LENGTH)
    )


def _base62(number: int, length: int) -> str:
    digits = []
    for _ in range(length):
        number, digit = divmod(number, len(_DIGITS))
        digits.append(_DIGITS[digit])
    return "".join(reversed(digits))
