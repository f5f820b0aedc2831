"""What the processes that serve say of themselves: ``oauth-process:{id}`` in Redis."""

from __future__ import annotations

import dataclasses
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import orjson

from plugins.oauth_m2m.models import Process
from plugins.oauth_m2m.stores.announcements import Announcements

if TYPE_CHECKING:
    from station.resources import Resources

__all__ = ["ProcessStore"]


class ProcessStore:
    """For people to look at; nothing is decided by it. What is not renewed within six seconds is gone.

    ``oauth-processes`` is the set of their ids (no braces in the real keys).
    """

    LIFE_SECONDS: Final = 6.0

    def __init__(self, resources: Resources) -> None:
        self._resources = resources
        self._redis = resources.redis
        self._database = resources.database
        self._processes = Announcements(
            resources, key="oauth-process", members="oauth-processes", seconds=self.LIFE_SECONDS
        )

    async def say(self, process: Process) -> None:
        """Say how a process is."""
        await self._processes.say(process.id, orjson.dumps(dataclasses.asdict(process)))

    async def leave(self, id_: str) -> None:
        """Say that a process ends."""
        await self._processes.leave(id_)

    async def list(self) -> list[Process]:
        """All that live, by host and worker."""
        processes = [_process(orjson.loads(said)) for said in (await self._processes.living()).values()]
        return sorted(processes, key=lambda process: (process.host, process.worker, process.pid))

    async def versions(self) -> tuple[str, str]:
        """What MongoDB and Redis say that they are."""
        with self._resources.available():
            built = await self._database.command("buildInfo")
            info: Any = await self._redis.info("server")
        one = info if "redis_version" in info else next(iter(info.values()))  # a cluster has many
        return str(built["version"]), str(one["redis_version"])


def _process(said: dict[str, Any]) -> Process:
    """What a process said; one of a later version of Station may say more."""
    known = {field.name for field in dataclasses.fields(Process)}
    said = {name: value for name, value in said.items() if name in known}
    time, increment = said["position"]
    return Process(
        **{**said, "started_at": datetime.fromisoformat(said["started_at"]), "position": (time, increment)}
    )
