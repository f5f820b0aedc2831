from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any, TypeVar

import pytest
import requests
from click.testing import CliRunner, Result
from fakeredis import FakeAsyncRedis, FakeServer
from mongomock_motor import AsyncMongoMockClient

from plugins.oauth_m2m.commands import oauth_clients
from plugins.oauth_m2m.config import OAuthM2MConfig
from plugins.oauth_m2m.credentials import ClientCredentials
from plugins.oauth_m2m.services import services_of
from station.app import Application, make_app
from station.cli.group import StationGroup
from station.config import Config
from station.resources import Resources

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from motor.motor_asyncio import AsyncIOMotorDatabase

    from tests.conftest import Server

T = TypeVar("T")
SECRET = "a/with+odd=chars:and%more-0123456789"
main = StationGroup("station", commands=[oauth_clients])


class FakeBoot:
    """Runs what a command asks for in an application over fakes, which outlive it."""

    def __init__(self, settings: OAuthM2MConfig) -> None:
        self._config = Config(
            env="test",
            jwt_secret="the secret of the tests, 32 bytes and more",
            issuer="https://station.example",
            sections={"oauth_m2m": settings},
        )
        self._database: AsyncIOMotorDatabase[dict[str, Any]] = AsyncMongoMockClient(tz_aware=True)["station"]
        self._redis = FakeServer()

    def run(self, work: Callable[[Application], Awaitable[T]]) -> T:
        async def run() -> T:
            resources = Resources(self._database, FakeAsyncRedis(server=self._redis))
            async with make_app(self._config, resources).lifespan() as app:
                return await work(app)

        return asyncio.run(run())


class Commands:
    """Runs ``station oauth-clients`` as it is typed."""

    def __init__(self, boot: FakeBoot) -> None:
        self._boot = boot

    def run(self, *arguments: str, stdin: str = "") -> Result:
        """Whatever comes of it; only errors of Station and of click may."""
        result = CliRunner().invoke(main, ["oauth-clients", *arguments], input=stdin, obj=self._boot)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    def succeed(self, *arguments: str, stdin: str = "") -> str:
        """What it prints."""
        result = self.run(*arguments, stdin=stdin)
        assert (result.exit_code, result.stderr) == (0, "")
        return result.stdout

    def fail(self, *arguments: str, stdin: str = "") -> list[str]:
        """The lines of its error."""
        result = self.run(*arguments, stdin=stdin)
        assert (result.exit_code, result.stdout) == (1, "")
        return result.stderr.splitlines()

    def json(self, *arguments: str, stdin: str = "") -> Any:
        """What it prints for programs."""
        return json.loads(self.succeed(*arguments, "--json", stdin=stdin))

    def authenticates(self, client_id: str, secret: str) -> bool:
        """Whether this secret is the client's."""
        credentials = ClientCredentials(client_id, (secret.encode(),), "client_secret_basic")

        async def authenticate(app: Application) -> object:
            return await services_of(app).clients.authenticate(credentials)

        return self._boot.run(authenticate) is not None


@pytest.fixture
def settings() -> OAuthM2MConfig:
    return OAuthM2MConfig(bcrypt_cost=4)


@pytest.fixture
def commands(settings: OAuthM2MConfig) -> Commands:
    return Commands(FakeBoot(settings))


def test_a_generated_secret_is_shown_once_and_works(commands: Commands) -> None:
    printed = commands.succeed("register", "station-bot", "--scope", "bot:api", "--name", "The bot")
    heading, row, *rest = printed.splitlines()
    assert heading.split() == ["CLIENT", "NAME", "SCOPES", "STATE", "CREATED"]
    assert row.split()[:5] == ["station-bot", "The", "bot", "bot:api", "active"]
    [secret] = re.findall(r"^  ([A-Za-z0-9_-]{43})$", "\n".join(rest), re.MULTILINE)
    assert commands.authenticates("station-bot", secret)
    for command in (["list"], ["show", "station-bot"], ["list", "--json"], ["show", "station-bot", "--json"]):
        assert secret not in commands.succeed(*command)


def test_for_programs_the_generated_secret_is_a_member(commands: Commands) -> None:
    registered = commands.json("register", "station-bot", "--scope", "b", "--scope", "a", "--token-ttl", "60")
    secret = registered.pop("clientSecret")
    assert commands.authenticates("station-bot", secret)
    assert (registered["clientId"], registered["scopes"]) == ("station-bot", ["b", "a"])
    assert (registered["tokenTtl"], registered["isActive"]) == (60, True)
    assert commands.json("show", "station-bot") == registered
    assert commands.json("list") == [registered]


@pytest.mark.parametrize("end", ["", "\n", "\r\n", "\nsecond line\n"])
def test_a_secret_of_ones_own_comes_from_standard_input_and_is_never_shown(
    commands: Commands, end: str
) -> None:
    arguments = ["register", "station-bot", "--scope", "bot:api", "--secret-stdin"]
    printed = commands.succeed(*arguments, stdin=SECRET + end)
    assert SECRET not in printed
    assert "secret" not in printed
    assert commands.authenticates("station-bot", SECRET)
    arguments[1] = "second-bot"
    assert "clientSecret" not in commands.json(*arguments, stdin=SECRET + end)


def test_the_bad_fields_are_all_named_and_nothing_is_registered(commands: Commands) -> None:
    options = ["--scope", "a b", "--name", "n" * 201, "--token-ttl", "5", "--secret-stdin"]
    said = "\n".join(commands.fail("register", "Station Bot", *options, stdin="too short\n"))
    for field in ("clientId", "clientSecret", "scopes", "name", "tokenTtl"):
        assert f"{field}" in said
    assert "too short" not in said
    assert commands.json("list") == []


def test_an_empty_standard_input_is_no_secret(commands: Commands) -> None:
    said = commands.fail("register", "station-bot", "--scope", "a", "--secret-stdin", stdin="")
    assert "clientSecret" in said[0]
    assert commands.json("list") == []


@pytest.mark.parametrize(
    "arguments",
    [[], ["station-bot"], ["station-bot", "--scope"], ["--scope", "a"], ["a", "b", "--scope", "a"]],
)
def test_wrong_usage(commands: Commands, arguments: list[str]) -> None:
    result = commands.run("register", *arguments)
    assert (result.exit_code, result.stdout) == (2, "")


@pytest.mark.parametrize("settings", [OAuthM2MConfig(bcrypt_cost=4, scopes={"bot:api": ""})])
def test_a_scope_outside_a_closed_catalogue(commands: Commands) -> None:
    said = commands.fail("register", "station-bot", "--scope", "bot:api", "--scope", "bot:admin")
    assert said[1:] == ["  - scopes: bot:admin is not in the catalogue."]
    assert commands.json("list") == []


def test_an_id_that_is_taken_is_one_sentence(commands: Commands) -> None:
    first = commands.json("register", "station-bot", "--scope", "bot:api")
    said = commands.fail("register", "station-bot", "--scope", "bot:write")
    assert said == ["Error: A client with the id station-bot is registered already."]
    assert commands.json("list") == [{name: first[name] for name in first if name != "clientSecret"}]


@pytest.mark.parametrize("command", ["show", "disable", "enable"])
def test_a_client_that_is_not_there_is_one_sentence(commands: Commands, command: str) -> None:
    assert commands.fail(command, "station-bot") == [
        "Error: No client with the id station-bot is registered."
    ]


def test_an_empty_list_says_what_to_do(commands: Commands) -> None:
    assert "station oauth-clients register" in commands.succeed("list")
    assert commands.json("list") == []


def test_disabling_and_enabling(commands: Commands) -> None:
    commands.succeed("register", "station-bot", "--scope", "bot:api")
    assert " disabled " in commands.succeed("disable", "station-bot")
    assert commands.json("show", "station-bot")["isActive"] is False
    assert " disabled " in commands.succeed("list")
    assert " active " in commands.succeed("enable", "station-bot")
    assert commands.json("disable", "station-bot")["isActive"] is False
    assert commands.json("enable", "station-bot") == commands.json("show", "station-bot")


def test_the_command_attaches_to_a_running_station_and_leaves_it_alone(server: Server) -> None:
    engines = (server.data_dir / "engines.json").read_text()

    def station(*arguments: str, stdin: str = "") -> Any:
        done = subprocess.run(
            [sys.executable, "-m", "station", "oauth-clients", *arguments, "--json"],
            env={"PATH": os.environ["PATH"], "STATION_DATA_DIR": str(server.data_dir)},
            cwd=server.data_dir,
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
        )
        assert (done.returncode, done.stderr) == (0, ""), done.stdout
        return json.loads(done.stdout)

    def token() -> requests.Response:
        credentials, grant = ("typed-bot", SECRET), {"grant_type": "client_credentials"}
        return requests.post(f"{server.url}/auth/token", grant, auth=credentials, timeout=10)

    def whoami(answer: requests.Response) -> int:
        headers = {"Authorization": f"Bearer {answer.json()['access_token']}"}
        return requests.get(f"{server.url}/auth/client", headers=headers, timeout=10).status_code

    registered = station("register", "typed-bot", "--scope", "bot:api", "--secret-stdin", stdin=SECRET)
    assert station("show", "typed-bot") == registered
    assert registered in station("list")
    issued = token()
    assert whoami(issued) == 200
    assert station("disable", "typed-bot")["isActive"] is False
    assert (whoami(issued), token().status_code) == (401, 401)
    assert station("enable", "typed-bot")["isActive"] is True
    assert (whoami(issued), whoami(token())) == (401, 200)
    assert (server.data_dir / "engines.json").read_text() == engines
    assert requests.get(f"{server.url}/health/ready", timeout=10).status_code == 200
