"""Servers as child processes: started, awaited until they listen, and ended by their process id."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence
    from pathlib import Path

__all__ = ["Server", "own", "running"]

_START_SECONDS = 60
_STOP_SECONDS = 15


@dataclasses.dataclass(frozen=True, slots=True)
class Server:
    """A process that is there: ``line`` is what it printed then, its port as a rule."""

    pid: int
    line: str

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{int(self.line)}"


@contextlib.asynccontextmanager
async def running(
    command: Sequence[str], *, log: Path, environment: Mapping[str, str], directory: Path | None = None
) -> AsyncIterator[Server]:
    """Run a server that prints a line once it is there; what it has to say else goes to ``log``.

    The environment of the bench reaches it, except for settings of Station.
    """
    kept = {name: value for name, value in os.environ.items() if not _is_setting(name)}
    with log.open("ab") as errors:
        process = await asyncio.create_subprocess_exec(
            *command,
            cwd=directory,
            env={**kept, **environment},
            stdout=asyncio.subprocess.PIPE,
            stderr=errors,
        )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(_START_SECONDS):
            line = (await process.stdout.readline()).decode().strip()
        if not line:
            raise RuntimeError(f"{command} did not start:\n{_last_words(log)}")
        yield Server(process.pid, line)
    finally:
        await _end(process)


def own(name: str, loop: str = "asyncio") -> list[str]:
    """The command of a server of `bench.servers`."""
    return [sys.executable, "-m", "bench.servers", name, loop]


def _is_setting(name: str) -> bool:
    prefixes = ("STATION_", "OAUTH_M2M_", "AUTH_", "MONGODB_", "REDIS_", "JWT_", "INTERNAL_")
    return name.startswith(prefixes) or name in {"PORT", "ISSUER", "AUDIENCE", "ALLOWED_ORIGIN"}


async def _end(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
        try:
            await asyncio.wait_for(process.wait(), _STOP_SECONDS)
        except TimeoutError:
            process.kill()
            await process.wait()


def _last_words(log: Path) -> str:
    return log.read_text(errors="replace")[-2000:]
