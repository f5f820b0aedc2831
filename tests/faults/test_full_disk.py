"""The disk of the embedded engines is full: what was answered is kept, and nothing ends in a 500."""

from __future__ import annotations

import base64
import collections
import http.client
import json
import shutil
import subprocess
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.conftest import Serve, Server

SECRET = "a-client-secret-for-the-tests-0123456789"
JWT_SECRET = "a-signing-secret-for-the-tests-only-0123456789"
SIZE = 48 * 1024 * 1024
SHARED_MEMORY = Path("/dev/shm")  # a container has a small one of its own
PATIENCE = 30.0
# so large that not many registrations fill what the engines have reserved
SCOPES = [f"bot:{number:03}{'x' * 90}" for number in range(18)]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small file system in memory."""
    directory = tmp_path / "disk"
    directory.mkdir()
    mounting = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(directory)]
    if not shutil.which("mount") or subprocess.run(mounting, capture_output=True, check=False).returncode:
        if not SHARED_MEMORY.is_dir() or shutil.disk_usage(SHARED_MEMORY).total > 4 * SIZE:
            pytest.skip("needs to mount a tmpfs: run it as root, in a container with --cap-add SYS_ADMIN")
        directory = SHARED_MEMORY / f"station-{uuid.uuid4().hex}"
        directory.mkdir()
        yield directory
        shutil.rmtree(directory)
        return
    yield directory
    subprocess.run(["umount", "--lazy", str(directory)], check=True)


class Bot:
    """An admin and a client in one; counts how it is answered."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.statuses: collections.Counter[int] = collections.Counter()

    def ask(
        self, method: str, path: str, headers: dict[str, str], body: str | None = None
    ) -> tuple[int, Any]:
        port = urlsplit(self.server.url).port
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
        try:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            said = response.read()
        finally:
            connection.close()
        self.statuses[response.status] += 1
        return response.status, json.loads(said) if said else None

    def admin(self, method: str, path: str, document: object = None) -> tuple[int, Any]:
        headers = {"x-internal-api-key": self.server.admin_key, "Content-Type": "application/json"}
        return self.ask(method, path, headers, None if document is None else json.dumps(document))

    def register(self, client_id: str) -> bool:
        document = {"clientId": client_id, "clientSecret": SECRET, "scopes": ["demo:read", *SCOPES]}
        return self.admin("POST", "/oauth-clients", document)[0] == 201

    def client(self, path: str, client_id: str, **form: str) -> tuple[int, Any]:
        basic = base64.b64encode(f"{client_id}:{SECRET}".encode()).decode()
        headers = {"Authorization": f"Basic {basic}", "Content-Type": "application/x-www-form-urlencoded"}
        return self.ask("POST", path, headers, urlencode(form))

    def token(self, client_id: str) -> str | None:
        form = {"grant_type": "client_credentials", "scope": "demo:read"}
        status, document = self.client("/auth/token", client_id, **form)
        return document["access_token"] if status == 200 else None

    def call(self, token: str) -> int:
        return self.ask("GET", "/demo/greeting", {"Authorization": f"Bearer {token}"})[0]


def until(done: Callable[[], object], what: str) -> None:
    end = time.monotonic() + PATIENCE
    while not done():
        assert time.monotonic() < end, f"no {what} within {PATIENCE:.0f} s"
        time.sleep(0.1)


def fill(disk: Path) -> Path:
    """Leave not one byte."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(65536))
        except OSError:
            pass
        try:
            while True:
                file.write(b"x")
        except OSError:
            return filler


def check(bot: Bot, registered: list[str], revoked: list[str]) -> None:
    """What was answered is so."""
    for client_id in registered:
        status, client = bot.admin("GET", f"/oauth-clients/{client_id}")
        assert (status, client["clientId"]) == (200, client_id)
        assert set(client["scopes"]) == {"demo:read", *SCOPES}
    assert {bot.call(token) for token in revoked} <= {401}


def test_a_full_disk(serve: Serve, tmp_path: Path, disk: Path) -> None:
    settings = {
        "STATION_DATA_DIR": str(disk / "data"),
        "JWT_SECRET": JWT_SECRET,
        "AUTH_TOKEN_THROTTLE_LIMIT": "0",
        "AUTH_FAILURE_THROTTLE_LIMIT": "0",
    }
    with serve(tmp_path, **settings) as server:
        bot = Bot(server)
        assert bot.register("bot")
        tokens = [token for _ in range(50) if (token := bot.token("bot"))]
        assert bot.call(tokens[0]) == 200
        registered, revoked = ["bot"], []

        filler = fill(disk)
        bot.statuses.clear()
        refused, end = 0, time.monotonic() + PATIENCE
        while refused < 5 and time.monotonic() < end:  # MongoDB's engine has reserved a little
            client_id = f"bot-{len(registered)}"
            if bot.register(client_id):
                registered.append(client_id)
            else:
                refused += 1
            bot.token("bot")
            if tokens:
                token = tokens.pop()
                if bot.client("/auth/revoke", "bot", token=token)[0] == 200:
                    revoked.append(token)
        assert bot.statuses[503] > 20
        assert bot.statuses.keys() <= {200, 201, 409, 503}
        until(lambda: "is full: nothing can be stored" in server.log.read_text(), "word of it")
        assert bot.ask("GET", "/health/live", {})[0] == 200
        assert bot.ask("GET", "/health/ready", {})[0] == 503

        filler.unlink()
        until(lambda: bot.ask("GET", "/health/ready", {})[0] == 200, "recovery")
        until(lambda: bot.register(f"after-{uuid.uuid4().hex}"), "registration afterwards")
        until(lambda: bot.token("bot"), "token afterwards")
        check(bot, registered, revoked)
        assert bot.statuses[500] == 0
        assert "Traceback" not in server.log.read_text()
    with serve(tmp_path, **settings) as server:
        check(Bot(server), registered, revoked)
