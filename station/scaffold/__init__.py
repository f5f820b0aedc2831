"""``station new``: the files that a plugin begins with, written from the templates beside this module."""

from __future__ import annotations

import importlib.util
import keyword
import re
import sys
from importlib import resources
from string import Template
from typing import TYPE_CHECKING

from station import __version__
from station.errors import StationError
from station.plugin_manager import PluginHost, installed_plugins

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["check_name", "write_plugin"]

_NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
_LONGEST = 20
_FILES = {
    "README.md": "README.md",
    "pyproject.toml": "pyproject.toml",
    ".gitignore": "gitignore",
    "$name/__init__.py": "__init__.py",
    "$name/config.py": "config.py",
    "$name/handlers.py": "handlers.py",
    "$name/plugin.py": "plugin.py",
    "$name/py.typed": "py.typed",
    "tests/test_$name.py": "test_plugin.py",
}


def check_name(name: str) -> None:
    """Raise `StationError` unless a plugin may have this name: it is a package, and a section of settings."""
    if not _NAME.fullmatch(name) or len(name) > _LONGEST:
        raise StationError(
            f"A plugin's name is at most {_LONGEST} small letters, digits and single underscores and begins "
            f"with a letter, such as fleet or house_rules; {name!r} is not."
        )
    if keyword.iskeyword(name):
        raise StationError(f"{name} is a word of Python's own; choose another name.")
    if name in PluginHost.load(()).names or name in installed_plugins():
        raise StationError(f"A plugin with the name {name} is there already; choose another name.")
    if name in sys.stdlib_module_names or importlib.util.find_spec(name) is not None:
        raise StationError(f"A module with the name {name} is installed already; choose another name.")


def write_plugin(name: str, into: Path) -> Path:
    """Write the plugin into a new directory of its name and return that; `StationError` if it cannot."""
    directory = into / name
    if directory.exists():  # first: where a directory is on the import path, it is a module as well
        raise StationError(
            f"{directory} is there already; choose another name, or another place with --into."
        )
    check_name(name)
    words = {
        "name": name,
        "Name": "".join(word.capitalize() for word in name.split("_")),
        "NAME": name.upper(),
        "dashed": name.replace("_", "-"),
        "version": __version__,
    }
    templates = resources.files(__name__) / "plugin"
    try:
        for target, template in _FILES.items():
            file = directory / Template(target).substitute(words)
            file.parent.mkdir(parents=True, exist_ok=True)
            text = (templates / f"{template}.tmpl").read_text(encoding="utf-8")
            file.write_text(Template(text).substitute(words), encoding="utf-8")
    except OSError as error:
        raise StationError(f"{directory} cannot be written: {error.strerror}.") from error
    return directory
