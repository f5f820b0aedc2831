"""Revoking, introspecting and rotating without a store: 503, and nothing half done."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import threading
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from plugins.oauth_m2m.config import OAuthM2MConfig

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator

    from station.config import Config
    from station.embedded import Endpoints
    from tests.conftest import Wire

CREDENTIALS = ("station-bot", "the-secret-of-these-tests-0123456789")
BOT = "/oauth-clients/station-bot"


class Line:
    """A TCP line to a store that a test can cut and mend; it has a thread of its own."""

    def __init__(self, url: str) -> None:
        self._to = urlsplit(url)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self._open: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server
        self.port = 0

    def mend(self) -> None:
        """Listen, on the same port as before."""
        self._run(self._mend())

    def cut(self) -> None:
        """Refuse connections and drop those that are open."""
        self._run(self._cut())

    def close(self) -> None:
        """Cut it for good."""
        self.cut()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _run(self, work: Coroutine[object, object, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _mend(self) -> None:
        self._server = await asyncio.start_server(self._connect, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _cut(self) -> None:
        self._server.close()
        for writer in self._open:
            writer.transport.abort()
        await asyncio.sleep(0.05)

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, here = await asyncio.open_connection(self._to.hostname, self._to.port)
        self._open |= {writer, here}
        await asyncio.gather(_copy(reader, here), _copy(there, writer))
        self._open -= {writer, here}


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
    writer.close()


def line(url: str | None) -> Iterator[Line]:
    assert url is not None
    made = Line(url)
    made.mend()
    yield made
    made.close()


@pytest.fixture
def to_mongodb(engines: Endpoints) -> Iterator[Line]:
    yield from line(engines.mongodb_uri)


@pytest.fixture
def to_redis(engines: Endpoints) -> Iterator[Line]:
    yield from line(engines.redis_url)


@pytest.fixture
def config(config: Config, to_mongodb: Line, to_redis: Line) -> Config:
    """The usual configuration over these lines, without the throttles, which need Redis first of all."""
    return dataclasses.replace(
        config,
        mongodb_uri=f"mongodb://127.0.0.1:{to_mongodb.port}/?directConnection=true",
        redis_url=f"redis://127.0.0.1:{to_redis.port}/0",
        revoke_throttle_limit=0,
        introspect_throttle_limit=0,
        token_throttle_limit=0,
        failure_throttle_limit=0,
    )


async def everything(wire: Wire, token: str, jti: str, secret_id: str) -> dict[str, int]:
    """The status of each request; all at once, since each waits for the store."""
    form = {"token": token}
    requests = {
        "revoke": wire.fetch("POST", "/auth/revoke", form=form, basic=CREDENTIALS),
        "introspect": wire.fetch("POST", "/auth/introspect", form=form, basic=CREDENTIALS),
        "add": wire.admin("POST", f"{BOT}/secrets", {}),
        "secrets": wire.admin("GET", f"{BOT}/secrets"),
        "end": wire.admin("DELETE", f"{BOT}/secrets/{secret_id}"),
        "tokens": wire.admin("GET", f"{BOT}/tokens"),
        "revoke one": wire.admin("DELETE", f"{BOT}/tokens/{jti}"),
    }
    answers = dict(zip(requests, await asyncio.gather(*requests.values()), strict=True))
    for name, answer in answers.items():
        assert answer.status != 503 or int(answer.headers["Retry-After"]) >= 1, name
        assert b"clientSecret" not in answer.body or answer.status == 201, name
    return {name: answer.status for name, answer in answers.items()}


async def begin(wire: Wire) -> tuple[str, str, str]:
    """A client with two secrets and a token: the token, its jti, and the id of the older secret."""
    await wire.register(CREDENTIALS[0], clientSecret=CREDENTIALS[1])
    await wire.admin("POST", f"{BOT}/secrets", {})
    token = await wire.access_token(CREDENTIALS)
    [live] = (await wire.admin("GET", f"{BOT}/tokens")).json["tokens"]
    old, _ = (await wire.admin("GET", f"{BOT}/secrets")).json["secrets"]
    return token, live["jti"], old["id"]


@pytest.mark.row("V7")
@pytest.mark.gen_test
async def test_without_mongodb_nothing_is_done(wire: Wire, to_mongodb: Line) -> None:
    """Only what needs no MongoDB goes on: whether a token lives is in memory."""
    token, jti, secret_id = await begin(wire)
    to_mongodb.cut()
    statuses = await everything(wire, token, jti, secret_id)
    assert statuses.pop("introspect") == 200
    assert set(statuses.values()) == {503}, statuses
    to_mongodb.mend()
    for _ in range(50):  # until the driver has found it again
        if (found := await wire.fetch("GET", "/auth/client", bearer=token)).status == 200:
            break
        await asyncio.sleep(0.1)
    assert found.status == 200
    secrets = (await wire.admin("GET", f"{BOT}/secrets")).json["secrets"]
    assert (len(secrets), secrets[0]["id"]) == (2, secret_id)
    assert len((await wire.admin("GET", f"{BOT}/tokens")).json["tokens"]) == 1


class TestWhileItIsStale:
    """MongoDB has been silent for longer than a token may live on unheard of."""

    @pytest.fixture
    def m2m_settings(self) -> OAuthM2MConfig:
        return OAuthM2MConfig(bcrypt_cost=4, revocation_max_staleness_ms=1000)

    @pytest.mark.row("R6", "V7")
    @pytest.mark.gen_test
    async def test_nothing_is_open_until_mongodb_is_heard_again(self, wire: Wire, to_mongodb: Line) -> None:
        token, jti, secret_id = await begin(wire)

        async def status_is(wanted: int) -> None:
            async with asyncio.timeout(20):
                while (  # noqa: ASYNC110 - nothing tells of it but the answers
                    await wire.fetch("GET", "/auth/client", bearer=token)
                ).status != wanted:
                    await asyncio.sleep(0.05)

        await status_is(200)
        to_mongodb.cut()
        await status_is(503)
        statuses = await everything(wire, token, jti, secret_id)
        assert set(statuses.values()) == {503}, statuses
        assert (await wire.token(CREDENTIALS)).status == 503
        assert (await wire.fetch("GET", "/health/ready")).status == 503
        to_mongodb.mend()
        await status_is(200)
        assert (await wire.token(CREDENTIALS)).status == 200


@pytest.mark.row("V7")
@pytest.mark.gen_test
async def test_without_redis_only_what_redis_knows_is_away(wire: Wire, to_redis: Line) -> None:
    token, jti, secret_id = await begin(wire)
    to_redis.cut()
    listed = await wire.admin("GET", f"{BOT}/tokens")
    one = await wire.admin("DELETE", f"{BOT}/tokens/{jti}")
    assert (listed.status, one.status) == (503, 503)
    assert (await wire.fetch("GET", "/auth/client", bearer=token)).status == 200
    introspected = await wire.fetch("POST", "/auth/introspect", form={"token": token}, basic=CREDENTIALS)
    assert introspected.json["active"] is True
    added = await wire.admin("POST", f"{BOT}/secrets", {})
    ended = await wire.admin("DELETE", f"{BOT}/secrets/{secret_id}")
    assert (added.status, ended.status) == (201, 204)
    to_redis.mend()
    assert len((await wire.admin("GET", f"{BOT}/tokens")).json["tokens"]) == 1
    assert (await wire.token(("station-bot", added.json["clientSecret"]))).status == 200
