"""The plugin host: one pluggy manager per application, never a module global.

pluggy calls the last registered plugin first; `PluginHost.call` calls the hooks in the order of
registration and says which plugin gave which result.
"""

from __future__ import annotations

import dataclasses
import traceback
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any

import pluggy

from station import __version__, hookspecs
from station.errors import StartError, StationError
from station.settings import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["PluginHost", "PluginInfo", "installed_plugins"]

GROUP = "station.plugins"


def installed_plugins() -> dict[str, EntryPoint]:
    """The plugins that installed distributions offer, by name; none is imported."""
    return {entry.name: entry for entry in entry_points(group=GROUP)}


@dataclasses.dataclass(frozen=True, slots=True)
class PluginInfo:
    """A row of ``station plugins``; ``hooks`` is empty for a plugin that is off, which is not imported."""

    name: str
    version: str
    enabled: bool
    hooks: tuple[str, ...]


class PluginHost:
    """The plugins of one application, in order: the core's own, those configured, those passed in."""

    def __init__(self) -> None:
        self._manager = pluggy.PluginManager("station")
        self._manager.add_hookspecs(hookspecs)
        self._names: list[str] = []
        self._specified = [hook for hook in vars(hookspecs) if hook.startswith("station_")]

    @classmethod
    def load(
        cls, names: Sequence[str], *, extra: Sequence[object] = (), problems: list[str] | None = None
    ) -> PluginHost:
        """Load the core's plugins, then ``names`` from the entry points, then the objects in ``extra``.

        Unknown names, failing imports and misspelt hooks are appended to ``problems``, or raise one
        `StartError`.
        """
        from station import health  # noqa: PLC0415 - the core's own plugins import the core
        from station.audit import plugin as audit  # noqa: PLC0415
        from station.auth import plugin as auth  # noqa: PLC0415
        from station.metrics import plugin as metrics  # noqa: PLC0415
        from station.openapi import plugin as openapi  # noqa: PLC0415

        found: list[str] = [] if problems is None else problems
        host = cls()
        host._register(auth, "auth", found)
        host._register(health, "health", found)
        host._register(audit, "audit", found)
        host._register(openapi, "openapi", found)
        host._register(metrics, "metrics", found)
        installed = installed_plugins()
        for name in names:
            if name not in installed:
                found.append(
                    f"STATION_PLUGINS names {name}, which no installed distribution offers in the entry "
                    f"point group {GROUP}.{did_you_mean(name, installed)}"
                )
                continue
            host._import(installed[name], found)
        for plugin in extra:
            host._register(plugin, str(getattr(plugin, "__name__", type(plugin).__name__)), found)
        host._check_hooks(found)
        if problems is None and found:
            raise StartError(found)
        return host

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the plugins that are on, in order."""
        return tuple(self._names)

    def call(self, hook: str, **arguments: Any) -> dict[str, Any]:
        """Call a hook on every plugin that implements it: plugin name to result, in order."""
        return {
            name: result
            for name in self._names
            if (result := self.call_one(name, hook, **arguments)) is not None
        }

    def call_one(self, name: str, hook: str, **arguments: Any) -> Any:
        """Call a hook on one plugin; None if it does not implement it.

        An error in the hook becomes a `StartError` that says where it happened.
        """
        others = [plugin for other, plugin in self._manager.list_name_plugin() if other != name]
        caller = self._manager.subset_hook_caller(hook, others)
        try:
            results = caller(**arguments)
        except StationError:
            raise
        except Exception as error:
            raise StartError([f"The plugin {name} failed in {hook}: {_describe(error)}."]) from error
        return results[0] if results else None

    def sections(self, problems: list[str] | None = None) -> dict[str, type]:
        """The settings dataclasses of the plugins, by plugin name.

        A plugin that fails to say is appended to ``problems``, or raises `StartError`.
        """
        found: list[str] = [] if problems is None else problems
        declared: dict[str, type] = {}
        for name in self._names:
            try:
                section = self.call_one(name, "station_settings")
            except StartError as error:
                found += error.problems
                continue
            if isinstance(section, type) and dataclasses.is_dataclass(section):
                declared[name] = section
            elif section is not None:
                found.append(f"The plugin {name} must return a dataclass from station_settings.")
        if problems is None and found:
            raise StartError(found)
        return declared

    def scopes(self) -> dict[str, str]:
        """The scopes that all plugins declare: name to description."""
        declared: dict[str, str] = {}
        for scopes in self.call("station_scopes").values():
            declared |= scopes
        return declared

    def infos(self) -> list[PluginInfo]:
        """Every plugin that is on, in order, then those that are installed and off."""
        installed = installed_plugins()
        on = [
            PluginInfo(name, _version(installed.get(name)), enabled=True, hooks=self._hooks(name))
            for name in self._names
        ]
        off = [
            PluginInfo(name, _version(entry), enabled=False, hooks=())
            for name, entry in sorted(installed.items())
            if name not in self._names
        ]
        return on + off

    def _import(self, entry: EntryPoint, problems: list[str]) -> None:
        try:
            plugin = entry.load()
        except Exception as error:
            problems.append(f"The plugin {entry.name} cannot be imported: {_describe(error)}.")
            return
        self._register(plugin, entry.name, problems)

    def _register(self, plugin: object, name: str, problems: list[str]) -> None:
        if name in self._names:
            problems.append(f"The plugin {name} is switched on twice.")
            return
        try:
            self._manager.register(plugin, name)
        except pluggy.PluginValidationError as error:
            problems.append(f"The plugin {name} implements a hook wrongly: {_one_line(error)}")
            return
        except ValueError:
            problems.append(f"The plugin {name} is the same module as another plugin that is on.")
            return
        self._names.append(name)
        self._declare_hooks(name, problems)

    def _declare_hooks(self, name: str, problems: list[str]) -> None:
        """Take in the hooks that a plugin declares itself."""
        try:
            module = self.call_one(name, "station_hookspecs")
            if module is None:
                return
            self._manager.add_hookspecs(module)
        except StartError as error:
            problems += error.problems
            return
        except (ValueError, pluggy.PluginValidationError) as error:
            problems.append(f"The hooks that the plugin {name} declares are refused: {_one_line(error)}.")
            return
        declared = self._manager.parse_hookspec_opts
        self._specified += [hook for hook in vars(module) if declared(module, hook) is not None]

    def _check_hooks(self, problems: list[str]) -> None:
        """Find misspelt hooks and forgotten decorators, once every plugin has declared its hooks."""
        for name in self._names:
            plugin, implemented = self._manager.get_plugin(name), self._hooks(name)
            problems += [
                f"The plugin {name} implements {hook}, which is not a hook of Station or of a plugin that is "
                f"on.{did_you_mean(hook, self._specified)}"
                for hook in implemented
                if hook not in self._specified and not self._is_optional(plugin, hook)
            ]
            problems += [
                f"The plugin {name} defines {hook} without @hookimpl, so that it is never called."
                for hook in self._specified
                if hook not in implemented and callable(getattr(plugin, hook, None))
            ]

    def _is_optional(self, plugin: object, hook: str) -> bool:
        """Whether a plugin says that it can do without the plugin that declares the hook."""
        options = self._manager.parse_hookimpl_opts(plugin, hook)
        return bool(options and options.get("optionalhook"))

    def _hooks(self, name: str) -> tuple[str, ...]:
        callers = self._manager.get_hookcallers(self._manager.get_plugin(name)) or []
        return tuple(sorted(caller.name for caller in callers))


def _describe(error: Exception) -> str:
    """Say in a phrase what went wrong, and in which line of the plugin."""
    phrase = f"{type(error).__name__}: {_one_line(error)}"
    frames = traceback.extract_tb(error.__traceback__)
    places = [frame for frame in frames if frame.filename != __file__ and "importlib" not in frame.filename]
    return f"{phrase} ({places[-1].filename}, line {places[-1].lineno})" if places else phrase


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def _version(entry: EntryPoint | None) -> str:
    return entry.dist.version if entry is not None and entry.dist is not None else __version__
