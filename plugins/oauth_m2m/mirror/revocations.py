"""RevokedTokens: the ids of all tokens that are revoked and have not expired."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["RevokedTokens"]


class RevokedTokens:
    """A set of ``jti``, until MongoDB has forgotten a revocation, some time after the token's expiry."""

    def __init__(self) -> None:
        self._jtis: set[str] = set()
        self._heard: set[str] | None = None

    def __contains__(self, jti: str) -> bool:
        return jti in self._jtis

    def __len__(self) -> int:
        return len(self._jtis)

    def add(self, jti: str) -> None:
        """A token was revoked."""
        self._jtis.add(jti)
        if self._heard is not None:
            self._heard.add(jti)

    def discard(self, jti: str) -> None:
        """MongoDB has forgotten the revocation: the token expired minutes ago."""
        self._jtis.discard(jti)

    @contextlib.contextmanager
    def reloading(self) -> Iterator[set[str]]:
        """A set to be filled with all that MongoDB knows, which takes the place of what was known before.

        Until it is whole everything stays revoked that was; what is revoked meanwhile is kept.
        """
        loaded: set[str] = set()
        self._heard = set()
        try:
            yield loaded
            self._jtis = loaded | self._heard
        finally:
            self._heard = None
