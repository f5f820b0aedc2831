"""What the conformance tests share: requests as bytes, the form of every OAuth error, and the whole log.

Tests of services share a `Node`, which has everything that one process knows over MongoDB and Redis as fakes.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import logging
import re
import sys
import threading
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol, TypeVar
from urllib.parse import urlsplit

import pytest
from fakeredis import FakeAsyncRedis, FakeServer
from mongomock_motor import AsyncMongoMockClient
from tornado.httputil import HTTPHeaders

from plugins.oauth_m2m.authentication import ClientAuthenticator
from plugins.oauth_m2m.clients import ClientService
from plugins.oauth_m2m.credentials import ClientCredentials
from plugins.oauth_m2m.keyring import Keyring
from plugins.oauth_m2m.memory import SecretMemory
from plugins.oauth_m2m.mirror import ClientCache, Follower, Propagation, RevokedTokens
from plugins.oauth_m2m.models import Client, Process, SigningKey, SigningKeys
from plugins.oauth_m2m.stores import (
    ChangeStore,
    ClientStore,
    KeyStore,
    MemoryStore,
    NodeStore,
    TokenStore,
)
from station.audit import AuditLog, AuditStore
from station.errors import ServiceUnavailable
from station.passwords import PasswordHasher
from station.resources import Resources
from station.throttle import Throttle

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from types import FrameType

    from plugins.oauth_m2m.models import AuthenticatedClient
    from station.config import Config
    from tests.conftest import Answer

NODE_SECRET = "a-signing-key-of-more-than-32-bytes-for-the-tests"
COST = 5

MADE = datetime(2025, 1, 2, tzinfo=UTC)
BOT = Client(
    id="d1",
    client_id="station-bot",
    name="",
    salt="",
    secrets=(),
    scopes=("bot:api",),
    is_active=True,
    token_ttl=None,
    generation="g1",
    version=1,
    created_at=MADE,
    updated_at=MADE,
)
"""A client as it comes from its store; `dataclasses.replace` makes others of it."""

PROCESS = Process(
    id="other",
    host="other.example",
    pid=4711,
    worker=3,
    version="0.0.9",
    started_at=MADE,
    position=(1_735_700_000, 7),
    silence=0.25,
    bcrypt_threads=2,
    bcrypt_running=1,
    bcrypt_waiting=5,
    bcrypt_places=64,
    throttled={"token": 3},
)
"""What another process says of itself."""

T = TypeVar("T")

DESCRIPTION = re.compile(r"[\x20\x21\x23-\x5b\x5d-\x7e]{1,300}")  # RFC 6749 5.2
BASIC_CHALLENGE = 'Basic realm="station"'


@dataclasses.dataclass(frozen=True)
class RawAnswer:
    """An HTTP response, as it came over the socket."""

    status: int
    headers: HTTPHeaders
    body: bytes

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


class Raw(Protocol):
    """Send ``METHOD TARGET`` with these header lines and this body, byte by byte as given.

    Host and Connection are added, and Content-Length unless a header frames the body already; ``url`` is
    another server.
    """

    async def __call__(
        self, start: str, *headers: str | bytes, body: bytes = b"", url: str = ""
    ) -> RawAnswer: ...


class Refusal(Protocol):
    """Assert that an answer is this OAuth error in every detail; returns its description.

    ``case`` says in a failure which entry of a table it was.
    """

    def __call__(self, answer: Answer | RawAnswer, status: int, code: str, case: object = "") -> str: ...


@pytest.fixture
def config(config: Config, request: pytest.FixtureRequest) -> Config:
    """The usual configuration, with the fields that a test parametrises it with (``indirect=True``)."""
    return dataclasses.replace(config, **getattr(request, "param", {}))


@pytest.fixture
def raw(base_url: str, http_server: object) -> Raw:
    """See `Raw`."""

    async def send(start: str, *headers: str | bytes, body: bytes = b"", url: str = "") -> RawAnswer:
        to = urlsplit(url or base_url)
        lines = [f"{start} HTTP/1.1", f"Host: {to.netloc}", "Connection: close", *headers]
        head = b"\r\n".join(line if isinstance(line, bytes) else line.encode() for line in lines)
        if not re.search(rb"\r\n(Content-Length|Transfer-Encoding):", head):
            head += b"\r\nContent-Length: %d" % len(body)
        reader, writer = await asyncio.open_connection(to.hostname, to.port)
        try:
            writer.write(head + b"\r\n\r\n" + body)
            received = await asyncio.wait_for(reader.read(), 30)
        finally:
            writer.close()
        status_line, _, rest = received.partition(b"\r\n")
        fields, _, content = rest.partition(b"\r\n\r\n")
        return RawAnswer(int(status_line.split()[1]), HTTPHeaders.parse(fields.decode("latin-1")), content)

    return send


@pytest.fixture
def refusal() -> Refusal:
    """See `Refusal`."""

    def check(answer: Answer | RawAnswer, status: int, code: str, case: object = "") -> str:
        assert (answer.status, answer.json["error"]) == (status, code), (case, answer.body)
        assert answer.json.keys() <= {"error", "error_description"}
        assert answer.headers.get_list("Content-Type") == ["application/json"]
        assert answer.headers.get_list("Cache-Control") == ["no-store"]
        assert answer.headers.get_list("Pragma") == ["no-cache"]
        assert answer.headers.get_list("WWW-Authenticate") == ([BASIC_CHALLENGE] if status == 401 else [])
        assert ("Retry-After" in answer.headers) == (status in {429, 503})
        assert ("Allow" in answer.headers) == (status == 405)
        assert "Set-Cookie" not in answer.headers
        description = answer.json["error_description"]
        assert isinstance(description, str)
        assert DESCRIPTION.fullmatch(description)
        return description

    return check


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture) -> Callable[[], str]:
    """Everything that was logged at any level, as text and as the attributes of the records."""
    caplog.set_level(logging.DEBUG)
    return lambda: caplog.text + "\n".join(str(vars(record)) for record in caplog.records)


class Node:
    """One process: its stores, and what it knows of MongoDB.

    The fakes have no change stream, so it hears of the changes of others what a test tells it, by ``cache``
    and ``revoked``; its follower takes everything for fresh.
    """

    def __init__(self, resources: Resources, *jwt_secrets: str) -> None:
        self.resources = resources
        self.audit = AuditLog(AuditStore(resources, timedelta(days=1)))
        self.clients, self.tokens = ClientStore(resources), TokenStore(resources)
        self.keyring = Keyring(
            KeyStore(resources), audit=self.audit, alg="HS256", jwt_secrets=jwt_secrets or [NODE_SECRET]
        )
        made = datetime(2025, 1, 2, tzinfo=UTC)
        self.keyring.use(SigningKeys(1, (SigningKey("HS256", "HS256", "active", published_at=made),)))
        self.cache, self.revoked = ClientCache(self.clients, size=100), RevokedTokens()
        self.follower = Follower(
            ChangeStore(resources),
            self.tokens,
            clients=self.cache,
            revoked=self.revoked,
            keyring=self.keyring,
            max_staleness=float("inf"),
        )
        self.propagation = Propagation(
            self.follower, NodeStore(resources), clients=self.cache, revoked=self.revoked
        )

    def client_service(
        self, hasher: PasswordHasher, catalogue: Mapping[str, str] | None = None
    ) -> ClientService:
        """Its clients, of an open catalogue unless one is given."""
        return ClientService(
            self.clients, propagation=self.propagation, hasher=hasher, catalogue=catalogue, audit=self.audit
        )

    def authenticator(self, hasher: PasswordHasher) -> ClientAuthenticator:
        """One that remembers no secret yet."""
        memory = SecretMemory(MemoryStore(self.resources), jwt_secret=NODE_SECRET, size=100)
        return ClientAuthenticator(self.clients, self.cache, self.follower, memory=memory, hasher=hasher)

    async def authenticate(
        self,
        presenting: PasswordHasher | ClientAuthenticator,
        *secrets: str,
        client_id: str = "station-bot",
    ) -> AuthenticatedClient:
        """Present these readings of a secret: to an authenticator, or to one that remembers none yet."""
        to = self.authenticator(presenting) if isinstance(presenting, PasswordHasher) else presenting
        readings = tuple(secret.encode() for secret in secrets)
        credentials = ClientCredentials(client_id, readings, "client_secret_basic")
        return await to.authenticate(credentials, admission=Throttle(self.resources.redis).admit())


class MakeNode(Protocol):
    """Make a `Node` over these fakes; the first secret signs its tokens."""

    def __call__(self, resources: Resources, *jwt_secrets: str) -> Node: ...


@pytest.fixture
def make_node() -> MakeNode:
    """See `MakeNode`."""
    return Node


@pytest.fixture
def redis_server() -> FakeServer:
    """The fake that `resources` connect to: ``connected = False`` makes it go away."""
    return FakeServer()


@pytest.fixture
def resources(redis_server: FakeServer) -> Resources:
    """MongoDB and Redis as fakes."""
    return Resources(AsyncMongoMockClient(tz_aware=True)["station"], FakeAsyncRedis(server=redis_server))


@pytest.fixture
def node(resources: Resources) -> Node:
    """One process over the fakes."""
    return Node(resources)


class MeteredHasher(PasswordHasher):
    """Counts the rounds of bcrypt of each job, and keeps the threads that did them."""

    def __init__(self, cost: int = COST) -> None:
        super().__init__(cost, workers=1)
        self.rounds: list[int] = []
        self.threads: set[int] = set()

    async def _run(self, work: Callable[[], T], source: str = "") -> T:
        def metered() -> T:
            digests: list[int] = []

            def count(frame: FrameType, event: str, _argument: object) -> None:
                if event == "call" and frame.f_code.co_name == "_digest":
                    digests.append(frame.f_locals["cost"])

            sys.setprofile(count)
            try:
                return work()
            finally:
                sys.setprofile(None)
                self.rounds.append(sum(2**cost for cost in digests))
                self.threads.add(threading.get_ident())

        return await super()._run(metered, source)


class FullHasher(PasswordHasher):
    """Verifies, but has no place left to hash."""

    async def hash(self, secret: bytes, *, salt: str | None = None, cost: int | None = None) -> str:
        """Refuse."""
        raise ServiceUnavailable("Too many secrets are being verified.")


@pytest.fixture
def hasher() -> Iterator[MeteredHasher]:
    """bcrypt of a low cost that counts its work."""
    hasher = MeteredHasher()
    yield hasher
    hasher.close()


@pytest.fixture
def cheap_hasher() -> Iterator[PasswordHasher]:
    """bcrypt of the cost below that of ``hasher``."""
    hasher = PasswordHasher(COST - 1)
    yield hasher
    hasher.close()


@pytest.fixture
def full_hasher() -> Iterator[FullHasher]:
    """See `FullHasher`."""
    hasher = FullHasher(COST)
    yield hasher
    hasher.close()
