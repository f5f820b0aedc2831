from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from station import __version__
from station.config import Config
from station.settings import settings_of

if TYPE_CHECKING:
    from tests.station.cli.conftest import Station
    from tests.station.conftest import InstallPlugin

ROOT = Path(__file__).parents[3]
SECRET = "0123456789abcdef0123456789abcdef"


def test_config_prints_every_setting_with_its_names_value_and_help(station: Station) -> None:
    result = station("config", "--json", STATION_PLUGINS="oauth_m2m", PORT="4000", OAUTH_M2M_TOKEN_TTL="60")
    rows = {row["env"]: row for row in json.loads(result.stdout)}
    assert {item.env for item in settings_of(Config)} < rows.keys()
    assert rows["PORT"] == {"env": "PORT", "key": "port", "value": "4000", "help": "The port to listen on."}
    assert rows["ISSUER"]["value"] == "http://127.0.0.1:4000"
    assert rows["OAUTH_M2M_TOKEN_TTL"]["key"] == "[oauth_m2m] token_ttl"
    assert rows["OAUTH_M2M_TOKEN_TTL"]["value"] == "60"
    assert rows["INTERNAL_API_KEY"]["value"] == "(unset)"


def test_config_masks_secrets(station: Station) -> None:
    environ = {
        "JWT_SECRET": SECRET,
        "INTERNAL_API_KEY": SECRET,
        "MONGODB_URI": "mongodb://me:hunter2@host",
        "REDIS_URL": "redis://:hunter2@host",
    }
    for arguments in (["config"], ["config", "--json"], ["config", "--env-example"]):
        result = station(*arguments, **environ)
        assert result.exit_code == 0
        assert SECRET not in result.output
        assert "hunter2" not in result.output
    assert "mongodb://me:********@host" in station("config", **environ).output


def test_config_without_the_sections_of_plugins_that_are_off(station: Station) -> None:
    assert "OAUTH_M2M" not in station("config").output


def test_the_example_of_an_environment_is_the_file_in_the_repository(station: Station) -> None:
    result = station("config", "--env-example", STATION_PLUGINS="")
    assert result.exit_code == 0
    assert result.stdout == (ROOT / ".env.example").read_text()


def test_the_example_is_a_valid_environment_of_defaults(station: Station) -> None:
    example = station("config", "--env-example", STATION_PLUGINS="").stdout
    lines = [line[1:] for line in example.splitlines() if line.startswith("#") and line[1:2].isalpha()]
    environ = dict(line.split("=", 1) for line in lines)
    assert {item.env for item in settings_of(Config)} < environ.keys()
    in_force = station("config", "--json", **environ)
    assert in_force.exit_code == 0
    assert in_force.stdout == station("config", "--json", STATION_PLUGINS="").stdout


def test_plugins_lists_what_is_on_and_off(station: Station, install_plugin: InstallPlugin) -> None:
    install_plugin(
        "fleet", "from station import hookimpl\n\n@hookimpl\ndef station_scopes():\n    return {}\n"
    )
    install_plugin("other", "raise RuntimeError('imported')")
    rows = {
        row["name"]: row for row in json.loads(station("plugins", "--json", STATION_PLUGINS="fleet").stdout)
    }
    assert list(rows)[:6] == ["auth", "health", "audit", "openapi", "metrics", "fleet"]
    assert rows["auth"]["version"] == __version__
    assert rows["fleet"] == {"name": "fleet", "version": "1.2", "enabled": True, "hooks": ["station_scopes"]}
    assert rows["other"] == {"name": "other", "version": "1.2", "enabled": False, "hooks": []}
    assert "fleet" in station("plugins").stdout


def test_routes_say_who_may(station: Station) -> None:
    result = station("routes", "--json", STATION_PLUGINS="oauth_m2m")
    rows = json.loads(result.stdout)
    assert {"path": "/health/live", "method": "GET", "who": "public", "scopes": []} in rows
    assert {"path": "/auth/me", "method": "GET", "who": "session", "scopes": []} in rows
    assert {"path": "/auth/client", "method": "GET", "who": "client", "scopes": []} in rows
    assert "/auth/client" not in station("routes").stdout


def test_routes_show_scopes_and_a_failing_audit_stops(
    station: Station, install_plugin: InstallPlugin
) -> None:
    handler = """
from plugins.oauth_m2m import scopes
from station import hookimpl
from station.handlers import BaseHandler, route

class FleetHandler(BaseHandler):
    @scopes("bot:write", "bot:api")
    def get(self): ...

@hookimpl
def station_handlers():
    return [route(r"/fleet", FleetHandler)]
"""
    install_plugin("fleet", handler)
    table = station("routes", STATION_PLUGINS="oauth_m2m,fleet").stdout
    assert "bot:api bot:write" in table
    result = station("routes", STATION_PLUGINS="fleet")
    assert result.exit_code == 1
    assert "on /fleet demands client, which no plugin that is on offers: add oauth_m2m to" in result.stderr
