"""``station serve --workers`` on embedded engines: processes of it die and drain while clients hammer.

In all of it nobody is answered anything but what they asked for, so never a 500, and no client that was
registered is lost.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import http.client
import importlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from base64 import b64encode
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

psutil = importlib.import_module("psutil")  # comes with the extra embedded

ADMIN_KEY = "an-admin-key-for-the-tests-only-0123456789"
SECRET = "a-client-secret-for-the-tests-0123456789"
PATIENCE = 30.0
WORKERS = 3
HAMMERS = 6

# a plugin that tells the worker, and one that takes its time
PLUGIN = """
import asyncio, os, time
from station import hookimpl
from station.handlers import BaseHandler, route
from station.security import public

class WhoHandler(BaseHandler):
    @public
    async def get(self):
        worker = self.application.worker
        self.write_json({"pid": os.getpid(), "number": worker.number, "supervisor": worker.supervisor_pid})

class SlowHandler(BaseHandler):
    @public
    async def get(self):
        print("begun", flush=True)
        await asyncio.sleep(float(self.get_query_argument("seconds")))
        self.write_json({"slow": True})

class HangHandler(BaseHandler):
    @public
    async def get(self):
        print("begun", flush=True)
        time.sleep(60)

@hookimpl
def station_handlers():
    return [route(r"/who", WhoHandler), route(r"/slow", SlowHandler), route(r"/hang", HangHandler)]
"""


class Station(subprocess.Popen[str]):
    """A ``station serve --workers`` that runs."""

    data_dir: Path
    log: Path
    port: int

    def line(self) -> str:
        assert self.stdout is not None
        return self.stdout.readline().rstrip("\n")

    def workers(self) -> dict[int, int]:
        """The workers that serve, by number, as the log says."""
        found = re.findall(r"worker (\d+) \(pid (\d+)\) serves", self.log.read_text())
        return {int(number): int(pid) for number, pid in found}

    def processes(self) -> list[int]:
        """Everything of it that is alive: the supervisor, workers, engines."""
        known = {self.pid, *self.workers().values()}
        alive = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                ours = process.pid in known or any(str(self.data_dir) in word for word in process.cmdline())
                if ours and process.status() != psutil.STATUS_ZOMBIE:
                    alive.append(process.pid)
        return alive


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Station]]:
    """Starts a Station on the test's data directory; ends what is left of it by pid."""
    site, data_dir = tmp_path / "site", tmp_path / "data"
    metadata = site / "station_slow-1.2.dist-info"
    metadata.mkdir(parents=True)
    (site / "slow_plugin.py").write_text(PLUGIN)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: station-slow\nVersion: 1.2\n")
    (metadata / "entry_points.txt").write_text("[station.plugins]\nslow = slow_plugin\n")
    environ = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")]),
        "STATION_DATA_DIR": str(data_dir),
        "STATION_PLUGINS": "oauth_m2m,slow",
        "INTERNAL_API_KEY": ADMIN_KEY,
        "AUTH_TOKEN_THROTTLE_LIMIT": "0",
        "AUTH_FAILURE_THROTTLE_LIMIT": "0",
        "OAUTH_M2M_BCRYPT_COST": "4",
    }
    started: list[Station] = []

    def serve(port: int = 0, workers: int = WORKERS) -> Station:
        log = tmp_path / f"stderr{len(started)}.log"
        command = [sys.executable, "-m", "station", "serve", "--workers", str(workers), "--port", str(port)]
        with log.open("w") as errors:
            station = Station(
                command, env=environ, cwd=tmp_path, stdout=subprocess.PIPE, stderr=errors, text=True
            )
        station.data_dir, station.log = data_dir, log
        started.append(station)
        watchdog = threading.Timer(PATIENCE, station.kill)
        watchdog.start()
        found = re.match(r"Station listens on (\S+)", station.line())
        watchdog.cancel()
        assert found, log.read_text()
        station.port = urlsplit(found[1]).port or 0
        return station

    yield serve
    for station in started:
        if station.poll() is None:
            station.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                station.wait(15)
        for pid in station.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        with station:
            station.kill()


@dataclasses.dataclass(frozen=True)
class Broken:
    """A request without an answer: to which worker, and the how-manieth of its connection."""

    pid: int | None
    number: int
    error: str


class Hammer(threading.Thread):
    """A client that keeps its connection, and makes a new one when that ends."""

    def __init__(self, port: int, name: str) -> None:
        super().__init__(name=name, daemon=True)
        self.statuses: collections.Counter[int] = collections.Counter()
        self.registered: list[str] = []
        self.broken: list[Broken] = []
        self.refused = 0
        self.workers: set[int] = set()
        self._port = port
        self._end = threading.Event()

    def run(self) -> None:
        while not self._end.is_set():
            connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=PATIENCE)
            pid, number = None, 0
            try:
                connection.connect()
            except OSError:
                self.refused += 1
                self._end.wait(0.02)
                continue
            try:
                for number, ask in enumerate(self._requests()):  # noqa: B007 - read when it breaks
                    answer = ask(connection)
                    pid = answer.get("pid", pid)
                    if self._end.is_set() or connection.sock is None:  # the server said Connection: close
                        break
            except (OSError, http.client.HTTPException) as error:
                self.broken.append(Broken(pid, number, repr(error)))
            finally:
                connection.close()

    def stop(self) -> None:
        """End after the request that runs."""
        self._end.set()
        self.join(PATIENCE)
        assert not self.is_alive(), "a request hangs"

    def _requests(self) -> Iterator[Callable[[http.client.HTTPConnection], dict[str, Any]]]:
        """The first asks which worker it is, the others what a bot and an admin ask."""
        yield self._who
        while True:
            yield self._register
            for _ in range(3):
                yield self._token

    def _who(self, connection: http.client.HTTPConnection) -> dict[str, Any]:
        answer = self._ask(connection, "GET", "/who")
        self.workers.add(answer["pid"])
        return answer

    def _register(self, connection: http.client.HTTPConnection) -> dict[str, Any]:
        # another id after each error, because the one before may or may not have been registered
        client_id = f"{self.name}-{len(self.registered)}-{len(self.broken)}"
        document = {"clientId": client_id, "clientSecret": SECRET, "scopes": ["bot:api"]}
        headers = {"x-internal-api-key": ADMIN_KEY, "Content-Type": "application/json"}
        answer = self._ask(connection, "POST", "/oauth-clients", headers, json.dumps(document))
        self.registered.append(client_id)
        return answer

    def _token(self, connection: http.client.HTTPConnection) -> dict[str, Any]:
        basic = b64encode(f"{self.registered[-1]}:{SECRET}".encode()).decode()
        headers = {"Authorization": f"Basic {basic}", "Content-Type": "application/x-www-form-urlencoded"}
        return self._ask(connection, "POST", "/auth/token", headers, "grant_type=client_credentials")

    def _ask(
        self,
        connection: http.client.HTTPConnection,
        method: str,
        path: str,
        headers: Mapping[str, str] | None = None,
        body: str | None = None,
    ) -> dict[str, Any]:
        connection.request(method, path, body, dict(headers or {}))
        response = connection.getresponse()
        document: dict[str, Any] = json.loads(response.read())
        self.statuses[response.status] += 1
        return document


@contextlib.contextmanager
def hammering(station: Station) -> Iterator[list[Hammer]]:
    """Clients that go on until the block ends."""
    run = uuid.uuid4().hex[:8]
    hammers = [Hammer(station.port, f"bot-{run}-{number}") for number in range(HAMMERS)]
    for hammer in hammers:
        hammer.start()
    try:
        until(lambda: all(hammer.statuses[200] > 10 for hammer in hammers), "some load")
        yield hammers
    finally:
        for hammer in hammers:
            hammer.stop()


def until(done: Callable[[], bool], what: str, seconds: float = PATIENCE) -> None:
    """Wait for what only asking tells."""
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, f"no {what} within {seconds:.0f} s"
        time.sleep(0.02)


def ask(port: int, path: str, **headers: str) -> tuple[int, dict[str, Any]]:
    """One request on a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    with contextlib.closing(connection):
        connection.request("GET", path, headers=headers)
        response = connection.getresponse()
        return response.status, json.loads(response.read())


def listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def check_answers(hammers: list[Hammer]) -> None:
    """Nobody was answered anything but what they asked for."""
    statuses = sum((hammer.statuses for hammer in hammers), collections.Counter[int]())
    assert statuses.keys() == {200, 201}


def check_begun(hammers: list[Hammer]) -> None:
    """All that was sent on a connection which a worker had accepted was answered."""
    assert [error for hammer in hammers for error in hammer.broken if error.number] == []


def check_registered(port: int, hammers: list[Hammer]) -> None:
    """No client that was registered is lost."""
    for client_id in [client_id for hammer in hammers for client_id in hammer.registered]:
        status, document = ask(port, f"/oauth-clients/{client_id}", **{"x-internal-api-key": ADMIN_KEY})
        assert (status, document["clientId"]) == (200, client_id)


def test_a_worker_is_killed(start: Callable[..., Station]) -> None:
    station = start()
    before = station.workers()
    assert sorted(before) == list(range(WORKERS))
    with hammering(station) as hammers:

        def loaded() -> list[int]:
            asked = set().union(*(hammer.workers for hammer in hammers))
            return [number for number, pid in before.items() if pid in asked]

        # connections stay where they are, so that with bad luck a worker has none
        until(lambda: bool(loaded()), "load")
        victim = loaded()[0]
        os.kill(before[victim], signal.SIGKILL)
        until(lambda: station.workers()[victim] != before[victim], "replacement that serves", 5)
        replacement = station.workers()[victim]

        def answers() -> bool:
            status, document = ask(station.port, "/who")
            assert status == 200
            assert document["supervisor"] == station.pid
            return (document["pid"], document["number"]) == (replacement, victim)

        until(answers, "answer of the replacement")
    broken = [error for hammer in hammers for error in hammer.broken]
    # a connection whose worker is unknown was still waiting to be accepted
    assert {error.pid for error in broken} <= {before[victim], None}
    assert all(error.pid or error.number == 0 for error in broken)
    assert {number: pid for number, pid in station.workers().items() if number != victim} == {
        number: pid for number, pid in before.items() if number != victim
    }
    check_answers(hammers)
    check_registered(station.port, hammers)
    station.terminate()
    assert station.wait(10) == 0
    assert station.processes() == []


def test_the_supervisor_is_killed(start: Callable[..., Station]) -> None:
    station = start()
    orphans = station.workers().values()
    slow: list[tuple[int, dict[str, Any]]] = []
    asking = threading.Thread(target=lambda: slow.append(ask(station.port, "/slow?seconds=4")))
    with hammering(station) as hammers:
        asking.start()
        assert station.line() == "begun"
        station.kill()
        until(lambda: not listens(station.port), "end of all listening", 5)
    check_begun(hammers)
    check_answers(hammers)

    again = start(port=station.port)  # an orphan that still answers is not in the way
    asking.join(PATIENCE)
    assert slow == [(200, {"slow": True})]
    until(lambda: not any(map(psutil.pid_exists, orphans)), "end of all orphans", 10)
    check_registered(again.port, hammers)
    with hammering(again) as others:
        pass
    check_answers(others)


@pytest.mark.parametrize("slow_ones", [0, 2 * WORKERS], ids=["quick", "slow"])
def test_sigterm_under_load_answers_every_request_that_was_begun(
    start: Callable[..., Station], slow_ones: int
) -> None:
    station = start()
    slow: list[tuple[int, dict[str, Any]]] = []
    with hammering(station) as hammers:
        asking = [
            threading.Thread(target=lambda: slow.append(ask(station.port, "/slow?seconds=2")))
            for _ in range(slow_ones)
        ]
        for thread in asking:
            thread.start()
        for _ in asking:
            assert station.line() == "begun"
        station.terminate()
        assert station.wait(10) == 0
    for thread in asking:
        thread.join(PATIENCE)
    assert slow == [(200, {"slow": True})] * len(asking)
    check_begun(hammers)
    check_answers(hammers)
    assert station.processes() == []
    check_registered(start().port, hammers)


@pytest.mark.parametrize("path", ["/slow?seconds=60", "/hang"])
def test_sigterm_with_an_idle_connection_and_a_request_that_is_stuck(
    start: Callable[..., Station], path: str
) -> None:
    station = start(workers=2)
    idle = http.client.HTTPConnection("127.0.0.1", station.port, timeout=PATIENCE)
    stuck = http.client.HTTPConnection("127.0.0.1", station.port, timeout=PATIENCE)
    with contextlib.closing(idle), contextlib.closing(stuck):
        stuck.request("GET", path)
        assert station.line() == "begun"
        while not idle.sock:  # the kernel may give it to the worker that is stuck
            idle.connect()
            assert idle.sock is not None
            idle.sock.settimeout(1)
            idle.request("GET", "/who")
            try:
                assert idle.getresponse().read()
            except TimeoutError:
                idle.close()
        idle.sock.settimeout(PATIENCE)
        station.terminate()
        assert idle.sock.recv(1) == b""
        assert station.poll() is None  # closed at once, while the other one still gets its time
        assert station.wait(10) == 0
        with pytest.raises((http.client.RemoteDisconnected, ConnectionResetError)):
            stuck.getresponse()
    assert station.processes() == []
