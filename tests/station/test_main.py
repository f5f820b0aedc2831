from __future__ import annotations

import subprocess
import sys

from station import __version__


def test_the_module_is_the_command() -> None:
    shown = subprocess.run(
        [sys.executable, "-m", "station", "--version"], capture_output=True, text=True, check=True, timeout=60
    )
    assert shown.stdout == f"station, version {__version__}\n"
