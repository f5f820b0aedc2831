"""Engines that a test starts itself, so that it can stop, kill, pause and restart them by pid.

They are the embedded ones, outside of any Station: the one that is given ``MONGODB_URI`` or ``REDIS_URL``
watches and restarts nothing. A restarted engine keeps its port and, unless told otherwise, its data. ::

    with running(SECANTUS, directory) as mongodb:
        mongodb.pause()
        mongodb.resume()
        await mongodb.kill()
        await mongodb.start()
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import os
import shutil
import signal
import time
from typing import TYPE_CHECKING

from station.embedded.engine import Engine, Instance, free_port, spawn

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["EngineProcess", "running"]

psutil = importlib.import_module("psutil")  # comes with the extra embedded

_PATIENCE = 30.0


class EngineProcess:
    """One process of ``engine`` at a time, with its data in ``directory``."""

    def __init__(self, engine: Engine, directory: Path) -> None:
        self._engine = engine
        self._directory = directory.resolve()
        self._log = self._directory.with_suffix(".log")
        self._instance: Instance | None = None
        self.port = free_port()

    @property
    def url(self) -> str:
        """Where clients find it."""
        return self._engine.url.format(port=self.port)

    async def start(self) -> None:
        """Start it where and with what it was, unless it runs, and wait until it answers."""
        program = self._engine.find()
        assert program, f"pip install {self._engine.package}"
        self._directory.mkdir(parents=True, exist_ok=True)
        if self._instance is None or not self._instance.is_alive():
            self._instance = spawn(self._engine, program, self._directory, self._log, self.port)
        assert await self._instance.is_well(_PATIENCE), self._log.read_text()

    async def stop(self) -> None:
        """End it as an operator does."""
        if self._instance is not None:
            self.resume()
            await self._instance.stop()

    async def kill(self) -> None:
        """End it at once (``kill -9``)."""
        if self._instance is not None:
            await self._instance.kill()

    def pause(self) -> None:
        """Let it hang: its connections stay, and nothing answers."""
        assert self._instance is not None
        process = psutil.Process(self._instance.pid)
        process.suspend()
        while process.status() != psutil.STATUS_STOPPED:
            time.sleep(0.001)

    def resume(self) -> None:
        """Let it go on after `pause`; nothing if it has ended."""
        if self._instance is not None and self._instance.is_alive():
            os.kill(self._instance.pid, signal.SIGCONT)

    def forget(self) -> None:
        """Lose all data, while it does not run."""
        shutil.rmtree(self._directory)


@contextlib.contextmanager
def running(engine: Engine, directory: Path) -> Iterator[EngineProcess]:
    """An engine that runs until the block ends, for tests whose loops come and go."""
    process = EngineProcess(engine, directory)
    try:
        asyncio.run(process.start())
        yield process
    finally:
        asyncio.run(process.kill())
