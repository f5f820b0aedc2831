"""The import directions of docs/architecture.md: who may import whom."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]

# what a plugin may import from station, beside names that are used as types only
FOR_PLUGINS = {
    "station.hookimpl",
    "station.hookspec",
    "station.__version__",
    "station.errors",
    "station.security",
    "station.settings",
    "station.table",
    "station.handlers",
    "station.health",
    "station.passwords",
    "station.throttle",
    "station.keys",
    "station.audit",
    "station.background",
    "station.clock",
    "station.backup",
    "station.connections",
    "station.messages",
    "station.metrics",
    "station.openapi",
    "station.migrations",
    "station.auth.user_authenticated",
    "station.auth.admin_authenticated",
    "station.auth.sessions",
}
AS_TYPES_ONLY = {"station.config", "station.app", "station.resources", "station.cli"}

# which modules, or packages of that name, may import a library
ONLY_IN = {
    "motor": {"stores", "resources", "throttle", "migrations", "audit"},
    "pymongo": {"stores", "resources", "streams", "throttle", "migrations", "audit"},
    "bson": {"stores", "resources", "throttle", "migrations", "audit"},
    "redis": {"stores", "resources", "throttle", "pipeline", "redis_client", "migrations", "audit"},
    "jwt": {"tokens", "keyring"},
    "bcrypt": {"passwords"},
    "prometheus_client": {"metrics"},
    "opentelemetry": {"tracing"},
}

# the layers of the plugin: a module imports only from those after it
LAYERS = (
    {"plugin"},
    {"commands", "handlers", "console", "metrics"},
    {"conformance"},
    {"decorators", "client_handler", "impact"},
    {"services"},
    {"connections"},
    {
        "backup",
        "declarations",
        "authentication",
        "clients",
        "tokens",
        "rotation",
        "uses",
        "live_tokens",
        "usage",
        "processes",
    },
    {"mirror", "memory"},
    {"keyring", "discovery", "extensions", "hookspecs"},
    {"stores"},
    {"usage_schemas"},
    {"schemas", "answers", "oauth_schemas", "hashes", "cursors", "secret_format"},
    {"client_fields"},
    {"models", "config"},
    {"credentials"},
    {"parameters", "scope"},
    {"errors"},
    {"reasons"},
)


def modules(package: str) -> Iterator[tuple[str, ast.Module]]:
    for file in sorted((ROOT / package).rglob("*.py")):
        dotted = ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        yield dotted, ast.parse(file.read_text())


def imports(tree: ast.Module, *, types: bool = False) -> Iterator[str]:
    """The dotted names that a module imports when it runs, or under TYPE_CHECKING."""
    for node, for_types in _walk(tree, for_types=False):
        if for_types != types:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _walk(node: ast.AST, *, for_types: bool) -> Iterator[tuple[ast.AST, bool]]:
    yield node, for_types
    inside = isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    for child in ast.iter_child_nodes(node):
        yield from _walk(child, for_types=for_types or inside)


def all_modules() -> list[tuple[str, ast.Module]]:
    return [*modules("station"), *modules("plugins")]


def within(name: str, allowed: set[str]) -> bool:
    return any(name == one or name.startswith(f"{one}.") for one in allowed)


def test_station_never_imports_plugins() -> None:
    for module, tree in modules("station"):
        for name in [*imports(tree), *imports(tree, types=True)]:
            assert not within(name, {"plugins"}), f"{module} imports {name}"


def test_a_plugin_imports_from_station_what_is_meant_for_plugins() -> None:
    for module, tree in modules("plugins"):
        for name in imports(tree):
            assert not within(name, {"station"}) or within(name, FOR_PLUGINS), f"{module} imports {name}"
        for name in imports(tree, types=True):
            allowed = FOR_PLUGINS | AS_TYPES_ONLY
            assert not within(name, {"station"}) or within(name, allowed), f"{module} imports {name}"


@pytest.mark.parametrize("library", ONLY_IN)
def test_a_library_stays_in_its_modules(library: str) -> None:
    for module, tree in all_modules():
        if not ONLY_IN[library] & set(module.split(".")[1:]):
            assert not any(within(name, {library}) for name in imports(tree)), f"{module} imports {library}"


def test_the_plugins_layers_point_one_way() -> None:
    layer_of = {name: depth for depth, names in enumerate(LAYERS) for name in names}
    for module, tree in modules("plugins/oauth_m2m"):
        parts = module.split(".")
        if len(parts) < 3 or parts[2] == "migrations":
            continue
        for name in imports(tree):
            target = name.split(".")
            if target[:2] == ["plugins", "oauth_m2m"] and len(target) > 2 and target[2] in layer_of:
                same = target[2] == parts[2]
                assert same or layer_of[parts[2]] < layer_of[target[2]], f"{module} imports {name}"


def test_the_conformance_rules_know_nothing_of_station() -> None:
    """The server under test may be any: names of scopes and paths are all that they take from the plugin."""
    allowed = {f"plugins.oauth_m2m.{name}" for name in ("conformance", "discovery", "scope")}
    for module, tree in modules("plugins/oauth_m2m/conformance"):
        for name in [*imports(tree), *imports(tree, types=True)]:
            ours = within(name, {"plugins", "station"})
            assert not ours or within(name, allowed), f"{module} imports {name}"


def test_every_module_of_the_plugin_has_a_layer() -> None:
    known = {"plugins", "plugins.oauth_m2m", "plugins.oauth_m2m.migrations"}
    layers = set().union(*LAYERS)
    for module, _ in modules("plugins/oauth_m2m"):
        assert module in known or module.split(".")[2] in layers, f"{module} has no layer"
