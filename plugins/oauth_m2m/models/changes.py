"""What MongoDB tells every process, and how far each has come."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from plugins.oauth_m2m.models.clients import Client
    from plugins.oauth_m2m.models.keys import SigningKeys

__all__ = ["Change", "ClientChanged", "Confirmation", "KeysChanged", "Position", "TokenRevoked"]

Position = tuple[int, int]
"""A place in the order of all changes of MongoDB: the second, and the number within it (cluster time)."""


@dataclasses.dataclass(frozen=True, slots=True)
class ClientChanged:
    """A client was registered, changed or deleted.

    ``client`` is as it is now, which may be newer than this change, and None once it is gone. ``version`` is
    the one that this change made: 0 if it made none, None if it deleted the client.
    """

    position: Position
    id: str
    client: Client | None
    version: int | None


@dataclasses.dataclass(frozen=True, slots=True)
class TokenRevoked:
    """A token was revoked, or its revocation ``forgotten`` because it has expired."""

    position: Position
    jti: str
    forgotten: bool


@dataclasses.dataclass(frozen=True, slots=True)
class KeysChanged:
    """The signing keys have changed: they are ``keys`` now, and this change made this ``version`` of them."""

    position: Position
    keys: SigningKeys | None
    version: int | None


Change = ClientChanged | TokenRevoked | KeysChanged
"""What a change stream tells."""


@dataclasses.dataclass(frozen=True, slots=True)
class Confirmation:
    """How far a change has come: how many processes apply it, and how many live ones have not said so yet.

    ``pending`` is None if it is not known which processes there are.
    """

    confirmed_by: int
    pending: int | None

    def audited(self) -> dict[str, object]:
        """What the audit keeps."""
        return {"confirmed_by": self.confirmed_by, "pending": self.pending}
