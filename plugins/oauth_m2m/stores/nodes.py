"""The processes that serve, and how far each has followed MongoDB: ``oauth-node:{id}`` in Redis."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from plugins.oauth_m2m.models import Position
    from station.resources import Resources

__all__ = ["NodeStore"]

_NODES = "oauth-nodes"


class NodeStore:
    """What every process says of itself; one that has been silent for three seconds does not live.

    ``oauth-nodes`` is the set of their ids (no braces in the real keys). Every command is about one key.
    """

    LIFE_SECONDS: Final = 3.0

    def __init__(self, resources: Resources) -> None:
        self._resources = resources
        self._redis = resources.redis

    async def announce(self, node: str, position: Position) -> bool:
        """Say that this process lives, and has applied everything up to ``position``.

        Returns whether Redis knew of it.
        """
        life = int(self.LIFE_SECONDS * 1000)
        with self._resources.available():
            async with self._redis.pipeline(transaction=False) as pipe:
                pipe.set(_key(node), "{}.{}".format(*position), px=life, get=True)
                pipe.sadd(_NODES, node)
                pipe.pexpire(_NODES, life)
                before, *_ = await pipe.execute()
        return before is not None

    async def leave(self, node: str) -> None:
        """Say that this process ends."""
        with self._resources.available():
            async with self._redis.pipeline(transaction=False) as pipe:
                pipe.delete(_key(node))
                pipe.srem(_NODES, node)
                await pipe.execute()

    async def positions(self) -> dict[str, Position]:
        """How far each process that lives has come."""
        with self._resources.available():
            members: Any = await self._redis.smembers(_NODES)
            nodes = [member.decode() for member in members]
            async with self._redis.pipeline(transaction=False) as pipe:
                for node in nodes:
                    pipe.get(_key(node))
                found = await pipe.execute() if nodes else []
            if dead := [node for node, position in zip(nodes, found, strict=True) if position is None]:
                await self._redis.srem(_NODES, *dead)
        return {
            node: _position(position)
            for node, position in zip(nodes, found, strict=True)
            if position is not None
        }


def _key(node: str) -> str:
    return f"oauth-node:{node}"


def _position(stored: bytes) -> Position:
    time, _, increment = stored.decode().partition(".")
    return int(time), int(increment)
