from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import bcrypt
import pytest
import requests

from plugins.oauth_m2m.config import OAuthM2MConfig

if TYPE_CHECKING:
    from tests.conftest import Server
    from tests.plugins.oauth_m2m.commands.conftest import Commands

SECRET = "a/with+odd=chars:and%more-0123456789"


def test_a_generated_secret_is_shown_once_and_works(commands: Commands) -> None:
    printed = commands.succeed("register", "station-bot", "--scope", "bot:api", "--name", "The bot")
    heading, row, *rest = printed.splitlines()
    assert heading.split() == ["CLIENT", "NAME", "SCOPES", "STATE", "CREATED"]
    assert row.split()[:5] == ["station-bot", "The", "bot", "bot:api", "active"]
    [secret] = re.findall(r"^  (stn_[0-9A-Za-z]{49})$", "\n".join(rest), re.MULTILINE)
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
    assert " disabled " in commands.succeed("disable", "station-bot", "--yes")
    assert commands.json("show", "station-bot")["isActive"] is False
    assert " disabled " in commands.succeed("list")
    assert " active " in commands.succeed("enable", "station-bot")
    assert commands.json("disable", "station-bot", "--yes")["isActive"] is False
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
    assert station("disable", "typed-bot", "--yes")["isActive"] is False
    assert (whoami(issued), token().status_code) == (401, 401)
    assert station("enable", "typed-bot")["isActive"] is True
    assert (whoami(issued), whoami(token())) == (401, 200)
    assert (server.data_dir / "engines.json").read_text() == engines
    assert requests.get(f"{server.url}/health/ready", timeout=10).status_code == 200


class TestListing:
    @pytest.fixture(autouse=True)
    def _fleet(self, commands: Commands) -> None:
        for client_id, name, scope in (("one", "A.B", "x"), ("three", "Drei", "y"), ("two", "AxB", "x")):
            commands.succeed("register", client_id, "--name", name, "--scope", scope)
        commands.succeed("disable", "two", "--yes")

    @pytest.mark.parametrize(
        ("options", "ids"),
        [
            ([], ["one", "three", "two"]),
            (["--search", "a.b"], ["one"]),
            (["--search", "T"], ["three", "two"]),
            (["--scope", "x"], ["one", "two"]),
            (["--active"], ["one", "three"]),
            (["--disabled"], ["two"]),
            (["--scope", "x", "--active", "--search", "o"], ["one"]),
            (["--search", "nobody"], []),
        ],
    )
    def test_filters(self, commands: Commands, options: list[str], ids: list[str]) -> None:
        assert [client["clientId"] for client in commands.json("list", *options)] == ids
        printed = commands.succeed("list", *options).splitlines()
        assert [row.split()[0] for row in printed[1:]] == ids
        assert ids or printed == ["No client matches."]

    def test_it_says_when_there_are_more(self, commands: Commands) -> None:
        result = commands.run("list", "--limit", "2", "--json")
        assert [client["clientId"] for client in json.loads(result.stdout)] == ["one", "three"]
        assert result.stderr == "These are the first 2; --limit shows more.\n"
        assert commands.run("list", "--limit", "3").stderr == ""
        assert commands.run("list", "--limit", "0").exit_code == 2


class TestImporting:
    RAW = bcrypt.hashpw(SECRET.encode(), bcrypt.gensalt(4)).decode()

    def test_a_secret_that_was_hashed_elsewhere_goes_on_working(self, commands: Commands) -> None:
        arguments = ["import", "old-bot", "--scope", "bot:api", "--name", "Old", "--hash-stdin"]
        client = commands.json(*arguments, stdin=self.RAW + "\n")
        assert (client["clientId"], client["name"], client["version"]) == ("old-bot", "Old", 1)
        assert commands.authenticates("old-bot", SECRET)
        assert commands.authenticates("old-bot", SECRET)  # by the new hash
        assert commands.fail(*arguments, stdin=self.RAW) == [
            "Error: A client with the id old-bot is registered already."
        ]

    @pytest.mark.parametrize(
        "stored",
        ["", "no-hash", RAW[:-1], RAW.replace("$04$", "$05$"), SECRET],
        ids=["nothing", "a word", "cut off", "another cost", "a secret"],
    )
    def test_what_is_no_hash_imports_nothing(self, commands: Commands, stored: str) -> None:
        said = commands.fail("import", "old-bot", "--scope", "a", "--hash-stdin", stdin=stored)
        assert said[1].startswith("  - secretHash: ")
        assert not stored or stored not in "\n".join(said)
        assert commands.json("list") == []

    def test_a_hash_is_never_an_argument(self, commands: Commands) -> None:
        assert commands.run("import", "old-bot", "--scope", "a").exit_code == 2
