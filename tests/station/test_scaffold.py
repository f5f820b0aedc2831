"""What ``station new plugin`` writes is as clean as what is here, and no name that would do harm is taken."""

from __future__ import annotations

import importlib
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from station.errors import StationError
from station.scaffold import check_name, write_plugin

PYPROJECT = Path(__file__).parents[2] / "pyproject.toml"
LONGEST = "a_watch_in_the_night"


def run(directory: Path, module: str, *arguments: str, **environ: str) -> str:
    """Run one of the checks in the directory; what it says, if it says anything bad."""
    if importlib.util.find_spec(module) is None:
        pytest.skip(f"{module} is missing: pip install 'station[lint]'")
    command = [sys.executable, "-m", module, *arguments]
    done = subprocess.run(
        command,
        cwd=directory,
        env=os.environ | environ,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    return "" if done.returncode == 0 else done.stdout + done.stderr


@pytest.mark.parametrize("name", ["x", "night_watch", LONGEST])
def test_it_is_clean_by_our_rules_whatever_its_name(tmp_path: Path, name: str) -> None:
    directory = write_plugin(name, tmp_path)
    assert directory == tmp_path / name
    assert run(directory, "ruff", "check", "--config", str(PYPROJECT), ".") == ""
    assert run(directory, "ruff", "format", "--check", "--config", str(PYPROJECT), ".") == ""
    assert run(directory, "ruff", "check", ".") == ""  # and by its own
    assert "$" not in "".join(file.read_text() for file in (directory / name).iterdir())


def test_its_types_are_strict(tmp_path: Path) -> None:
    directory = write_plugin("night_watch", tmp_path)
    parts = [str(directory / part) for part in ("night_watch", "tests")]
    # here, where what `make types` has found out is remembered
    assert run(PYPROJECT.parent, "mypy", *parts, MYPYPATH=str(directory)) == ""


def test_all_files_are_there(tmp_path: Path) -> None:
    directory = write_plugin("night_watch", tmp_path / "new" / "place")
    files = {str(file.relative_to(directory)) for file in directory.rglob("*") if file.is_file()}
    assert files == {
        ".gitignore",
        "README.md",
        "night_watch/__init__.py",
        "night_watch/config.py",
        "night_watch/handlers.py",
        "night_watch/plugin.py",
        "night_watch/py.typed",
        "pyproject.toml",
        "tests/test_night_watch.py",
    }


@pytest.mark.parametrize(
    ("name", "because"),
    [
        ("Fleet", "small letters"),
        ("9lives", "small letters"),
        ("night-watch", "small letters"),
        ("night__watch", "small letters"),
        ("watch_", "small letters"),
        ("../watch", "small letters"),
        ("", "small letters"),
        (f"{LONGEST}s", "at most 20"),
        ("lambda", "is a word of Python's own"),
        ("auth", "A plugin with the name auth is there already"),
        ("oauth_m2m", "A plugin with the name oauth_m2m is there already"),
        ("email", "A module with the name email is installed already"),
        ("station", "A module with the name station is installed already"),
        ("plugins", "A module with the name plugins is installed already"),
        ("tornado", "A module with the name tornado is installed already"),
    ],
)
def test_a_name_that_would_do_harm_is_refused_in_a_sentence(tmp_path: Path, name: str, because: str) -> None:
    with pytest.raises(StationError, match=because) as refused:
        check_name(name)
    assert "\n" not in str(refused.value)
    with pytest.raises(StationError):
        write_plugin(name, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_nothing_that_is_there_is_touched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "watch").mkdir()
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()
    with pytest.raises(StationError, match=r"watch is there already; .* --into"):
        write_plugin("watch", tmp_path)
    assert list((tmp_path / "watch").iterdir()) == []


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StationError, match="cannot be written: Not a directory"):
        write_plugin("watch", tmp_path / "file")
