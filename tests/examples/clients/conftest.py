"""What the tests of examples/clients share: a handler to call, a log to count in, a way to run a script."""

from __future__ import annotations

import asyncio
import dataclasses
import importlib
import logging
import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from plugins.oauth_m2m import ClientToken, scopes
from station import hookimpl
from station.embedded.engine import free_port
from station.handlers import BaseHandler, Route, route

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from leaks import Leaks

    from station.app import Application
    from station.config import Config

EXAMPLES = Path(__file__).parents[3] / "examples" / "clients"
INTERPRETERS = {".py": sys.executable, ".mjs": "node", ".sh": "sh"}
THROTTLE_LIMIT, THROTTLE_WINDOW_MS = 6, 1000
# With a quote, a backslash and a colon, which each script must bring through unharmed
SECRET = 'a_"quoted"_\\_secret:_100%+0123456789'


class Work:
    """What the scripts call: ``interrupt`` runs in each call, with its number, before the answer."""

    def __init__(self) -> None:
        self.interrupt: Callable[[int], Awaitable[None]] = self.nothing
        self.calls = 0

    async def nothing(self, _call: int) -> None:
        """Interrupt nobody."""


class WorkHandler(BaseHandler):
    client_token: ClientToken

    def initialize(self, work: Work) -> None:
        self.work = work

    @scopes("bot:api")
    async def get(self) -> None:
        """Work."""
        self.work.calls += 1
        await self.work.interrupt(self.work.calls)
        self.write_json({"worked_for": self.client_token.client_id})


class WorkPlugin:
    __name__ = "work"

    def __init__(self, work: Work) -> None:
        self.work = work

    @hookimpl
    def station_handlers(self) -> list[Route]:
        return [route(r"/job", WorkHandler, {"work": self.work})]


class Access(logging.Handler):
    """The access log: what was asked and answered, ``("POST", "/auth/token", 200)``."""

    def __init__(self) -> None:
        super().__init__()
        self.requests: list[tuple[str, str, int]] = []

    def emit(self, record: logging.LogRecord) -> None:
        request: dict[str, Any] = vars(record)
        self.requests.append((request["method"], request["path"], request["status"]))

    def count(self, path: str, status: int) -> int:
        return sum(request[1:] == (path, status) for request in self.requests)

    @property
    def tokens(self) -> int:
        """How many tokens were issued."""
        return self.count("/auth/token", 200)


@pytest.fixture
def work() -> Work:
    return Work()


@pytest.fixture
def plugins(work: Work) -> list[object]:
    return [WorkPlugin(work)]


@pytest.fixture
def config(config: Config) -> Config:
    """With an issuer where the application really listens, and a throttle that is soon full and soon over."""
    issuer = f"http://127.0.0.1:{free_port()}"
    return dataclasses.replace(
        config,
        issuer=issuer,
        audience=issuer,
        token_throttle_limit=THROTTLE_LIMIT,
        token_throttle_ttl_ms=THROTTLE_WINDOW_MS,
    )


@pytest.fixture
def access(app: Application, config: Config) -> Iterator[Access]:
    """What is asked where ``config.issuer`` says, from here on."""
    server = app.listen(urlsplit(config.issuer).port or 0, "127.0.0.1")
    log, handler = logging.getLogger("station.access"), Access()
    log.addHandler(handler)
    yield handler
    log.removeHandler(handler)
    server.stop()


@dataclasses.dataclass(frozen=True)
class Done:
    """A script that has ended: its exit status, and the lines that it printed."""

    status: int
    lines: list[str]
    errors: str


class Script:
    """Runs one of the scripts, as ``client_id`` with ``secret``."""

    def __init__(self, file: Path, url: str, home: Path, leaks: Leaks) -> None:
        self.home = home
        self.pid = 0
        self.secret = SECRET
        self.file = file
        self._url = url
        self._leaks = leaks

    async def run(self, client_id: str, times: int, **environ: str) -> Done:
        process = await asyncio.create_subprocess_exec(
            INTERPRETERS[self.file.suffix],
            str(self.file),
            "/job",
            str(times),
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(self.home),
                "OAUTHLIB_INSECURE_TRANSPORT": "1",  # http, for requests-oauthlib
                "STATION_URL": self._url,
                "STATION_CLIENT_ID": client_id,
                "STATION_CLIENT_SECRET": self.secret,
                **environ,
            },
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        self.pid = process.pid
        try:
            printed, errors = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
        self._leaks.keep(self.secret)
        self._leaks.write(self.file.name, printed.decode() + errors.decode())
        assert process.returncode is not None
        return Done(process.returncode, printed.decode().splitlines(), errors.decode())

    def command_lines(self) -> str:
        """What ``ps`` shows of the script and of what it has started."""
        psutil = importlib.import_module("psutil")  # comes with the extra embedded
        script = psutil.Process(self.pid)
        shown = [process.cmdline() for process in (script, *script.children(recursive=True))]
        return "\n".join(" ".join(words) for words in shown)


@pytest.fixture(params=sorted(file.name for file in EXAMPLES.iterdir() if file.suffix in INTERPRETERS))
def script(request: pytest.FixtureRequest, config: Config, tmp_path: Path, leaks: Leaks) -> Script:
    file = EXAMPLES / request.param
    if file.suffix == ".mjs":
        file = request.getfixturevalue("node_project") / file.name
    elif file.suffix == ".sh" and shutil.which("curl") is None:
        pytest.skip("curl is missing: apt-get install curl")
    return Script(file, config.issuer, tmp_path, leaks)
