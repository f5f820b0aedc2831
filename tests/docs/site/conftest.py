from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Protocol

import pytest

ROOT = Path(__file__).parents[3]


class Build(Protocol):
    """Builds the documentation of a repository into a directory."""

    def __call__(self, root: Path, directory: Path) -> subprocess.CompletedProcess[str]: ...


@pytest.fixture(scope="session")
def build() -> Build:
    """See `Build`."""

    def building(root: Path, directory: Path) -> subprocess.CompletedProcess[str]:
        # a setting of whoever builds it says nothing about the reference
        environ = os.environ | {"STATION_PLUGINS": "no-such-plugin"}
        command = [sys.executable, "-m", "docs.site", str(directory)]
        return subprocess.run(
            command, cwd=root, env=environ, capture_output=True, text=True, check=False, timeout=120
        )

    return building


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory, build: Build) -> Path:
    """The site, built by the command."""
    directory = tmp_path_factory.mktemp("docs") / "site"
    done = build(ROOT, directory)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    return directory
