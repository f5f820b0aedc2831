from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
import requests
from tornado.websocket import websocket_connect

from station.cli.server import event_loop

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from station.embedded import Endpoints
    from tests.station.cli.conftest import Station
    from tests.station.conftest import InstallPlugin

LARGE = 32 * 1024 * 1024
SLOW = """
import asyncio
from station import hookimpl
from station.handlers import BaseHandler, route
from station.security import public
from tornado.websocket import WebSocketHandler

class SlowHandler(BaseHandler):
    @public
    async def get(self):
        print("working", flush=True)
        await asyncio.sleep(float(self.get_query_argument("seconds", "0.5")))
        self.write_json({"slow": True})

class LargeHandler(BaseHandler):
    @public
    def get(self):
        self.finish(b"x" * 32 * 1024 * 1024)

@public
class SocketHandler(BaseHandler, WebSocketHandler):
    async def on_message(self, message):
        self.write_message(message)

class StreamHandler(BaseHandler):
    @public
    async def get(self):
        self.going_away = asyncio.Event()
        self.write("begun")
        await self.flush()
        await self.going_away.wait()
        self.write("ended")

    def on_going_away(self):
        self.going_away.set()

@hookimpl
def station_handlers():
    return [
        route(r"/slow", SlowHandler),
        route(r"/large", LargeHandler),
        route(r"/socket", SocketHandler),
        route(r"/stream", StreamHandler),
    ]
"""


@pytest.fixture
def environ(engines: Endpoints) -> dict[str, str]:
    """The stores of the tests, with a database of its own."""
    return {
        "STATION_PLUGINS": "none",
        "MONGODB_URI": engines.mongodb_uri,
        "MONGODB_DATABASE": f"test_{uuid.uuid4().hex}",
        "REDIS_URL": engines.redis_url,
    }


class Served(subprocess.Popen[str]):
    """A running ``station serve``."""

    url: str

    def line(self) -> str:
        """The next line that it prints."""
        assert self.stdout is not None
        return self.stdout.readline().rstrip("\n")


@contextlib.contextmanager
def serving(working_directory: Path, *options: str, **environ: str) -> Iterator[Served]:
    """Serve on a free port until the block ends; logs go to the file err."""
    command = [sys.executable, "-m", "station", "serve", "--port", "0", *options]
    with (working_directory / "err").open("w") as err:
        served = Served(command, stdout=subprocess.PIPE, stderr=err, text=True, env={**os.environ, **environ})
    watchdog = threading.Timer(60, served.kill)
    watchdog.start()
    with served:
        try:
            first = served.line()
            assert first.startswith("Station listens on http://"), (working_directory / "err").read_text()
            served.url = first.removeprefix("Station listens on ")
            yield served
        finally:
            watchdog.cancel()
            served.terminate()


@pytest.mark.parametrize("options", [(), ("--workers", "4")], ids=["alone", "workers"])
def test_the_tour_works_as_pasted_on_embedded_stores(
    working_directory: Path, options: tuple[str, ...]
) -> None:
    data_dir = "data of/it's bot"
    with serving(working_directory, "--make-admin-key", *options, STATION_DATA_DIR=data_dir) as served:
        assert requests.get(f"{served.url}/health/ready", timeout=10).json()["status"] == "ready"
        console, *before = [served.line() for _ in range(4)]
        lines = [served.line() for _ in range(3)]
        assert console.startswith(f"The console: {served.url}/console, as admin@localhost with the password")
        assert before == ["", "In another shell, in this directory: register a bot, get a token, call.", ""]
        pasted = subprocess.run(
            ["sh"], input="\n".join(lines), capture_output=True, text=True, check=True, timeout=30
        )
        registered, whoami = map(json.loads, pasted.stdout.splitlines())
        assert registered["clientId"] == "station-bot"
        assert (whoami["client_id"], whoami["scopes"]) == ("station-bot", ["bot:api"])
        served.terminate()
        assert served.wait(30) == 0
        assert served.stdout is not None
        assert served.stdout.read() == ""
    log = (working_directory / "err").read_text()
    assert log.count(f"listening on {served.url}\n") == 1
    assert log.count("the event loop is ") == 1
    assert not (working_directory / data_dir / "engines.json").exists()  # who left last has stopped them
    for file in ("admin.key", "station-bot.secret", "jwt.secret", "console.password"):
        secret = (working_directory / data_dir / file).read_text().strip()
        assert secret not in "\n".join([console, *lines]) + log


@pytest.fixture
def slow(environ: dict[str, str], install_plugin: InstallPlugin, site: Path) -> dict[str, str]:
    """An environment with `SLOW`."""
    install_plugin("slow", SLOW)
    path = f"{site}:{os.environ.get('PYTHONPATH', '')}"
    return {**environ, "STATION_PLUGINS": "slow", "PYTHONPATH": path}


@pytest.mark.parametrize("options", [(), ("--workers", "2")], ids=["alone", "workers"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_running_requests_finish(
    working_directory: Path, slow: dict[str, str], number: signal.Signals, options: tuple[str, ...]
) -> None:
    with (
        serving(working_directory, *options, **slow) as served,
        requests.Session() as idle,
        ThreadPoolExecutor() as pool,
    ):
        assert idle.get(f"{served.url}/health/live", timeout=10).ok  # a connection that is kept alive
        answer = pool.submit(requests.get, f"{served.url}/slow", timeout=10)
        assert served.line() == "working"
        served.send_signal(number)
        served.send_signal(number)  # the impatient change nothing
        assert answer.result().json() == {"slow": True}
        assert served.wait(30) == 0
    assert "stopped" in (working_directory / "err").read_text()


def answers(connection: socket.socket) -> bytes:
    """All that comes until the server closes the connection."""
    received = []
    while chunk := connection.recv(65536):
        received.append(chunk)
    return b"".join(received)


def test_pipelined_requests_are_answered_until_one_says_close(
    working_directory: Path, slow: dict[str, str]
) -> None:
    with serving(working_directory, **slow) as served:
        host, port = served.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=10) as connection:
            connection.sendall(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n" * 3)
            assert served.line() == "working"
            served.terminate()
            received = answers(connection)
        assert served.wait(30) == 0
    first, second, *more = received.split(b"HTTP/1.1 ")[1:]
    assert (first[:3], second[:3], more) == (b"200", b"200", [])
    # RFC 9112 9.6: after it has said close, a server handles no more requests of the connection
    assert b"\r\nConnection: close\r\n" not in first
    assert b"\r\nConnection: close\r\n" in second


def test_a_request_on_a_connection_that_was_idle_at_the_signal_is_answered(
    working_directory: Path, slow: dict[str, str]
) -> None:
    with serving(working_directory, **slow) as served, ThreadPoolExecutor() as pool:
        host, port = served.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=10) as connection:
            connection.sendall(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n")
            assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")
            running = pool.submit(requests.get, f"{served.url}/slow?seconds=3", timeout=10)
            assert served.line() == "working"
            served.terminate()
            while _listens(host, int(port)):
                pass
            connection.sendall(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n")
            received = answers(connection)
        assert running.result().json() == {"slow": True}
        assert served.wait(30) == 0
    assert received.startswith(b"HTTP/1.1 200 ")
    assert b"\r\nConnection: close\r\n" in received


def _listens(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=1).close()
    except OSError:
        return False
    return True


def test_who_reads_slowly_gets_the_whole_answer(working_directory: Path, slow: dict[str, str]) -> None:
    with serving(working_directory, **slow) as served:
        host, port = served.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=10) as connection:
            connection.sendall(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
            head = connection.recv(100)
            served.terminate()
            while _listens(host, int(port)):
                pass
            received = head + answers(connection)
        assert served.wait(30) == 0
    assert len(received.partition(b"\r\n\r\n")[2]) == LARGE


def test_long_lived_connections_are_told_of_the_stop(working_directory: Path, slow: dict[str, str]) -> None:
    async def follow(served: Served) -> int | None:
        socket = await websocket_connect(served.url.replace("http", "ws", 1) + "/socket")
        await socket.write_message("hello")
        assert await socket.read_message() == "hello"
        served.terminate()
        assert await socket.read_message() is None
        socket.close()
        return socket.close_code

    with serving(working_directory, **slow) as served:
        host, port = served.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=10) as connection:
            connection.sendall(b"GET /stream HTTP/1.1\r\nHost: x\r\n\r\n")
            begun = connection.recv(65536)
            assert asyncio.run(follow(served)) == 1001
            received = begun + answers(connection)
        assert served.wait(30) == 0
    assert received.endswith(b"5\r\nbegun\r\n5\r\nended\r\n0\r\n\r\n")
    assert "did not finish" not in (working_directory / "err").read_text()


def test_what_keeps_workers_from_starting_is_said_once(environ: dict[str, str]) -> None:
    assert refused("--workers", "3", **{**environ, "MONGODB_URI": "mongodb://127.0.0.1:1"}) == (
        "Error: MONGODB_URI: MongoDB does not answer (ServerSelectionTimeoutError); check that it runs there "
        "and lets Station in."
    )


def test_no_second_station_gets_half_of_the_requests(
    working_directory: Path, environ: dict[str, str]
) -> None:
    with serving(working_directory, "--workers", "2", **environ) as served:
        port = served.url.rpartition(":")[2]
        for options in ((), ("--workers", "2")):
            assert "Address already in use" in refused("--port", port, *options, **environ)


@pytest.mark.parametrize("workers", ["0", "many"])
def test_how_many_workers_must_be_a_number(station: Station, workers: str) -> None:
    result = station("serve", "--workers", workers)
    assert result.exit_code == 2
    assert "'--workers': It must be a whole number from 1 to 256, or auto." in result.stderr


def test_it_runs_on_uvloop_where_that_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    uvloop = pytest.importorskip("uvloop", reason="needs uvloop: pip install 'station[fast]'")
    assert event_loop() == ("uvloop", uvloop.new_event_loop)
    monkeypatch.setitem(sys.modules, "uvloop", None)  # as if it was not
    assert event_loop() == ("asyncio", None)


def refused(*options: str, **environ: str) -> str:
    """The last line of a start that ends with exit code 1, and the only one that says why."""
    # in a process of its own: Tornado leaves a socket that cannot be bound to the garbage collector
    command = [sys.executable, "-m", "station", "serve", *options]
    result = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=60, env={**os.environ, **environ}
    )
    assert (result.returncode, result.stdout) == (1, "")
    assert "Traceback" not in result.stderr
    assert result.stderr.count("Error: ") == 1
    return result.stderr.splitlines()[-1]


def test_a_port_that_is_taken_is_a_sentence(environ: dict[str, str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert refused("--port", str(port), **environ) == (
            f"Error: Station cannot listen on 127.0.0.1 port {port}: Address already in use; choose another "
            "with --host and --port, or STATION_HOST and PORT."
        )


def test_a_host_that_is_not_here_is_a_sentence(environ: dict[str, str]) -> None:
    assert refused("--host", "192.0.2.1", **environ).startswith(
        "Error: Station cannot listen on 192.0.2.1 port 3001: "
    )


def test_it_listens_on_ipv6(working_directory: Path, environ: dict[str, str]) -> None:
    with serving(working_directory, "--host", "::1", **environ) as served:
        assert served.url.startswith("http://[::1]:")
        assert not served.url.endswith(":0")
        assert requests.get(f"{served.url}/health/live", timeout=10).ok


def test_production_makes_no_admin_key(station: Station, working_directory: Path) -> None:
    result = station(
        "serve",
        "--make-admin-key",
        STATION_ENV="production",
        MONGODB_URI="mongodb://127.0.0.1:1",
        REDIS_URL="redis://127.0.0.1:1",
        JWT_SECRET="0123456789abcdef0123456789abcdef",
        INTERNAL_API_KEY="0123456789abcdef0123456789abcdef",
        ISSUER="https://station.example.com",
        ALLOWED_ORIGIN="https://console.example.com",
    )
    assert result.exit_code == 2
    assert "--make-admin-key is for development" in result.stderr
    assert not list(working_directory.iterdir())
