"""``station new plugin``: what it says, and that what it writes works as it stands."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from station.testing import Http

if TYPE_CHECKING:
    import pytest
    from leaks import Leaks

    from tests.conftest import Serve
    from tests.station.cli.conftest import Station


def test_it_says_what_to_do_next(station: Station, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent))
    result = station("new", "plugin", "night_watch")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.splitlines() == [
        "night_watch/ is a plugin: GET /night-watch for clients with the scope night_watch:read.",
        "",
        "Install it beside Station, run its tests, and serve it:",
        "",
        "  cd night_watch",
        "  pip install -e '.[test]'",
        "  pytest",
        "  STATION_PLUGINS=oauth_m2m,night_watch station serve",
        "",
        "Its README.md says how to call it. Then change handlers.py, and the test with it.",
    ]


def test_who_has_not_activated_the_environment_is_told_to(
    station: Station, monkeypatch: pytest.MonkeyPatch, working_directory: Path
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    programs = working_directory / ".venv" / "bin"
    programs.mkdir(parents=True)
    (programs / "activate").touch()
    monkeypatch.setattr(sys, "executable", str(programs / "python"))
    result = station("new", "plugin", "watch", "--into", "own")
    assert "  source .venv/bin/activate\n  cd own/watch\n" in result.stdout


def test_a_name_that_is_taken_is_one_sentence(station: Station) -> None:
    result = station("new", "plugin", "email")
    sentence = "Error: A module with the name email is installed already; choose another name.\n"
    assert (result.exit_code, result.stdout, result.stderr) == (1, "", sentence)


def test_it_is_installed_tested_switched_on_and_called(
    station: Station, working_directory: Path, serve: Serve, leaks: Leaks
) -> None:
    assert station("new", "plugin", "night_watch").exit_code == 0
    directory, site = working_directory / "night_watch", working_directory / "site"
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(site)}

    def python(*arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=directory,
            env=environ,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    # as `pip install` does, but for the network: what it needs is installed
    options = ["--quiet", "--no-index", "--no-deps", "--no-build-isolation", "--disable-pip-version-check"]
    python("-m", "pip", "install", *options, "--target", str(site), ".")
    assert "4 passed" in python("-m", "pytest", "-p", "no:schemathesis", "-p", "no:cacheprovider")

    data = working_directory / "data"
    data.mkdir()
    plugins = {"STATION_PLUGINS": "oauth_m2m,night_watch", "PYTHONPATH": str(site)}
    with serve(data, NIGHT_WATCH_WORD="Halt", **plugins) as server:
        admin, machine = Http(server.url, {"x-internal-api-key": server.admin_key}), Http(server.url)
        assert machine.get("/night-watch").status == 401
        client = admin.post("/oauth-clients", json={"clientId": "my-bot", "scopes": ["night_watch:read"]})
        secret = client.json["clientSecret"]
        grant = {"grant_type": "client_credentials"}
        token = machine.post("/auth/token", form=grant, basic=("my-bot", secret)).json["access_token"]
        leaks.keep(secret, token)
        assert machine.get("/night-watch", token=token).json == {"greeting": "Halt, my-bot!"}
