"""A way to install plugins for one test."""

from __future__ import annotations

import sys
import uuid
from typing import TYPE_CHECKING, Protocol

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class InstallPlugin(Protocol):
    """Install a distribution (version 1.2) with a plugin of this text; returns the name of its module."""

    def __call__(self, name: str, text: str = "") -> str: ...


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory on the import path."""
    directory = tmp_path / "site"
    directory.mkdir()
    monkeypatch.syspath_prepend(str(directory))
    return directory


@pytest.fixture
def install_plugin(site: Path) -> Iterator[InstallPlugin]:
    """See `InstallPlugin`."""
    installed = []

    def install(name: str, text: str = "") -> str:
        module = f"{name}_{uuid.uuid4().hex}"
        (site / f"{module}.py").write_text(text)
        metadata = site / f"station_{name}-1.2.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: station-{name}\nVersion: 1.2\n")
        (metadata / "entry_points.txt").write_text(f"[station.plugins]\n{name} = {module}\n")
        installed.append(module)
        return module

    yield install
    for module in installed:
        sys.modules.pop(module, None)
