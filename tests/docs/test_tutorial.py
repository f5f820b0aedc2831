"""The tutorial is right as typed: docs/tour.md is the README's tour, which tests/test_newcomer.py takes."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Serve, Server

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


def blocks(page: Path, mark: str) -> list[str]:
    """The blocks of code of a page that are marked."""
    return re.findall(rf"^<!-- {mark} -->\n```\w+\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)


def test_the_tour_is_that_of_the_readme() -> None:
    assert blocks(DOCS / "tour.md", "tour") == blocks(ROOT / "README.md", "tour") != []


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory that looks like a clone in which ``make serve`` ran."""
    directory = tmp_path_factory.mktemp("clone")
    (directory / ".station").mkdir(mode=0o700)
    (directory / ".venv").symlink_to(sys.prefix)
    (directory / "examples").symlink_to(ROOT / "examples")
    return directory


@pytest.fixture(scope="module")
def served(serve: Serve, clone: Path) -> Iterator[Server]:
    with serve(clone / ".station", STATION_PLUGINS="oauth_m2m") as server:
        yield server


def test_the_first_bot_gets_in_and_is_stopped(served: Server, clone: Path) -> None:
    script = "\n".join(f"{block}echo '# next'" for block in blocks(DOCS / "first-bot.md", "bot"))
    done = subprocess.run(
        ["bash", "-e"],
        cwd=clone,
        env={"PATH": os.environ["PATH"], "STATION_URL": served.url},
        input=script,
        capture_output=True,
        text=True,
        check=False,
        timeout=150,
    )
    assert (done.returncode, done.stderr) == (0, "")
    registered, called, revoked, disabled, told, _ = done.stdout.split("# next\n")
    assert "my-bot" in registered
    *answers, tokens = called.split("\n", 3)
    assert [json.loads(answer)["client_id"] for answer in answers] == 3 * ["my-bot"]
    assert tokens.count("bot:api") == 1  # one token for three calls
    assert json.loads(revoked.splitlines()[-1])["client_id"] == "my-bot"
    assert "invalid_client" in disabled.splitlines()[-1]
    assert "client.disabled" in told
    assert "inactive" in told  # the reason that the bot was not told


def test_the_first_plugin_is_what_station_new_writes(tmp_path: Path) -> None:
    page = (DOCS / "first-plugin.md").read_text()
    done = subprocess.run(
        [sys.executable, "-m", "station", "new", "plugin", "depot"],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert (done.returncode, done.stderr) == (0, "")
    steps = re.findall(r"^  (\S.*)$", done.stdout, re.MULTILINE)
    assert len(steps) >= 4
    for step in steps:
        assert step.startswith("source ") or f"\n{step}\n" in page, step
    (handler,) = blocks(DOCS / "first-plugin.md", "scaffold")
    assert handler in (tmp_path / "depot" / "depot" / "handlers.py").read_text()
    for file in re.findall(r"^\| `(.*?)` \|", page, re.MULTILINE):
        assert (tmp_path / "depot" / file).exists(), file
