"""A flood of wrong secrets from one address, at the real cost of bcrypt: nobody else notices."""

from __future__ import annotations

import base64
import collections
import contextlib
import dataclasses
import http.client
import json
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping
    from http.client import HTTPMessage

    import pytest

    from tests.conftest import Serve, Server

FLOOD = Path(__file__).with_name("flood.py")
SOURCES = ["127.0.0.2", "127.0.0.3"]  # of the attempts: the first one is throttled for a minute
CONNECTIONS = 64
SECONDS = 10.0
BOUND_MS = 50.0
SECRET = "a-client-secret-for-the-tests-0123456789"
FRESH = 3  # clients that have never asked for a token
PATIENCE = 60.0
PAUSE = 0.002


class Wire:
    """A connection from 127.0.0.1 that is kept."""

    def __init__(self, server: Server) -> None:
        self._admin = {"x-internal-api-key": server.admin_key, "Content-Type": "application/json"}
        port = urlsplit(server.url).port
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def ask(
        self, method: str, path: str, headers: Mapping[str, str], body: str | None = None
    ) -> tuple[int, HTTPMessage, Any]:
        self._connection.request(method, path, body, dict(headers))
        response = self._connection.getresponse()
        return response.status, response.headers, json.loads(response.read())

    def register(self, client_id: str) -> None:
        document = {"clientId": client_id, "clientSecret": SECRET, "scopes": ["demo:read"]}
        assert self.ask("POST", "/oauth-clients", self._admin, json.dumps(document))[0] == 201

    def token(self, client_id: str) -> str:
        """A token, asked for as often as Station says that it cannot now."""
        basic = base64.b64encode(f"{client_id}:{SECRET}".encode()).decode()
        headers = {"Authorization": f"Basic {basic}", "Content-Type": "application/x-www-form-urlencoded"}
        end = time.monotonic() + PATIENCE
        while True:
            status, about, document = self.ask(
                "POST", "/auth/token", headers, "grant_type=client_credentials"
            )
            if status != 503 or time.monotonic() > end:
                assert status == 200, document
                return str(document["access_token"])
            time.sleep(float(about["Retry-After"]))


@dataclasses.dataclass
class Measured:
    """What was seen from 127.0.0.1 while the flood ran."""

    statuses: collections.Counter[str]
    errors: list[str]
    milliseconds: list[float]
    other: list[tuple[str, int]]
    waits: list[float]

    @property
    def p99(self) -> float:
        return sorted(self.milliseconds)[int(len(self.milliseconds) * 0.99)]


def measure(server: Server, source: str) -> Measured:
    """Flood, and meanwhile call, ask whether Station lives, and get tokens."""
    run = source.replace(".", "-")
    known, fresh = f"known-{run}", [f"fresh-{run}-{number}" for number in range(FRESH)]
    command = [sys.executable, str(FLOOD), str(urlsplit(server.url).port), source, str(CONNECTIONS)]
    milliseconds: list[float] = []
    other: list[tuple[str, int]] = []
    waits: list[float] = []

    def right_client() -> None:
        with Wire(server) as right:
            for client_id in fresh:
                start = time.monotonic()
                right.token(client_id)
                waits.append(time.monotonic() - start)
                right.token(known)

    with Wire(server) as wire, contextlib.ExitStack() as stack:
        for client_id in (known, *fresh):
            wire.register(client_id)
        bearer = {"Authorization": f"Bearer {wire.token(known)}"}
        flood = stack.enter_context(
            subprocess.Popen([*command, str(SECONDS), known], stdout=subprocess.PIPE, text=True)
        )
        stack.callback(flood.kill)
        tokens = threading.Thread(target=right_client)
        tokens.start()
        end, live = time.monotonic() + SECONDS, False
        while time.monotonic() < end:
            start = time.monotonic()
            path = "/health/live" if live else "/demo/greeting"
            status, _, _ = wire.ask("GET", path, bearer)
            if not live:
                milliseconds.append(1000 * (time.monotonic() - start))
            if status != 200:
                other.append((path, status))
            live = not live
            time.sleep(PAUSE)
        tokens.join(PATIENCE)
        said = json.loads(flood.communicate(timeout=PATIENCE)[0])
    return Measured(collections.Counter(said["statuses"]), said["errors"], milliseconds, other, waits)


def test_a_flood_of_wrong_secrets(serve: Serve, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with serve(tmp_path, OAUTH_M2M_BCRYPT_COST="12") as server:
        for source in SOURCES:
            measured = measure(server, source)
            assert measured.errors == []
            assert measured.statuses.keys() <= {"401", "429", "503"}
            assert measured.statuses["401"]
            assert measured.other == []
            assert len(measured.waits) == FRESH, "the right client did not get its tokens"
            with capsys.disabled():
                waited = max(measured.waits)
                print(f"\nunder the flood: p99 of a GET {measured.p99:.0f} ms, first token in {waited:.1f} s")
            if measured.p99 < BOUND_MS:
                break  # else once more: the machine may have been busy with something else
        assert measured.p99 < BOUND_MS, "the machine is too slow or too busy, or the loop is blocked"
    assert " 500 " not in server.log.read_text()
