from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any, TypeVar

import pytest
from click.testing import CliRunner
from fakeredis import FakeAsyncRedis, FakeServer
from mongomock_motor import AsyncMongoMockClient

from station.app import Application, make_app
from station.auth.commands import users
from station.errors import Unauthorized
from station.resources import Resources

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from motor.motor_asyncio import AsyncIOMotorDatabase

    from station.config import Config

T = TypeVar("T")
PASSWORD = "correct horse battery"


class FakeBoot:
    """Runs what a command asks for in an application over fakes, which outlive it."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self._database: AsyncIOMotorDatabase[dict[str, Any]] = AsyncMongoMockClient(tz_aware=True)["station"]
        self._redis = FakeServer()

    def run(self, fn: Callable[[Application], Awaitable[T]]) -> T:
        async def run() -> T:
            resources = Resources(self._database, FakeAsyncRedis(server=self._redis))
            async with make_app(self.config, resources).lifespan() as app:
                return await fn(app)

        return asyncio.run(run())


@pytest.fixture
def settings() -> dict[str, Any]:
    return {"auth_registration": "closed"}


@pytest.fixture
def boot(config: Config) -> FakeBoot:
    return FakeBoot(config)


def login(boot: FakeBoot, email: str, password: str) -> tuple[str, ...]:
    async def roles(app: Application) -> tuple[str, ...]:
        user, _ = await app.settings["auth"].login(email, password, "127.0.0.1")
        found: tuple[str, ...] = user.roles
        return found

    return boot.run(roles)


@pytest.mark.parametrize(("options", "roles"), [([], ()), (["--admin"], ("admin",))])
def test_an_account_is_made_with_a_password_that_is_asked_for_twice(
    boot: FakeBoot, options: list[str], roles: tuple[str, ...]
) -> None:
    command = ["create", "Ada@Example.com", *options]
    result = CliRunner().invoke(users, command, obj=boot, input=f"{PASSWORD}\n{PASSWORD}\n")
    assert result.exit_code == 0, result.output
    assert "usr_" in result.output
    assert "ada@example.com" in result.output
    assert PASSWORD not in result.output
    assert login(boot, "ada@example.com", PASSWORD) == roles


@pytest.mark.parametrize("end", ["\n", "\r\n", ""])
def test_a_password_from_standard_input_is_its_first_line(boot: FakeBoot, end: str) -> None:
    command = ["create", "ada@example.com", "--password-stdin"]
    result = CliRunner().invoke(users, command, obj=boot, input=f"{PASSWORD} {end}")
    assert result.exit_code == 0, result.output
    assert login(boot, "ada@example.com", f"{PASSWORD} ") == ()


def test_what_is_wrong_is_said_and_nothing_is_made(boot: FakeBoot) -> None:
    command = ["create", "no email", "--password-stdin"]
    result = CliRunner().invoke(users, command, obj=boot, input="short\n")
    assert result.exit_code == 1
    assert "email: " in result.output
    assert "password: " in result.output
    assert "short" not in result.output.replace("Shorter", "")


def test_an_email_that_is_taken(boot: FakeBoot) -> None:
    command = ["create", "ada@example.com", "--password-stdin"]
    codes = []
    for _ in range(2):
        result = CliRunner().invoke(users, command, obj=boot, input=PASSWORD)
        codes.append(result.exit_code)
    assert codes == [0, 1]
    assert "This email has an account already." in result.output


@pytest.mark.parametrize("settings", [{}, {"auth_reset_url": "https://console.example/reset#{token}"}])
def test_an_operator_makes_a_reset_link(boot: FakeBoot, settings: dict[str, Any]) -> None:
    CliRunner().invoke(users, ["create", "ada@example.com", "--password-stdin"], obj=boot, input=PASSWORD)
    result = CliRunner().invoke(users, ["reset-password", "Ada@example.com"], obj=boot)
    assert result.exit_code == 0, result.output
    assert " UTC:" in result.stderr
    found = re.search(r"reset#([\w-]{43})\n" if settings else r'"token": "([\w-]{43})"', result.stdout)
    assert found, result.output

    async def reset(app: Application) -> None:
        await app.settings["auth"].passwords.reset(found[1], f"a new {PASSWORD}", "127.0.0.1")

    boot.run(reset)
    assert login(boot, "ada@example.com", f"a new {PASSWORD}") == ()


def test_an_account_is_disabled_and_enabled(boot: FakeBoot) -> None:
    CliRunner().invoke(users, ["create", "ada@example.com", "--password-stdin"], obj=boot, input=PASSWORD)
    for command, status in (("disable", "disabled"), ("enable", "enabled")):
        result = CliRunner().invoke(users, [command, "ada@example.com"], obj=boot)
        assert (result.exit_code, result.output.split()[1]) == (0, status)
        if command == "disable":
            with pytest.raises(Unauthorized):
                login(boot, "ada@example.com", PASSWORD)
    login(boot, "ada@example.com", PASSWORD)


@pytest.mark.parametrize("command", ["reset-password", "disable", "enable"])
def test_an_account_that_is_not_there(boot: FakeBoot, command: str) -> None:
    result = CliRunner().invoke(users, [command, "nobody@example.com"], obj=boot)
    assert result.exit_code == 1
    assert "account" in result.output
