"""Access tokens as a rule reads and forges them: the segments of a JWT (RFC 7515 3.1), no library."""

from __future__ import annotations

import base64
import hmac
import json
from typing import Any

__all__ = ["claims_of", "forge", "header_of", "is_jwt", "with_broken_signature"]


def is_jwt(token: str) -> bool:
    """Whether it has three segments, of which two are JSON objects."""
    return len(token.split(".")) == 3 and bool(header_of(token)) and bool(claims_of(token))


def header_of(token: str) -> dict[str, Any]:
    """The header; empty if it has none that can be read."""
    return _segment(token, 0)


def claims_of(token: str) -> dict[str, Any]:
    """The claims; empty if it has none that can be read."""
    return _segment(token, 1)


def forge(header: object, claims: object, *, key: bytes | None = None, signature: str = "") -> str:
    """A token with this header and these claims: signed by HMAC-SHA256 under ``key``, or as given."""
    signed = f"{_encoded(header)}.{_encoded(claims)}"
    if key is not None:
        signature = _base64(hmac.digest(key, signed.encode(), "sha256"))
    return f"{signed}.{signature}"


def with_broken_signature(token: str) -> str:
    """The token with another signature of the same length; one without segments gets another end."""
    head, dot, signature = token.rpartition(".")
    other = "".join("B" if character == "A" else "A" for character in signature)
    return f"{head}{dot}{other}"


def _segment(token: str, place: int) -> dict[str, Any]:
    try:
        part = token.split(".")[place]
        found = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except (ValueError, IndexError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _encoded(part: object) -> str:
    return _base64(json.dumps(part, separators=(",", ":")).encode())


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
