"""What the README promises a newcomer: a clone, ``make serve``, and the tour, exactly as they are typed.

What is cloned is the last commit; the installation fetches packages and takes a minute or so.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
INSTALLED_WITHIN = 600
PORT_OF_THE_README = "3001"
# where a machine's pip finds packages is its own affair; which versions it installs is the Makefile's
ENVIRON = {
    name: value
    for name, value in os.environ.items()
    if name in {"PATH", "HOME"} or (name.startswith("PIP_") and name != "PIP_CONSTRAINT")
}


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    directory = tmp_path / "station"
    subprocess.run(["git", "clone", "--quiet", ROOT, directory], env=ENVIRON, check=True, timeout=60)
    return directory


@pytest.fixture
def port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        number: int = free.getsockname()[1]
        return number


@contextlib.contextmanager
def make_serve(clone: Path, port: int, stop: signal.Signals) -> Iterator[list[str]]:
    """Serve until the block ends, then stop as a terminal does; yields all lines up to the last to paste."""
    python = getattr(sys, "_base_executable", None) or sys.executable
    log = clone.parent / "make.log"
    with (
        log.open("w") as errors,
        subprocess.Popen(
            ["make", "serve", f"PYTHON={python}"],
            cwd=clone,
            env={**ENVIRON, "PORT": str(port)},
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            start_new_session=True,
        ) as make,
    ):
        too_late = threading.Timer(INSTALLED_WITHIN, os.killpg, (make.pid, signal.SIGTERM))
        too_late.start()
        try:
            assert make.stdout is not None
            lines = []
            for line in make.stdout:
                lines.append(line.rstrip("\n"))
                if len(curls(lines)) == 3:
                    break
            too_late.cancel()
            assert len(curls(lines)) == 3, "\n".join([*lines, log.read_text()])
            yield lines
        finally:
            too_late.cancel()
            os.killpg(make.pid, stop)
            hangs = threading.Timer(30, os.killpg, (make.pid, signal.SIGKILL))
            hangs.start()
            make.wait()
            hangs.cancel()
    assert make.returncode != -signal.SIGKILL
    assert "Traceback" not in log.read_text()


def curls(lines: list[str]) -> list[str]:
    return [line for line in lines if "curl " in line]


def bash(clone: Path, script: str) -> str:
    """What the script prints in another terminal in the same directory."""
    done = subprocess.run(
        ["bash", "-e"],
        cwd=clone,
        env=ENVIRON,
        input=script,
        capture_output=True,
        text=True,
        check=False,
        timeout=90,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    return done.stdout


def tour(clone: Path, port: int) -> list[str]:
    """The blocks of the README that are a part of the tour."""
    readme = (clone / "README.md").read_text()
    blocks = re.findall(r"^<!-- tour -->\n```sh\n(.*?)^```$", readme, re.MULTILINE | re.DOTALL)
    return [block.replace(PORT_OF_THE_README, str(port)) for block in blocks]


def processes(directory: Path) -> list[object]:
    """What runs in the directory, or on its data."""
    psutil = importlib.import_module("psutil")  # comes with the extra embedded
    running = [process.info for process in psutil.process_iter(["pid", "cmdline", "cwd"])]
    return [info for info in running if str(directory) in str(info)]


def check_secrets(data_dir: Path) -> None:
    files = [file for kind in ("key", "secret", "password") for file in data_dir.glob(f"*.{kind}")]
    names = {"admin.key", "jwt.secret", "station-bot.secret", "console.password"}
    assert {file.name for file in files} == names
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}
    assert data_dir.stat().st_mode & 0o777 == 0o700


def check_console(clone: Path, lines: list[str]) -> None:
    """Log in as the printed line says, in the shell, and see the page that follows."""
    (line,) = [line for line in lines if line.startswith("The console: ")]
    url, email, read = re.findall(r"^The console: (\S+), as (\S+) with .*: (cat \S+)$", line)[0]
    script = f"""
        curl -sS -c .station/cookies -o /dev/null --data-urlencode email={email} \\
            --data-urlencode "password=$({read})" {url}/login
        curl -sS -L -b .station/cookies {url}
        rm .station/cookies
    """
    assert "<h1>Clients</h1>" in bash(clone, script)


def check_tour(clone: Path, blocks: list[str]) -> None:
    """Do the tour in one shell, and see that each block prints what the README says."""
    getting_in, stopping_it, tables, story = bash(clone, "echo '# next'\n".join(blocks)).split("# next\n")

    again, whoami = map(json.loads, getting_in.splitlines())
    assert (again["status"], whoami["client_id"]) == (409, "station-bot")

    listed, disabled, refused, enabled = (
        line for line in stopping_it.splitlines() if line.startswith(("station-bot", "{"))
    )
    assert json.loads(refused)["error"] == "invalid_token"
    assert [line.split()[2] for line in (listed, disabled, enabled)] == ["active", "disabled", "active"]

    for something in ("/auth/client", "oauth_m2m", "OAUTH_M2M_TOKEN_TTL"):  # a route, a plugin, a setting
        assert something in tables
    statuses = re.findall(r"^  < (\d{3}) ", story, re.MULTILINE)
    assert statuses == ["201", "200", "200", "403", "200", "401"]


def test_a_newcomer_serves_and_does_the_tour(clone: Path, port: int) -> None:
    with make_serve(clone, port, signal.SIGINT) as lines:
        assert f"Station listens on http://127.0.0.1:{port}" in lines
        check_console(clone, lines)
        registered, whoami = map(json.loads, bash(clone, "\n".join(curls(lines))).splitlines())
        assert (registered["clientId"], registered["scopes"]) == ("station-bot", ["bot:api"])
        assert (whoami["client_id"], whoami["scopes"]) == ("station-bot", ["bot:api"])
        check_secrets(clone / ".station")

        blocks = tour(clone, port)
        assert curls(blocks[0].splitlines()) == curls(lines)  # the README shows what is printed
        check_tour(clone, blocks)
        assert bash(clone, "git status --porcelain") == ""  # nothing that was made is in the way of a commit
        assert processes(clone)
    assert processes(clone) == []

    with make_serve(clone, port, signal.SIGTERM) as lines:
        assert not [line for line in lines if "Installing" in line]
        check_console(clone, lines)
        again, whoami = map(json.loads, bash(clone, "\n".join(curls(lines))).splitlines())
        assert (again["status"], whoami["client_id"]) == (409, "station-bot")  # who came once stays
    assert processes(clone) == []
