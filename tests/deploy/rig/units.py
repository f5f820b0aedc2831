"""Reading a unit of systemd: a section's settings, each with all its values in order."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

__all__ = ["read_unit"]


def read_unit(file: Path) -> dict[str, dict[str, list[str]]]:
    """The sections of a unit file."""
    return _sections(file.read_text().splitlines())


def _sections(lines: Iterable[str]) -> dict[str, dict[str, list[str]]]:
    sections: defaultdict[str, defaultdict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    section = ""
    for line in lines:
        if line.startswith("["):
            section = line.strip("[]")
        elif line.strip() and not line.startswith(("#", ";")):
            name, _, value = line.partition("=")
            sections[section][name].append(value)
    return {name: dict(settings) for name, settings in sections.items()}
