"""Which rule refuses a call, and the command that would change it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, TypeVar

import pytest
from click.testing import CliRunner, Result

from plugins.oauth_m2m import scopes
from plugins.oauth_m2m.commands import oauth_clients, why
from plugins.oauth_m2m.config import OAuthM2MConfig
from plugins.oauth_m2m.services import services_of
from station import hookimpl
from station.cli.group import StationGroup
from station.handlers import BaseHandler, Route, route

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from station.app import Application
    from station.config import Config
    from tests.plugins.oauth_m2m.commands.conftest import EngineBoot, MakeBoot

T = TypeVar("T")
main = StationGroup("station", commands=[oauth_clients, why])


class Scoped(BaseHandler):
    """Demands two scopes."""

    @scopes("bot:api", "bot:write")
    async def get(self) -> None:
        """Never called."""


class ScopedPlugin:
    """One route."""

    __name__ = "scoped"

    @hookimpl
    def station_handlers(self) -> list[Route]:
        return [route(r"/scoped", Scoped)]


class Bot:
    """Runs commands as they are typed; a node has served there before."""

    def __init__(self, boot: EngineBoot) -> None:
        self._boot = boot

    @property
    def config(self) -> Config:
        return self._boot.config

    def run(self, work: Callable[[Application], Awaitable[T]]) -> T:
        return self._boot.run(work, serving=True)

    def type(self, *arguments: str, stdin: str = "") -> Result:
        result = CliRunner().invoke(main, arguments, input=stdin, obj=self)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    def succeed(self, *arguments: str) -> None:
        assert self.type("oauth-clients", *arguments).exit_code == 0


@pytest.fixture
def bot(make_boot: MakeBoot) -> Bot:
    """With a client station-bot that holds bot:api."""
    bot = Bot(make_boot(OAuthM2MConfig(bcrypt_cost=4), ScopedPlugin()))
    bot.succeed("register", "station-bot", "--scope", "bot:api")
    return bot


def ask(bot: Bot, *arguments: str, stdin: str = "") -> Result:
    return bot.type("why", *arguments, stdin=stdin)


def token_of(bot: Bot) -> str:
    async def issue(app: Application) -> str:
        services = services_of(app)
        client = await services.clients.get("station-bot")
        issued = await services.tokens.issue(
            client, client.scopes, admission=app.throttle.admit(), address="", user_agent=""
        )
        return issued.access_token

    return bot.run(issue)


def test_nothing_refuses(bot: Bot) -> None:
    result = ask(bot, "get", "/auth/client?x=1", "--client", "station-bot")
    assert result.exit_code == 0
    assert result.stdout == "GET /auth/client demands a client's token.\nNothing refuses this call.\n"
    assert ask(bot, "POST", "/auth/token", "--client", "station-bot").exit_code == 0
    assert ask(bot, "POST", "/auth/introspect", "--client", "station-bot").exit_code == 0
    assert ask(bot, "GET", "/health/live", "--client", "nobody").exit_code == 0
    assert ask(bot, "GET", "/auth/client", "--token", token_of(bot)).exit_code == 0


@pytest.mark.parametrize(
    ("call", "refused", "remedy"),
    [
        (["GET", "/nowhere"], "no route of a plugin that is on matches /nowhere", "station routes"),
        (["PUT", "/auth/client"], "/auth/client has GET and not PUT", "call it with GET"),
        (["GET", "/oauth-clients"], "this is not for machines", "call it with the admin key"),
        (["GET", "/auth/me"], "this is not for machines", "call it with a person's session"),
    ],
)
def test_what_is_refused_to_every_client(bot: Bot, call: list[str], refused: str, remedy: str) -> None:
    result = ask(bot, *call, "--client", "station-bot")
    assert result.exit_code == 1
    assert f"\nRefused: {refused}" in result.stdout
    assert f"\nWhat would change it: {remedy}" in result.stdout


def test_an_unknown_client(bot: Bot) -> None:
    result = ask(bot, "GET", "/auth/client", "--client", "other-bot")
    assert result.exit_code == 1
    assert result.stdout.splitlines()[1:] == [
        "Refused: no client of this id is registered.",
        "What would change it: station oauth-clients register other-bot --scope SCOPE",
    ]


@pytest.mark.parametrize("path", ["/auth/client", "/auth/introspect"])
def test_a_disabled_client_and_its_token(bot: Bot, path: str) -> None:
    token, method = token_of(bot), "GET" if path == "/auth/client" else "POST"
    bot.succeed("disable", "station-bot", "--yes")
    for who in (["--client", "station-bot"], ["--token", token]):
        result = ask(bot, method, path, *who)
        assert result.exit_code == 1
        assert result.stdout.splitlines()[1:] == [
            "Refused: the client station-bot is disabled.",
            "What would change it: station oauth-clients enable station-bot",
        ]
    bot.succeed("enable", "station-bot")
    assert "all tokens that station-bot had were ended" in ask(bot, method, path, "--token", token).stdout


def test_a_token_from_standard_input(bot: Bot) -> None:
    assert ask(bot, "GET", "/auth/client", "--token", "-", stdin=token_of(bot) + "\n").exit_code == 0
    result = ask(bot, "GET", "/auth/client", "--token", "-", stdin="rubbish\n")
    assert result.exit_code == 1
    assert "rubbish" not in result.stdout


def test_a_revoked_token(bot: Bot) -> None:
    token = token_of(bot)

    async def revoke(app: Application) -> None:
        services = services_of(app)
        await services.tokens.revoke(await services.clients.get("station-bot"), token)

    bot.run(revoke)
    result = ask(bot, "GET", "/auth/client", "--token", token)
    assert "Refused: the token was revoked.\n" in result.stdout


def test_a_token_where_the_secret_is_asked_for(bot: Bot) -> None:
    result = ask(bot, "POST", "/auth/token", "--token", token_of(bot))
    assert "a client authenticates here by its secret" in result.stdout
    assert "What would change it: send the client's id and secret" in result.stdout


def test_the_token_of_a_client_that_is_gone(bot: Bot) -> None:
    token = token_of(bot)
    bot.succeed("delete", "station-bot", "--yes")
    assert ask(bot, "GET", "/auth/client", "--token", token).stdout.splitlines()[1:] == [
        "Refused: the client station-bot is not registered any more.",
        "What would change it: station oauth-clients register station-bot --scope SCOPE, "
        "then ask for a new token",
    ]


def test_secrets_do_not_matter_to_a_token(bot: Bot) -> None:
    token = token_of(bot)
    listed = bot.type("oauth-clients", "secrets", "list", "station-bot", "--json")
    [secret] = json.loads(listed.stdout)
    bot.succeed("secrets", "end", "station-bot", secret["id"], "--force", "--yes")
    assert "every secret of station-bot has ended" in (
        ask(bot, "GET", "/auth/client", "--client", "station-bot").stdout
    )
    assert ask(bot, "GET", "/auth/client", "--token", token).exit_code == 0
    assert "Refused: station-bot is not registered for the scope bot:write." in (
        ask(bot, "GET", "/scoped", "--token", token).stdout
    )


def test_a_scope_that_the_client_or_only_the_token_lacks(bot: Bot) -> None:
    token = token_of(bot)
    for who in (["--client", "station-bot"], ["--token", token]):
        result = ask(bot, "GET", "/scoped", *who)
        assert result.stdout.splitlines() == [
            "GET /scoped demands a client's token with bot:api bot:write.",
            "Refused: station-bot is not registered for the scope bot:write.",
            "What would change it: station oauth-clients change station-bot --add-scope bot:write, then ask "
            "for a new token",
        ]
    bot.succeed("change", "station-bot", "--add-scope", "bot:write")
    assert ask(bot, "GET", "/scoped", "--client", "station-bot").exit_code == 0
    result = ask(bot, "GET", "/scoped", "--token", token)
    assert "the token does not hold the scope bot:write" in result.stdout
    assert "ask for a new token with scope=bot:write" in result.stdout


def test_for_programs(bot: Bot) -> None:
    result = ask(bot, "GET", "/auth/client", "--client", "other-bot", "--json")
    assert result.exit_code == 1
    answer = json.loads(result.stdout)
    assert answer["demand"] == "GET /auth/client demands a client's token."
    assert (answer["refused"]["code"], answer["refused"]["client_id"]) == ("unknown", "other-bot")
    allowed = ask(bot, "GET", "/auth/client", "--client", "station-bot", "--json")
    assert json.loads(allowed.stdout)["refused"] is None


@pytest.mark.parametrize("who", [[], ["--client", "a", "--token", "b"]])
def test_wrong_usage(bot: Bot, who: list[str]) -> None:
    assert ask(bot, "GET", "/auth/client", *who).exit_code == 2
