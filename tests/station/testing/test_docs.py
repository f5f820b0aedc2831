"""The example of docs/testing.md is a test file that passes as it stands."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from station.testing import plugin

if TYPE_CHECKING:
    from collections.abc import Mapping

PAGE = (Path(__file__).parents[3] / "docs" / "testing.md").read_text()

STORES = """
import pytest

@pytest.fixture(scope="session")
def station_stores():
    return {}
"""


def test_the_example_runs(tmp_path: Path, station_stores: Mapping[str, str]) -> None:
    found = re.search(r"<!-- a test runs this -->\n```python\n(.*?)```", PAGE, re.DOTALL)
    assert found is not None
    (tmp_path / "test_notes.py").write_text(found[1])
    # the engines of this run, to save the two seconds that they take to start
    (tmp_path / "conftest.py").write_text(STORES.format(station_stores))
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:schemathesis"]
    environ = {"PATH": os.environ["PATH"]}
    done = subprocess.run(
        command, cwd=tmp_path, env=environ, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{found[1].count('def test_')} passed" in done.stdout


def test_every_fixture_is_explained() -> None:
    fixtures = {
        name for name, value in vars(plugin).items() if type(value).__name__ == "FixtureFunctionDefinition"
    }
    assert len(fixtures) == 9
    for fixture in fixtures:
        assert f"| `{fixture}` |" in PAGE, fixture
