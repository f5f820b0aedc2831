"""The processes that serve, and how far each has followed MongoDB: ``oauth-node:{id}`` in Redis."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from plugins.oauth_m2m.stores.announcements import Announcements

if TYPE_CHECKING:
    from plugins.oauth_m2m.models import Position
    from station.resources import Resources

__all__ = ["NodeStore"]


class NodeStore:
    """What every process says of itself; one that has been silent for three seconds does not live.

    ``oauth-nodes`` is the set of their ids (no braces in the real keys).
    """

    LIFE_SECONDS: Final = 3.0

    def __init__(self, resources: Resources) -> None:
        self._nodes = Announcements(
            resources, key="oauth-node", members="oauth-nodes", seconds=self.LIFE_SECONDS
        )

    async def announce(self, node: str, position: Position) -> bool:
        """Say that this process lives, and has applied everything up to ``position``.

        Returns whether Redis knew of it.
        """
        return await self._nodes.say(node, "{}.{}".format(*position))

    async def leave(self, node: str) -> None:
        """Say that this process ends."""
        await self._nodes.leave(node)

    async def positions(self) -> dict[str, Position]:
        """How far each process that lives has come."""
        return {node: _position(said) for node, said in (await self._nodes.living()).items()}


def _position(said: bytes) -> Position:
    time, _, increment = said.decode().partition(".")
    return int(time), int(increment)
