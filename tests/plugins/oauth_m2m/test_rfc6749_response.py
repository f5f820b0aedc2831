"""What the token endpoint answers (RFC 6749 5.1 and 5.2): tables R and E of docs/protocol.md."""

from __future__ import annotations

import asyncio
import base64
import json
import random
import re
import time
from ipaddress import ip_network
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from station.app import Application
    from tests.conftest import Answer, Server, Wire
    from tests.plugins.oauth_m2m.conftest import Raw, RawAnswer, Refusal

CLIENT = "station-bot"
SECRET = "the-secret-of-these-tests-0123456789"
CREDENTIALS = (CLIENT, SECRET)
WRONG = (CLIENT, "not-the-secret-of-these-tests-012345")
BASIC = "Basic " + base64.b64encode(f"{CLIENT}:{SECRET}".encode()).decode()
GRANT = {"grant_type": "client_credentials"}
FORM = "Content-Type: application/x-www-form-urlencoded"
ENDPOINTS = ["/auth/token", "/auth/revoke"]


async def register(wire: Wire, **fields: object) -> None:
    await wire.register(CLIENT, clientSecret=SECRET, **fields)


def claims_of(token: str) -> dict[str, Any]:
    payload: dict[str, Any] = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))
    return payload


@pytest.mark.row("R1", "R2", "R4", "R5")
@pytest.mark.parametrize("ttl", [None, 60, 1234, 3600])
@pytest.mark.gen_test
async def test_the_success_response(wire: Wire, ttl: int | None) -> None:
    """5.1: The parameters are included in the entity-body by adding each parameter at the highest level."""
    await register(wire, **({} if ttl is None else {"tokenTtl": ttl}))
    before = int(time.time())
    answer = await wire.token(CREDENTIALS)
    assert answer.status == 200
    assert answer.headers.get_list("Content-Type") == ["application/json"]
    # 4.4.3: A refresh token SHOULD NOT be included
    assert answer.json.keys() == {"access_token", "token_type", "expires_in", "scope"}
    assert type(answer.json["access_token"]) is str
    assert answer.json["token_type"] == "Bearer"
    assert type(answer.json["expires_in"]) is int
    assert type(answer.json["scope"]) is str

    claims = claims_of(answer.json["access_token"])
    assert answer.json["expires_in"] == claims["exp"] - claims["iat"] == (ttl or 3600)
    assert before <= claims["iat"] <= time.time()
    # A.12: access-token = 1*VSCHAR
    assert re.fullmatch(r"[\x21-\x7e]+", answer.json["access_token"])


@pytest.mark.row("R3")
@pytest.mark.gen_test
async def test_nothing_is_stored_by_caches(wire: Wire) -> None:
    """5.1: MUST include "Cache-Control" with a value of "no-store", as well as "Pragma" with "no-cache"."""
    generated = await wire.admin("POST", "/oauth-clients", {"clientId": "other-bot", "scopes": ["bot:api"]})
    await register(wire)
    token = await wire.token(CREDENTIALS)
    revoked = {"token": token.json["access_token"]}
    answers = [
        generated,
        token,
        await wire.token(WRONG),
        await wire.token(CREDENTIALS, scope="admin"),
        await wire.fetch("POST", "/auth/token", form={}),
        await wire.fetch("GET", "/auth/token"),
        await wire.fetch("HEAD", "/auth/token"),
        await wire.fetch("OPTIONS", "/auth/token"),
        await wire.fetch("POST", "/auth/revoke", form=revoked, basic=CREDENTIALS),
        await wire.fetch("POST", "/auth/revoke", form={}, basic=CREDENTIALS),
    ]
    assert [answer.status for answer in answers] == [201, 200, 401, 401, 400, 405, 405, 204, 200, 400]
    for answer in answers:
        assert answer.headers.get_list("Cache-Control") == ["no-store"]
        assert answer.headers.get_list("Pragma") == ["no-cache"]


@pytest.mark.row("R7")
@pytest.mark.gen_test
async def test_concurrent_requests_do_not_disturb_each_other(wire: Wire, app: Application) -> None:
    """Each gets a token of its own, and all work."""
    await register(wire)
    answers = await asyncio.gather(*(wire.token(CREDENTIALS) for _ in range(12)))
    assert [answer.status for answer in answers] == [200] * 12
    tokens = [answer.json["access_token"] for answer in answers]
    jtis = {claims_of(token)["jti"] for token in tokens}
    assert len(jtis) == 12
    assert {f"client-token:{CLIENT}:{jti}".encode() for jti in jtis} == set(
        await app.resources.redis.keys("client-token:*")
    )
    probes = await asyncio.gather(*(wire.fetch("GET", "/probe", bearer=token) for token in tokens))
    assert [probe.status for probe in probes] == [200] * 12


@pytest.mark.row("E1", "E3")
@pytest.mark.gen_test
async def test_error_codes(wire: Wire, refusal: Refusal) -> None:
    """5.2: a single ASCII error code; no error_uri, which could hold characters that are not allowed."""
    await register(wire)
    await wire.register("other-bot", clientSecret=SECRET)
    foreign = await wire.access_token(("other-bot", SECRET))

    async def revoke(**form: str) -> Answer:
        return await wire.fetch("POST", "/auth/revoke", form=form, basic=CREDENTIALS)

    refusal(await wire.token(CREDENTIALS, grant_type=""), 400, "invalid_request")
    refusal(await wire.token(CREDENTIALS, grant_type="password"), 400, "unsupported_grant_type")
    refusal(await wire.token(CREDENTIALS, scope='"'), 400, "invalid_scope")
    refusal(await wire.token(CREDENTIALS, scope="admin"), 401, "invalid_scope")
    refusal(await wire.token(WRONG), 401, "invalid_client")
    refusal(await revoke(), 400, "invalid_request")
    refusal(await revoke(token=foreign), 400, "invalid_grant")


def nasty(seed: int) -> str:
    """Text that would do harm in a header or in a quoted string."""
    pieces = [
        '"',
        "\\",
        "\r\n",
        "\n",
        "\r",
        "\0",
        "\t",
        ",",
        ";",
        "=",
        '", error="',
        "\r\nSet-Cookie: a=b",
        "%0d%0a",
    ]
    pieces += [
        "\u00e9",
        "\u2028",
        "\U0001f916",
        "\x7f",
        "\x85",
        "bot:api",
        "<script>",
        " ",
        "{}",
        "'",
        "${x}",
        "%s",
    ]
    dice = random.Random(seed)
    return "".join(dice.choice(pieces) for _ in range(dice.randint(1, 8)))


HEADERS = {
    *("Content-Type", "Date", "Cache-Control", "Content-Security-Policy", "Referrer-Policy", "Pragma"),
    *("X-Content-Type-Options", "X-Request-Id", "Content-Length", "Connection"),
}


@pytest.mark.row("E2", "E4")
@pytest.mark.parametrize("field", ["scope", "grant_type", "client_id", "client_secret", "unknown", "token"])
@pytest.mark.gen_test
async def test_input_is_never_reflected_raw(wire: Wire, raw: Raw, refusal: Refusal, field: str) -> None:
    """5.2: MUST NOT include characters outside the set %x20-21 / %x23-5B / %x5D-7E; 9110 5.5 for headers."""
    await register(wire)
    for text in map(nasty, range(40)):
        for path in ENDPOINTS:
            form = {**GRANT, "client_id": CLIENT, "client_secret": SECRET, "token": "x", field: text}
            for answer in (
                await raw(f"POST {path}", FORM, body=urlencode(form).encode()),
                await raw(f"POST {path}", "Content-Type: application/json", body=json.dumps(form).encode()),
            ):
                assert_clean(answer)
                if answer.status != 200:
                    refusal(answer, answer.status, answer.json["error"])


@pytest.mark.row("E2", "E4")
@pytest.mark.parametrize("config", [{"trusted_proxies": (ip_network("127.0.0.1/32"),)}], indirect=True)
@pytest.mark.parametrize(
    "name",
    ["Authorization", "Content-Type", "Origin", "User-Agent", "X-Forwarded-For", "X-Request-ID", "Accept"],
)
@pytest.mark.gen_test
async def test_headers_are_never_reflected_raw(wire: Wire, raw: Raw, refusal: Refusal, name: str) -> None:
    """9110 5.5: fields that contain CR, LF or NUL are dangerous; nor does a quote leave where it came in."""
    await register(wire)
    body = urlencode({**GRANT, "client_id": CLIENT, "client_secret": SECRET}).encode()
    for text in map(nasty, range(40)):
        value = re.sub(r"[\r\n\0]", "", text).encode()
        others = [] if name == "Content-Type" else [FORM]
        answer = await raw("POST /auth/token", f"{name}: ".encode() + value, *others, body=body)
        assert answer.status in {200, 400, 401, 403}
        if answer.headers.get("Content-Type"):  # not one of Tornado's bare refusals of control characters
            assert_clean(answer)
            if answer.status != 200:
                refusal(answer, answer.status, answer.json["error"], value)


def assert_clean(answer: RawAnswer) -> None:
    """The headers are those that every answer has, and hold nothing but what we wrote."""
    challenge = {"Www-Authenticate"} if answer.status == 401 else set()
    assert {name for name, _ in answer.headers.get_all()} == HEADERS | challenge
    assert answer.headers.get_list("WWW-Authenticate") == ['Basic realm="station"'] * len(challenge)
    assert re.fullmatch(r"[A-Za-z0-9._-]{1,64}", answer.headers["X-Request-ID"])
    assert re.fullmatch(rb"[\x20-\x7e]*", answer.body)


@pytest.mark.row("E5")
@pytest.mark.parametrize(
    ("request_line", "headers", "status"),
    [
        ("GET /auth", [], 404),
        ("POST /auth/token/", [], 404),
        ("POST /auth/tokens", [], 404),
        ("POST /AUTH/TOKEN", [], 404),
        ("POST /auth/token%00", [], 404),
        ("POST //auth/token", [], 404),
        ("POST /auth/token/%ff", [], 404),
        ("PUT /auth/nowhere", [], 404),
        ("GET /auth/token", [], 405),
        ("BREW /auth/token", [], 405),
        ("GET /auth/revoke", [], 405),
        ("POST /auth/token", ["Origin: https://evil.example", FORM], 403),
        ("POST /auth/revoke", ["Origin: null", FORM], 403),
        ("POST /auth/token", ["Sec-Fetch-Site: cross-site", FORM], 403),
        ("POST /auth/token", ["Content-Type: multipart/form-data; boundary=b"], 400),
        ("POST /auth/revoke", ["Content-Type: multipart/form-data"], 400),
        ("POST /auth/token", [FORM, "Content-Encoding: gzip"], 400),
    ],
)
@pytest.mark.gen_test
async def test_refusals_of_the_framework_are_json(
    raw: Raw, refusal: Refusal, request_line: str, headers: list[str], status: int
) -> None:
    """No path answers HTML."""
    answer = await raw(
        request_line, *headers, f"Authorization: {BASIC}", body=b"grant_type=client_credentials"
    )
    if status == 404:
        assert (answer.status, answer.json["code"]) == (404, "not-found")
        assert answer.headers["Content-Type"] == "application/problem+json"
    else:
        refusal(answer, status, "invalid_request")


@pytest.mark.row("E5")
@pytest.mark.gen_test
async def test_a_body_that_is_too_large_is_refused_in_json(wire: Wire, refusal: Refusal) -> None:
    """9110 15.5.14."""
    for path in ENDPOINTS:
        answer = await wire.fetch("POST", path, form={"x": "x" * 20_000}, basic=CREDENTIALS)
        refusal(answer, 413, "invalid_request")


@pytest.mark.row("E5", "E6")
@pytest.mark.parametrize("path", ENDPOINTS)
@pytest.mark.gen_test
async def test_an_unexpected_failure(
    wire: Wire, app: Application, refusal: Refusal, logged: Callable[[], str], path: str
) -> None:
    """6819 4.6.7: the answer says nothing, the log says why, and neither tells a secret."""
    await register(wire)
    clients = app.resources.database["oauth_clients"]
    await clients.update_one({"client_id": CLIENT}, {"$set": {"secrets.0.hash": "no hash at all"}})
    in_body = {"client_id": CLIENT, "client_secret": SECRET}
    for basic, credentials in ((CREDENTIALS, {}), (None, in_body)):
        form = {**GRANT, "token": "a-token-that-is-presented", **credentials}
        answer = await wire.fetch("POST", path, form=form, basic=basic)
        refusal(answer, 500, "server_error")
        for leak in ("Traceback", "ValueError", ".py", "hash", "bcrypt"):
            assert leak not in answer.body.decode()
        assert answer.headers["X-Request-ID"]
    assert "not in the format" in logged()
    assert "Traceback" in logged()
    for secret in (SECRET, BASIC.split()[1], "a-token-that-is-presented"):
        assert secret not in logged()


@pytest.mark.row("E6")
@pytest.mark.gen_test
async def test_no_secret_is_logged(wire: Wire, raw: Raw, logged: Callable[[], str]) -> None:
    """6819 4.6.7: whatever goes well or wrong, at any level, in any record."""
    generated = await wire.admin("POST", "/oauth-clients", {"clientId": "other-bot", "scopes": ["bot:api"]})
    other = ("other-bot", str(generated.json["clientSecret"]))
    await register(wire)
    token = await wire.access_token(CREDENTIALS)
    foreign = await wire.access_token(other)
    secrets = [SECRET, WRONG[1], other[1], token, foreign, "an-assertion-nobody-reads", BASIC.split()[1]]
    secrets += [token.rpartition(".")[2], base64.b64encode(":".join(WRONG).encode()).decode()]

    in_body = {**GRANT, "client_id": CLIENT, "client_secret": SECRET}
    statuses = [
        (await wire.token(WRONG)).status,
        (await wire.token(CREDENTIALS, scope="admin")).status,
        (await wire.token(CREDENTIALS, grant_type=SECRET)).status,
        (await wire.token(CREDENTIALS, **in_body)).status,
        (await wire.token(CREDENTIALS, client_assertion="an-assertion-nobody-reads")).status,
        (await wire.fetch("POST", "/auth/token", form=in_body)).status,
        (await wire.fetch("POST", "/auth/token", document=in_body)).status,
        (await wire.fetch("POST", f"/auth/token?client_secret={SECRET}", form=in_body)).status,
        (await wire.fetch("POST", f"/auth/nowhere?client_secret={SECRET}", form=in_body)).status,
        (await wire.fetch("GET", f"/auth/token?{urlencode(in_body)}")).status,
        (await wire.fetch("GET", f"/probe?access_token={token}")).status,
        (await wire.fetch("GET", "/probe", bearer=token)).status,
        (await wire.fetch("GET", "/probe", bearer=f"{token}x")).status,
        (await wire.fetch("GET", "/probe", bearer=f"{token} {SECRET}")).status,
        (await wire.fetch("POST", "/auth/revoke", form={"token": foreign}, basic=CREDENTIALS)).status,
        (await wire.fetch("POST", "/auth/revoke", form={"token": token}, basic=CREDENTIALS)).status,
        (await wire.fetch("GET", "/probe", bearer=token)).status,
        (await wire.admin("POST", "/oauth-clients", {"clientId": CLIENT, "clientSecret": SECRET})).status,
    ]
    assert statuses == [
        *(401, 401, 400, 400, 400, 200, 200, 400, 404, 405),
        *(400, 200, 401, 400, 400, 200, 401, 400),
    ]
    malformed = {
        "application/json": f'{{"client_secret": "{SECRET}", "client_secret": "{SECRET}"',
        "application/x-www-form-urlencoded": f"client_secret={SECRET}&x=%",
        "multipart/form-data; boundary=b": f"--b\r\n{SECRET}\r\n\r\n\r\n--b--",
        "text/plain": SECRET,
    }
    for content_type, body in malformed.items():
        for path in (*ENDPOINTS, "/oauth-clients"):
            headers = (f"Content-Type: {content_type}", f"Authorization: {BASIC}, {BASIC}")
            answer = await raw(f"POST {path}", *headers, body=body.encode())
            assert answer.status in {400, 401}
            assert SECRET not in answer.body.decode()
    for path in (*ENDPOINTS, "/probe", "/auth/nowhere"):
        assert f"{path} " in logged()
    assert [secret for secret in secrets if secret in logged()] == []


@pytest.mark.row("E6")
@pytest.mark.gen_test
async def test_no_secret_is_logged_of_a_request_that_is_no_http(raw: Raw, server: Server) -> None:
    """What Tornado refuses before any handler never reaches the log of a whole Station either."""
    token = BASIC.split()[1]
    for line in (
        f"Authorization: {BASIC}\1",
        f"Authorization: {BASIC}\n{token}",
        f"{token}: x",
        f"{token}\0: x",
        f"{token}",
    ):
        answer = await raw("POST /auth/token", line, url=server.url)
        assert answer.status in {400, 401}
    for start in (f"POST /auth/token?client_secret={SECRET} HTTP/1.1", f"POST /{SECRET} x", f"{SECRET}\0 /"):
        assert (await raw(start, url=server.url)).status == 400
    assert (await raw("POST /auth/marks-the-end", url=server.url)).status == 404
    log = await asyncio.to_thread(written, server.log, "/auth/marks-the-end")
    assert SECRET not in log
    assert token not in log


def written(log: Path, mark: str) -> str:
    """The text of a log once it holds the mark."""
    deadline = time.monotonic() + 10
    while mark not in (text := log.read_text()):
        assert time.monotonic() < deadline, text
        time.sleep(0.05)
    return text
