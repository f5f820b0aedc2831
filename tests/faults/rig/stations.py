"""Station as processes of their own, which a test can pause and kill by pid.

All of a test share the engines and the keys, so that together they are one fleet.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from leaks import Leaks

__all__ = ["ADMIN_KEY", "StationProcess", "serving"]

ADMIN_KEY = "an-admin-key-for-the-tests-only-0123456789"
JWT_SECRET = "a-signing-secret-for-the-tests-only-0123456789"
_PATIENCE = 40.0
_SETTINGS = {
    "STATION_PLUGINS": "oauth_m2m,demo",
    "PORT": "0",
    "ISSUER": "http://station.test",
    "INTERNAL_API_KEY": ADMIN_KEY,
    "JWT_SECRET": JWT_SECRET,
    "AUTH_BCRYPT_COST": "4",
    "OAUTH_M2M_BCRYPT_COST": "4",
    # they count, and refuse nobody
    "AUTH_TOKEN_THROTTLE_LIMIT": "1000000",
    "AUTH_REVOKE_THROTTLE_LIMIT": "1000000",
    "AUTH_FAILURE_THROTTLE_LIMIT": "1000000",
}


class StationProcess(subprocess.Popen[str]):
    """A ``station serve``; ``log`` is what it writes to standard error, ``url`` where it listens."""

    log: Path
    url: str

    def wait_until_serving(self) -> None:
        """Read where it listens."""
        assert self.stdout is not None
        too_late = threading.Timer(_PATIENCE, self.kill)
        too_late.start()
        found = (re.match(r"Station listens on (\S+)", line) for line in self.stdout)
        url = next((match[1] for match in found if match), None)
        too_late.cancel()
        assert url, self.log.read_text()
        self.url = url

    def pause(self) -> None:
        """Stop it where it is; whoever connects or writes gets no answer."""
        self.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on after `pause`."""
        self.send_signal(signal.SIGCONT)


@contextlib.contextmanager
def serving(
    directory: Path, leaks: Leaks, *, count: int = 1, **settings: str
) -> Iterator[list[StationProcess]]:
    """So many Stations with these ``settings`` beside those that all share, until the block ends."""
    with contextlib.ExitStack() as stack:
        stations = [
            stack.enter_context(_started(directory / f"station{number}", leaks, settings))
            for number in range(count)
        ]
        for station in stations:
            station.wait_until_serving()
        yield stations
    for station in stations:
        log = station.log.read_text()
        assert not re.search("Traceback|ERROR", log), log


@contextlib.contextmanager
def _started(directory: Path, leaks: Leaks, settings: Mapping[str, str]) -> Iterator[StationProcess]:
    directory.mkdir(parents=True)
    log = directory / "stderr.log"
    environ = {"PATH": os.environ["PATH"], "STATION_DATA_DIR": str(directory), **_SETTINGS, **settings}
    command = [sys.executable, "-m", "station", "serve"]
    with log.open("wb") as errors:
        station = StationProcess(
            command, env=environ, cwd=directory, stdout=subprocess.PIPE, stderr=errors, text=True
        )
    station.log = log
    with station:
        try:
            yield station
        finally:
            station.resume()
            station.terminate()
            try:
                station.wait(15)
            except subprocess.TimeoutExpired:
                station.kill()
                raise AssertionError(f"it does not stop: {log.read_text()}") from None
            leaks.keep(ADMIN_KEY, JWT_SECRET)
            leaks.write(f"the log of the Station in {directory.name}", log.read_text(errors="replace"))
