"""``/metrics`` of several workers: the sum is right whoever answers, and no worker's death takes from it."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from base64 import b64encode
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
from prometheus_client.parser import text_string_to_metric_families

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from leaks import Leaks

ADMIN_KEY = "an-admin-key-for-the-tests-only-0123456789"
SECRET = "a-client-secret-for-the-tests-0123456789"
PATIENCE = 30.0
WORKERS = 2
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
BASIC = {"Authorization": "Basic " + b64encode(f"bot:{SECRET}".encode()).decode()}

Found = dict[tuple[str, ...], float]


class Station:
    """A ``station serve --workers 2`` that runs, with a port for its metrics."""

    def __init__(self, process: subprocess.Popen[str], log: Path, metrics_port: int) -> None:
        self.process = process
        self.log = log
        self.metrics_port = metrics_port
        self.port = 0

    def workers(self) -> dict[int, int]:
        """The workers that serve, by number, as the log says."""
        found = re.findall(r"worker (\d+) \(pid (\d+)\) serves", self.log.read_text())
        return {int(number): int(pid) for number, pid in found}

    def told(self) -> Found:
        """Every sample, by its name and the words of its labels."""
        status, body = ask(self.metrics_port, "GET", "/metrics")
        assert status == 200, body
        return {
            (sample.name, *(word for _, word in sorted(sample.labels.items()))): sample.value
            for family in text_string_to_metric_families(body.decode())
            for sample in family.samples
        }

    def told_in_spite_of_a_kill(self) -> Found:
        """The same, soon after a worker was killed, which may still have been given the connection."""
        while True:
            with contextlib.suppress(ConnectionError):
                return self.told()

    def until_told(self, key: tuple[str, ...], expected: float) -> None:
        """Wait until the other workers have written what they had counted."""
        until(lambda: self.told().get(key) == expected, f"{key} of {expected}")


def until(done: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + PATIENCE
    while not done():
        assert time.monotonic() < end, f"no {what}"
        time.sleep(0.02)


def ask(
    port: int, method: str, path: str, body: str | None = None, headers: dict[str, str] | None = None
) -> tuple[int, bytes]:
    """One request on a connection of its own, so that whichever worker answers."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    with contextlib.closing(connection):
        connection.request(method, path, body, headers or {})
        response = connection.getresponse()
        return response.status, response.read()


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@pytest.fixture
def station(tmp_path: Path, leaks: Leaks) -> Iterator[Station]:
    log, metrics_port = tmp_path / "stderr.log", free_port()
    environ = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
        "STATION_DATA_DIR": str(tmp_path / "data"),
        "INTERNAL_API_KEY": ADMIN_KEY,
        "METRICS_PORT": str(metrics_port),
        "AUTH_TOKEN_THROTTLE_LIMIT": "0",
        "AUTH_FAILURE_THROTTLE_LIMIT": "0",
        "OAUTH_M2M_BCRYPT_COST": "4",
    }
    command = [sys.executable, "-m", "station", "serve", "--workers", str(WORKERS), "--port", "0"]
    with (
        log.open("w") as errors,
        subprocess.Popen(
            command, env=environ, cwd=tmp_path, stdout=subprocess.PIPE, stderr=errors, text=True
        ) as process,
    ):
        try:
            found = Station(process, log, metrics_port)
            watchdog = threading.Timer(PATIENCE, process.kill)
            watchdog.start()
            assert process.stdout is not None
            line = re.match(r"Station listens on (\S+)", process.stdout.readline())
            watchdog.cancel()
            assert line, log.read_text()
            found.port = urlsplit(line[1]).port or 0
            yield found
        finally:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(15)
            process.kill()
            leaks.keep(ADMIN_KEY, SECRET)
            leaks.write("the log of workers with metrics", log.read_text())


def test_the_sum_over_the_workers_is_right_and_survives_their_death(station: Station) -> None:
    document = json.dumps({"clientId": "bot", "clientSecret": SECRET, "scopes": ["bot:api"]})
    headers = {"x-internal-api-key": ADMIN_KEY, "Content-Type": "application/json"}
    assert ask(station.port, "POST", "/oauth-clients", document, headers)[0] == 201

    def tokens(count: int) -> None:
        for _ in range(count):
            status, _ = ask(
                station.port, "POST", "/auth/token", "grant_type=client_credentials", BASIC | FORM
            )
            assert status == 200

    requests = ("station_http_requests_total", "POST", "/auth/token", "200")
    durations = ("station_http_request_duration_seconds_count", "POST", "/auth/token")
    issued = ("oauth_m2m_tokens_issued_total",)
    tokens(40)
    station.until_told(requests, 40)
    found = station.told()
    assert found[issued] == found[durations] == 40
    # with 40 connections each worker has had some: 2 ** -39 says otherwise
    for number in range(WORKERS):
        assert found["oauth_m2m_cache_entries", "secrets", str(number)] == 1
        assert found["process_resident_memory_bytes", str(number)] > 1e6
    assert found["station_build_info", *found_versions(found)] == 1

    before = station.workers()
    os.kill(before[0], signal.SIGKILL)
    while_dead = station.told_in_spite_of_a_kill()
    assert while_dead[requests] == while_dead[durations] == while_dead[issued] == 40
    until(lambda: station.workers()[0] != before[0], "replacement that serves")
    assert station.told()[requests] == 40

    tokens(20)
    station.until_told(requests, 60)
    found = station.told()
    assert found[issued] == found[durations] == 60
    started = {number: found["process_start_time_seconds", str(number)] for number in range(WORKERS)}
    assert started[0] > started[1], "the replacement is a process of its own under the number of the other"

    # the same by the admin key, and nothing without it
    status, body = ask(station.port, "GET", "/metrics", headers={"x-internal-api-key": ADMIN_KEY})
    assert status == 200
    assert b'station_http_requests_total{method="POST",route="/auth/token",status="200"} 60.0' in body
    assert ask(station.port, "GET", "/metrics")[0] == 401
    # and nothing else on its own port
    assert ask(station.metrics_port, "GET", "/health/live")[0] == 404


def found_versions(found: Found) -> tuple[str, ...]:
    """The words of the one build."""
    [build] = [key[1:] for key in found if key[0] == "station_build_info"]
    return build


def test_a_port_that_is_taken_stops_the_start(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        environ = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
            "STATION_DATA_DIR": str(tmp_path),
            "METRICS_PORT": str(port),
        }
        command = [sys.executable, "-m", "station", "serve", "--port", "0"]
        ended = subprocess.run(
            command, env=environ, cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE, check=False
        )
    assert ended.returncode != 0
    assert f"cannot listen on 127.0.0.1 port {port}" in ended.stderr
    assert "METRICS_PORT" in ended.stderr
    assert "Traceback" not in ended.stderr
