"""The embedded engines: SecantusDB and Valkey as supervised child processes on loopback.

::

    async with embedded_engines(Path(".station")) as endpoints:
        client = AsyncIOMotorClient(endpoints.mongodb_uri)

They are real servers, reached through the same clients as in production, with their data under ``data_dir``;
they come with the extra ``embedded`` (Linux and macOS). Any number of processes may use one directory. Three
files in it settle who does what:

- ``engines.json`` (the port file) says which processes run and where; whoever enters attaches to them.
- ``start.lock`` is held while engines are started, replaced or stopped, so that only one process does it.
- ``users.lock`` is shared by all processes inside the context: who can have it alone is the last to leave and
  stops the engines.

The kernel drops the locks of a killed process, so nothing needs cleaning up: engines that survived a
``kill -9`` of Station are found in the port file and taken over. Every process inside the context watches the
engines, and one that died or hangs is started again on its port, where open clients reconnect.

The engines trust everybody who can reach the loopback: they are for development.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import logging
import shutil
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import IO, TYPE_CHECKING, Final

from station.background import in_background
from station.embedded.engine import SECANTUS, VALKEY, Engine, Instance, free_port, spawn
from station.errors import StartError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

__all__ = ["Endpoints", "embedded_engines", "stop_unused_engines"]

START_PATIENCE: Final = 30.0
HUNG_AFTER: Final = 5.0
WATCH_INTERVAL: Final = 0.5
LONGEST_BACK_OFF: Final = 4.0
LEAST_SPACE: Final = 1024 * 1024

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Where clients find the engines: the same while the context lasts, also when an engine is restarted."""

    mongodb_uri: str
    redis_url: str


@asynccontextmanager
async def embedded_engines(
    data_dir: Path, *, mongodb: Engine = SECANTUS, redis: Engine = VALKEY
) -> AsyncIterator[Endpoints]:
    """Both engines answer inside the context; the last process to leave it stops them.

    Raises `StartError` when the extra ``embedded`` is missing or an engine does not start.
    """
    supervisor = _Supervisor(data_dir, (mongodb, redis))
    try:
        await supervisor.join()
        async with in_background(supervisor.watch()):
            yield Endpoints(*(instance.url for instance in supervisor.instances))
    finally:
        await supervisor.leave()


async def stop_unused_engines(data_dir: Path, *, mongodb: Engine = SECANTUS, redis: Engine = VALKEY) -> None:
    """Stop the engines if all that used them were killed, and could not."""
    if (data_dir / "engines.json").exists():
        await _Supervisor(data_dir, (mongodb, redis)).leave()


class _Supervisor:
    """What one process does about the engines of one data directory."""

    def __init__(self, data_dir: Path, engines: Sequence[Engine]) -> None:
        self._programs = _find_programs(engines)
        self._data_dir = data_dir.resolve()  # the same words in every process, see `Instance.is_alive`
        for directory in (self._data_dir, self._data_dir / "log", *map(self._directory, engines)):
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._port_file = self._data_dir / "engines.json"
        self._start_lock = (self._data_dir / "start.lock").open("a")
        self._users_lock = (self._data_dir / "users.lock").open("a")
        self._instances: dict[str, Instance] = {}
        self._disk_is_full = False

    @property
    def instances(self) -> list[Instance]:
        """The engines' processes, in the order in which the engines were given."""
        return [self._instances[engine.name] for engine in self._programs]

    async def join(self) -> None:
        """Become a user of the engines: attach to those that run, start the others."""
        async with _alone(self._start_lock):
            first = _take(self._users_lock)
            fcntl.flock(self._users_lock, fcntl.LOCK_SH)
            await self._ensure(keep_ports=not first)  # the others' clients know the ports

    async def watch(self) -> None:
        """Replace engines that died or hang, until cancelled."""
        delay = WATCH_INTERVAL
        while True:
            await asyncio.sleep(delay)
            try:
                self._watch_space()
                self._read()
                if all(await asyncio.gather(*(instance.is_well(HUNG_AFTER) for instance in self.instances))):
                    delay = WATCH_INTERVAL
                    continue
                async with _alone(self._start_lock):
                    await self._ensure(keep_ports=True)
            except Exception as error:  # nothing ends the watch
                delay = min(2 * delay, LONGEST_BACK_OFF)
                log.error(
                    "An embedded engine could not be restarted; trying again in %.0f s: %s",
                    delay,
                    error,
                    exc_info=not isinstance(error, (OSError, StartError)),
                )

    def _watch_space(self) -> None:
        """Tell once that the disk is full, and once that it is not: the engines only say that they fail."""
        full = shutil.disk_usage(self._data_dir).free < LEAST_SPACE
        if full and not self._disk_is_full:
            log.error(
                "The disk of %s is full: nothing can be stored until there is space; what was stored is kept",
                self._data_dir,
            )
        elif self._disk_is_full and not full:
            log.info("The disk of %s has space again", self._data_dir)
        self._disk_is_full = full

    async def leave(self) -> None:
        """Stop the engines unless somebody else uses them."""
        try:
            async with _alone(self._start_lock):
                if _take(self._users_lock):
                    self._read()
                    await asyncio.gather(*(instance.stop() for instance in self._instances.values()))
                    self._port_file.unlink(missing_ok=True)
        finally:
            self._users_lock.close()
            self._start_lock.close()

    async def _ensure(self, *, keep_ports: bool) -> None:
        """Make every engine answer; the caller holds the start lock."""
        self._read()
        starts = (self._ensure_one(engine, keep_port=keep_ports) for engine in self._programs)
        outcomes = await asyncio.gather(*starts, return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome

    async def _ensure_one(self, engine: Engine, *, keep_port: bool) -> None:
        instance = self._instances.get(engine.name)
        if instance and await instance.is_well(HUNG_AFTER):
            return
        if instance:
            log.warning("%s (pid %d) is gone or hangs; starting it again", engine.program, instance.pid)
            await instance.kill()
        port = instance.port if instance and keep_port else free_port()
        log_file = self._data_dir / "log" / f"{engine.name}.log"
        instance = spawn(engine, self._programs[engine], self._directory(engine), log_file, port)
        before = self._instances.get(engine.name)
        self._instances[engine.name] = instance
        try:
            self._write()  # before anything is awaited: from here on everybody can find it
        except OSError:  # nobody could, and nobody would stop it
            if before is not None:
                self._instances[engine.name] = before
            await instance.kill()
            raise
        if not await instance.is_well(START_PATIENCE):
            await instance.stop()
            last_words = "\n".join(log_file.read_text(errors="replace").splitlines()[-8:])
            raise StartError([f"{engine.program} did not start; {log_file} ends with:\n{last_words}"])
        log.info("%s (pid %d) listens on port %d", engine.program, instance.pid, port)

    def _directory(self, engine: Engine) -> Path:
        return self._data_dir / engine.name

    def _read(self) -> None:
        """Take what the port file says; what it does not say stays as this process knows it."""
        try:
            recorded = json.loads(self._port_file.read_text())
            found = {
                engine.name: Instance(engine, self._directory(engine), place["port"], place["pid"])
                for engine in self._programs
                if (place := recorded.get(engine.name))
            }
        except (OSError, ValueError, AttributeError, KeyError, TypeError):
            return
        self._instances |= found

    def _write(self) -> None:
        places = {name: {"pid": one.pid, "port": one.port} for name, one in self._instances.items()}
        draft = self._port_file.with_suffix(".tmp")
        draft.touch(mode=0o600)
        draft.write_text(json.dumps(places))
        draft.replace(self._port_file)


def _find_programs(engines: Sequence[Engine]) -> dict[Engine, str]:
    """Where each program is; raises `StartError` if the extra is not installed whole."""
    programs = {engine: path for engine in engines if (path := engine.find())}
    missing = [engine.package for engine in engines if engine not in programs]
    if not find_spec("psutil"):
        missing.append("psutil")
    if missing:
        packages = ", ".join(missing)
        raise StartError([f"The embedded stores need {packages}: run pip install 'station[embedded]'."])
    return programs


def _take(lock: IO[str]) -> bool:
    """Hold a lock file alone, unless another process holds it."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@asynccontextmanager
async def _alone(lock: IO[str]) -> AsyncIterator[None]:
    while not _take(lock):  # noqa: ASYNC110 (another process's lock has no event to wait for)
        await asyncio.sleep(0.05)
    try:
        yield
    finally:
        fcntl.flock(lock, fcntl.LOCK_UN)
