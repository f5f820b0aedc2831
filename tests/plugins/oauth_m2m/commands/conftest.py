"""The commands about clients, run on the embedded engines as they are typed."""

from __future__ import annotations

import asyncio
import json
import uuid
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import pymongo
import pytest
import redis
from click.testing import CliRunner, Result

from plugins.oauth_m2m.commands import oauth_clients
from plugins.oauth_m2m.config import OAuthM2MConfig
from plugins.oauth_m2m.credentials import ClientCredentials
from plugins.oauth_m2m.services import services_of
from station.app import Application, make_app
from station.audit import Actor, acting
from station.cli.group import StationGroup
from station.config import Config

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence
    from pathlib import Path

    from pymongo.database import Database

    from station.embedded import Endpoints

T = TypeVar("T")
main = StationGroup("station", commands=[oauth_clients])


class EngineBoot:
    """Runs what a command asks for in an application on the embedded engines."""

    def __init__(self, config: Config, plugins: Sequence[object] = ()) -> None:
        self.config = config
        self._plugins = plugins

    def run(self, work: Callable[[Application], Awaitable[T]], *, serving: bool = False) -> T:
        """As a command does; ``serving`` is for what only a server does."""

        async def run() -> T:
            async with make_app(self.config, plugins=self._plugins).lifespan(serving=serving) as app:
                with acting(Actor.cli()):
                    return await work(app)

        return asyncio.run(run())

    def serve(self) -> None:
        """Start a server, and stop it."""

        async def work(_app: Application) -> None:
            pass

        self.run(work, serving=True)


class MakeBoot(Protocol):
    """Make an `EngineBoot` with these settings of the plugin; its database is emptied in the end."""

    def __call__(self, settings: OAuthM2MConfig, *plugins: object) -> EngineBoot: ...


@pytest.fixture(scope="session")
def database(engines: Endpoints) -> Iterator[Database[dict[str, Any]]]:
    """A database of the commands' own: making and migrating one for each test takes longer than the tests."""
    with pymongo.MongoClient[dict[str, Any]](engines.mongodb_uri) as mongodb:
        database = mongodb[f"test_{uuid.uuid4().hex}"]
        yield database
        mongodb.drop_database(database.name)


@pytest.fixture
def make_boot(engines: Endpoints, database: Database[dict[str, Any]], tmp_path: Path) -> Iterator[MakeBoot]:
    """See `MakeBoot`."""

    def make(settings: OAuthM2MConfig, *plugins: object) -> EngineBoot:
        config = Config(
            env="test",
            data_dir=tmp_path,
            mongodb_uri=engines.mongodb_uri,
            mongodb_database=database.name,
            redis_url=engines.redis_url,
            jwt_secret="the secret of the tests, 32 bytes and more",
            issuer="https://station.example",
            sections={"oauth_m2m": settings},
        )
        return EngineBoot(config, plugins)

    yield make
    for name in set(database.list_collection_names()) - {"migrations"}:
        database[name].delete_many({})
    with redis.Redis.from_url(engines.redis_url) as client:
        client.flushdb()


class Commands:
    """Runs ``station oauth-clients`` as it is typed."""

    def __init__(self, boot: EngineBoot) -> None:
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
            admission = app.throttle.admit()
            return await services_of(app).authenticator.authenticate(credentials, admission=admission)

        return self.boot.run(authenticate) is not None


@pytest.fixture
def settings() -> OAuthM2MConfig:
    return OAuthM2MConfig(bcrypt_cost=4)


@pytest.fixture
def commands(make_boot: MakeBoot, settings: OAuthM2MConfig) -> Commands:
    return Commands(make_boot(settings))
