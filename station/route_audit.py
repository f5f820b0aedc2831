"""The audit at boot: every method of every route says who may call it, or Station does not start.

Each problem is one line: the handler and its method, where they are written, what is wrong, and what to do.
"""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import TYPE_CHECKING, Any

from station.handlers import BaseHandler
from station.plugin_manager import installed_plugins
from station.security import PUBLIC, enforcer_of, hides_its_demand, http_methods, security_of
from station.settings import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from tornado.web import RequestHandler

    from station.handlers import Route
    from station.security import SecurityScheme

__all__ = ["audit_routes"]


def audit_routes(rules: Sequence[Route], schemes: Mapping[str, SecurityScheme]) -> list[str]:
    """Find every method that declares nothing, or what nobody offers, and every handler that is not ours."""
    problems = []
    for rule in rules:
        handler, path = rule.handler_class, rule.regex.pattern.removesuffix("$")
        if not issubclass(handler, BaseHandler):
            problems.append(
                f"{_name(handler)} ({_place(handler)}) on {path} is no BaseHandler and would answer HTML: "
                "derive it from station.handlers.BaseHandler; if it is not yours, give its route a demand=."
            )
        for name, method in http_methods(handler):
            where = f"{_name(handler)}.{name.lower()} ({_place(method)}) on {path}"
            problems += [f"{where} {wrong}" for wrong in _wrong(method, schemes)]
    return problems


def _wrong(method: Callable[..., Any], schemes: Mapping[str, SecurityScheme]) -> Iterator[str]:
    """What is wrong with the demand of a method, and the remedy."""
    security = security_of(method)
    if hides_its_demand(method):
        yield (
            "hides its demand under another decorator, which may pass it by: move the decorator of Station "
            "above all others."
        )
    elif security is None:
        choices = ", ".join(scheme.decorator for scheme in schemes.values() if scheme.decorator)
        yield f"declares neither a demand nor @public: put one of {choices} or @public above it."
    elif security != PUBLIC:
        scheme = schemes.get(security.scheme)
        if scheme is None:
            yield f"demands {security.scheme}, which no plugin that is on offers: {_switch_on(method)}."
        elif scheme.scopes is not None:
            for scope in sorted(security.scopes - scheme.scopes.keys()):
                yield (
                    f"asks for the scope {scope}, which nothing declares: return it from the plugin's "
                    f"station_scopes, or correct it.{did_you_mean(scope, scheme.scopes)}"
                )


def _switch_on(method: Callable[..., Any]) -> str:
    """Which plugin the decorator of a method comes from, if it is installed."""
    module = getattr(enforcer_of(method), "__module__", "")
    for name, entry in installed_plugins().items():
        if module.startswith(f"{entry.module.rpartition('.')[0]}.") and "." in entry.module:
            return f"add {name} to STATION_PLUGINS"
    return "switch on the plugin that its decorator comes from, in STATION_PLUGINS"


def _name(handler: type[RequestHandler]) -> str:
    return f"{handler.__module__}.{handler.__qualname__}"


def _place(written: Callable[..., Any]) -> str:
    """The file and the line where a method begins, with its decorators, or a class."""
    unwrapped = inspect.unwrap(written)
    try:
        file, (_, line) = inspect.getsourcefile(unwrapped), inspect.getsourcelines(unwrapped)
    except (OSError, TypeError):  # nobody has written it down
        return "no file"
    path = Path(file or "")
    return f"{path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path}:{line}"
