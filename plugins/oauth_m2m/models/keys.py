"""The keys that sign tokens."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

__all__ = ["KeyState", "SigningKey", "SigningKeys"]

KeyState = Literal["next", "active", "retired"]


@dataclasses.dataclass(frozen=True, slots=True)
class SigningKey:
    """A key that signs tokens, at rest.

    ``jwk`` holds the public members (RFC 7517), ``sealed`` the private part, encrypted, until the key is
    retired. The key ``HS256`` has neither: it stands for ``JWT_SECRET``. A retired key verifies until
    ``verifies_until``.
    """

    kid: str
    alg: str
    state: KeyState
    published_at: datetime
    jwk: Mapping[str, str] = dataclasses.field(default_factory=dict)
    sealed: bytes | None = dataclasses.field(default=None, repr=False)
    activated_at: datetime | None = None
    verifies_until: datetime | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class SigningKeys:
    """All keys of a keyring at once; every change of them has the next ``version``."""

    version: int = 0
    keys: tuple[SigningKey, ...] = ()

    def in_state(self, state: KeyState) -> SigningKey | None:
        """The one key that is active or next, if there is one."""
        return next((key for key in self.keys if key.state == state), None)

    def followed_by(self, keys: tuple[SigningKey, ...]) -> SigningKeys:
        """The next version."""
        return SigningKeys(self.version + 1, keys)

    def audited(self) -> dict[str, object]:
        """What an audit event says of them."""
        return {key.kid: f"{key.alg} {key.state}" for key in self.keys}
