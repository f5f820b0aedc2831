from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.plugins.oauth_m2m.commands.conftest import Commands

pytestmark = pytest.mark.usefixtures("_bot")


@pytest.fixture
def _bot(commands: Commands) -> None:
    options = ["--scope", "a", "--scope", "b", "--token-ttl", "60", "--name", "Bot"]
    commands.succeed("register", "station-bot", *options)


def test_what_is_typed_changes_and_the_rest_stays(commands: Commands) -> None:
    before = commands.json("show", "station-bot")
    changed = commands.json("change", "station-bot", "--name", "Other")
    assert changed == {**before, "name": "Other", "version": 2, "updatedAt": changed["updatedAt"]}
    changed = commands.json(
        "change", "station-bot", "--scope", "c", "--scope", "a", "--token-ttl", "900", "--yes"
    )
    assert (changed["scopes"], changed["tokenTtl"], changed["name"]) == (["c", "a"], 900, "Other")
    assert commands.json("change", "station-bot", "--token-ttl", "default")["tokenTtl"] is None
    assert (
        commands.json("change", "station-bot", "--name", "default", "--token-ttl", "61")["name"] == "default"
    )
    assert commands.json("change", "station-bot", "--name", "")["name"] == ""
    assert "station-bot" in commands.succeed("change", "station-bot", "--name", "Bot")


def test_only_the_version_that_was_seen_changes(commands: Commands) -> None:
    assert commands.json("change", "station-bot", "--name", "One", "--if-version", "1")["version"] == 2
    stale = "Error: The client station-bot has changed; look at it again."
    assert commands.fail("change", "station-bot", "--name", "Two", "--if-version", "1") == [stale]
    assert commands.fail("delete", "station-bot", "--yes", "--if-version", "1") == [stale]
    assert commands.json("show", "station-bot")["name"] == "One"
    commands.succeed("delete", "station-bot", "--yes", "--if-version", "2")


def test_what_is_wrong_is_named_at_once(commands: Commands) -> None:
    said = commands.fail("change", "station-bot", "--name", "n" * 201, "--scope", "a b", "--token-ttl", "5")
    assert said[0] == "Error: 3 things are wrong:"
    assert [line.split(":")[0] for line in said[1:]] == ["  - name", "  - scopes.0", "  - tokenTtl"]
    assert commands.fail("change", "station-bot") == [
        "Error: Must change at least one of name, scopes, tokenTtl and isActive."
    ]
    assert commands.run("change", "station-bot", "--token-ttl", "soon").exit_code == 2
    assert commands.json("show", "station-bot")["version"] == 1


def test_it_asks_before_scopes_are_lost_and_only_then(commands: Commands) -> None:
    result = commands.run("change", "station-bot", "--scope", "c", "--scope", "a", stdin="n\n")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.splitlines()[0] == "station-bot has 0 live tokens. It has never used a secret."
    assert "Take b from it and its live tokens?" in result.stderr
    assert commands.json("show", "station-bot")["scopes"] == ["a", "b"]
    more = ["--scope", "b", "--scope", "a", "--scope", "c"]
    assert commands.json("change", "station-bot", *more)["scopes"] == ["b", "a", "c"]
    assert commands.run("change", "station-bot", "--scope", "a", stdin="y\n").exit_code == 0
    assert commands.json("show", "station-bot")["scopes"] == ["a"]
    assert commands.fail("change", "nobody", "--scope", "a") == [
        "Error: No client with the id nobody is registered."
    ]


def test_a_scope_is_added_to_those_it_has(commands: Commands) -> None:
    added = commands.json("change", "station-bot", "--add-scope", "c", "--add-scope", "a", "--name", "Other")
    assert (added["scopes"], added["name"]) == (["a", "b", "c"], "Other")
    again = commands.json("change", "station-bot", "--add-scope", "c")
    assert again["scopes"] == ["a", "b", "c"]
    stale = commands.fail("change", "station-bot", "--add-scope", "d", "--if-version", "1")
    assert stale == ["Error: The client station-bot has changed; look at it again."]
    assert commands.run("change", "station-bot", "--scope", "a", "--add-scope", "b").exit_code == 2
    assert commands.fail("change", "nobody", "--add-scope", "a") == [
        "Error: No client with the id nobody is registered."
    ]
    assert "scopes.0" in commands.fail("change", "station-bot", "--add-scope", "a b")[0]
    assert commands.json("show", "station-bot")["scopes"] == ["a", "b", "c"]


@pytest.mark.parametrize("command", ["disable", "delete"])
def test_it_says_what_will_break_and_asks(commands: Commands, command: str) -> None:
    result = commands.run(command, "station-bot", stdin="n\n")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.splitlines()[0] == ("station-bot has 0 live tokens. It has never used a secret.")
    assert "Aborted" in result.stderr
    assert commands.run(command, "station-bot").exit_code == 1  # nobody answers
    assert commands.json("show", "station-bot")["isActive"] is True
    assert commands.run(command, "station-bot", stdin="y\n").exit_code == 0


def test_a_deleted_client_is_gone(commands: Commands) -> None:
    assert commands.succeed("delete", "station-bot", "--yes") == "station-bot is deleted.\n"
    assert commands.json("list") == []
    assert commands.fail("delete", "station-bot", "--yes") == [
        "Error: No client with the id station-bot is registered."
    ]
