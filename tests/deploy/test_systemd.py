"""The shipped unit: systemd takes it, and Station works under what it forbids."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.request import Request, urlopen

import pytest
from engines import running
from units import read_unit

from station.config import Config
from station.embedded.engine import SECANTUS, VALKEY
from station.settings import settings_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from leaks import Leaks

HERE = Path(__file__).parent
SANDBOX = HERE / "rig" / "sandbox.py"
UNIT = HERE.parents[1] / "deploy" / "systemd" / "station.service"
SERVICE = read_unit(UNIT)["Service"]
SECRET = "a-client-secret-for-the-tests-0123456789"
ADMIN_KEY = "an-admin-key-for-the-tests-only-0123456789"
JWT_SECRET = "a-signing-secret-for-the-tests-only-0123456789"
EXPOSURE = 2.0  # of 10; most services of a distribution have over 8
PATIENCE = 40.0
DRAIN = 10


def systemd_analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("needs systemd-analyze: apt-get install systemd")
    command = ["systemd-analyze", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE)


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """The unit with a program that is there."""
    program = tmp_path / "station"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    file = tmp_path / "station.service"
    shipped = UNIT.read_text()
    assert "ExecStart=/opt/station/bin/station serve\n" in shipped
    file.write_text(shipped.replace("/opt/station/bin/station", str(program)))
    return file


def test_systemd_takes_every_line(unit: Path) -> None:
    verified = systemd_analyze("verify", "--recursive-errors=no", str(unit))
    assert verified.stderr == ""
    assert verified.returncode == 0


def test_what_is_exposed_stays_little(unit: Path) -> None:
    threshold = str(int(EXPOSURE * 10))
    judged = systemd_analyze("security", "--offline=yes", f"--threshold={threshold}", "--no-pager", str(unit))
    assert judged.returncode == 0, judged.stdout


def test_every_variable_is_a_setting() -> None:
    known = set().union(*(setting.variables for setting in settings_of(Config)))
    words = [word.split("=", 1) for line in SERVICE["Environment"] for word in line.split()]
    assert {name for name, _ in words} <= known
    credentials = {line.split(":")[0] for line in SERVICE["LoadCredential"]}
    assert {value.removeprefix("%d/") for _, value in words if value.startswith("%d/")} == credentials
    demanded = {"JWT_SECRET", "INTERNAL_API_KEY", "MONGODB_URI", "REDIS_URL"}
    assert {name.removesuffix("_FILE") for name, value in words if value.startswith("%d/")} == demanded


def test_a_service_that_stops_has_the_time_to(unit: Path) -> None:
    assert SERVICE["KillSignal"] == ["SIGTERM"]
    assert SERVICE["KillMode"] == ["mixed"]  # the supervisor tells its workers itself
    assert int(SERVICE["TimeoutStopSec"][0].removesuffix("s")) > DRAIN
    assert SERVICE["RestartPreventExitStatus"] == ["2"]  # the configuration


ATTEMPTS = """
import mmap, os, socket
attempts = {
    "name a host": lambda: socket.getaddrinfo("localhost", 80),
    "lower the priority": lambda: os.setpriority(os.PRIO_PROCESS, 0, os.nice(0) + 1),
    "talk to the kernel": lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW),
    "run what was written": lambda: mmap.mmap(-1, 4096, prot=mmap.PROT_WRITE | mmap.PROT_EXEC),
    "choose a core": lambda: os.sched_setaffinity(0, [0]),
    "change the root": lambda: os.chroot("/"),
}
for name, attempt in attempts.items():
    try:
        attempt()
        print(name)
    except PermissionError:
        pass
"""


def test_what_the_unit_forbids_is_refused() -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("needs systemd-analyze: apt-get install systemd")
    command = [sys.executable, str(SANDBOX), str(UNIT), sys.executable, "-c", ATTEMPTS]
    tried = subprocess.run(command, capture_output=True, text=True, check=True, timeout=PATIENCE)
    assert tried.stdout.splitlines() == ["name a host", "lower the priority"]


@dataclasses.dataclass(frozen=True)
class Service:
    """A Station that was started as the unit says; ``told`` is what it told systemd."""

    process: subprocess.Popen[str]
    url: str
    told: str
    log: Path


@pytest.fixture
def service(tmp_path: Path, leaks: Leaks) -> Iterator[Service]:
    """Two workers under the unit's restrictions, secrets in files, and a service manager that listens."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("needs systemd-analyze: apt-get install systemd")
    leaks.keep(SECRET, ADMIN_KEY, JWT_SECRET)
    log = tmp_path / "stderr.log"
    with contextlib.ExitStack() as stack:
        mongodb = stack.enter_context(running(SECANTUS, tmp_path / "mongodb"))
        redis = stack.enter_context(running(VALKEY, tmp_path / "redis"))
        credentials = {
            "jwt_secret": JWT_SECRET,
            "internal_api_key": ADMIN_KEY,
            "mongodb_uri": mongodb.url,
            "redis_url": redis.url,
        }
        for name, value in credentials.items():
            (tmp_path / name).write_text(f"{value}\n")
        shipped = dict(word.split("=", 1) for line in SERVICE["Environment"] for word in line.split())
        environ = {name: value.replace("%d", str(tmp_path)) for name, value in shipped.items()}
        manager = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(PATIENCE)
        environ |= {
            "PATH": os.environ["PATH"],
            "PORT": "0",
            "STATION_WORKERS": "2",
            "STATION_PLUGINS": "oauth_m2m,demo",
            "ISSUER": "https://station.example.com",
            "ALLOWED_ORIGIN": "https://console.example.com",
            "STATION_DATA_DIR": str(tmp_path),
            "NOTIFY_SOCKET": str(tmp_path / "notify"),
        }
        sandbox = [
            sys.executable,
            str(SANDBOX),
            str(UNIT),
            sys.executable,
            "-m",
            "station",
        ]
        migrated = subprocess.run(
            [*sandbox, "migrate", "up"],
            env=environ,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert migrated.returncode == 0, migrated.stderr
        process = stack.enter_context(
            subprocess.Popen(
                [*sandbox, "serve"], env=environ, cwd=tmp_path, stdout=subprocess.PIPE,
                stderr=stack.enter_context(log.open("w")), text=True,
            )
        )  # fmt: skip
        stack.callback(process.kill)
        too_late = threading.Timer(PATIENCE, process.kill)
        too_late.start()
        assert process.stdout is not None
        found = re.match(r"Station listens on (\S+)", process.stdout.readline())
        too_late.cancel()
        assert found, log.read_text()
        yield Service(process, found[1], manager.recv(100).decode(), log)
    leaks.write("the log of the service", log.read_text())


def ask(url: str, body: str | None = None, **headers: str) -> dict[str, str]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    with urlopen(Request(url, body.encode() if body else None, named), timeout=PATIENCE) as response:
        answer: dict[str, str] = json.load(response)
    return answer


def test_station_works_under_the_restrictions_of_the_unit(service: Service) -> None:
    assert service.told == "READY=1"
    status = Path(f"/proc/{service.process.pid}/status").read_text()
    assert "\nSeccomp:\t2\n" in status
    assert "\nNoNewPrivs:\t1\n" in status
    client = json.dumps({"clientId": "bot", "clientSecret": SECRET, "scopes": ["demo:read"]})
    ask(f"{service.url}/oauth-clients", client, Content_Type="application/json", x_internal_api_key=ADMIN_KEY)
    form = f"grant_type=client_credentials&client_id=bot&client_secret={SECRET}"
    for _ in range(4):  # bcrypt in a thread of low priority
        token = ask(f"{service.url}/auth/token", form, Content_Type="application/x-www-form-urlencoded")
    greeting = ask(f"{service.url}/demo/greeting", Authorization=f"Bearer {token['access_token']}")
    assert greeting == {"greeting": "Hello, bot!"}
    assert ask(f"{service.url}/health/ready")["status"] == "ready"
    service.process.send_signal(signal.SIGTERM)
    assert service.process.wait(PATIENCE) == 0
    log = service.log.read_text()
    assert not re.search("Traceback|PermissionError|ERROR", log), log
