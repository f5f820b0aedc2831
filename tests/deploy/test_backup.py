"""A backup, a disaster and a restore, as an operator does them, with a bot that lives through it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from base64 import b64encode
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import Request, urlopen

if TYPE_CHECKING:
    from pathlib import Path

    from leaks import Leaks

    from tests.conftest import Serve, Server

SECRET = "a-client-secret-for-the-tests-0123456789"
PASSWORD = "a-password-for-the-tests-0123456789"
SETTINGS = {
    "OAUTH_M2M_SIGNING_ALG": "EdDSA",
    "STATION_PLUGINS": "oauth_m2m,demo",
    "ISSUER": "http://station.test",  # else it names the port, which is another one at each start
}


def ask(url: str, headers: dict[str, str], body: str | None = None) -> tuple[int, Any, str]:
    """Status, document and the cookie that is set."""
    try:
        with urlopen(Request(url, body.encode() if body else None, headers), timeout=30) as response:
            return response.status, json.load(response), response.headers.get("Set-Cookie", "")
    except HTTPError as error:
        with error:
            return error.code, json.load(error), ""


def post(server: Server, path: str, **form: str) -> tuple[int, Any, str]:
    basic = b64encode(f"bot:{SECRET}".encode()).decode()
    headers = {"Authorization": f"Basic {basic}", "Content-Type": "application/x-www-form-urlencoded"}
    return ask(server.url + path, headers, urlencode(form))


def send(server: Server, path: str, **document: object) -> tuple[int, Any, str]:
    headers = {"Content-Type": "application/json", "x-internal-api-key": server.admin_key}
    return ask(server.url + path, headers, json.dumps(document))


def greeting(server: Server, token: str) -> int:
    return ask(f"{server.url}/demo/greeting", {"Authorization": f"Bearer {token}"})[0]


def station(data_dir: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Type a command."""
    environ = {"PATH": os.environ["PATH"], "STATION_DATA_DIR": str(data_dir), **SETTINGS}
    command = [sys.executable, "-m", "station", *arguments]
    return subprocess.run(
        command, env=environ, cwd=data_dir, capture_output=True, text=True, check=False, timeout=60
    )


def issued(server: Server) -> str:
    status, document, _ = post(server, "/auth/token", grant_type="client_credentials")
    assert status == 200, document
    return str(document["access_token"])


def test_a_disaster(serve: Serve, tmp_path: Path, leaks: Leaks) -> None:
    leaks.keep(SECRET, PASSWORD)
    data_dir, file = tmp_path / "data", str(tmp_path / "station.gz")
    data_dir.mkdir()

    with serve(data_dir, **SETTINGS) as server:
        client = {"clientId": "bot", "clientSecret": SECRET, "scopes": ["demo:read"]}
        assert send(server, "/oauth-clients", **client)[0] == 201
        person = {"email": "ada@example.com", "password": PASSWORD}
        assert send(server, "/auth/register", **person)[0] == 201
        session = send(server, "/auth/login", **person)[2].partition(";")[0]
        assert ask(f"{server.url}/auth/me", {"Cookie": session})[0] == 200
        live, revoked_before, revoked_after = (issued(server) for _ in range(3))
        leaks.keep(live, revoked_before, revoked_after)
        assert post(server, "/auth/revoke", token=revoked_before)[0] == 200
        assert [greeting(server, token) for token in (live, revoked_before)] == [200, 401]
        made = station(data_dir, "backup", file)
        assert made.returncode == 0, made.stderr
        assert post(server, "/auth/revoke", token=revoked_after)[0] == 200
        served = station(data_dir, "restore", file, "--replace", "--yes")
        assert served.returncode == 1
        assert "1 process serves on these stores: stop every Station first" in served.stderr

    shutil.rmtree(data_dir / "mongodb")  # Redis still has what it had

    restored = station(data_dir, "restore", file)
    assert restored.returncode == 0, restored.stderr
    assert "1 oauth_clients, 1 users" in restored.stderr

    with serve(data_dir, **SETTINGS) as server:
        old = (live, revoked_before, revoked_after)
        assert [greeting(server, token) for token in old] == [401, 401, 401]
        assert ask(f"{server.url}/auth/me", {"Cookie": session})[0] == 401
        token = issued(server)
        leaks.keep(token)
        assert greeting(server, token) == 200
        again = send(server, "/auth/login", **person)
        assert again[0] == 200
        assert send(server, "/oauth-clients", **client)[0] == 409  # the unique index is back

    kept = station(data_dir, "restore", file, "--replace", "--yes", "--keep-tokens")
    assert kept.returncode == 0, kept.stderr
    with serve(data_dir, **SETTINGS) as server:
        # what was revoked before the backup stays dead; what was revoked after it comes back, as was said
        assert [greeting(server, token) for token in old] == [200, 401, 200]
        assert "whatever was revoked" in kept.stderr
