"""What processes say of themselves in Redis, for as long as they say it again and again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from station.resources import Resources

__all__ = ["Announcements"]


class Announcements:
    """One value for each process under ``{key}:{id}`` (no braces in the real keys), gone after ``seconds``.

    The set ``members`` has the ids, so that nothing scans the keyspace. Every command is about one key, as a
    cluster demands. Every method raises `station.errors.ServiceUnavailable` when Redis does not answer.
    """

    def __init__(self, resources: Resources, *, key: str, members: str, seconds: float) -> None:
        self._resources = resources
        self._redis = resources.redis
        self._key = key
        self._members = members
        self._life = int(seconds * 1000)

    async def say(self, id_: str, value: str | bytes) -> bool:
        """Say ``value`` of a process; returns whether Redis knew of it."""
        with self._resources.available():
            async with self._redis.pipeline(transaction=False) as pipe:
                pipe.set(self._key_of(id_), value, px=self._life, get=True)
                pipe.sadd(self._members, id_)
                pipe.pexpire(self._members, self._life)
                before, *_ = await pipe.execute()
        return before is not None

    async def leave(self, id_: str) -> None:
        """Say that a process ends."""
        with self._resources.available():
            async with self._redis.pipeline(transaction=False) as pipe:
                pipe.delete(self._key_of(id_))
                pipe.srem(self._members, id_)
                await pipe.execute()

    async def living(self) -> dict[str, bytes]:
        """What those say that have not been silent for too long, by id."""
        with self._resources.available():
            members: Any = await self._redis.smembers(self._members)
            ids = [member.decode() for member in members]
            async with self._redis.pipeline(transaction=False) as pipe:
                for id_ in ids:
                    pipe.get(self._key_of(id_))
                found = dict(zip(ids, await pipe.execute() if ids else [], strict=True))
            if dead := [id_ for id_, said in found.items() if said is None]:
                await self._redis.srem(self._members, *dead)
        return {id_: said for id_, said in found.items() if said is not None}

    def _key_of(self, id_: str) -> str:
        return f"{self._key}:{id_}"
