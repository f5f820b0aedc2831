"""Station under load: its engines, its workers, and the clients that ask it."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import time
import uuid
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from bson import ObjectId
from pymongo import MongoClient

from bench.connection import FORM, Request, ask, ask_all
from bench.peers import CLIENT_ID, SECRET
from bench.processes import own, running
from plugins.oauth_m2m.models import new_generation

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence
    from pathlib import Path

    from bench.processes import Server
    from bench.run import Run

__all__ = [
    "LOOPS",
    "Caller",
    "Engines",
    "admin",
    "ask_lately",
    "clones",
    "fastest_loop",
    "open_engines",
    "register",
]

LOOPS = ("uvloop", "asyncio")
SCOPE = "bot:api"
_ADMIN_KEY = "an-admin-key-for-the-benchmark-only-0123456789"
_BATCH = 5_000
_LONGEST_NOTES = 10
# they count every request and refuse none
_THROTTLES = ("TOKEN", "REVOKE", "INTROSPECT", "FAILURE")
_HUGE = "1000000000"


@dataclasses.dataclass(frozen=True, slots=True)
class Caller:
    """A client, and the requests that it makes."""

    client_id: str = CLIENT_ID
    secret: str = dataclasses.field(default=SECRET, repr=False)

    def form(self, **more: str) -> str:
        """A body with its credentials, and nothing that has to be decoded first (``client_secret_post``)."""
        return urlencode({**more, "client_id": self.client_id, "client_secret": self.secret}, safe=":")

    @property
    def grant(self) -> str:
        """The body of a request for a token: the same for Station and for its peers."""
        return self.form(grant_type="client_credentials", scope=SCOPE)

    @property
    def token_request(self) -> Request:
        """The request for a token."""
        return Request("POST", "/auth/token", FORM, self.grant)

    def revocation(self, token: str) -> Request:
        """The request that revokes one of its tokens."""
        return Request("POST", "/auth/revoke", FORM, self.form(token=token))


@dataclasses.dataclass(frozen=True, slots=True)
class Engines:
    """MongoDB and Redis, as every worker of one measurement shares them."""

    directory: Path
    mongodb_uri: str
    redis_url: str

    @contextlib.asynccontextmanager
    async def station(
        self,
        loop: str,
        *,
        database: int = 0,
        bcrypt_cost: int = 12,
        signing_alg: str = "HS256",
        cache_size: int = 10_000,
    ) -> AsyncIterator[Server]:
        """Run a worker; of several numbers of databases each has its own clients and tokens."""
        settings = {
            "STATION_ENV": "development",
            "STATION_DATA_DIR": str(self.directory),
            "MONGODB_URI": self.mongodb_uri,
            "MONGODB_DATABASE": _database(database),
            "REDIS_URL": f"{self.redis_url.removesuffix('/0')}/{database}",
            "INTERNAL_API_KEY": _ADMIN_KEY,
            "OAUTH_M2M_BCRYPT_COST": str(bcrypt_cost),
            "OAUTH_M2M_SIGNING_ALG": signing_alg,
            "OAUTH_M2M_CACHE_SIZE": str(cache_size),
            **{f"AUTH_{name}_THROTTLE_LIMIT": _HUGE for name in _THROTTLES},
        }
        log = self.directory / "station.log"
        async with running(own("station", loop), log=log, environment=settings) as server:
            yield server

    @contextlib.contextmanager
    def clients(self, database: int = 0) -> Iterator[Any]:
        """The collection of clients, to write it past Station."""
        client: MongoClient[dict[str, Any]] = MongoClient(self.mongodb_uri)
        with contextlib.closing(client):
            yield client[_database(database)]["oauth_clients"]


@contextlib.asynccontextmanager
async def open_engines(run: Run, name: str) -> AsyncIterator[Engines]:
    """Run fresh embedded engines for one measurement."""
    directory = run.directory / name
    directory.mkdir()
    settings = {"STATION_DATA_DIR": str(directory)}
    async with running(own("engines"), log=directory / "engines.log", environment=settings) as server:
        yield Engines(directory, **json.loads(server.line))


def fastest_loop() -> str:
    """The loop that Station is installed with."""
    return "uvloop" if find_spec("uvloop") else "asyncio"


async def admin(server: Server, method: str, path: str, document: object = "") -> Any:
    """Ask as an admin; the JSON that is answered, None for nothing."""
    answer = await ask(server.url, Request(method, path, {"x-internal-api-key": _ADMIN_KEY}, document))
    return answer.json() if answer.body else None


async def register(server: Server, client_id: str = CLIENT_ID, secret: str | None = SECRET) -> Caller:
    """Register a client; without a secret Station generates one."""
    registration: dict[str, object] = {"clientId": client_id, "scopes": [SCOPE]}
    if secret is not None:
        registration["clientSecret"] = secret
    registered = await admin(server, "POST", "/oauth-clients", registration)
    return Caller(client_id, secret or registered["clientSecret"])


def clones(engines: Engines, caller: Caller, count: int, database: int = 0) -> Sequence[Caller]:
    """Register ``count`` clients with the secret of a client, and its hash, straight in MongoDB.

    One hash for all spares the bench a bcrypt for each; Station cannot know, and does not remember a secret
    of one client for another.
    """
    callers = [Caller(f"{caller.client_id}-{place:06}", caller.secret) for place in range(count)]
    with engines.clients(database) as collection:
        document = collection.find_one({"client_id": caller.client_id})
        for start in range(0, count, _BATCH):
            copies = [
                {
                    **document,
                    "_id": ObjectId(),
                    "client_id": clone.client_id,
                    "generation": new_generation(),
                    "secrets": [{**secret, "id": uuid.uuid4().hex} for secret in document["secrets"]],
                }
                for clone in callers[start : start + _BATCH]
            ]
            collection.insert_many(copies, ordered=False)
    return callers


async def ask_lately(
    engines: Engines, server: Server, callers: Sequence[Caller], database: int = 0
) -> list[str]:
    """Let every client ask for a token, and wait for the note of the last one's use; the tokens.

    A worker writes those notes in the background, one for each client and minute.
    """
    lately = datetime.now(UTC) - timedelta(seconds=61)
    answers = await ask_all(server.url, [caller.token_request for caller in callers])
    deadline = time.monotonic() + _LONGEST_NOTES
    with engines.clients(database) as collection:
        noted = {"client_id": callers[-1].client_id, "secrets.last_used_at": {"$gte": lately}}
        # another process writes it
        while collection.find_one(noted) is None and time.monotonic() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(0.2)
    return [answer.json()["access_token"] for answer in answers]


def _database(number: int) -> str:
    return f"bench_{number}"
