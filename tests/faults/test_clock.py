"""The clock jumps by five minutes while Station runs: its own, by libfaketime, never the machine's."""

from __future__ import annotations

import base64
import dataclasses
import http.client
import json
import sys
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit

import jwt
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Serve, Server

SECRET = "a-client-secret-for-the-tests-0123456789"
PASSWORD = "a-password-for-the-tests-0123456789"
JUMP = 300
PATIENCE = 30.0
# libfaketime mistakes the monotonic time until which Python sleeps, and refuses it (EINVAL)
SITECUSTOMIZE = """
import select, time
time.sleep = lambda seconds: (select.select([], [], [], seconds), None)[1]
"""
LIBRARIES = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))


@dataclasses.dataclass
class Answer:
    status: int
    headers: http.client.HTTPMessage
    json: Any


class Node:
    """A Station whose clock differs from the machine's by what ``jump_to`` says."""

    def __init__(self, server: Server, clock: Path) -> None:
        self.server = server
        self._clock = clock

    def jump_to(self, offset: int) -> None:
        """Set the clock ``offset`` seconds ahead of the machine's; the process reads that at each look."""
        draft = self._clock.with_suffix(".new")
        draft.write_text(f"{offset:+d}\n")
        draft.replace(self._clock)

    def ask(
        self, method: str, path: str, headers: dict[str, str] | None = None, body: str | None = None
    ) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", urlsplit(self.server.url).port, timeout=PATIENCE)
        try:
            connection.request(method, path, body, headers or {})
            response = connection.getresponse()
            said = response.read()
            return Answer(response.status, response.headers, json.loads(said) if said else None)
        finally:
            connection.close()

    def admin(self, method: str, path: str, document: object = None) -> Answer:
        headers = {"x-internal-api-key": self.server.admin_key, "Content-Type": "application/json"}
        return self.ask(method, path, headers, None if document is None else json.dumps(document))

    def register(self, ttl: int = 60) -> str:
        client_id = f"bot-{uuid.uuid4().hex}"
        document = {"clientId": client_id, "clientSecret": SECRET, "scopes": ["demo:read"], "tokenTtl": ttl}
        assert self.admin("POST", "/oauth-clients", document).status == 201
        return client_id

    def client(self, path: str, client_id: str, **form: str) -> Answer:
        basic = base64.b64encode(f"{client_id}:{SECRET}".encode()).decode()
        headers = {"Authorization": f"Basic {basic}", "Content-Type": "application/x-www-form-urlencoded"}
        return self.ask("POST", path, headers, urlencode(form))

    def token(self, client_id: str) -> str:
        answer = self.client("/auth/token", client_id, grant_type="client_credentials")
        assert answer.status == 200, answer.json
        return str(answer.json["access_token"])

    def call(self, token: str) -> int:
        return self.ask("GET", "/demo/greeting", {"Authorization": f"Bearer {token}"}).status

    def live(self, client_id: str) -> list[str]:
        page = self.admin("GET", f"/oauth-clients/{client_id}/tokens")
        assert page.status == 200
        return [token["jti"] for token in page.json["tokens"]]


def claims(token: str) -> dict[str, Any]:
    read: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    return read


@pytest.fixture(scope="module")
def running(serve: Serve, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """One Station for all jumps."""
    if sys.platform != "linux" or not LIBRARIES:
        pytest.skip("needs libfaketime: apt-get install faketime")
    directory = tmp_path_factory.mktemp("clock")
    clock = directory / "clock"
    clock.write_text("+0\n")
    (directory / "sitecustomize.py").write_text(SITECUSTOMIZE)
    with serve(
        directory,
        PYTHONPATH=str(directory),
        LD_PRELOAD=str(LIBRARIES[0]),
        FAKETIME_TIMESTAMP_FILE=str(clock),
        FAKETIME_NO_CACHE="1",
        FAKETIME_DONT_FAKE_MONOTONIC="1",
        OAUTH_M2M_REVOCATION_MAX_STALENESS_MS="2000",
        AUTH_TOKEN_THROTTLE_LIMIT="3",
    ) as server:
        yield Node(server, clock)
    log = server.log.read_text()
    assert "Traceback" not in log
    assert " 500 " not in log


@pytest.fixture
def node(running: Node) -> Iterator[Node]:
    """It goes by the machine's clock when a test begins."""
    running.jump_to(0)
    yield running
    assert running.ask("GET", "/health/ready").status == 200  # wherever the clock is


@pytest.mark.parametrize("ttl", [60, 299, 600])
def test_tokens_expire_by_the_clock_when_it_jumps_forward(node: Node, ttl: int) -> None:
    bot = node.register(ttl)
    token = node.token(bot)
    assert node.call(token) == 200  # which is remembered
    assert claims(token)["exp"] - claims(token)["iat"] == ttl
    node.jump_to(JUMP)
    assert node.call(token) == (200 if ttl > JUMP else 401)
    assert node.live(bot) == ([claims(token)["jti"]] if ttl > JUMP else [])
    later = node.token(bot)
    assert abs(claims(later)["iat"] - time.time() - JUMP) < 10
    assert node.call(later) == 200
    assert claims(later)["jti"] in node.live(bot)
    node.jump_to(2 * JUMP)
    assert node.call(token) == 401
    assert node.call(later) == (200 if ttl > JUMP else 401)


def test_a_clock_that_is_behind_goes_on_issuing(node: Node) -> None:
    bot = node.register()
    before = node.token(bot)
    node.jump_to(-JUMP)
    token = node.token(bot)  # has expired by Redis's clock, which would not keep a record until then
    assert node.call(token) == 200
    assert node.live(bot)[-1] == claims(token)["jti"]
    revoked = node.admin("DELETE", f"/oauth-clients/{bot}/tokens/{claims(token)['jti']}")
    assert (revoked.status, revoked.json["revoked"]) == (200, 1)
    assert node.call(token) == 401
    assert node.call(before) in {200, 401}  # it comes from the future: 401 unless it is remembered
    node.jump_to(0)
    assert node.call(token) == 401
    assert node.call(before) == 200
    assert node.call(node.token(bot)) == 200


@pytest.mark.parametrize("offset", [JUMP, -JUMP])
def test_what_is_revoked_stays_dead(node: Node, offset: int) -> None:
    bot, other = node.register(600), node.register(600)
    token, by_id, of_other = node.token(bot), node.token(bot), node.token(other)
    assert [node.call(one) for one in (token, by_id, of_other)] == [200, 200, 200]
    assert node.client("/auth/revoke", bot, token=token).status == 200
    node.jump_to(offset)
    dead = node.admin("DELETE", f"/oauth-clients/{bot}/tokens/{claims(by_id)['jti']}")
    assert dead.status == 200
    assert node.admin("DELETE", f"/oauth-clients/{other}/tokens").status == 200
    for now in (offset, 0, -offset, 0):
        node.jump_to(now)
        assert [node.call(one) for one in (token, by_id, of_other)] == [401, 401, 401]
        assert not {claims(token)["jti"], claims(by_id)["jti"]} & set(node.live(bot))


def test_a_token_from_the_future_does_not_outlive_its_end(node: Node) -> None:
    bot = node.register(60)
    node.jump_to(JUMP)
    token = node.token(bot)
    node.jump_to(0)
    stranger = Node(node.server, Path("/dev/null"))
    assert stranger.call(token) == 401  # no process with the right clock takes it before it is due
    node.jump_to(JUMP)
    assert node.call(token) == 200
    node.jump_to(JUMP + 61)
    assert node.call(token) == 401


@pytest.mark.parametrize("offset", [JUMP, -JUMP])
def test_throttles_and_staleness_do_not_go_by_the_time_of_day(node: Node, offset: int) -> None:
    bot = node.register(600)
    token = node.token(bot)
    for _ in range(2):
        node.token(bot)
    node.jump_to(offset)
    # the window of three is neither over nor any longer
    refused = node.client("/auth/token", bot, grant_type="client_credentials")
    assert refused.status == 429
    assert 0 < int(refused.headers["Retry-After"]) <= 60
    end = time.monotonic() + 2.5  # more than the bound on staleness
    while time.monotonic() < end:
        assert node.call(token) in ({200} if offset > 0 else {200, 401})  # 401: from the future, never 503
        time.sleep(0.05)


@pytest.mark.parametrize("offset", [JUMP, -JUMP])
def test_people_stay_logged_in(node: Node, offset: int) -> None:
    account = json.dumps({"email": f"{uuid.uuid4().hex}@example.com", "password": PASSWORD})
    headers = {"Content-Type": "application/json"}
    assert node.ask("POST", "/auth/register", headers, account).status in {200, 201}
    answer = node.ask("POST", "/auth/login", headers, account)
    assert answer.status == 200
    cookies = "; ".join(one.partition(";")[0] for one in answer.headers.get_all("Set-Cookie") or [])
    node.jump_to(offset)
    assert node.ask("GET", "/auth/me", {"Cookie": cookies}).status == 200
    renewed = node.ask("POST", "/auth/refresh", {"Cookie": cookies})
    assert renewed.status in {200, 204}
    cookies = "; ".join(one.partition(";")[0] for one in renewed.headers.get_all("Set-Cookie") or [])
    node.jump_to(0)
    assert node.ask("GET", "/auth/me", {"Cookie": cookies}).status == 200
