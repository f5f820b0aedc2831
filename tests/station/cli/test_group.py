from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from station import __version__

if TYPE_CHECKING:
    from pathlib import Path

    from tests.station.cli.conftest import Station
    from tests.station.conftest import InstallPlugin

FLEET = """
import click
from station import hookimpl
from station.errors import ConfigError, NotFound, StartError, ValidationFailed

ERRORS = {
    "not-found": NotFound("There is no such bot."),
    "one": StartError(["The fleet is away."]),
    "two": StartError(["The fleet is away.", "So is the harbour."]),
    "config": ConfigError(["FLEET_SIZE must be small."]),
    "fields": ValidationFailed({"size": ["Too big.", "Odd."], "name": ["Missing."]}),
}

@click.command()
@click.argument("name", default="")
@click.pass_obj
def fleet(boot, name):
    "Sail."
    if name:
        raise ERRORS[name]
    click.echo(f"sailing in {boot.config.env}")

@hookimpl
def station_commands():
    return [fleet, click.Command("plugins")]
"""


def test_version(station: Station) -> None:
    assert station("--version").output == f"station, version {__version__}\n"


@pytest.mark.parametrize("option", ["--help", "-h"])
def test_help_lists_the_commands_of_the_core_and_makes_nothing(
    station: Station, working_directory: Path, option: str
) -> None:
    result = station(option)
    assert result.exit_code == 0
    for command in ("serve", "config", "plugins", "routes", "migrate", "users"):
        assert f"  {command}  " in result.output
    assert not list(working_directory.iterdir())


def test_a_plugin_adds_commands(station: Station, install_plugin: InstallPlugin) -> None:
    install_plugin("fleet", FLEET)
    assert "Sail." in station("--help", STATION_PLUGINS="fleet").output
    assert station("fleet", STATION_PLUGINS="fleet").output == "sailing in development\n"
    assert station("fleet").exit_code == 2


def test_the_cores_commands_are_not_replaced(station: Station, install_plugin: InstallPlugin) -> None:
    install_plugin("fleet", FLEET)
    assert "auth" in station("plugins", STATION_PLUGINS="fleet").output


def test_a_file_switches_plugins_on(station: Station, install_plugin: InstallPlugin, tmp_path: Path) -> None:
    install_plugin("fleet", FLEET)
    file = tmp_path / "other.toml"
    file.write_text('plugins = ["fleet"]\nenv = "test"\n')
    assert "Sail." in station("--config", str(file), "--help", STATION_PLUGINS="").output
    assert station("--config", str(file), "fleet", STATION_PLUGINS="").output == "sailing in test\n"


def test_a_broken_configuration_keeps_nobody_from_help(
    station: Station, install_plugin: InstallPlugin
) -> None:
    install_plugin("fleet", FLEET)
    broken = {"STATION_PLUGINS": "fleet,nonsense", "PORT": "x", "STATION_ENV": "production"}
    result = station("--help", **broken)
    assert result.exit_code == 0
    assert "serve" in result.output
    assert "Sail." in result.output
    assert station("serve", "--help", **broken).exit_code == 0


@pytest.mark.parametrize(
    "command",
    [
        ["serve"],
        ["config"],
        ["plugins"],
        ["routes"],
        ["migrate", "up"],
        ["migrate", "down"],
        ["fleet"],
        ["unknown"],
    ],
)
def test_every_command_says_what_is_wrong_with_the_configuration(
    station: Station, install_plugin: InstallPlugin, working_directory: Path, command: list[str]
) -> None:
    install_plugin("fleet", FLEET)
    result = station(*command, STATION_PLUGINS="fleet,nonsense", PORT="x")
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.splitlines() == [
        "The configuration is wrong:",
        "  - PORT must be a whole number from 0 to 65535. It is: The port to listen on.",
        "  - STATION_PLUGINS names nonsense, which no installed distribution offers in the entry point group "
        "station.plugins.",
    ]
    assert not list(working_directory.iterdir())


def test_an_unknown_command_is_wrong_usage(station: Station) -> None:
    result = station("fleet")
    assert result.exit_code == 2
    assert "No such command 'fleet'" in result.stderr


@pytest.mark.parametrize(
    ("name", "code", "message"),
    [
        ("not-found", 1, ["Error: There is no such bot."]),
        ("one", 1, ["Error: The fleet is away."]),
        ("two", 1, ["Station cannot start:", "  - The fleet is away.", "  - So is the harbour."]),
        ("config", 2, ["The configuration is wrong:", "  - FLEET_SIZE must be small."]),
        (
            "fields",
            1,
            [
                "Error: The request has invalid fields: name, size.",
                "  - size: Too big. Odd.",
                "  - name: Missing.",
            ],
        ),
    ],
)
def test_errors_of_station_leave_as_sentences(
    station: Station, install_plugin: InstallPlugin, name: str, code: int, message: list[str]
) -> None:
    install_plugin("fleet", FLEET)
    result = station("fleet", name, STATION_PLUGINS="fleet")
    assert result.exit_code == code
    assert result.stdout == ""
    assert result.stderr.splitlines() == message


def test_a_plugin_whose_commands_fail_is_named(station: Station, install_plugin: InstallPlugin) -> None:
    install_plugin("fleet", FLEET.replace("return [", "return 1 / 0, ["))
    helped = station("--help", STATION_PLUGINS="fleet")
    assert helped.exit_code == 0
    assert "  serve  " in helped.stdout
    assert helped.stderr.startswith("Error: The plugin fleet failed in station_commands: ZeroDivisionError")
    result = station("fleet", STATION_PLUGINS="fleet")
    assert result.exit_code == 1
    assert result.stderr == helped.stderr
    assert station("plugins", STATION_PLUGINS="fleet").exit_code == 0


def test_an_argument_that_is_no_text_is_a_sentence(station: Station) -> None:
    refused = station("oauth-clients", "register", "bot", "--name", "caf\udce9")
    assert refused.exit_code == 2
    assert refused.stderr.splitlines()[-1] == r"Error: Argument 5 is not UTF-8: 'caf\udce9'."
