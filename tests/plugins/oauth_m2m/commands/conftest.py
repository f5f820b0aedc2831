"""The commands about clients, run over fakes as they are typed."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any, TypeVar

import pytest
from click.testing import CliRunner, Result
from fakeredis import FakeAsyncRedis, FakeServer
from mongomock_motor import AsyncMongoMockClient

from plugins.oauth_m2m.commands import oauth_clients
from plugins.oauth_m2m.config import OAuthM2MConfig
from plugins.oauth_m2m.credentials import ClientCredentials
from plugins.oauth_m2m.services import services_of
from station.app import Application, make_app
from station.audit import Actor, acting
from station.cli.group import StationGroup
from station.config import Config
from station.resources import Resources

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from motor.motor_asyncio import AsyncIOMotorDatabase

T = TypeVar("T")
main = StationGroup("station", commands=[oauth_clients])


class FakeBoot:
    """Runs what a command asks for in an application over fakes, which outlive it."""

    def __init__(self, settings: OAuthM2MConfig) -> None:
        self.config = Config(
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
            async with make_app(self.config, resources).lifespan(serving=False) as app:
                with acting(Actor.cli()):
                    return await work(app)

        return asyncio.run(run())


class Commands:
    """Runs ``station oauth-clients`` as it is typed."""

    def __init__(self, boot: FakeBoot) -> None:
        self.boot = boot

    def run(self, *arguments: str, stdin: str = "") -> Result:
        """Whatever comes of it; only errors of Station and of click may."""
        result = CliRunner().invoke(main, ["oauth-clients", *arguments], input=stdin, obj=self.boot)
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

        return self.boot.run(authenticate) is not None


@pytest.fixture
def settings() -> OAuthM2MConfig:
    return OAuthM2MConfig(bcrypt_cost=4)


@pytest.fixture
def commands(settings: OAuthM2MConfig) -> Commands:
    return Commands(FakeBoot(settings))
