from __future__ import annotations

import time
import uuid
from typing import TYPE_CHECKING

import pytest

from plugins.oauth_m2m.models import TokenRecord
from plugins.oauth_m2m.services import services_of
from plugins.oauth_m2m.stores import TokenStore

if TYPE_CHECKING:
    from station.app import Application
    from tests.plugins.oauth_m2m.commands.conftest import Commands

BOT = "station-bot"


def issue(commands: Commands) -> str:
    """Record a live token, as a Station that serves does; returns its jti."""
    jti, now = uuid.uuid4().hex, int(time.time())

    async def work(app: Application) -> None:
        client = await services_of(app).clients.get(BOT)
        record = TokenRecord(jti, BOT, client.scopes, now, now + 600, "203.0.113.9", "[bold]curl/8")
        await TokenStore(app.resources).record(client, record)

    commands.boot.run(work)
    return jti


@pytest.fixture(autouse=True)
def client(commands: Commands) -> None:
    commands.succeed("register", BOT, "--scope", "bot:api", "--scope", "bot:write")


def test_live_tokens_are_listed(commands: Commands) -> None:
    assert commands.json("tokens", "list", BOT) == []
    issued = issue(commands)
    [token] = commands.json("tokens", "list", BOT)
    assert (token["jti"], token["address"], token["scopes"]) == (
        issued,
        "203.0.113.9",
        ["bot:api", "bot:write"],
    )
    row = commands.succeed("tokens", "list", BOT).splitlines()[1]
    for part in (issued, "203.0.113.9", "[bold]curl/8", "bot:api bot:write"):
        assert part in row
    issue(commands)
    more = commands.run("tokens", "list", BOT, "--limit", "1")
    assert (more.exit_code, "there are more" in more.stderr) == (0, True)


def test_one_is_revoked(commands: Commands) -> None:
    dead, alive = issue(commands), issue(commands)
    assert "1 live token of station-bot ended." in commands.succeed("tokens", "revoke", BOT, dead, "--yes")
    assert [token["jti"] for token in commands.json("tokens", "list", BOT)] == [alive]
    assert "no live token" in commands.fail("tokens", "revoke", BOT, dead, "--yes")[0]


def test_before_all_are_revoked_it_is_said_how_many(commands: Commands) -> None:
    for _ in range(3):
        issue(commands)
    declined = commands.run("tokens", "revoke", BOT, "--all", stdin="n\n")
    assert (declined.exit_code, "has 3 live tokens, given to 203.0.113.9." in declined.stderr) == (1, True)
    assert len(commands.json("tokens", "list", BOT)) == 3
    assert "3 live tokens of station-bot ended." in commands.succeed(
        "tokens", "revoke", BOT, "--all", "--yes"
    )
    assert commands.json("tokens", "list", BOT) == []


@pytest.mark.parametrize("arguments", [[BOT], [BOT, "j1", "--all"], []])
def test_wrong_usage(commands: Commands, arguments: list[str]) -> None:
    result = commands.run("tokens", "revoke", *arguments)
    assert (result.exit_code, result.stdout) == (2, "")


def test_a_client_that_is_not_there(commands: Commands) -> None:
    for arguments in (["list", "nobody"], ["revoke", "nobody", "--all", "--yes"], ["revoke", "nobody", "x"]):
        assert commands.fail("tokens", *arguments) == ["Error: No client with the id nobody is registered."]
