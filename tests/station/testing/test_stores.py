"""The engines of tests keep their data in memory, where there is some to spare."""

from __future__ import annotations

from typing import TYPE_CHECKING

from station.testing.stores import in_memory

if TYPE_CHECKING:
    from pathlib import Path


def test_it_is_in_memory_and_gone_in_the_end(tmp_path: Path) -> None:
    memory, disk = tmp_path / "memory", tmp_path / "disk"
    memory.mkdir()
    with in_memory(disk, memory=memory) as directory:
        assert directory.parent == memory
        assert directory.stat().st_mode & 0o077 == 0
        (directory / "data").mkdir()
        (directory / "data" / "file").touch()
    assert list(memory.iterdir()) == []


def test_without_memory_it_is_where_it_was_told(tmp_path: Path) -> None:
    with in_memory(tmp_path, memory=tmp_path / "nowhere") as directory:
        assert directory == tmp_path


def test_a_small_memory_is_left_alone(tmp_path: Path) -> None:
    memory, disk = tmp_path / "memory", tmp_path / "disk"
    memory.mkdir()
    disk.mkdir()
    with in_memory(disk, memory=memory, room=2**60) as directory:
        assert directory.parent == disk
