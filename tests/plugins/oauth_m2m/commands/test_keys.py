from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import time
import uuid
from typing import TYPE_CHECKING, Any, TypeVar

import pymongo
import pytest
import requests
from click.testing import CliRunner, Result

from plugins.oauth_m2m.commands import oauth_keys
from plugins.oauth_m2m.config import OAuthM2MConfig
from station.cli.group import StationGroup

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from station.app import Application
    from station.embedded import Endpoints
    from tests.plugins.oauth_m2m.commands.conftest import EngineBoot, MakeBoot

T = TypeVar("T")
SECRET = "the secret of the tests, 32 bytes and more"
NEW = "the secret that comes after it, 32 bytes and more"
main = StationGroup("station", commands=[oauth_keys])


class Shell:
    """Where commands are typed, without the server's settings; servers run beside it."""

    def __init__(self, make_boot: MakeBoot) -> None:
        self._make_boot = make_boot
        self.secrets: dict[str, Any] = {"jwt_secret": SECRET}

    def run(self, work: Callable[[Application], Awaitable[T]]) -> T:
        return self._boot("HS256").run(work)

    def serve(self, alg: str) -> None:
        """Start a server, and stop it."""
        self._boot(alg).serve()

    def _boot(self, alg: str) -> EngineBoot:
        boot = self._make_boot(OAuthM2MConfig(bcrypt_cost=4, signing_alg=alg))
        boot.config = dataclasses.replace(boot.config, **self.secrets)
        return boot


@pytest.fixture
def boot(make_boot: MakeBoot) -> Shell:
    return Shell(make_boot)


def run(boot: Shell, *arguments: str, stdin: str = "") -> Result:
    result = CliRunner().invoke(main, ["oauth-keys", *arguments], input=stdin, obj=boot)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def keys_after(boot: Shell, *arguments: str) -> list[dict[str, Any]]:
    """Run a command, which must succeed; the keys that it prints."""
    result = run(boot, *arguments, "--json")
    assert (result.exit_code, result.stderr) == (0, "")
    found: list[dict[str, Any]] = json.loads(result.stdout)
    return found


def states(keys: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(key["alg"], key["state"]) for key in keys]


def test_before_the_first_start_there_are_no_keys(boot: Shell) -> None:
    assert "station serve" in run(boot, "list").stdout
    assert keys_after(boot, "list") == []
    assert run(boot, "rotate", "--force", "--yes").exit_code == 1


def test_the_keys_in_a_table_and_for_programs(boot: Shell) -> None:
    boot.serve("EdDSA")
    first, second = keys_after(boot, "list")
    assert states([first, second]) == [("EdDSA", "active"), ("EdDSA", "next")]
    assert first.keys() == {"kid", "alg", "state", "publishedAt", "activatedAt", "verifiesUntil"}
    assert (second["activatedAt"], second["verifiesUntil"]) == (None, None)
    heading, *rows = run(boot, "list").stdout.splitlines()
    assert heading.split()[:3] == ["KEY", "ALGORITHM", "STATE"]
    assert [row.split()[:3] for row in rows] == [
        [first["kid"], "EdDSA", "active"],
        [second["kid"], "EdDSA", "next"],
    ]


def test_a_command_never_changes_the_algorithm(boot: Shell) -> None:
    boot.serve("ES256")
    for command in (["list"], ["rotate", "--force", "--yes"], ["reencrypt"]):
        assert {alg for alg, _ in states(keys_after(boot, *command))} == {"ES256"}


def test_rotating_waits_until_the_next_key_is_known_or_is_forced(boot: Shell) -> None:
    boot.serve("EdDSA")
    first, second = keys_after(boot, "list")
    refused = run(boot, "rotate")
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert second["kid"] in refused.stderr
    assert "--force" in refused.stderr
    assert keys_after(boot, "list") == [first, second]
    rotated = keys_after(boot, "rotate", "--force", "--yes")
    assert [(key["kid"], key["state"]) for key in rotated[:2]] == [
        (first["kid"], "retired"),
        (second["kid"], "active"),
    ]
    assert (rotated[2]["state"], rotated[0]["verifiesUntil"] is None) == ("next", False)
    assert keys_after(boot, "list") == rotated


def test_forcing_a_rotation_asks_first(boot: Shell) -> None:
    boot.serve("EdDSA")
    before = keys_after(boot, "list")
    declined = run(boot, "rotate", "--force", stdin="n\n")
    assert (declined.exit_code, declined.stdout) == (1, "")
    assert "has not seen the next key yet" in declined.stderr
    assert keys_after(boot, "list") == before
    assert run(boot, "rotate", "--force", stdin="y\n").exit_code == 0
    assert len(keys_after(boot, "list")) == 3


def test_retiring_asks_first_and_never_takes_the_active_key(boot: Shell) -> None:
    boot.serve("EdDSA")
    retired, active, following = (key["kid"] for key in keys_after(boot, "rotate", "--force", "--yes"))
    declined = run(boot, "retire", retired, stdin="n\n")
    assert declined.exit_code == 1
    assert retired in declined.stderr
    assert len(keys_after(boot, "list")) == 3
    assert run(boot, "retire", retired, stdin="y\n").exit_code == 0
    assert [key["kid"] for key in keys_after(boot, "list")] == [active, following]
    refused = run(boot, "retire", active, "--yes")
    assert (refused.exit_code, "rotate" in refused.stderr) == (1, True)
    assert run(boot, "retire", "no-such-key", "--yes").exit_code == 1
    replaced = keys_after(boot, "retire", following, "--yes")
    assert states(replaced) == [("EdDSA", "active"), ("EdDSA", "next")]
    assert following not in {key["kid"] for key in replaced}


def test_hs256_is_listed_and_its_rotation_explained(boot: Shell) -> None:
    boot.serve("HS256")
    assert states(keys_after(boot, "list")) == [("HS256", "active")]
    refused = run(boot, "rotate", "--force", "--yes")
    assert (refused.exit_code, "JWT_SECRET" in refused.stderr) == (1, True)


def test_encrypting_anew_takes_both_secrets(boot: Shell) -> None:
    boot.serve("RS256")
    keys = keys_after(boot, "list")
    boot.secrets = {"jwt_secret": NEW}
    refused = run(boot, "reencrypt")
    assert (refused.exit_code, "JWT_SECRET_PREVIOUS" in refused.stderr) == (1, True)
    boot.secrets = {"jwt_secret": NEW, "jwt_secret_previous": SECRET}
    assert keys_after(boot, "reencrypt") == keys
    boot.secrets = {"jwt_secret": NEW}
    boot.serve("RS256")
    assert keys_after(boot, "list") == keys


def test_a_running_station_follows_the_command(tmp_path: Path, engines: Endpoints) -> None:
    environ = {
        "PATH": os.environ["PATH"],
        "MONGODB_URI": engines.mongodb_uri,
        "MONGODB_DATABASE": f"test_{uuid.uuid4().hex}",
        "REDIS_URL": engines.redis_url,
        "STATION_DATA_DIR": str(tmp_path),
        "JWT_SECRET": SECRET,
    }
    serve = [sys.executable, "-m", "station", "serve", "--port", "0"]
    with subprocess.Popen(
        serve,
        env=environ | {"OAUTH_M2M_SIGNING_ALG": "EdDSA"},
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
    ) as server:
        try:
            assert server.stdout is not None
            url = next(line.split()[-1] for line in server.stdout if "listens on" in line)

            def published() -> list[str]:
                answer = requests.get(f"{url}/.well-known/jwks.json", timeout=10)
                return [key["kid"] for key in answer.json()["keys"]]

            first, second = published()
            rotate = [sys.executable, "-m", "station", "oauth-keys", "rotate", "--force", "--yes", "--json"]
            printed = subprocess.run(
                rotate, env=environ, cwd=tmp_path, capture_output=True, check=True
            ).stdout
            kids = [key["kid"] for key in json.loads(printed)]
            assert kids[:2] == [first, second]
            deadline = time.monotonic() + 20
            while published() != kids and time.monotonic() < deadline:
                time.sleep(0.2)
            assert published() == kids
        finally:
            server.terminate()
            server.wait()
    with pymongo.MongoClient[dict[str, Any]](engines.mongodb_uri) as mongodb:
        mongodb.drop_database(environ["MONGODB_DATABASE"])
