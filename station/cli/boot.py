"""What a command has in its hands: the configuration, the plugins, and a way to run the application."""

from __future__ import annotations

import asyncio
import logging
import os
from functools import cached_property
from typing import TYPE_CHECKING, TypeVar

from station.app import make_app
from station.audit import Actor, acting
from station.config import load_config, load_plugins
from station.logging import configure_logging

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from pathlib import Path

    import click

    from station.app import Application
    from station.config import Config
    from station.plugin_manager import PluginHost

__all__ = ["Boot"]

T = TypeVar("T")


class Boot:
    """The object of every click context (``@click.pass_obj``).

    ``file`` is the settings file that was asked for, ``overrides`` are settings by field that options of
    the command line replace. Nothing is read before it is needed.
    """

    def __init__(self, file: Path | None = None, overrides: Mapping[str, object] | None = None) -> None:
        self.file = file
        self.overrides = dict(overrides or {})

    @cached_property
    def config(self) -> Config:
        """The configuration; raises `station.errors.ConfigError` with all that is wrong."""
        return load_config(os.environ, file=self.file, overrides=self.overrides)

    @cached_property
    def plugins(self) -> PluginHost:
        """The plugins that are on, as far as they can be loaded, whatever else is wrong."""
        return load_plugins(os.environ, file=self.file)

    @cached_property
    def commands(self) -> dict[str, click.Command]:
        """The commands that plugins add, by name; raises `station.errors.StartError` if a plugin fails to."""
        added = self.plugins.call("station_commands").values()
        return {str(command.name): command for own in added for command in own}

    def override(self, **overrides: object) -> Boot:
        """The same with these settings replaced; None and blank text replace nothing."""
        given = {key: value for key, value in overrides.items() if value not in (None, "")}
        return Boot(self.file, self.overrides | given)

    def run(self, work: Callable[[Application], Awaitable[T]], *, migrate: bool = True) -> T:
        """Run ``work`` in an application whose lifespan is open, and return what it returns.

        ``migrate=False`` is for commands about the migrations themselves.
        """
        configure_logging(self.config.env, logging.WARNING)
        app = make_app(self.config)

        async def run() -> T:
            async with app.lifespan(migrate=migrate, serving=False):
                with acting(Actor.cli()):
                    return await work(app)

        return asyncio.run(run())
