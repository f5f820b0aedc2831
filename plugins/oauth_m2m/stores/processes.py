"""What the processes that serve say of themselves: ``oauth-process:{id}`` in Redis."""

from __future__ import annotations

import dataclasses
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import orjson

from plugins.oauth_m2m.models import Process

if TYPE_CHECKING:
    from station.resources import Resources

__all__ = ["ProcessStore"]

_PROCESSES = "oauth-processes"


class ProcessStore:
    """For people to look at; nothing is decided by it. What is not renewed within six seconds is gone.

    ``oauth-processes`` is the set of their ids (no braces in the real keys). Every command is about one key.
    """

    LIFE_SECONDS: Final = 6.0

    def __init__(self, resources: Resources) -> None:
        self._resources = resources
        self._redis = resources.redis
        self._database = resources.database

    async def say(self, process: Process) -> None:
        """Say how a process is."""
        life = int(self.LIFE_SECONDS * 1000)
        with self._resources.available():
            async with self._redis.pipeline(transaction=False) as pipe:
                pipe.set(_key(process.id), orjson.dumps(dataclasses.asdict(process)), px=life)
                pipe.sadd(_PROCESSES, process.id)
                pipe.pexpire(_PROCESSES, life)
                await pipe.execute()

    async def leave(self, id_: str) -> None:
        """Say that a process ends."""
        with self._resources.available():
            async with self._redis.pipeline(transaction=False) as pipe:
                pipe.delete(_key(id_))
                pipe.srem(_PROCESSES, id_)
                await pipe.execute()

    async def list(self) -> list[Process]:
        """All that live, by host and worker."""
        with self._resources.available():
            members: Any = await self._redis.smembers(_PROCESSES)
            ids = [member.decode() for member in members]
            async with self._redis.pipeline(transaction=False) as pipe:
                for id_ in ids:
                    pipe.get(_key(id_))
                found = await pipe.execute() if ids else []
            if dead := [id_ for id_, said in zip(ids, found, strict=True) if said is None]:
                await self._redis.srem(_PROCESSES, *dead)
        processes = [_process(orjson.loads(said)) for said in found if said is not None]
        return sorted(processes, key=lambda process: (process.host, process.worker, process.pid))

    async def versions(self) -> tuple[str, str]:
        """What MongoDB and Redis say that they are."""
        with self._resources.available():
            built = await self._database.command("buildInfo")
            info: Any = await self._redis.info("server")
        one = info if "redis_version" in info else next(iter(info.values()))  # a cluster has many
        return str(built["version"]), str(one["redis_version"])


def _key(id_: str) -> str:
    return f"oauth-process:{id_}"


def _process(said: dict[str, Any]) -> Process:
    """What a process said; one of a later version of Station may say more."""
    known = {field.name for field in dataclasses.fields(Process)}
    said = {name: value for name, value in said.items() if name in known}
    time, increment = said["position"]
    return Process(
        **{**said, "started_at": datetime.fromisoformat(said["started_at"]), "position": (time, increment)}
    )
