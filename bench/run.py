"""``make bench``: what Station costs, as ratios to an empty Tornado handler measured in the same run.

Machines are noisy, so the two are measured in turns and the medians compared. bcrypt has its real cost; the
throttles are off, and the table says so. Needs wrk (apt-get install wrk).
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import track
from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Iterator

ROUNDS = 3
SECONDS = 4
CONNECTIONS = 32
GUESSES = 15
ADMIN_KEY = "an-admin-key-for-the-benchmark-only-0123456789"
SECRET = "a-client-secret-for-the-benchmark-0123456789"
FORM = "application/x-www-form-urlencoded"
GRANT = "grant_type=client_credentials"

console = Console()


def main() -> None:
    """Measure, and print both tables."""
    if shutil.which("wrk") is None:
        sys.exit("make bench needs wrk: apt-get install wrk")
    with (
        tempfile.TemporaryDirectory(prefix="station-bench-") as directory,
        server("empty", directory) as empty,
        server("station", directory) as url,
    ):
        for client_id in ("bench-bot", "bench-inactive", "bench-expired"):
            registration = {"clientId": client_id, "clientSecret": SECRET, "scopes": ["bot:api"]}
            call(f"{url}/oauth-clients", registration, {"x-internal-api-key": ADMIN_KEY})
        admin = {"x-internal-api-key": ADMIN_KEY}
        call(f"{url}/oauth-clients/bench-inactive", {"isActive": False}, admin, method="PATCH")
        call(f"{url}/oauth-clients/bench-expired/secrets", {"endOthersIn": 0}, admin)
        throughput(Path(directory), empty, url)
        guesses(url)


@contextlib.contextmanager
def server(name: str, directory: str) -> Iterator[str]:
    """Run a server of `servers` and yield its URL."""
    environ = {
        **os.environ,
        "STATION_DATA_DIR": directory,
        "INTERNAL_API_KEY": ADMIN_KEY,
        "AUTH_TOKEN_THROTTLE_LIMIT": "0",
        "AUTH_FAILURE_THROTTLE_LIMIT": "0",
    }
    command = [sys.executable, str(Path(__file__).with_name("servers.py")), name]
    process = subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
    finally:
        process.terminate()
        process.wait()


def throughput(directory: Path, empty: str, url: str) -> None:
    """Measure requests a second, in turns, and print the ratios."""
    basic = "Basic " + base64.b64encode(f"bench-bot:{SECRET}".encode()).decode()
    answer = call(f"{url}/auth/token", None, {"Authorization": basic, "Content-Type": FORM}, data=GRANT)
    bearer = f"Bearer {json.loads(answer)['access_token']}"
    post = directory / "post.lua"
    post.write_text(f'wrk.method = "POST"\nwrk.body = "{GRANT}"\nwrk.headers["Content-Type"] = "{FORM}"\n')
    targets = {
        "empty POST": ["-s", str(post), empty],
        "POST /auth/token": ["-s", str(post), "-H", f"Authorization: {basic}", f"{url}/auth/token"],
        "empty GET": [empty],
        "GET /auth/client": ["-H", f"Authorization: {bearer}", f"{url}/auth/client"],
    }
    rates: dict[str, list[float]] = {name: [] for name in targets}
    turns = [name for _ in range(ROUNDS) for name in targets]
    for name in track(turns, description=f"wrk, {ROUNDS} rounds of {SECONDS} s each", console=console):
        rates[name].append(wrk(targets[name]))
    medians = {name: statistics.median(values) for name, values in rates.items()}

    title = f"Requests a second, one process, {CONNECTIONS} connections, access log and throttles off"
    table = Table(title=title)
    for heading in ("", "requests/s", "ratio to empty"):
        table.add_column(heading, justify="right" if heading else "left")
    for name, rate in medians.items():
        baseline = medians["empty POST" if "POST" in name else "empty GET"]
        table.add_row(name, f"{rate:,.0f}", f"{rate / baseline:.4f}")
    console.print(table)


def wrk(arguments: list[str]) -> float:
    """Run wrk once; returns the successful requests a second."""
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{SECONDS}s", "--timeout", "30s", *arguments]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    refused = re.search(r"Non-2xx or 3xx responses: (\d+)", output)
    total = re.search(r"(\d+) requests in ([\d.]+)s", output)
    assert total is not None, output
    return (int(total[1]) - int(refused[1] if refused else 0)) / float(total[2])


def guesses(url: str) -> None:
    """Time refused secrets in turns: the four kinds must look the same on a clock too."""
    callers = {
        "unknown client": ("bench-nobody", SECRET),
        "inactive client": ("bench-inactive", SECRET),
        "expired secret": ("bench-expired", SECRET),
        "wrong secret": ("bench-bot", SECRET[::-1]),
    }
    times: dict[str, list[float]] = {name: [] for name in callers}
    turns = [name for _ in range(GUESSES) for name in callers]
    for name in track(turns, description="refused secrets, one at a time", console=console):
        basic = "Basic " + base64.b64encode(":".join(callers[name]).encode()).decode()
        started = time.perf_counter()
        status = call_status(f"{url}/auth/token", {"Authorization": basic, "Content-Type": FORM}, GRANT)
        times[name].append(time.perf_counter() - started)
        assert status == 401, f"{name}: {status}"

    table = Table(title=f"Refusals at bcrypt cost 12, medians of {GUESSES}")
    for heading in ("", "milliseconds", "ratio to wrong secret"):
        table.add_column(heading, justify="right" if heading else "left")
    baseline = statistics.median(times["wrong secret"])
    for name, values in times.items():
        median = statistics.median(values)
        table.add_row(name, f"{1000 * median:.1f}", f"{median / baseline:.3f}")
    console.print(table)


def call(
    url: str, document: object, headers: dict[str, str], *, method: str = "POST", data: str | None = None
) -> bytes:
    """Send one request that must succeed; returns the body."""
    body = json.dumps(document) if data is None else data
    headers = {"Content-Type": "application/json", **headers}
    request = urllib.request.Request(url, body.encode(), headers, method=method)
    with urllib.request.urlopen(request, timeout=30) as response:
        content: bytes = response.read()
        return content


def call_status(url: str, headers: dict[str, str], data: str) -> int:
    """Send one POST; returns the status."""
    try:
        with urllib.request.urlopen(
            urllib.request.Request(url, data.encode(), headers), timeout=30
        ) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        return error.code


if __name__ == "__main__":
    main()
