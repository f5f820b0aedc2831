"""The shipped files at work: nginx in front of two real Stations on one MongoDB and one Redis."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from certificates import NAME
from engines import running
from nginx import nginx_before
from pair import Pair
from stations import ADMIN_KEY, JWT_SECRET
from watched import install_watched

from station.embedded.engine import SECANTUS, VALKEY

if TYPE_CHECKING:
    from collections.abc import Iterator

    from leaks import Leaks

LOGINS = 5  # a minute and address


@pytest.fixture(scope="session")
def both(tmp_path_factory: pytest.TempPathFactory, leaks: Leaks) -> Iterator[Pair]:
    """See `Pair`."""
    directory = tmp_path_factory.mktemp("deploy")
    site = install_watched(directory)
    with running(SECANTUS, directory / "mongodb") as mongodb, running(VALKEY, directory / "redis") as redis:
        settings = {
            "STATION_ENV": "production",
            "STATION_PLUGINS": "oauth_m2m,demo,watched",
            "ISSUER": f"https://{NAME}",
            "ALLOWED_ORIGIN": "https://console.example.com",
            "TRUSTED_PROXIES": "127.0.0.1",
            "MONGODB_URI": mongodb.url,
            "REDIS_URL": redis.url,
            "AUTH_LOGIN_THROTTLE_LIMIT": str(LOGINS),
            "PYTHONPATH": os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")]),
            "TEST_MARKS": str(directory / "marks"),
        }
        pair = Pair(directory, leaks, settings)
        migrate = [sys.executable, "-m", "station", "migrate", "up"]
        environ = {"PATH": os.environ["PATH"], "INTERNAL_API_KEY": ADMIN_KEY, "JWT_SECRET": JWT_SECRET}
        subprocess.run(migrate, env=environ | settings, cwd=directory, check=True, capture_output=True)
        with contextlib.closing(pair), nginx_before(pair):
            yield pair


@pytest.fixture
def pair(both: Pair) -> Pair:
    """See `Pair`; both Stations run."""
    both.start_all()
    return both
