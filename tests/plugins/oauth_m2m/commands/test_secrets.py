from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from plugins.oauth_m2m.errors import InvalidClient

if TYPE_CHECKING:
    from tests.plugins.oauth_m2m.commands.conftest import Commands

SECRET = "a-client-secret-for-the-tests-0123456789"
BOT = "station-bot"


@pytest.fixture
def old(commands: Commands) -> str:
    """The id of the secret of a client that is registered."""
    commands.succeed("register", BOT, "--scope", "bot:api", "--secret-stdin", stdin=SECRET)
    [secret] = commands.json("secrets", "list", BOT)
    return str(secret["id"])


def test_a_generated_secret_is_shown_once_and_works(commands: Commands, old: str) -> None:
    printed = commands.succeed("secrets", "add", BOT)
    [secret] = re.findall(r"^  (stn_[0-9A-Za-z]{49})$", printed, re.MULTILINE)
    assert commands.authenticates(BOT, secret)
    assert commands.authenticates(BOT, SECRET)
    listed = commands.succeed("secrets", "list", BOT)
    assert secret not in listed
    assert listed.splitlines()[1].startswith(old)
    assert len(commands.json("secrets", "list", BOT)) == 2


def test_a_secret_of_ones_own_and_when_the_others_end(commands: Commands, old: str) -> None:
    options = ["--secret-stdin", "--expires-at", "2100-01-01T00:00:00Z", "--end-others-in", "0", "--yes"]
    added = commands.json("secrets", "add", BOT, *options, stdin=SECRET[::-1] + "\n")
    assert added.keys() == {"id", "createdAt", "expiresAt"}
    assert added["expiresAt"] == "2100-01-01T00:00:00.000Z"
    assert commands.authenticates(BOT, SECRET[::-1])
    with pytest.raises(InvalidClient):
        commands.authenticates(BOT, SECRET)
    ended, live = commands.json("secrets", "list", BOT)
    assert (ended["id"], live["id"]) == (old, added["id"])
    assert (ended["safeToRetire"], live["safeToRetire"]) == (True, False)


@pytest.mark.parametrize(
    "option", [["--end-others-in", "0"], ["--end-others-at", "2100-01-01T01:00:00+01:00"]]
)
def test_before_the_others_end_it_asks(commands: Commands, old: str, option: list[str]) -> None:
    declined = commands.run("secrets", "add", BOT, *option, stdin="n\n")
    assert (declined.exit_code, declined.stdout) == (1, "")
    assert "station-bot has 0 live tokens. It has never used a secret." in declined.stderr
    assert "End its other secrets on 2" in declined.stderr
    assert ("on 2100-01-01 at 00:00 UTC?" in declined.stderr) == ("--end-others-at" in option)
    assert [secret["id"] for secret in commands.json("secrets", "list", BOT)] == [old]
    assert commands.run("secrets", "add", BOT, *option, stdin="y\n").exit_code == 0
    assert len(commands.json("secrets", "list", BOT)) == 2


def test_what_is_wrong_is_said(commands: Commands, old: str) -> None:
    options = ["--expires-at", "yesterday", "--end-others-in", "-1", "--secret-stdin"]
    said = "\n".join(commands.fail("secrets", "add", BOT, *options, stdin="short"))
    for field in ("clientSecret", "expiresAt", "endOthersIn"):
        assert field in said
    assert commands.fail("secrets", "add", "nobody") == ["Error: No client with the id nobody is registered."]
    assert "last live secret" in commands.fail("secrets", "end", BOT, old, "--yes")[0]
    for yes in ([], ["--yes"]):
        assert "no secret with the id x" in commands.fail("secrets", "end", BOT, "x", *yes)[0]


def test_before_a_secret_ends_it_is_said_what_will_break(commands: Commands, old: str) -> None:
    new = commands.json("secrets", "add", BOT)
    declined = commands.run("secrets", "end", BOT, old, "--revoke-tokens", stdin="n\n")
    assert declined.exit_code == 1
    assert "The secret has never been used; it is not safe to retire." in declined.stderr
    assert "station-bot has 0 live tokens." in declined.stderr
    assert "End this secret and all live tokens now?" in declined.stderr
    assert len(commands.json("secrets", "list", BOT)) == 2
    accepted = commands.run("secrets", "end", BOT, old, stdin="y\n")
    assert (accepted.exit_code, "has ended" in accepted.stdout) == (0, True)
    assert [secret["id"] for secret in commands.json("secrets", "list", BOT)] == [new["id"]]
    commands.succeed("secrets", "end", BOT, new["id"], "--force", "--yes")
    assert commands.json("secrets", "list", BOT) == []
