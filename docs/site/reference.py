"""The reference: pages that are made from the code, each time, and written by nobody."""

from __future__ import annotations

import inspect
import json
import os
import re
from typing import TYPE_CHECKING

import click

from docs.site.operations import operations_page
from plugins.oauth_m2m import hookspecs as oauth_m2m_hooks
from station import hookspecs as station_hooks
from station.app import make_app
from station.cli import main as station
from station.config import Config, load_plugins
from station.openapi.plugin import make_document
from station.settings import settings_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

__all__ = ["commands", "hooks", "reference_pages"]

_WIDTH = 100


def reference_pages() -> dict[str, str]:
    """Page or file of the site to its text; they say what holds for a Station without any settings."""
    forget_settings()
    document = json.loads(make_document(make_app(Config(env="test", jwt_secret="-" * 32))).body)
    return {
        "reference/hooks.md": _hooks_page(),
        "reference/commands.md": _commands_page(),
        "reference/operations.md": operations_page(document),
        "reference/openapi.json": json.dumps(document, indent=2) + "\n",
    }


def forget_settings() -> None:
    """Take the settings of whoever builds the site out of this process's environment."""
    sections = {"": Config, **load_plugins({}).sections()}
    for name, section in sections.items():
        for setting in settings_of(section, name):
            os.environ.pop(setting.env, None)


def hooks(module: ModuleType) -> Iterator[tuple[str, str, str]]:
    """Each hook of a module with its signature and its docstring."""
    for name, function in vars(module).items():
        if inspect.isfunction(function) and function.__module__ == module.__name__:
            signature = str(inspect.signature(function)).replace("'", "")  # annotations are texts
            yield name, f"def {name}{signature}", inspect.getdoc(function) or ""


def _hooks_page() -> str:
    text = "# Hooks\n\nEvery hook that a plugin can implement. [Writing a plugin](../plugins.md) shows how.\n"
    for module in (station_hooks, oauth_m2m_hooks):
        text += f"\n## `{module.__name__}`\n\n{_markdown(inspect.getdoc(module) or '')}\n"
        for name, signature, documented in hooks(module):
            text += f"\n### `{name}`\n\n```python\n{signature}\n```\n\n{_markdown(documented)}\n"
    return text


def _markdown(docstring: str) -> str:
    """A docstring, in which ``two backticks`` hold code and ``::`` introduces a block of it."""
    return re.sub(r"::$", ":", re.sub(r"``(.+?)``", r"`\1`", docstring), flags=re.MULTILINE)


def commands() -> Iterator[tuple[str, click.Command]]:
    """Every command of a Station without settings: ``station audit explain`` and the command itself."""
    yield from _below(station, click.Context(station, info_name="station"))


def _below(command: click.Command, context: click.Context) -> Iterator[tuple[str, click.Command]]:
    yield context.command_path, command
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            if (found := command.get_command(context, name)) and not found.hidden:
                yield from _below(found, click.Context(found, parent=context, info_name=name))


def _commands_page() -> str:
    text = (
        "# Command line\n\nWhat `--help` says. `station --config FILE COMMAND` reads another settings file.\n"
    )
    for path, command in commands():
        context = click.Context(command, info_name=path, terminal_width=_WIDTH, max_content_width=_WIDTH)
        text += f"\n## `{path}`\n\n```text\n{command.get_help(context)}\n```\n"
    return text
