"""Revocation (RFC 7009), by clients and by admins: table V of docs/protocol.md."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import dataclasses
import json
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import jwt
import pytest
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from tornado.httpserver import HTTPServer
from tornado.testing import bind_unused_port

from plugins.oauth_m2m.services import services_of
from station.app import make_app

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from station.app import Application
    from station.config import Config
    from station.resources import Resources
    from tests.conftest import Answer, Wire
    from tests.plugins.oauth_m2m.conftest import Refusal

CREDENTIALS = ("station-bot", "the-secret-of-these-tests-0123456789")
BOT = "/oauth-clients/station-bot"
OFF = {"revoke_throttle_limit": 0, "failure_throttle_limit": 0}


@pytest.fixture
def config(config: Config, request: pytest.FixtureRequest) -> Config:
    """The usual configuration, with the fields that a test asks for."""
    return dataclasses.replace(config, **getattr(request, "param", {}))


async def register(wire: Wire, client_id: str = "station-bot", **fields: object) -> tuple[str, str]:
    return await wire.register(client_id, clientSecret=CREDENTIALS[1], **fields)


async def revoke(wire: Wire, token: str, credentials: tuple[str, str] = CREDENTIALS, **more: str) -> Answer:
    form = {"token": token, **more}
    return await wire.fetch("POST", "/auth/revoke", form=form, basic=credentials)


async def whoami(wire: Wire, token: str) -> int:
    return (await wire.fetch("GET", "/auth/client", bearer=token)).status


def read(token: str) -> dict[str, Any]:
    claims: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    return claims


async def audited(app: Application, action: str) -> list[dict[str, Any]]:
    found = app.resources.database["audit_events"].find({"action": action})
    return [document async for document in found]


async def heard(app: Application, jti: str) -> None:
    """Wait until this process has heard of a revocation whose process could not wait for it."""
    await asyncio.wait_for(services_of(app).follower.applied(("revocation", jti, None)), 10)


@contextlib.asynccontextmanager
async def node(wire: Wire, config: Config, resources: Resources | None = None) -> AsyncIterator[Wire]:
    """Another Station on the same stores, or on these."""
    other = make_app(config, resources)
    async with other.lifespan():
        server = HTTPServer(other)
        socket, port = bind_unused_port()
        server.add_socket(socket)
        try:
            yield wire.at(f"http://127.0.0.1:{port}")
        finally:
            server.stop()
            await server.close_all_connections()


@pytest.mark.row("V1", "V5")
@pytest.mark.gen_test
async def test_a_revoked_token_is_dead_and_others_live_on(wire: Wire) -> None:
    await register(wire)
    dead, alive = await wire.access_token(CREDENTIALS), await wire.access_token(CREDENTIALS)
    assert await whoami(wire, dead) == 200
    answer = await revoke(wire, dead)
    assert (answer.status, answer.headers["Cache-Control"]) == (200, "no-store")
    assert [await whoami(wire, token) for token in (dead, alive)] == [401, 200]


@pytest.mark.row("V1")
@pytest.mark.gen_test
async def test_the_form_is_that_of_the_token_endpoint(wire: Wire, refusal: Refusal) -> None:
    await register(wire)
    token = await wire.access_token(CREDENTIALS)
    for form in ({}, {"token": ""}, {"token_type_hint": "access_token"}, [("token", token)] * 2):
        answer = await wire.fetch("POST", "/auth/revoke", form=form, basic=CREDENTIALS)
        refusal(answer, 400, "invalid_request", form)
    for basic in (None, ("station-bot", "w" * 40), ("nobody", CREDENTIALS[1])):
        answer = await wire.fetch("POST", "/auth/revoke", form={"token": token}, basic=basic)
        refusal(answer, 401, "invalid_client", basic)
    refusal(
        await wire.fetch("POST", "/auth/revoke", form={"token": token}, bearer=token), 401, "invalid_client"
    )
    assert await whoami(wire, token) == 200
    in_body = {"token": token, "client_id": CREDENTIALS[0], "client_secret": CREDENTIALS[1]}
    assert (await wire.fetch("POST", "/auth/revoke", form=in_body)).status == 200
    assert await whoami(wire, token) == 401


@pytest.mark.row("V2")
@pytest.mark.gen_test
async def test_what_is_no_live_token_is_revoked_already(wire: Wire, app: Application, config: Config) -> None:
    await register(wire)
    token = await wire.access_token(CREDENTIALS)
    expired = jwt.encode(
        read(token) | {"exp": int(time.time()) - 1}, config.jwt_secret, headers={"typ": "at+jwt"}
    )
    await revoke(wire, token)
    head, _, signature = token.rpartition(".")
    garbage = [token, expired, "x", "a.b.c", "é", "\0", "x" * 9000, head, f"{head}.{signature[::-1]}"]
    answers = [await revoke(wire, presented) for presented in garbage]
    assert {(answer.status, answer.body) for answer in answers} == {(200, b"{}")}
    assert await app.resources.database["revoked_tokens"].count_documents({}) == 1


@pytest.mark.row("V3")
@pytest.mark.gen_test
async def test_the_token_of_another_client_stays_alive(
    wire: Wire, app: Application, refusal: Refusal
) -> None:
    await register(wire)
    other = await register(wire, "other-bot")
    token = await wire.access_token(other)
    answer = await revoke(wire, token)
    refusal(answer, 400, "invalid_grant")
    assert await whoami(wire, token) == 200
    await app.audit.flush()
    [event] = await audited(app, "revoke.refused")
    assert event["request_id"] == answer.headers["X-Request-ID"]
    assert (event["actor"]["id"], event["reason"]["code"]) == ("station-bot", "foreign")


@pytest.mark.row("V4")
@pytest.mark.parametrize("hint", ["access_token", "refresh_token", "id_token", "x", "", "é"])
@pytest.mark.gen_test
async def test_a_hint_changes_nothing(wire: Wire, hint: str) -> None:
    await register(wire)
    token = await wire.access_token(CREDENTIALS)
    assert (await revoke(wire, token, token_type_hint=hint)).status == 200
    assert await whoami(wire, token) == 401


@pytest.mark.row("V5")
@pytest.mark.gen_test
async def test_every_other_node_knows_by_the_next_request(wire: Wire, config: Config) -> None:
    await register(wire)
    async with node(wire, config) as other:
        tokens = [await wire.access_token(CREDENTIALS) for _ in range(3)]
        assert [await whoami(other, token) for token in tokens] == [200] * 3
        assert (await revoke(wire, tokens[0])).status == 200
        assert await whoami(other, tokens[0]) == 401
        jti = read(tokens[1])["jti"]
        assert (await wire.admin("DELETE", f"{BOT}/tokens/{jti}")).json == {
            "revoked": 1,
            "confirmedBy": 2,
            "pending": 0,
        }
        assert await whoami(other, tokens[1]) == 401
        answer = await other.admin("DELETE", f"{BOT}/tokens")
        assert answer.json == {"revoked": 1, "confirmedBy": 2, "pending": 0}
        assert await whoami(wire, tokens[2]) == 401


@pytest.mark.row("V6")
@pytest.mark.gen_test
async def test_a_users_token_is_of_a_kind_that_is_not_revoked_here(wire: Wire, refusal: Refusal) -> None:
    await register(wire)
    person = {"email": "ada@example.com", "password": "correct horse battery"}
    await wire.fetch("POST", "/auth/register", document=person)
    session = await wire.fetch("POST", "/auth/login", document=person)
    cookies = [cookie.partition(";")[0] for cookie in session.headers.get_list("Set-Cookie")]
    assert len(cookies) == 2
    for cookie in cookies:
        refusal(await revoke(wire, cookie.partition("=")[2]), 400, "unsupported_token_type", cookie)
    me = await wire.fetch("GET", "/auth/me", headers={"Cookie": "; ".join(cookies)})
    assert me.status == 200


def without_redis(app: Application) -> Resources:
    return dataclasses.replace(app.resources, redis=Redis(port=1, retry=Retry(NoBackoff(), 0)))


@pytest.mark.row("V7")
@pytest.mark.parametrize("config", [OFF], indirect=True)
@pytest.mark.gen_test
async def test_redis_does_not_hear_of_it(
    wire: Wire, app: Application, config: Config, refusal: Refusal
) -> None:
    """Never 200, and yet the token is dead, since MongoDB knows: the client tries again."""
    await register(wire)
    token = await wire.access_token(CREDENTIALS)
    async with node(wire, config, without_redis(app)) as lame:
        refusal(await revoke(lame, token), 503, "temporarily_unavailable")
        assert await whoami(lame, token) == 401
    await heard(app, read(token)["jti"])
    assert await whoami(wire, token) == 401
    assert (await revoke(wire, token)).status == 200


@pytest.mark.row("V7")
@pytest.mark.gen_test
async def test_redis_cannot_count_the_request(
    wire: Wire, app: Application, config: Config, refusal: Refusal
) -> None:
    """With the throttles on nothing is begun without Redis; an admin ends all tokens all the same."""
    await register(wire)
    token = await wire.access_token(CREDENTIALS)
    jti = read(token)["jti"]
    async with node(wire, config, without_redis(app)) as lame:
        refusal(await revoke(lame, token), 503, "temporarily_unavailable")
        assert await whoami(lame, token) == 200
        answer = await lame.admin("DELETE", f"{BOT}/tokens/{jti}")
        assert (answer.status, answer.headers["Retry-After"]) == (503, "1")
        assert await whoami(lame, token) == 200
        answer = await lame.admin("DELETE", f"{BOT}/tokens")
        assert (answer.status, answer.json) == (200, {"revoked": None, "confirmedBy": 1, "pending": None})
        assert await whoami(lame, token) == 401


REVOKE_AND_DIE = """
import asyncio, os, signal, sys
from motor.motor_asyncio import AsyncIOMotorClient
from redis.asyncio import Redis
from plugins.oauth_m2m.stores import ClientStore, TokenStore
from station.resources import Resources, secure_database

class DeadlyRedis(Redis):
    def pipeline(self, *arguments, **options):
        os.kill(os.getpid(), signal.SIGKILL)

async def main(uri, name, client_id, jti, exp):
    resources = Resources(secure_database(AsyncIOMotorClient(uri), name), DeadlyRedis())
    client = await ClientStore(resources).get(client_id)
    await TokenStore(resources).revoke(client, jti, int(exp))
    await TokenStore(resources).blacklist(client, jti, int(exp))

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.mark.row("V7", "I7")
@pytest.mark.gen_test
async def test_a_process_that_dies_between_the_two_stores_has_revoked(
    wire: Wire, app: Application, config: Config
) -> None:
    await register(wire)
    token = await wire.access_token(CREDENTIALS)
    claims = read(token)
    arguments = [config.mongodb_uri, config.mongodb_database, "station-bot", claims["jti"], claims["exp"]]
    command = [sys.executable, "-c", REVOKE_AND_DIE, *map(str, arguments)]
    died = await asyncio.to_thread(subprocess.run, command, capture_output=True, check=False, timeout=30)
    assert died.returncode == -signal.SIGKILL, died.stderr
    await heard(app, claims["jti"])
    assert await whoami(wire, token) == 401
    assert (await wire.admin("GET", f"{BOT}/tokens")).json["tokens"] == []
    inactive = await wire.fetch("POST", "/auth/introspect", form={"token": token}, basic=CREDENTIALS)
    assert inactive.json == {"active": False}


@pytest.mark.row("V7")
@pytest.mark.gen_test
async def test_losing_redis_revives_nothing(wire: Wire, app: Application) -> None:
    await register(wire)
    tokens = [await wire.access_token(CREDENTIALS) for _ in range(2)]
    await revoke(wire, tokens[0])
    await wire.admin("DELETE", f"{BOT}/tokens")
    late = await wire.access_token(CREDENTIALS)
    await app.resources.redis.flushall()
    assert [await whoami(wire, token) for token in [*tokens, late]] == [401, 401, 200]


@pytest.mark.row("V8")
@pytest.mark.gen_test
async def test_a_forged_token_with_someones_jti_revokes_nothing(
    wire: Wire, app: Application, config: Config
) -> None:
    await register(wire)
    token = await wire.access_token(CREDENTIALS)
    claims = read(token)
    forged = [
        jwt.encode(claims, "k" * 40, headers={"typ": "at+jwt"}),
        jwt.encode(claims, "", algorithm="none", headers={"typ": "at+jwt"}),
        jwt.encode(claims | {"exp": claims["exp"] - 1}, "k" * 40, headers={"typ": "at+jwt"}),
        ".".join([token.split(".")[0], base64.urlsafe_b64encode(json.dumps(claims).encode()).decode(), ""]),
    ]
    assert [(await revoke(wire, presented)).status for presented in forged] == [200] * 4
    assert await whoami(wire, token) == 200
    assert await app.resources.redis.keys("blacklist:*") == []
    assert await app.resources.database["revoked_tokens"].count_documents({}) == 0


@pytest.mark.row("V9")
@pytest.mark.gen_test
async def test_the_entry_in_redis_outlives_the_token_and_ends(wire: Wire, app: Application) -> None:
    await register(wire)
    token = await wire.access_token(CREDENTIALS)
    claims = read(token)
    await revoke(wire, token)
    ttl = await app.resources.redis.ttl(f"blacklist:{claims['jti']}")
    assert claims["exp"] - time.time() <= ttl - 300 <= 3601
    [record] = [record async for record in app.resources.database["revoked_tokens"].find()]
    # both forget by clocks of their own, and remember five minutes longer
    assert (record["_id"], record["expires_at"].timestamp()) == (claims["jti"], claims["exp"] + 300)


@pytest.mark.row("V10")
@pytest.mark.gen_test
async def test_after_all_are_revoked_the_next_one_works(wire: Wire, app: Application, config: Config) -> None:
    """No clock is asked: tokens of the same second, and of nodes whose clocks disagree, are told apart."""
    await register(wire)
    async with node(wire, config) as other:
        for _ in range(3):
            before = await asyncio.gather(*[wire.access_token(CREDENTIALS) for _ in range(3)])
            answer = await wire.admin("DELETE", f"{BOT}/tokens")
            assert (answer.status, answer.json["revoked"]) == (200, 3)
            after = await other.access_token(CREDENTIALS)
            assert [await whoami(other, token) for token in [*before, after]] == [401, 401, 401, 200]
            assert (await wire.admin("DELETE", f"{BOT}/tokens")).json == {
                "revoked": 1,
                "confirmedBy": 2,
                "pending": 0,
            }
            assert await whoami(other, after) == 401
    [first, *_] = events = await audited(app, "tokens.revoked")
    assert len(events) == 6
    assert (first["target"], first["outcome"]) == ("station-bot", "ok")
    assert first["detail"] == {"tokens": 3, "confirmed_by": 2, "pending": 0}
    assert (first["actor"]["kind"], first["address"]) == ("key", "127.0.0.1")


@pytest.mark.row("V11")
@pytest.mark.parametrize(
    ("method", "path", "document"),
    [
        ("PATCH", BOT, {"isActive": False}),
        ("DELETE", BOT, None),
        ("DELETE", f"{BOT}/secrets/SECRET?force=true&revokeTokens=true", None),
        ("DELETE", f"{BOT}/tokens", None),
    ],
)
@pytest.mark.gen_test
async def test_what_ends_a_client_ends_its_live_tokens(
    wire: Wire, config: Config, method: str, path: str, document: object
) -> None:
    await register(wire)
    token = await wire.access_token(CREDENTIALS)
    [secret] = (await wire.admin("GET", f"{BOT}/secrets")).json["secrets"]
    async with node(wire, config) as other:
        assert await whoami(other, token) == 200
        answer = await wire.admin(method, path.replace("SECRET", secret["id"]), document)
        assert answer.status in {200, 204}, answer.body
        assert [await whoami(known, token) for known in (wire, other)] == [401, 401]


@pytest.mark.row("V12")
@pytest.mark.gen_test
async def test_nothing_but_post(wire: Wire, refusal: Refusal) -> None:
    await register(wire)
    token = await wire.access_token(CREDENTIALS)
    for method in ("GET", "PUT", "DELETE", "PATCH"):
        answer = await wire.fetch(
            method, f"/auth/revoke?token={token}&callback=alert", basic=CREDENTIALS, body=""
        )
        refusal(answer, 405, "invalid_request", method)
        assert b"alert" not in answer.body
    answer = await wire.fetch("POST", f"/auth/revoke?token={token}", basic=CREDENTIALS, body="")
    refusal(answer, 400, "invalid_request")
    assert await whoami(wire, token) == 200


@pytest.mark.row("C16")
@pytest.mark.parametrize("config", [{"revoke_throttle_limit": 2}], indirect=True)
@pytest.mark.gen_test
async def test_revocations_are_throttled(wire: Wire, refusal: Refusal) -> None:
    await register(wire)
    statuses = [(await revoke(wire, "x")).status for _ in range(2)]
    assert statuses == [200, 200]
    refusal(await revoke(wire, "x"), 429, "temporarily_unavailable")
