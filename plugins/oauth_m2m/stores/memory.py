"""Secrets that were verified lately, for all processes and the next start: ``oauth-verified:{digest}``."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from station.resources import Resources

__all__ = ["MemoryStore"]


class MemoryStore:
    """Digests in Redis (no braces in the real keys), each of which expires.

    They are MACs under a key that Redis does not have, of secrets of 256 random bits: who reads them learns
    nothing, and nobody else can make one.
    """

    def __init__(self, resources: Resources) -> None:
        self._resources = resources

    async def find(self, digests: Sequence[str]) -> int | None:
        """The place of the first that is remembered, or None."""
        turn = self._resources.pipeline.turn()
        reads = [turn.get(_key(digest)) for digest in digests]
        await turn.flushed()
        return next((place for place, read in enumerate(reads) if read.value is not None), None)

    async def remember(self, digest: str, *, seconds: int) -> None:
        """Remember one for so many seconds."""
        turn = self._resources.pipeline.turn()
        turn.set(_key(digest), "1", seconds=seconds)
        await turn.flushed()


def _key(digest: str) -> str:
    return f"oauth-verified:{digest}"
