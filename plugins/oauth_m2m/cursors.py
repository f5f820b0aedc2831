"""Cursors: where the next page of a list begins, as an opaque string that only Station can make."""

from __future__ import annotations

import base64
import hmac

from station.errors import ValidationFailed
from station.keys import derive_key

__all__ = ["Cursors"]

_MAC_BYTES = 16


class Cursors:
    """The cursors of one ``kind`` of list; those of another kind are refused."""

    def __init__(self, jwt_secret: str, kind: str) -> None:
        self._key = derive_key(jwt_secret, "cursors")
        self._kind = kind

    def seal(self, position: str) -> str:
        """The cursor for a position."""
        mac = hmac.digest(self._key, f"{self._kind}:{position}".encode(), "sha256")[:_MAC_BYTES]
        return base64.urlsafe_b64encode(mac + position.encode()).decode().rstrip("=")

    def open(self, cursor: str) -> str:
        """The position of a cursor; `ValidationFailed` unless `seal` made it."""
        try:
            padded = cursor + "=" * (-len(cursor) % 4)
            position = base64.urlsafe_b64decode(padded)[_MAC_BYTES:].decode()
        except ValueError:
            position = ""
        if not hmac.compare_digest(self.seal(position).encode(), cursor.encode()):
            raise ValidationFailed({"cursor": ["Is not a nextCursor of this list."]})
        return position
