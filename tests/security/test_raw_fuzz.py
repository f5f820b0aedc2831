"""200,000 malformed requests, byte by byte over TCP, to every route of a Station that runs.

To send one again that failed: ``RAW_FUZZ_ONLY=number pytest tests/security/test_raw_fuzz.py`` (numbers are
separated by commas); ``RAW_FUZZ_SEED`` and ``RAW_FUZZ_REQUESTS`` send others, and more.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
import urllib.request
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit

import pytest
from raw_fuzz.answers import Malformed, take_answer, what_is_wrong
from raw_fuzz.run import Fuzzer
from raw_fuzz.world import Target, World

from station.app import make_app
from station.config import Config

if TYPE_CHECKING:
    from collections.abc import Iterator

    from leaks import Leaks

    from tests.conftest import Serve, Server

SEED = os.environ.get("RAW_FUZZ_SEED", "station")
REQUESTS = int(os.environ.get("RAW_FUZZ_REQUESTS", "200000"))
ONLY = os.environ.get("RAW_FUZZ_ONLY", "")
SECRET = "a-client-secret-for-the-fuzzer-0123456789"
THROTTLES = ("TOKEN", "REVOKE", "INTROSPECT", "LOGIN", "REGISTER", "FORGOT", "FAILURE")


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory: pytest.TempPathFactory, serve: Serve) -> Iterator[Server]:
    """A Station of its own: what is sent shall reach the handlers, so throttles count and do not refuse."""
    high = {f"AUTH_{name}_THROTTLE_LIMIT": "1000000000" for name in THROTTLES}
    with serve(tmp_path_factory.mktemp("fuzzed"), **high) as server:
        yield server


def call(
    server: Server, method: str, path: str, *, form: dict[str, str] | None = None, **document: Any
) -> Any:
    """A good request, and the JSON, or the cookies, of its answer."""
    body = urlencode(form).encode() if form else json.dumps(document).encode()
    kind = "application/x-www-form-urlencoded" if form else "application/json"
    headers = {"Content-Type": kind, "x-internal-api-key": server.admin_key}
    request = urllib.request.Request(server.url + path, body, headers, method=method)
    with urllib.request.urlopen(request, timeout=30) as answer:
        found = json.load(answer)
        found["cookies"] = answer.headers.get_all("Set-Cookie") or []
        return found


def get_token(server: Server, client_id: str) -> str:
    form = {"grant_type": "client_credentials", "client_id": client_id, "client_secret": SECRET}
    return str(call(server, "POST", "/auth/token", form=form)["access_token"])


def log_in(server: Server, **person: str) -> str:
    document: dict[str, Any] = {**person}
    cookies = call(server, "POST", "/auth/login", **document)["cookies"]
    return str(next(cookie.partition(";")[0] for cookie in cookies if cookie.startswith("station_access=")))


def make_admin(server: Server, email: str, password: str) -> None:
    command = [sys.executable, "-m", "station", "users", "create", email, "--admin", "--password-stdin"]
    environ = {"PATH": os.environ["PATH"], "STATION_DATA_DIR": str(server.data_dir), "AUTH_BCRYPT_COST": "4"}
    subprocess.run(
        command, env=environ, cwd=server.data_dir, input=password, text=True, check=True, capture_output=True
    )


@pytest.fixture(scope="module")
def world(fuzzed: Server, leaks: Leaks) -> World:
    for client_id in ("fuzz-bot", "right-bot"):
        scopes = ["bot:api", "demo:read", "demo:write"]
        call(fuzzed, "POST", "/oauth-clients", clientId=client_id, clientSecret=SECRET, scopes=scopes)
    person: dict[str, Any] = {"email": "ada@example.com", "password": "correct horse battery"}
    call(fuzzed, "POST", "/auth/register", **person)
    admin: dict[str, Any] = {**person, "email": "admin@example.com"}
    make_admin(fuzzed, **admin)
    app = make_app(Config(env="test", jwt_secret="x" * 32, plugins=("oauth_m2m", "demo")))
    found = urlsplit(fuzzed.url)
    assert found.hostname
    assert found.port
    world = World(
        host=found.hostname,
        port=found.port,
        targets=[Target(route.method, route.path, route.security.scheme) for route in app.routes],
        admin_key=fuzzed.admin_key,
        bot="fuzz-bot",
        secret=SECRET,
        token=get_token(fuzzed, "fuzz-bot"),
        victim="fuzz-new",
        cookie=log_in(fuzzed, **person),
        admin_cookie=log_in(fuzzed, **admin),
    )
    leaks.keep(SECRET, world.token, world.cookie, world.admin_cookie, person["password"])
    return world


@pytest.mark.alone
def test_malformed_requests_are_refused_and_nothing_else(fuzzed: Server, world: World) -> None:
    numbers = [int(number) for number in ONLY.split(",") if number] or range(REQUESTS)
    report = asyncio.run(Fuzzer(world, seed=SEED, numbers=numbers).run())
    print(
        f"{report.sent} requests on {report.connections} connections: {dict(sorted(report.statuses.items()))}"
    )
    print("let in:", dict(report.let_in))

    assert not report.failures, "\n".join([f"seed {SEED}:", *report.failures])
    # nothing of it broke anything that the answers do not show
    log = fuzzed.log.read_text(errors="replace")
    found = [
        line for line in log.splitlines() if re.search(r"Traceback|ERROR|CRITICAL|unexpected|Uncaught", line)
    ]
    assert found == []
    # the server lives, and the right client still gets in
    assert get_token(fuzzed, "right-bot")
    if ONLY:
        return
    assert report.sent == REQUESTS
    # every route was reached
    assert set(report.routes) == {target.name for target in world.targets}


def answer(status: str, *headers: str, body: str = "{}") -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join([*lines, "", body]).encode()


PROBLEM = "Content-Type: application/problem+json"


@pytest.mark.parametrize(
    ("sent", "wrong"),
    [
        (answer("200 OK", "Content-Type: application/json"), None),
        (answer("404 Not Found", PROBLEM), None),
        (answer("503 Service Unavailable", PROBLEM), None),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", None),
        (answer("500 Internal Server Error", PROBLEM), "status 500"),
        (answer("502 Bad Gateway", PROBLEM), "status 502"),
        (answer("404 Not Found", "Content-Type: text/html; charset=UTF-8"), "HTML, or a stack"),
        (answer("200 OK", "Content-Type: application/json", body="<html>"), "HTML, or a stack"),
        (answer("400 Bad", PROBLEM, body='{"a": "Traceback (most recent call last)"}'), "HTML, or a stack"),
        (answer("400 Bad", "Content-Type: text/plain"), "an error of the type b'text/plain'"),
        (answer("400 Bad", PROBLEM, body="no"), "an error that is no JSON object"),
        (answer("204 No Content", "X-Injected: fuzz", body=""), "a header was injected"),
        (answer("204 No Content", "X: a\rb", body=""), "malformed header b'X: a\\rb'"),
    ],
)
def test_what_no_answer_may_be(sent: bytes, wrong: str | None) -> None:
    found = take_answer(bytearray(sent), to_head=False, closed=True)
    assert found is not None
    assert what_is_wrong(found, to_head=False, path=b"/") == wrong


def test_answers_are_cut_off_one_by_one() -> None:
    one, two = answer("200 OK", body="{1}"), answer("404 Not Found")
    buffer = bytearray(b"HTTP/1.1 100 Continue\r\n\r\n" + one + two[:-1])
    assert take_answer(buffer, to_head=False, closed=False) is not None
    assert take_answer(buffer, to_head=False, closed=False) is None
    with pytest.raises(Malformed):
        take_answer(buffer, to_head=False, closed=True)
    assert take_answer(bytearray(two[:-2]), to_head=True, closed=False) is not None
    with pytest.raises(Malformed):
        take_answer(bytearray(b"<html>\r\n\r\n"), to_head=False, closed=False)
