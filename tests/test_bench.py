from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.alone
def test_it_measures_a_real_station() -> None:
    """The part that needs neither wrk nor the extra bench: refusals, a few of each kind."""
    command = [sys.executable, "-m", "bench", "--quick", "--only", "refusals", "--check"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    for kind in ("unknown client", "inactive client", "expired secret", "wrong secret"):
        assert kind in done.stdout


def test_without_wrk_it_says_what_to_install() -> None:
    command = [sys.executable, "-m", "bench", "--quick", "--only", "growth", "--check"]
    environment = {**os.environ, "PATH": "/nowhere"}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 1
    assert "needs wrk: apt-get install wrk" in done.stdout
