"""The request for a token (RFC 6749 3.2 and 4.4.2): table T of docs/protocol.md, without T3, T4 and T15."""

from __future__ import annotations

import base64
import json
import uuid
from ipaddress import ip_network
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from station.app import Application
    from tests.conftest import Wire
    from tests.plugins.oauth_m2m.conftest import Raw, Refusal

CLIENT = "station-bot"
SECRET = "the-secret-of-these-tests-0123456789"
CREDENTIALS = (CLIENT, SECRET)
BASIC = "Basic " + base64.b64encode(f"{CLIENT}:{SECRET}".encode()).decode()
FORM = "application/x-www-form-urlencoded"
GRANT = {"grant_type": "client_credentials"}
BODY = b"grant_type=client_credentials"
WRONG = (CLIENT, "not-the-secret-of-these-tests-0123456")
ENDPOINTS = ["/auth/token", "/auth/revoke"]


async def register(wire: Wire, **fields: object) -> None:
    await wire.register(CLIENT, clientSecret=SECRET, **fields)


async def issued(app: Application) -> int:
    return len(await app.resources.redis.keys("client-token:*"))


async def post(wire: Wire, body: bytes, path: str = "/auth/token") -> Any:
    headers = {"Content-Type": FORM}
    return await wire.fetch("POST", path, headers=headers, body=body, basic=CREDENTIALS)


@pytest.mark.row("T1")
@pytest.mark.gen_test
async def test_a_client_gets_a_token_that_works(wire: Wire, app: Application) -> None:
    """4.4.2: The client makes a request to the token endpoint by adding the following parameters."""
    await register(wire)
    answer = await wire.fetch("POST", "/auth/token", form=GRANT, basic=CREDENTIALS)
    assert answer.status == 200
    assert await issued(app) == 1
    probe = await wire.fetch("GET", "/probe", bearer=answer.json["access_token"])
    assert (probe.status, probe.json) == (200, {"client_id": CLIENT})


@pytest.mark.row("T2")
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "TRACE", "PROPFIND", "post"])
@pytest.mark.gen_test
async def test_other_methods(wire: Wire, raw: Raw, refusal: Refusal, app: Application, method: str) -> None:
    """3.2: The client MUST use the HTTP "POST" method when making access token requests."""
    await register(wire)
    headers = (f"Authorization: {BASIC}", f"Content-Type: {FORM}")
    for path in ENDPOINTS:
        answer = await raw(f"{method} {path}", *headers, body=BODY + b"&token=x")
        refusal(answer, 405, "invalid_request")
        assert answer.headers["Allow"] == "POST, OPTIONS"
    assert await issued(app) == 0


@pytest.mark.row("T2")
@pytest.mark.parametrize("path", ENDPOINTS)
@pytest.mark.gen_test
async def test_head(wire: Wire, raw: Raw, app: Application, path: str) -> None:
    """9110 9.3.2: The server MUST NOT send content in the response."""
    await register(wire)
    answer = await raw(f"HEAD {path}?grant_type=client_credentials", f"Authorization: {BASIC}")
    assert (answer.status, answer.body) == (405, b"")
    assert answer.headers["Allow"] == "POST, OPTIONS"
    assert answer.headers["Content-Type"] == "application/json"
    assert await issued(app) == 0


@pytest.mark.row("T5", "T6")
@pytest.mark.parametrize("body", [b"", b"scope=bot:api", b"grant_type=", b"grant_type", b"grant_type=&x=1"])
@pytest.mark.gen_test
async def test_no_grant_type(wire: Wire, refusal: Refusal, body: bytes) -> None:
    """3.2: Parameters sent without a value MUST be treated as if they were omitted from the request."""
    await register(wire)
    with_client = await post(wire, body)
    without = await wire.fetch("POST", "/auth/token", headers={"Content-Type": FORM}, body=body)
    for answer in (with_client, without):
        assert "grant_type" in refusal(answer, 400, "invalid_request")


@pytest.mark.row("T5")
@pytest.mark.gen_test
async def test_no_body_at_all(wire: Wire, refusal: Refusal) -> None:
    """5.2: The request is missing a required parameter."""
    answer = await wire.fetch("POST", "/auth/token", body=b"", basic=CREDENTIALS)
    assert "grant_type" in refusal(answer, 400, "invalid_request")


OTHER_GRANTS = [
    "password",
    "authorization_code",
    "refresh_token",
    "urn:ietf:params:oauth:grant-type:jwt-bearer",
    "Client_Credentials",
    "CLIENT_CREDENTIALS",
    "client_credentials ",
    " client_credentials",
    "client_credentials\0",
    "client_credentials\n",
    "client-credentials",
    "client_cr\u00e9dentials",
    "null",
    " ",
]


@pytest.mark.row("T7", "T8")
@pytest.mark.gen_test
async def test_other_grants(wire: Wire, refusal: Refusal) -> None:
    """5.2: The authorization grant type is not supported by the authorization server."""
    await register(wire)
    for grant_type in OTHER_GRANTS:
        for credentials in (CREDENTIALS, WRONG):
            answer = await wire.token(credentials, grant_type=grant_type)
            refusal(answer, 400, "unsupported_grant_type", grant_type)


@pytest.mark.row("T9")
@pytest.mark.parametrize(
    "repeated",
    [
        b"grant_type=client_credentials",
        b"grant_type=password",
        b"grant_type=",
        b"grant%5Ftype=client_credentials",
        b"scope=bot:api&scope=bot:api",
        b"scope=bot:api&scope=bot:write",
        b"scope=&scope=",
        b"scope&scope=bot:api",
        b"client_id=station-bot&client_id=station-bot",
        b"client_id=&client_id=station-bot",
        b"client_secret=&client_secret=",
        b"client_assertion=&client_assertion=",
        b"client_assertion_type=x&client_assertion_type=x",
    ],
)
@pytest.mark.gen_test
async def test_repeated_parameters(wire: Wire, refusal: Refusal, repeated: bytes) -> None:
    """3.2: Request and response parameters MUST NOT be included more than once."""
    await register(wire, scopes=["bot:api", "bot:write"])
    description = refusal(await post(wire, BODY + b"&" + repeated), 400, "invalid_request")
    assert "repeated" in description


@pytest.mark.row("T9")
@pytest.mark.parametrize("repeated", [b"token=x&token=x", b"token=x&token_type_hint=a&token_type_hint=a"])
@pytest.mark.gen_test
async def test_repeated_parameters_at_revocation(wire: Wire, refusal: Refusal, repeated: bytes) -> None:
    """3.2: Request and response parameters MUST NOT be included more than once."""
    await register(wire)
    refusal(await post(wire, repeated, path="/auth/revoke"), 400, "invalid_request")


@pytest.mark.row("T9", "T10")
@pytest.mark.parametrize(
    "more",
    [
        b"resource=https://a.example&resource=https://b.example",
        b"foo=1&foo=2&foo=2",
        b"=&&=x&%00=y&flag&code_verifier=z",
        b"Scope=nothing&SCOPE=nothing&Grant_Type=password&Client_Secret=x",
        b"scope[]=x&scope.=y&%20scope=z&scope%00=w",
        b"client_secret_=x&username=a&password=b&username=c",
    ],
)
@pytest.mark.gen_test
async def test_unknown_parameters_are_ignored(wire: Wire, more: bytes) -> None:
    """3.2: The authorization server MUST ignore unrecognized request parameters."""
    await register(wire)
    answer = await post(wire, b"&".join([more, BODY, more]))
    assert (answer.status, answer.json["scope"]) == (200, "bot:api")


@pytest.mark.row("T11")
@pytest.mark.parametrize(
    "more", [b"scope=", b"scope", b"client_id=&client_secret=&client_assertion=&client_assertion_type="]
)
@pytest.mark.gen_test
async def test_empty_parameters_are_absent(wire: Wire, more: bytes) -> None:
    """3.2: Parameters sent without a value MUST be treated as if they were omitted from the request."""
    await register(wire)
    answer = await post(wire, BODY + b"&" + more)
    assert (answer.status, answer.json["scope"]) == (200, "bot:api")


@pytest.mark.row("T11")
@pytest.mark.parametrize("more", [{"client_secret": ""}, {"client_id": "", "client_secret": SECRET}])
@pytest.mark.gen_test
async def test_empty_credentials_are_none(wire: Wire, refusal: Refusal, more: dict[str, str]) -> None:
    """3.2: Parameters sent without a value MUST be treated as if they were omitted from the request."""
    await register(wire)
    form = {**GRANT, "client_id": CLIENT, **more}
    refusal(await wire.fetch("POST", "/auth/token", form=form), 401, "invalid_client")


@pytest.mark.row("T12")
@pytest.mark.gen_test
async def test_the_query_is_not_read(wire: Wire, refusal: Refusal) -> None:
    """2.3.1: The parameters can only be transmitted in the request-body."""
    await register(wire, scopes=["bot:api", "bot:write"])

    async def ask(query: str, form: dict[str, str], basic: tuple[str, str] | None = CREDENTIALS) -> Any:
        return await wire.fetch("POST", f"/auth/token?{query}", form=form, basic=basic)

    refusal(await ask("grant_type=client_credentials", {}), 400, "invalid_request")
    refusal(await ask(f"client_id={CLIENT}", {**GRANT, "client_secret": SECRET}, None), 401, "invalid_client")
    answer = await ask("scope=bot:write&grant_type=password&client_id=other&%zz&%ff=%", GRANT)
    assert (answer.status, answer.json["scope"]) == (200, "bot:api bot:write")


@pytest.mark.row("T12")
@pytest.mark.parametrize(
    "query",
    [
        f"client_id={CLIENT}&client_secret={SECRET}",
        f"client%5Fsecret={SECRET}",
        f"client_secret={SECRET}&client_secret=",
        "client_secret=",
        "client_secret",
        f"x=1&client_assertion={SECRET}",
        f"access_token={SECRET}",
        f"%74oken={SECRET}",
        f"%ff&client_secret={SECRET}%",
    ],
)
@pytest.mark.gen_test
async def test_a_secret_in_the_query(
    wire: Wire, refusal: Refusal, logged: Callable[[], str], query: str
) -> None:
    """2.3.1: and MUST NOT be included in the request URI."""
    form = {**GRANT, "token": "x"}
    for path in ENDPOINTS:
        for basic in (CREDENTIALS, None):
            answer = await wire.fetch("POST", f"{path}?{query}", form=form, basic=basic)
            assert SECRET not in refusal(answer, 400, "invalid_request")
        assert f"POST {path}" in logged()
    assert SECRET not in logged()


@pytest.mark.row("T13")
@pytest.mark.parametrize("path", ENDPOINTS)
@pytest.mark.gen_test
async def test_a_client_without_secrets(wire: Wire, app: Application, refusal: Refusal, path: str) -> None:
    """4.4: The client credentials grant type MUST only be used by confidential clients."""
    await register(wire)
    await app.resources.database["oauth_clients"].update_one({}, {"$set": {"secrets": []}})
    bare = base64.b64encode(f"{CLIENT}:".encode()).decode()
    for more in (
        {"headers": {"Authorization": BASIC}},
        {"headers": {"Authorization": f"Basic {bare}"}},
        {"form": {"client_id": CLIENT}},
        {"form": {"client_id": CLIENT, "client_secret": SECRET}},
    ):
        form = {**GRANT, "token": "x", **more.get("form", {})}
        answer = await wire.fetch("POST", path, form=form, headers=more.get("headers"))
        refusal(answer, 401, "invalid_client")


@pytest.mark.row("T14")
@pytest.mark.gen_test
async def test_a_client_cannot_be_limited_to_grants(wire: Wire) -> None:
    """Today every client may use the one grant there is; a registration that says otherwise is refused."""
    document = {"clientId": CLIENT, "scopes": ["bot:api"], "grantTypes": ["authorization_code"]}
    answer = await wire.admin("POST", "/oauth-clients", document)
    assert answer.status == 400
    assert set(answer.json["errors"]) == {"grantTypes"}


@pytest.mark.row("T16")
@pytest.mark.parametrize("config", [{"failure_throttle_limit": 2}], indirect=True)
@pytest.mark.gen_test
async def test_forwarded_headers_of_a_stranger_change_nothing(wire: Wire, refusal: Refusal) -> None:
    """9700 4.13: headers of proxies are believed from proxies only."""
    await register(wire)
    statuses = []
    for number in range(4):
        forged = {
            "X-Forwarded-For": f"198.51.100.{number}",
            "X-Real-Ip": f"198.51.100.{number}",
            "Forwarded": f"for=198.51.100.{number};proto=https",
            "X-Forwarded-Proto": "https",
            "X-Scheme": "https",
            "X-Request-ID": "forged",
        }
        answer = await wire.fetch("POST", "/auth/token", form=GRANT, basic=WRONG, headers=forged)
        statuses.append(answer.status)
        assert uuid.UUID(answer.headers["X-Request-ID"]).hex == answer.headers["X-Request-ID"]
    assert statuses == [401, 401, 429, 429]
    refusal(await wire.token(CREDENTIALS), 429, "temporarily_unavailable")


@pytest.mark.row("T16")
@pytest.mark.parametrize(
    "config",
    [{"failure_throttle_limit": 2, "trusted_proxies": (ip_network("127.0.0.1/32"),)}],
    indirect=True,
)
@pytest.mark.gen_test
async def test_forwarded_headers_of_a_trusted_proxy(wire: Wire, app: Application) -> None:
    """The client is the last hop that the proxy did not vouch for: what stands left of it is hearsay."""
    await register(wire)

    async def ask(chain: str, basic: tuple[str, str]) -> tuple[int, str]:
        headers = {"X-Forwarded-For": chain, "X-Request-ID": "of-the-proxy"}
        answer = await wire.fetch("POST", "/auth/token", form=GRANT, basic=basic, headers=headers)
        return answer.status, answer.headers["X-Request-ID"]

    statuses = [(await ask(f"6.6.6.{n}, 198.51.100.1, 127.0.0.1", WRONG))[0] for n in range(3)]
    assert statuses == [401, 401, 429]
    assert await ask("198.51.100.1", CREDENTIALS) == (429, "of-the-proxy")
    assert await ask("198.51.100.1, 198.51.100.2", CREDENTIALS) == (200, "of-the-proxy")
    [key] = await app.resources.redis.keys("client-token:*")
    assert json.loads(await app.resources.redis.get(key) or b"")["address"] == "198.51.100.2"


@pytest.mark.row("T17")
@pytest.mark.gen_test
async def test_no_cookie_is_needed_set_or_read(wire: Wire, refusal: Refusal) -> None:
    """A session of a person authenticates no machine, and a machine starts no session."""
    await register(wire)
    person = {"email": "ada@example.com", "password": "correct horse battery"}
    assert (await wire.fetch("POST", "/auth/register", document=person)).status == 201
    session = await wire.fetch("POST", "/auth/login", document=person)
    cookies = "; ".join(line.partition(";")[0] for line in session.headers.get_list("Set-Cookie"))
    assert (await wire.fetch("GET", "/auth/me", headers={"Cookie": cookies})).status == 200

    headers = {"Cookie": cookies}
    refusal(
        await wire.fetch("POST", "/auth/token", form=GRANT, headers=headers),
        401,
        "invalid_client",
    )
    forged = {"Cookie": f"client_id={CLIENT}; client_secret={quote(SECRET)}; _xsrf=x"}
    refusal(
        await wire.fetch("POST", "/auth/token", form=GRANT, headers=forged),
        401,
        "invalid_client",
    )
    for more in ({}, headers, forged):
        answer = await wire.fetch("POST", "/auth/token", form=GRANT, basic=CREDENTIALS, headers=more)
        assert answer.status == 200
        assert "Set-Cookie" not in answer.headers
