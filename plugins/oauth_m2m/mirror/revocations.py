"""RevokedTokens: the ids of all tokens that are revoked and have not expired."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["RevokedTokens"]


class RevokedTokens:
    """A set of ``jti``. It only grows until MongoDB has forgotten a revocation, after the token's expiry."""

    def __init__(self) -> None:
        self._jtis: set[str] = set()

    def __contains__(self, jti: str) -> bool:
        return jti in self._jtis

    def __len__(self) -> int:
        return len(self._jtis)

    def add(self, jti: str) -> None:
        """A token was revoked."""
        self._jtis.add(jti)

    def update(self, jtis: Iterable[str]) -> None:
        """These are revoked too: nothing that was known is forgotten."""
        self._jtis.update(jtis)

    def discard(self, jti: str) -> None:
        """MongoDB has forgotten the revocation: the token expired minutes ago."""
        self._jtis.discard(jti)
