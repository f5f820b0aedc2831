from __future__ import annotations

import dataclasses
import importlib
import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path


@dataclasses.dataclass(frozen=True)
class Telling:
    """A run of ``station demo`` whose temporary directory was made in ``directory``."""

    exit_status: int
    output: str
    errors: str
    directory: Path


@pytest.fixture(scope="module")
def telling(tmp_path_factory: pytest.TempPathFactory) -> Telling:
    directory = tmp_path_factory.mktemp("demo")
    done = subprocess.run(
        [sys.executable, "-m", "station", "demo"],
        env={"PATH": os.environ["PATH"], "TMPDIR": str(directory)},
        cwd=directory,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return Telling(done.returncode, done.stdout, done.stderr, directory)


def test_it_tells_the_whole_story_in_order(telling: Telling) -> None:
    assert (telling.exit_status, telling.errors) == (0, ""), telling.output
    requests = re.findall(r"^  > ([A-Z]+ \S+)$", telling.output, re.MULTILINE)
    statuses = re.findall(r"^  < (\d{3}) ", telling.output, re.MULTILINE)
    assert list(zip(requests, statuses, strict=True)) == [
        ("POST /oauth-clients", "201"),
        ("POST /auth/token", "200"),
        ("GET /demo/greeting", "200"),
        ("PUT /demo/greeting", "403"),
        ("POST /auth/revoke", "200"),
        ("GET /demo/greeting", "401"),
    ]


def test_secrets_and_tokens_are_shortened(telling: Telling) -> None:
    said = r'authorization: (?:Basic|Bearer) |"access_token": "|"clientSecret": "|> token='
    assert [len(value) for value in re.findall(rf"(?:{said})([\w-]+)\.\.\.", telling.output)] == 8 * [12]
    # a request id has 32 characters; a secret, a key and each long part of a token have more
    assert re.findall(r"[\w-]{33,}", telling.output) == []
    assert telling.output.count("x-internal-api-key: ********") == 1


def test_it_leaves_nothing_behind(telling: Telling) -> None:
    psutil = importlib.import_module("psutil")  # comes with the extra embedded
    processes = [process.info for process in psutil.process_iter(["cmdline", "cwd"])]
    assert not [info for info in processes if str(telling.directory) in str(info)]
    assert list(telling.directory.iterdir()) == []
