"""Which hint was given lately, so that of all processes one gives it: ``oauth-hint:{name}`` in Redis."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from station.resources import Resources

__all__ = ["HintStore"]


class HintStore:
    """Claims that expire (no braces in the real keys)."""

    def __init__(self, resources: Resources) -> None:
        self._resources = resources
        self._redis = resources.redis

    async def claim(self, name: str, *, seconds: int) -> bool:
        """Whether nobody has claimed ``name`` in so many seconds; from now on somebody has."""
        with self._resources.available():
            return bool(await self._redis.set(f"oauth-hint:{name}", "1", nx=True, ex=seconds))
