from __future__ import annotations

import sys
import types
from typing import TYPE_CHECKING, Any

import pytest

from station import __version__, hookimpl, hookspec
from station.errors import NotFound, StartError
from station.plugin_manager import PluginHost, PluginInfo, installed_plugins

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.station.conftest import InstallPlugin

SCOPES = """
from station import hookimpl

@hookimpl
def station_scopes():
    return {"%s:read": "Read", "all": "By %s"}
"""

NO_HOOK = "which is not a hook of Station or of a plugin that is on."


def plugin(name: str, **hooks: Callable[..., Any]) -> types.ModuleType:
    """A plugin with these hooks."""
    module = types.ModuleType(name)
    for hook, function in hooks.items():
        setattr(module, hook, hookimpl(function))
    return module


def problems_of(*names: str, extra: tuple[object, ...] = ()) -> list[str]:
    problems: list[str] = []
    PluginHost.load(names, extra=extra, problems=problems)
    return problems


def test_plugins_come_in_order_the_core_first(install_plugin: InstallPlugin) -> None:
    for name in ("alpha", "beta"):
        install_plugin(name, SCOPES % (name, name))
    extra = plugin("extra", station_scopes=lambda: {"all": "By extra"})
    host = PluginHost.load(["beta", "alpha"], extra=[extra])
    assert host.names == ("auth", "health", "audit", "openapi", "metrics", "beta", "alpha", "extra")
    assert list(host.call("station_scopes")) == ["beta", "alpha", "extra"]
    assert host.scopes() == {"beta:read": "Read", "alpha:read": "Read", "all": "By extra"}


def test_a_hook_is_called_with_the_arguments_that_it_takes() -> None:
    one = plugin("one", station_security_schemes=lambda settings: [settings])
    two = plugin("two", station_security_schemes=lambda scopes, settings: [scopes, settings])
    host = PluginHost.load([], extra=[one, two])
    assert host.call_one("one", "station_security_schemes", settings=1, scopes=2) == [1]
    assert host.call_one("two", "station_security_schemes", settings=1, scopes=2) == [2, 1]
    assert host.call_one("one", "station_scopes") is None


def test_every_application_has_a_manager_of_its_own() -> None:
    PluginHost.load([], extra=[plugin("one", station_scopes=lambda: {"a": "A"})])
    assert PluginHost.load([]).scopes() == {}


def test_a_plugin_that_is_off_is_not_imported(install_plugin: InstallPlugin) -> None:
    module = install_plugin("dormant", "raise RuntimeError('imported')")
    host = PluginHost.load([])
    assert "dormant" in installed_plugins()
    assert PluginInfo("dormant", "1.2", enabled=False, hooks=()) in host.infos()
    assert module not in sys.modules


def test_infos_list_what_is_on_then_what_is_off(install_plugin: InstallPlugin) -> None:
    install_plugin("alpha", SCOPES % ("alpha", "alpha"))
    install_plugin("zeta")
    infos = PluginHost.load(["alpha"]).infos()
    assert [info.name for info in infos][:6] == ["auth", "health", "audit", "openapi", "metrics", "alpha"]
    assert infos[1] == PluginInfo(
        "health", __version__, enabled=True, hooks=("station_handlers", "station_health_checks")
    )
    assert infos[5] == PluginInfo("alpha", "1.2", enabled=True, hooks=("station_scopes",))
    assert {info.name for info in infos[6:]} == installed_plugins().keys() - {"alpha"}
    assert not any(info.enabled or info.hooks for info in infos[6:])


def test_everything_wrong_is_one_error(install_plugin: InstallPlugin) -> None:
    install_plugin("fleet")
    with pytest.raises(StartError) as refused:
        PluginHost.load(["fleat", "fleet", "fleet", "xyz"])
    assert refused.value.problems == (
        "STATION_PLUGINS names fleat, which no installed distribution offers in the entry point group "
        "station.plugins. Did you mean fleet?",
        "The plugin fleet is switched on twice.",
        "STATION_PLUGINS names xyz, which no installed distribution offers in the entry point group "
        "station.plugins.",
    )


def test_the_core_is_not_switched_on_twice() -> None:
    assert problems_of(extra=(plugin("health"),)) == ["The plugin health is switched on twice."]


def test_one_module_under_two_names_is_a_problem(install_plugin: InstallPlugin) -> None:
    module = install_plugin("fleet")
    assert problems_of("fleet", extra=(plugin("other"),)) == []
    __import__(module)
    assert problems_of("fleet", extra=(sys.modules[module],)) == [
        f"The plugin {module} is the same module as another plugin that is on."
    ]


def test_a_failing_import_is_a_problem_with_its_place(install_plugin: InstallPlugin) -> None:
    module = install_plugin("fleet", "import station\n\nimport no_such_module\n")
    problems = problems_of("fleet")
    assert len(problems) == 1
    assert problems[0].startswith(
        "The plugin fleet cannot be imported: ModuleNotFoundError: No module named 'no_such_module' ("
    )
    assert problems[0].endswith(f"/{module}.py, line 3).")


def test_an_entry_point_to_nowhere_is_a_problem(install_plugin: InstallPlugin) -> None:
    module = install_plugin("fleet", "def broken(:\n")
    (problem,) = problems_of("fleet")
    assert problem.startswith("The plugin fleet cannot be imported: SyntaxError: ")
    assert f"{module}.py, line 1" in problem


def test_a_misspelt_hook_is_a_problem() -> None:
    assert problems_of(extra=(plugin("one", station_handlerz=lambda: [1], station_zzz=lambda: [1]),)) == [
        f"The plugin one implements station_handlerz, {NO_HOOK} Did you mean station_handlers?",
        f"The plugin one implements station_zzz, {NO_HOOK} Did you mean station_scopes?",
    ]


def test_an_argument_that_a_hook_does_not_have_is_a_problem() -> None:
    wrong = plugin("one", station_handlers=lambda app, colour: [app, colour])
    right = plugin("two", station_scopes=lambda: {"a": "A"})
    problems: list[str] = []
    host = PluginHost.load([], extra=[wrong, right], problems=problems)
    assert len(problems) == 1
    assert problems[0].startswith("The plugin one implements a hook wrongly: ")
    assert "'colour'" in problems[0]
    assert "\n" not in problems[0]
    assert host.names == ("auth", "health", "audit", "openapi", "metrics", "two")
    assert host.scopes() == {"a": "A"}


def test_a_forgotten_hookimpl_is_a_problem() -> None:
    forgetful = plugin("one")
    forgetful.station_scopes = dict  # type: ignore[attr-defined] # what a module does
    assert problems_of(extra=(forgetful,)) == [
        "The plugin one defines station_scopes without @hookimpl, so that it is never called."
    ]


def test_an_error_in_a_hook_names_the_plugin_and_the_place() -> None:
    def station_scopes() -> dict[str, str]:
        raise KeyError("size")

    host = PluginHost.load([], extra=[plugin("one", station_scopes=station_scopes)])
    with pytest.raises(StartError, match=r"^The plugin one failed in station_scopes: KeyError") as failed:
        host.scopes()
    assert __file__ in str(failed.value)
    assert isinstance(failed.value.__cause__, KeyError)


def test_an_error_of_station_leaves_a_hook_as_it_is() -> None:
    def station_scopes() -> dict[str, str]:
        raise NotFound("gone")

    host = PluginHost.load([], extra=[plugin("one", station_scopes=station_scopes)])
    with pytest.raises(NotFound):
        host.scopes()


def test_settings_that_are_no_dataclass_are_a_problem() -> None:
    one = plugin("one", station_settings=lambda: dict)
    two = plugin("two", station_settings=lambda: 1 / 0)
    host = PluginHost.load([], extra=[one, two])
    problems: list[str] = []
    assert host.sections(problems) == {}
    assert problems[0] == "The plugin one must return a dataclass from station_settings."
    assert problems[1].startswith("The plugin two failed in station_settings: ZeroDivisionError")
    with pytest.raises(StartError):
        host.sections()


def declaring(name: str, hook: str, function: Callable[..., Any]) -> types.ModuleType:
    """A plugin that declares a hook."""
    module = types.ModuleType(f"{name}_hooks")
    setattr(module, hook, hookspec(function))
    return plugin(name, station_hookspecs=lambda: module)


def fleet_names(app: object) -> list[str]:
    """The hook of the tests."""
    return [str(app)]


@pytest.mark.parametrize("first", ["fleet", "one"])
def test_a_plugin_may_declare_hooks_that_others_implement(first: str) -> None:
    fleet = declaring("fleet", "fleet_names", fleet_names)
    one = plugin("one", fleet_names=lambda app: [app])
    two = plugin("two", fleet_names=lambda: ["two"])
    extra = [fleet, one, two] if first == "fleet" else [one, fleet, two]
    host = PluginHost.load([], extra=extra)
    assert host.call("fleet_names", app=1) == {"one": [1], "two": ["two"]}


def test_the_hooks_of_a_plugin_are_held_to_the_same_rules() -> None:
    forgetful = plugin("forgetful")
    forgetful.fleet_names = fleet_names  # type: ignore[attr-defined] # what a module does
    problems = problems_of(
        extra=(
            declaring("fleet", "fleet_names", fleet_names),
            plugin("misspelt", fleet_name=lambda: None),
            plugin("wrong", fleet_names=lambda colour: colour),
            forgetful,
        )
    )
    assert "'colour'" in problems[0]
    assert problems[1:] == [
        f"The plugin misspelt implements fleet_name, {NO_HOOK} Did you mean fleet_names?",
        "The plugin forgetful defines fleet_names without @hookimpl, so that it is never called.",
    ]


def test_the_hook_of_a_plugin_that_is_off_must_be_optional() -> None:
    assert problems_of(extra=(plugin("one", fleet_names=lambda: None),)) == [
        f"The plugin one implements fleet_names, {NO_HOOK}"
    ]
    module = types.ModuleType("two")
    module.fleet_names = hookimpl(optionalhook=True)(fleet_names)  # type: ignore[attr-defined] # as above
    assert problems_of(extra=(module,)) == []


def test_a_hook_cannot_be_declared_twice() -> None:
    [problem] = problems_of(extra=(declaring("fleet", "station_scopes", fleet_names),))
    assert problem.startswith("The hooks that the plugin fleet declares are refused: ")
    assert "station_scopes" in problem
