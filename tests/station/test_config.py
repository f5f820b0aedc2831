from __future__ import annotations

import dataclasses
import stat
from ipaddress import ip_network
from typing import TYPE_CHECKING, Any

import pytest

from station.config import Config, load_config, load_plugins
from station.errors import ConfigError
from station.settings import settings_of
from station.throttle import Limit

if TYPE_CHECKING:
    from pathlib import Path

    from tests.station.conftest import InstallPlugin

SECRET = "0123456789abcdef0123456789abcdef"
PRODUCTION = {
    "STATION_ENV": "production",
    "STATION_PLUGINS": "none",
    "MONGODB_URI": "mongodb://mongodb.example.com",
    "REDIS_URL": "rediss://redis.example.com",
    "JWT_SECRET": SECRET,
    "INTERNAL_API_KEY": SECRET[::-1],
    "ISSUER": "https://station.example.com",
    "ALLOWED_ORIGIN": "https://console.example.com",
}
FLEET = """
import dataclasses
from station import hookimpl
from station.settings import integer, setting

@dataclasses.dataclass(frozen=True, kw_only=True)
class FleetConfig:
    size: int = setting("How many bots there may be.", default=10, parse=integer(minimum=1))

@hookimpl
def station_settings():
    return FleetConfig
"""


@pytest.fixture(autouse=True)
def working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    directory = tmp_path / "work"
    directory.mkdir()
    monkeypatch.chdir(directory)
    return directory


def load(environ: dict[str, str] | None = None, **more: Any) -> Config:
    return load_config({"STATION_PLUGINS": "none", **(environ or {})}, **more)


def problems(environ: dict[str, str] | None = None, **more: Any) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as refused:
        load(environ, **more)
    return refused.value.problems


def test_development_needs_no_settings() -> None:
    config = load_config({})
    assert (config.env, config.host, config.port, config.plugins) == (
        "development",
        "127.0.0.1",
        3001,
        ("oauth_m2m",),
    )
    assert config.issuer == config.audience == "http://127.0.0.1:3001"
    assert config.auth_registration == "open"
    assert config.embedded
    assert config.internal_api_key is None
    assert list(config.sections) == ["oauth_m2m"]


def test_development_keeps_the_secret_that_it_makes(working_directory: Path) -> None:
    config = load()
    path = working_directory / ".station" / "jwt.secret"
    assert path.read_text() == config.jwt_secret + "\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert load().jwt_secret == config.jwt_secret
    assert load({"JWT_SECRET": SECRET}).jwt_secret == SECRET


def test_a_given_secret_makes_no_directory(working_directory: Path) -> None:
    load({"JWT_SECRET": SECRET})
    assert not list(working_directory.iterdir())


def test_a_wrong_configuration_makes_no_directory(working_directory: Path) -> None:
    problems({"PORT": "x"})
    assert not list(working_directory.iterdir())


def test_a_data_directory_that_cannot_be_made_is_a_problem(working_directory: Path) -> None:
    (working_directory / "file").write_text("")
    (problem,) = problems({"STATION_DATA_DIR": "file/data"})
    assert problem.startswith(
        "STATION_DATA_DIR must be a directory that Station may read and write: file/data"
    )


def test_the_environment_wins_over_the_file_and_options_over_both(working_directory: Path) -> None:
    (working_directory / "station.toml").write_text('port = 4000\nhost = "::1"\nplugins = []\n')
    config = load_config({"PORT": "4001", "STATION_PLUGINS": " "})
    assert (config.port, config.host, config.plugins) == (4001, "::1", ())
    config = load_config({"PORT": "4001"}, overrides={"port": 4002})
    assert config.port == 4002
    assert config.issuer == "http://[::1]:4002"


def test_a_file_can_be_named(tmp_path: Path) -> None:
    file = tmp_path / "other.toml"
    file.write_text("port = 4000")
    assert load(file=file).port == 4000
    file.write_text("prt = 4000")
    assert problems(file=file) == (f"{file} has an unknown key, prt. Did you mean port?",)
    file.write_text("port = ")
    (problem,) = problems(file=file)
    assert problem.startswith(f"{file} is not valid TOML: ")
    file.write_bytes(b"\xff")
    (problem,) = problems(file=file)
    assert problem.startswith(f"{file} is not valid TOML: ")
    assert problems(file=tmp_path / "no.toml") == (
        f"{tmp_path / 'no.toml'} cannot be read: No such file or directory.",
    )


def test_everything_wrong_is_reported_at_once(install_plugin: InstallPlugin, working_directory: Path) -> None:
    install_plugin("fleet", FLEET)
    (working_directory / "station.toml").write_text("colour = 1\n[fleat]\nsize = 1\n[fleet]\nsiz = 1\n")
    environ = {
        "STATION_PLUGINS": "fleet,flet",
        "PORT": "x",
        "FLEET_SIZE": "0",
        "FLEET_SPEED": "1",
        "MONGODB_URL": "mongodb://host",
        "REDIS_URL": "redis://host",
        "JWT_SECRET": "short",
    }
    assert problems(environ) == (
        "station.toml has the section [fleat], but no such plugin is installed. Did you mean fleet?",
        "station.toml has an unknown key, colour.",
        "PORT must be a whole number from 0 to 65535. It is: The port to listen on.",
        "JWT_SECRET must have at least 32 bytes; `openssl rand -base64 48` makes one. It is: The key that "
        "signs tokens and from which other keys are derived, at least 32 bytes.",
        "STATION_PLUGINS names flet, which no installed distribution offers in the entry point group "
        "station.plugins. Did you mean fleet?",
        "station.toml has an unknown key, [fleet] siz. Did you mean size?",
        "FLEET_SIZE must be a whole number of at least 1. It is: How many bots there may be.",
        "FLEET_SPEED is set in the environment and is not a setting. Did you mean FLEET_SIZE?",
        "MONGODB_URL is set in the environment and is not a setting. Did you mean MONGODB_URI?",
        "MONGODB_URI and REDIS_URL must be set together, or both left unset (embedded).",
    )


def test_the_section_of_a_plugin_that_is_on_is_read(
    install_plugin: InstallPlugin, working_directory: Path
) -> None:
    install_plugin("fleet", FLEET)
    (working_directory / "station.toml").write_text('plugins = ["fleet"]\n[fleet]\nsize = 3\n')
    fleet: Any = load_config({}).sections["fleet"]
    assert fleet.size == 3
    fleet = load_config({"FLEET_SIZE": "4"}).sections["fleet"]
    assert fleet.size == 4


def test_the_section_of_a_plugin_that_is_off_is_ignored(
    install_plugin: InstallPlugin, working_directory: Path
) -> None:
    install_plugin("fleet", "raise RuntimeError('imported')")
    (working_directory / "station.toml").write_text("[fleet]\nnonsense = true\n")
    assert load({"FLEET_NONSENSE": "1"}).sections == {}


def test_a_section_that_is_no_table_is_a_problem(
    install_plugin: InstallPlugin, working_directory: Path
) -> None:
    install_plugin("fleet", FLEET)
    (working_directory / "station.toml").write_text("fleet = 3\n")
    assert problems({"STATION_PLUGINS": "fleet"}) == ("fleet in station.toml must be a table, [fleet].",)


def test_a_plugin_that_fails_to_say_its_settings_is_a_problem(install_plugin: InstallPlugin) -> None:
    install_plugin("fleet", FLEET.replace("return FleetConfig", "return 1 / 0"))
    (problem,) = problems({"STATION_PLUGINS": "fleet"})
    assert problem.startswith("The plugin fleet failed in station_settings: ZeroDivisionError")


def test_no_plugins_are_none() -> None:
    assert load_config({"STATION_PLUGINS": "none"}).plugins == ()
    assert "none" in problems({"STATION_PLUGINS": "none,xyz"})[0]


def test_plugins_can_be_loaded_while_the_rest_is_wrong(install_plugin: InstallPlugin) -> None:
    install_plugin("fleet")
    host = load_plugins({"STATION_PLUGINS": "nonsense,fleet", "PORT": "x", "STATION_ENV": "production"})
    assert host.names == ("auth", "health", "audit", "openapi", "metrics", "fleet")


def test_production_with_all_it_needs() -> None:
    config = load_config(PRODUCTION)
    assert config.production
    assert not config.embedded
    assert config.auth_registration == "closed"
    assert config.audience == "https://station.example.com"


def test_production_demands_what_it_needs(working_directory: Path) -> None:
    assert problems({"STATION_ENV": "production"}) == (
        "JWT_SECRET must be set (at least 32 bytes); `openssl rand -base64 48` makes one.",
        "MONGODB_URI must be set in production.",
        "REDIS_URL must be set in production.",
        "INTERNAL_API_KEY must be set in production.",
        "ALLOWED_ORIGIN must be set in production.",
        "ISSUER must be set to an https URL in production.",
    )
    assert not list(working_directory.iterdir())


@pytest.mark.parametrize(
    "url", ["https://x.example/reset#{token}", "http://[::1]:3000/?lang=en#/reset?token={token}&more"]
)
def test_the_page_of_a_reset_has_the_token_in_its_fragment(url: str) -> None:
    assert load_config({"AUTH_RESET_URL": url}).auth_reset_url == url


@pytest.mark.parametrize(
    "url",
    [
        "https://x.example/reset",
        "https://x.example/reset?token={token}",
        "https://x.example/{token}#{token}",
        "https://x.example/reset#{token}{token}",
        "https://x.example/reset#",
        "ftp://x.example/#{token}",
        "https:///#{token}",
        "https://[x#{token}",
        "{token}",
    ],
)
def test_another_page_of_a_reset_is_refused(url: str) -> None:
    (problem,) = problems({"AUTH_RESET_URL": url})
    assert problem.startswith("AUTH_RESET_URL must be an http or https URL with {token} in its fragment")


def test_the_page_of_a_reset_is_https_in_production() -> None:
    (problem,) = problems({**PRODUCTION, "AUTH_RESET_URL": "http://x.example/#{token}"})
    assert problem == "AUTH_RESET_URL must be an https URL in production."


@pytest.mark.parametrize(
    "name", ["JWT_SECRET", "MONGODB_URI", "REDIS_URL", "INTERNAL_API_KEY", "ALLOWED_ORIGIN"]
)
def test_what_is_refused_is_not_called_missing_as_well(name: str, working_directory: Path) -> None:
    (problem,) = problems({**PRODUCTION, name: "nonsense"})
    assert problem.startswith(f"{name} must ")
    (working_directory / "station.toml").write_text(f'{name.lower()} = "nonsense"')
    (problem,) = problems({key: value for key, value in PRODUCTION.items() if key != name})
    assert problem.startswith(f"{name} ({name.lower()} in station.toml) must ")


def test_a_refused_former_secret_does_not_hide_that_the_secret_is_missing() -> None:
    found = problems({**PRODUCTION, "JWT_SECRET": "", "JWT_SECRET_PREVIOUS": "short"})
    assert [problem.split()[0] for problem in found] == ["JWT_SECRET_PREVIOUS", "JWT_SECRET"]


def test_both_stores_are_set_or_none() -> None:
    for environ in ({"MONGODB_URI": "mongodb://host"}, {"REDIS_URL": "redis://host"}):
        assert problems(environ) == (
            "MONGODB_URI and REDIS_URL must be set together, or both left unset (embedded).",
        )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("STATION_ENV", "prod"),
        ("PORT", "65536"),
        ("PORT", "-1"),
        ("MONGODB_URI", "http://host"),
        ("MONGODB_URI", "mongodb:host"),
        ("MONGODB_DATABASE", "a b"),
        ("MONGODB_DATABASE", "a.b"),
        ("MONGODB_DATABASE", "a" * 64),
        ("REDIS_URL", "host:6379"),
        ("ISSUER", "station.example.com"),
        ("ISSUER", "https://"),
        ("ISSUER", "https://station.example.com/?a=b"),
        ("ISSUER", "https://station.example.com/#"),
        ("ISSUER", "https://[::1"),
        ("AUTH_REGISTRATION", "yes"),
        ("AUTH_BCRYPT_COST", "3"),
        ("ALLOWED_ORIGIN", "https://console.example.com/"),
        ("ALLOWED_ORIGIN", "https://Console.example.com"),
        ("ALLOWED_ORIGIN", "https://a.example.com,*"),
        ("ALLOWED_ORIGIN", "https://me@console.example.com"),
        ("ALLOWED_ORIGIN", "null"),
        ("TRUSTED_PROXIES", "10.0.0.0/8,10.0.0.1/8"),
        ("TRUSTED_PROXIES", "localhost"),
        ("AUTH_TOKEN_THROTTLE_TTL_MS", "0"),
        ("AUTH_TOKEN_THROTTLE_LIMIT", "-1"),
        ("JWT_SECRET", SECRET[1:]),
        ("INTERNAL_API_KEY", SECRET[1:] + " "),
    ],
)
def test_a_bad_value_is_one_sentence_that_names_its_setting(name: str, value: str) -> None:
    (problem,) = problems({"MONGODB_URI": "mongodb://host", "REDIS_URL": "redis://host", name: value})
    assert problem.startswith(f"{name} must ")
    assert problem.endswith(".")
    assert "\n" not in problem


def test_a_blank_secret_of_the_file_is_refused(working_directory: Path) -> None:
    (working_directory / "station.toml").write_text(f'internal_api_key = "{" " * 40}"')
    (problem,) = problems()
    assert problem.startswith(
        "INTERNAL_API_KEY (internal_api_key in station.toml) must have at least 32 bytes"
    )


def test_addresses_and_origins_of_all_kinds() -> None:
    config = load(
        {
            "STATION_HOST": "::",
            "TRUSTED_PROXIES": "10.0.0.0/8, 2001:db8::/32,::1",
            "ALLOWED_ORIGIN": "https://console.example.com,http://localhost:3000,http://[::1]:3000",
            "MONGODB_URI": "mongodb+srv://me:pw@cluster.example.com/?w=majority",
            "REDIS_URL": "unix:///run/redis.sock?db=1",
        }
    )
    assert config.trusted_proxies == (
        ip_network("10.0.0.0/8"),
        ip_network("2001:db8::/32"),
        ip_network("::1/128"),
    )
    assert config.allowed_origin[2] == "http://[::1]:3000"
    assert config.issuer == config.url() == "http://[::]:3001"
    assert config.url(80) == "http://[::]:80"


def test_no_secret_is_in_the_repr() -> None:
    environ = {**PRODUCTION, "MONGODB_URI": "mongodb://me:hunter2@host", "REDIS_URL": "redis://:hunter2@host"}
    config = load_config({**environ, "JWT_SECRET_PREVIOUS": SECRET, "INTERNAL_API_KEY_PREVIOUS": SECRET})
    assert SECRET not in repr(config)
    assert SECRET[::-1] not in repr(config)
    assert "hunter2" not in repr(config)
    shown = " ".join(item.shown(getattr(config, item.key)) for item in settings_of(Config))
    assert SECRET not in shown
    assert SECRET[::-1] not in shown
    assert "mongodb://me:********@host" in shown
    assert "redis://:********@host" in shown


def test_throttles_are_windows() -> None:
    config = load({"AUTH_LOGIN_THROTTLE_LIMIT": "0", "AUTH_FAILURE_THROTTLE_TTL_MS": "1000"})
    assert config.throttle("login") == Limit(window_ms=60_000, limit=0)
    assert config.throttle("failure") == Limit(window_ms=1000, limit=30)


def test_every_setting_has_a_sentence_of_help_and_a_variable_of_its_own() -> None:
    declared = list(settings_of(Config))
    assert len({item.env for item in declared}) == len(declared)
    for item in declared:
        assert item.help.endswith("."), item.env
        assert item.help[0].isupper(), item.env
    assert {item.key for item in declared} == {field.name for field in dataclasses.fields(Config)} - {
        "sections",
        "_limits",
    }


def test_sections_cannot_be_changed() -> None:
    sections: Any = load_config({}).sections
    with pytest.raises(TypeError):
        sections["other"] = 1


def test_secrets_and_urls_come_from_files(tmp_path: Path) -> None:
    names = ("JWT_SECRET", "INTERNAL_API_KEY_PREVIOUS", "REDIS_URL", "MONGODB_URI")
    values = ["j" * 32, "k" * 32, "redis://a:b@redis", "mongodb://a:b@mongodb"]
    for name, value in zip(names, values, strict=True):
        (tmp_path / name).write_text(f"{value}\n")
    config = load_config({f"{name}_FILE": str(tmp_path / name) for name in names})
    found = [config.jwt_secret, config.internal_api_key_previous, config.redis_url, config.mongodb_uri]
    assert found == values


def test_a_file_that_is_not_there_is_one_problem(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as raised:
        load_config({**PRODUCTION, "JWT_SECRET": "", "JWT_SECRET_FILE": str(tmp_path / "none")})
    [problem] = raised.value.problems
    assert problem.startswith("JWT_SECRET (by JWT_SECRET_FILE) must be in a file that Station may read")
