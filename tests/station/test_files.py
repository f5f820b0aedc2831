from __future__ import annotations

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from station.errors import ConfigError
from station.files import keep_secret, private_directory, private_file

if TYPE_CHECKING:
    from pathlib import Path


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_private_directory_is_made_once(tmp_path: Path) -> None:
    directory = tmp_path / "a" / "b"
    assert private_directory(directory) == directory
    assert mode(directory) == 0o700
    assert private_directory(directory) == directory


def test_a_secret_is_made_once_and_for_the_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "data" / "jwt.secret"
    umask = os.umask(0)
    try:
        secret = keep_secret(path)
    finally:
        os.umask(umask)
    assert len(secret) == 43
    assert mode(path) == 0o600
    assert mode(path.parent) == 0o700
    assert keep_secret(path) == secret
    assert keep_secret(tmp_path / "data" / "other.secret") != secret
    assert sorted(file.name for file in path.parent.iterdir()) == ["jwt.secret", "other.secret"]


def test_all_who_start_together_get_the_same_secret(tmp_path: Path) -> None:
    for attempt in range(20):
        path = tmp_path / f"{attempt}.secret"
        with ThreadPoolExecutor(8) as pool:
            secrets = set(pool.map(keep_secret, [path] * 8))
        assert len(secrets) == 1
    assert len(list(tmp_path.iterdir())) == 20  # no drafts are left


def test_a_directory_that_cannot_be_used_is_a_problem_of_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for make in (private_directory, lambda path: keep_secret(path / "jwt.secret")):
        with pytest.raises(ConfigError) as refused:
            make(tmp_path / "file")
        assert refused.value.problems == (
            "STATION_DATA_DIR must be a directory that Station may read and write: "
            f"{tmp_path / 'file'}: File exists.",
        )
    (tmp_path / "jwt.secret").mkdir()
    with pytest.raises(ConfigError, match="Is a directory"):
        keep_secret(tmp_path / "jwt.secret")


@pytest.mark.parametrize("content", [b"", b"\n", b"short-key\n"])
def test_a_secret_that_was_cut_short_is_refused_and_not_repeated(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "jwt.secret"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"jwt\.secret must hold at least 32 characters") as refused:
        keep_secret(path)
    assert "short-key" not in str(refused.value)
    assert path.read_bytes() == content


def test_a_private_file_appears_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "backup"
    path.write_text("before")
    umask = os.umask(0)
    try:
        with private_file(path) as file:
            file.write(b"after")
            file.flush()
            assert path.read_text() == "before"
    finally:
        os.umask(umask)
    assert path.read_text() == "after"
    assert mode(path) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_a_private_file_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "backup"
    path.write_text("before")
    with pytest.raises(RuntimeError), private_file(path) as file:  # noqa: PT012 - it fails half way
        file.write(b"half")
        raise RuntimeError
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]
