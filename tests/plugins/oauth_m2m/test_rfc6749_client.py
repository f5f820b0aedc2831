"""Client authentication (RFC 6749 2.3 and 10.10): table C of docs/protocol.md."""

from __future__ import annotations

import asyncio
import base64
import dataclasses
import json
import re
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from typing import TYPE_CHECKING, Any
from urllib.parse import quote_plus

import pytest

from plugins.oauth_m2m.config import OAuthM2MConfig

if TYPE_CHECKING:
    from station.app import Application
    from station.config import Config
    from tests.conftest import Answer, Wire
    from tests.plugins.oauth_m2m.conftest import Raw, RawAnswer, Refusal

CLIENT = "station-bot"
SECRET = "the-secret-of-these-tests-0123456789"
CREDENTIALS = (CLIENT, SECRET)
WRONG = (CLIENT, "not-the-secret-of-these-tests-012345")
ODD = "a/with+odd=chars:and%more-0123456789"
GRANT = {"grant_type": "client_credentials"}
IN_BODY = {"client_id": CLIENT, "client_secret": SECRET}
ASSERTION = {
    "client_assertion": "e30.e30.",
    "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
}
ENDPOINTS = ["/auth/token", "/auth/revoke"]
CHALLENGE = 'Basic realm="station"'


@pytest.fixture
def config(config: Config, request: pytest.FixtureRequest) -> Config:
    """The usual configuration, with the fields that a test asks for."""
    return dataclasses.replace(config, **getattr(request, "param", {}))


@pytest.fixture
def m2m_settings(m2m_settings: OAuthM2MConfig, request: pytest.FixtureRequest) -> OAuthM2MConfig:
    """The usual settings, with the fields that a test asks for."""
    return dataclasses.replace(m2m_settings, **getattr(request, "param", {}))


def b64(text: str | bytes) -> str:
    return base64.b64encode(text.encode() if isinstance(text, str) else text).decode()


async def register(wire: Wire, client_id: str = CLIENT, secret: str = SECRET) -> None:
    await wire.register(client_id, clientSecret=secret)


async def change(app: Application, changes: dict[str, object], client_id: str = CLIENT) -> None:
    clients = app.resources.database["oauth_clients"]
    assert (await clients.update_one({"client_id": client_id}, {"$set": changes})).matched_count == 1


async def ask(
    wire: Wire,
    authorization: str | None = None,
    *,
    path: str = "/auth/token",
    address: str = "",
    **parameters: str,
) -> Answer:
    """Call an endpoint with this Authorization header, and from this address if we are behind a proxy."""
    headers = {"Authorization": authorization} if authorization is not None else {}
    if address:
        headers["X-Forwarded-For"] = address
    form = {**GRANT, "token": "x", **parameters}
    return await wire.fetch("POST", path, headers=headers, form=form)


def basic(client_id: str, secret: str) -> str:
    return "Basic " + b64(f"{client_id}:{secret}")


@pytest.mark.row("C1", "C2")
@pytest.mark.parametrize("scheme", ["Basic", "basic", "BASIC", "bAsIc", "Basic  "])
@pytest.mark.gen_test
async def test_basic(wire: Wire, scheme: str) -> None:
    """2.3.1: The authorization server MUST support the HTTP Basic authentication scheme."""
    await register(wire)
    for path in ENDPOINTS:
        assert (await ask(wire, f"{scheme} {b64(f'{CLIENT}:{SECRET}')}", path=path)).status == 200


@pytest.mark.row("C1")
@pytest.mark.gen_test
async def test_basic_for_a_client_with_a_generated_secret(wire: Wire) -> None:
    """2.3.1: for authenticating clients that were issued a client password."""
    answer = await wire.admin("POST", "/oauth-clients", {"clientId": CLIENT, "scopes": ["bot:api"]})
    assert (await ask(wire, basic(CLIENT, answer.json["clientSecret"]))).status == 200


@pytest.mark.row("C3")
@pytest.mark.parametrize(
    "secret",
    [
        ODD,
        "z/tZ9VwFZqApmIQ+ZH1I5pLk/uB4ud:X2/8bL+wfFTt1rFw=",
        "reads-as-another+secret%41%2B%25-0123456789",
        "%25%2B%41+:" * 4,
        "a" * 31 + "%",
        '~!@#$%^&*()_+`-={}|[]\\:";<>?,./0123456789',
    ],
)
@pytest.mark.gen_test
async def test_both_spellings_of_a_secret(wire: Wire, refusal: Refusal, secret: str) -> None:
    """2.3.1: encoded using the "application/x-www-form-urlencoded" encoding algorithm; many do not."""
    await register(wire, secret=secret)
    for spelling in (secret, quote_plus(secret), "".join(f"%{byte:02x}" for byte in secret.encode())):
        assert (await ask(wire, basic(CLIENT, spelling))).status == 200
    assert (await ask(wire, client_id=CLIENT, client_secret=secret)).status == 200
    # encoded once too often, or in the body, where the form is the encoding
    for wrong in (quote_plus(quote_plus(secret)), secret + "%", secret[:-1]):
        refusal(await ask(wire, basic(CLIENT, wrong)), 401, "invalid_client")
    if quote_plus(secret) != secret:
        answer = await ask(wire, client_id=CLIENT, client_secret=quote_plus(secret))
        refusal(answer, 401, "invalid_client")


@pytest.mark.row("C3")
@pytest.mark.gen_test
async def test_the_id_is_decoded_too(wire: Wire, app: Application, refusal: Refusal) -> None:
    """Appendix B: an id with a slash and a space, and a secret with a colon."""
    client_id, secret = "1PpG/Q 1", "z/tZ9VwFZqApmIQ+ZH1I5pLk/uB4ud:X2/8bL+wfFTt1rFw="
    await register(wire, secret=secret)
    await change(app, {"client_id": client_id})
    for spelling in ("1PpG%2FQ+1", "1PpG/Q%201", "1PpG/Q 1"):
        assert (await ask(wire, basic(spelling, quote_plus(secret)))).status == 200
        assert (await ask(wire, basic(spelling, secret))).status == 200
    refusal(await ask(wire, basic("1PpG%252FQ+1", secret)), 401, "invalid_client")


@pytest.mark.row("C3")
@pytest.mark.parametrize("config", [{"failure_throttle_limit": 2}], indirect=True)
@pytest.mark.parametrize("client_id", [CLIENT, "nobody"])
@pytest.mark.gen_test
async def test_two_readings_are_one_failure(wire: Wire, client_id: str) -> None:
    """Neither reading counts for itself, whether the client exists or not."""
    await register(wire)
    authorization = basic(client_id, "two+readings%2Bof-one-secret-0123456789")
    assert [(await ask(wire, authorization)).status for _ in range(3)] == [401, 401, 429]


@pytest.mark.row("C4", "C18")
@pytest.mark.gen_test
async def test_what_the_server_issues(wire: Wire) -> None:
    """10.10: The probability of an attacker guessing generated tokens [...] MUST be at most 2^(-128)."""
    registered = [
        await wire.admin("POST", "/oauth-clients", {"clientId": f"bot-{n}", "scopes": ["bot:api"]})
        for n in range(12)
    ]
    secrets = {str(answer.json["clientSecret"]) for answer in registered}
    assert len(secrets) == 12
    # 43 characters of 64 hold 256 bits: no two places are the same in all
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{43}", secret) for secret in secrets)
    assert all(len(set(place)) > 1 for place in zip(*(secret[:-1] for secret in secrets), strict=True))
    assert all(re.fullmatch(r"[A-Za-z0-9_-]+", answer.json["id"]) for answer in registered)
    assert all(quote_plus(secret) == secret for secret in secrets)

    tokens = [await wire.access_token(("bot-0", registered[0].json["clientSecret"])) for _ in range(12)]
    claims = [json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "==")) for token in tokens]
    assert len({claim["jti"] for claim in claims}) == 12
    assert all(re.fullmatch(r"[0-9a-f]{32}", claim["jti"]) for claim in claims)
    # the signature is a keyed hash of 256 bits
    assert all(len(base64.urlsafe_b64decode(token.split(".")[2] + "=")) == 32 for token in tokens)


@pytest.mark.row("C5", "C6")
@pytest.mark.parametrize(
    ("authorization", "parameters"),
    [
        (basic(*CREDENTIALS), {"client_secret": SECRET}),
        (basic(*CREDENTIALS), IN_BODY),
        (basic(*CREDENTIALS), {"client_id": CLIENT, "client_secret": "wrong"}),
        (basic(*WRONG), IN_BODY),
        ("Basic !", IN_BODY),
        ("Basic", IN_BODY),
        (basic(*CREDENTIALS), ASSERTION),
        (basic(*CREDENTIALS), {"client_assertion": "x"}),
        (None, {**IN_BODY, **ASSERTION}),
        (None, {"client_secret": SECRET, "client_assertion": "x"}),
    ],
)
@pytest.mark.gen_test
async def test_two_methods(
    wire: Wire, refusal: Refusal, authorization: str | None, parameters: dict[str, str]
) -> None:
    """2.3: The client MUST NOT use more than one authentication method in each request."""
    await register(wire)
    for path in ENDPOINTS:
        refusal(await ask(wire, authorization, path=path, **parameters), 400, "invalid_request")
    headers = {"Authorization": authorization} if authorization else {}
    document = {**GRANT, **parameters}
    answer = await wire.fetch("POST", "/auth/token", headers=headers, document=document)
    refusal(answer, 400, "invalid_request")


@pytest.mark.row("C6")
@pytest.mark.gen_test
async def test_an_assertion_alone(wire: Wire, refusal: Refusal) -> None:
    """5.2: unsupported authentication method."""
    await register(wire)
    refusal(await ask(wire, client_id=CLIENT, **ASSERTION), 401, "invalid_client")
    assertion_type = {"client_assertion_type": ASSERTION["client_assertion_type"]}
    assert (await ask(wire, basic(*CREDENTIALS), **assertion_type)).status == 200


@pytest.mark.row("C7")
@pytest.mark.parametrize(
    ("client_id", "status"), [(CLIENT, 200), ("other-bot", 400), (CLIENT.upper(), 400), (f"{CLIENT} ", 400)]
)
@pytest.mark.gen_test
async def test_basic_and_a_client_id(wire: Wire, refusal: Refusal, client_id: str, status: int) -> None:
    """3.2.1: A client MAY use the "client_id" request parameter to identify itself."""
    await register(wire)
    await register(wire, client_id="other-bot")
    for path in ENDPOINTS:
        answer = await ask(wire, basic(*CREDENTIALS), path=path, client_id=client_id)
        if status == 200:
            assert answer.status == 200
        else:
            refusal(answer, status, "invalid_request")


@pytest.mark.row("C8")
@pytest.mark.parametrize(
    "lines",
    [
        [basic(*CREDENTIALS), basic(*CREDENTIALS)],
        [basic(*CREDENTIALS), basic(*WRONG)],
        [basic(*CREDENTIALS), "Bearer x"],
        ["Bearer x", basic(*CREDENTIALS)],
        [basic(*CREDENTIALS), ""],
        ["", basic(*CREDENTIALS)],
        [f"{basic(*CREDENTIALS)},{basic(*CREDENTIALS)}"],
        [f"{basic(*CREDENTIALS)},"],
        [basic(*CREDENTIALS)] * 50,
    ],
)
@pytest.mark.gen_test
async def test_repeated_authorization(wire: Wire, raw: Raw, refusal: Refusal, lines: list[str]) -> None:
    """9110 5.3: a sender MUST NOT generate multiple field lines with the same name."""
    await register(wire)
    headers = ["Content-Type: application/x-www-form-urlencoded", *(f"Authorization: {x}" for x in lines)]
    for path in ENDPOINTS:
        answer = await raw(f"POST {path}", *headers, body=b"grant_type=client_credentials&token=x")
        refusal(answer, 400, "invalid_request")


@pytest.mark.row("C9")
@pytest.mark.parametrize(
    "authorization",
    [
        "Basic",
        "Basic ",
        "Basic =",
        "Basic ====",
        "Basic !!!!",
        "Basic " + b64(f"{CLIENT}:{SECRET}").rstrip("=") + "!",
        "Basic " + b64(f"{CLIENT}:{SECRET}x").rstrip("="),
        "Basic " + b64(f"{CLIENT}:{SECRET}") + " x",
        "Basic " + b64(f"{CLIENT}:{SECRET}").replace("=", "") + "==\xff",
        "Basic " + base64.b32encode(f"{CLIENT}:{SECRET}".encode()).decode(),
        f"Basic {CLIENT}:{SECRET}",
        "Basic " + b64(CLIENT),
        "Basic " + b64(f":{SECRET}"),
        "Basic " + b64(":"),
        "Basic " + b64(f"{CLIENT}:"),
        "Basic " + b64(f"%:{SECRET}"),
        "Basic " + b64(f"%ff:{SECRET}"),
        "Basic " + b64(f"{CLIENT}%00:{SECRET}"),
        "Basic " + b64(f"\0{CLIENT}:{SECRET}"),
        "Basic " + b64(f"{CLIENT}:{SECRET}\0"),
        "Basic " + b64(f"{CLIENT}:{SECRET}%00"),
        "Basic " + b64(f"{CLIENT}:{SECRET}\n"),
        "Basic " + b64(f"{CLIENT}: {SECRET}"),
        "Basic " + b64(f"{CLIENT}:{SECRET}+"),
        "Basic " + b64(f"{CLIENT}:\u00e9{SECRET}"),
        "Basic " + b64(f"{CLIENT}:".encode() + b"\xff\xfe" + SECRET.encode()),
        "Basic " + b64(f"{CLIENT}:{SECRET}".encode("utf-16")),
        "Basic " + b64(f"{{'$ne': 1}}:{SECRET}"),
        "Basic " + b64("x" * 12_000),
        "Basic " + b64(f"{CLIENT}:" + "%41" * 12_000),
        f"Basic\t{b64(f'{CLIENT}:{SECRET}')}",
        f"Basic:{b64(f'{CLIENT}:{SECRET}')}",
        f"Basic{b64(f'{CLIENT}:{SECRET}')}",
        b64(f"{CLIENT}:{SECRET}"),
    ],
)
@pytest.mark.gen_test
async def test_malformed_basic(wire: Wire, raw: Raw, refusal: Refusal, authorization: str) -> None:
    """5.2: Client authentication failed."""
    await register(wire)
    headers = (
        "Content-Type: application/x-www-form-urlencoded",
        b"Authorization: " + authorization.encode("latin-1"),
    )
    body = b"grant_type=client_credentials&token=x"
    for path in ENDPOINTS:
        refusal(await raw(f"POST {path}", *headers, body=body), 401, "invalid_client")
    # the credentials in the body are right, and no way out
    body += f"&client_id={CLIENT}&client_secret={SECRET}".encode()
    assert (await raw("POST /auth/token", *headers, body=body)).status in {400, 401}


@pytest.mark.row("C9")
@pytest.mark.parametrize("byte", [0, 1, 10, 11, 127])
@pytest.mark.gen_test
async def test_control_characters_in_a_header(wire: Wire, raw: Raw, byte: int) -> None:
    """9110 5.5: Tornado answers a bare 400 before any handler."""
    await register(wire)
    answer = await raw(
        "POST /auth/token",
        b"Authorization: " + basic(*CREDENTIALS).encode() + bytes([byte]) + b"x",
        "Content-Type: application/x-www-form-urlencoded",
        body=b"grant_type=client_credentials",
    )
    assert answer.status == 400


@pytest.mark.row("C9")
@pytest.mark.parametrize(
    "credentials",
    [
        {"client_id": CLIENT, "client_secret": f"{SECRET}\0"},
        {"client_id": CLIENT, "client_secret": f"{SECRET} "},
        {"client_id": CLIENT, "client_secret": f"{SECRET}\n"},
        {"client_id": CLIENT, "client_secret": "\u00e9" * 40},
        {"client_id": CLIENT, "client_secret": "\U0001f916" * 40},
        {"client_id": f"{CLIENT}\0", "client_secret": SECRET},
        {"client_id": "\u0301" * 40, "client_secret": SECRET},
        {"client_id": "\0", "client_secret": SECRET},
        {"client_id": " ", "client_secret": SECRET},
        {"client_id": "x" * 7000, "client_secret": "y" * 7000},
        {"client_secret": SECRET},
    ],
)
@pytest.mark.gen_test
async def test_malformed_credentials_in_the_body(
    wire: Wire, refusal: Refusal, credentials: dict[str, str]
) -> None:
    """5.2: Client authentication failed."""
    await register(wire)
    for path in ENDPOINTS:
        refusal(await ask(wire, path=path, **credentials), 401, "invalid_client")
    answer = await wire.fetch("POST", "/auth/token", document={**GRANT, **credentials})
    refusal(answer, 401, "invalid_client")


@pytest.mark.row("C10")
@pytest.mark.gen_test
async def test_no_authentication(wire: Wire, refusal: Refusal) -> None:
    """5.2: no client authentication included."""
    await register(wire)
    for path in ENDPOINTS:
        for parameters in ({}, {"client_id": CLIENT}, {"client_id": "nobody"}):
            refusal(await ask(wire, path=path, **parameters), 401, "invalid_client")


@pytest.mark.row("C11", "C12")
@pytest.mark.gen_test
async def test_failures_of_both_methods_are_one_answer(wire: Wire, refusal: Refusal) -> None:
    """5.2: the authorization server MUST respond with 401 and the "WWW-Authenticate" header field."""
    await register(wire)
    by_basic = await ask(wire, basic(*WRONG))
    in_body = await ask(wire, client_id=CLIENT, client_secret=WRONG[1])
    for answer in (by_basic, in_body):
        refusal(answer, 401, "invalid_client")
        assert answer.headers["WWW-Authenticate"] == CHALLENGE
    assert bare(by_basic) == bare(in_body)


@pytest.mark.row("C13")
@pytest.mark.parametrize(
    "authorization",
    [
        "Bearer x",
        "Bearer",
        "DPoP x",
        "Negotiate abc=",
        'Digest username="station-bot", realm="station", nonce="x"',
        f"Basic64 {b64(f'{CLIENT}:{SECRET}')}",
        "x",
        "",
    ],
)
@pytest.mark.gen_test
async def test_other_schemes(wire: Wire, refusal: Refusal, authorization: str) -> None:
    """5.2: unsupported authentication method."""
    await register(wire)
    token = await wire.access_token(CREDENTIALS)
    for path in ENDPOINTS:
        refusal(await ask(wire, authorization, path=path), 401, "invalid_client")
        refusal(await ask(wire, f"Bearer {token}", path=path), 401, "invalid_client")


@pytest.mark.row("C14")
@pytest.mark.parametrize(
    "m2m_settings",
    [
        {"client_auth_methods": ("client_secret_basic",)},
        {"client_auth_methods": ("client_secret_post",)},
        {"client_auth_methods": ("client_secret_basic", "client_secret_post")},
    ],
    indirect=True,
)
@pytest.mark.gen_test
async def test_methods_that_are_off(wire: Wire, refusal: Refusal, m2m_settings: OAuthM2MConfig) -> None:
    """2.3.1: a method that is off does not authenticate, and is no reason to look for another."""
    await register(wire)
    for path in ENDPOINTS:
        answers = {
            "client_secret_basic": await ask(wire, basic(*CREDENTIALS), path=path),
            "client_secret_post": await ask(wire, path=path, **IN_BODY),
        }
        for method, answer in answers.items():
            if method in m2m_settings.client_auth_methods:
                assert answer.status == 200
            else:
                refusal(answer, 401, "invalid_client")
        refusal(await ask(wire, basic(*CREDENTIALS), path=path, **IN_BODY), 400, "invalid_request")


@pytest.mark.row("C14")
@pytest.mark.gen_test
async def test_both_methods_are_on_by_default(wire: Wire) -> None:
    """7591 2: client_secret_basic and client_secret_post."""
    assert OAuthM2MConfig().client_auth_methods == ("client_secret_basic", "client_secret_post")
    await register(wire)
    assert (await ask(wire, basic(*CREDENTIALS))).status == 200
    assert (await ask(wire, **IN_BODY)).status == 200


def bare(answer: Answer | RawAnswer) -> tuple[int, bytes, list[tuple[str, str]]]:
    """All of an answer but its date and request id."""
    headers = sorted(answer.headers.get_all())
    assert {"Date", "X-Request-Id"} <= {name for name, _ in headers}
    return answer.status, answer.body, [pair for pair in headers if pair[0] not in {"Date", "X-Request-Id"}]


@pytest.mark.row("C15")
@pytest.mark.parametrize("path", ENDPOINTS)
@pytest.mark.gen_test
async def test_every_failure_is_the_same_answer(
    wire: Wire, app: Application, raw: Raw, refusal: Refusal, path: str
) -> None:
    """10.10, and 5.2: nothing tells whether the client exists."""
    for client_id in (CLIENT, "disabled", "expired", "other-bot"):
        await register(wire, client_id=client_id)
    assert (await wire.admin("PATCH", "/oauth-clients/disabled", {"isActive": False})).status == 200
    past = datetime.now(UTC) - timedelta(seconds=1)
    await change(app, {"secrets.0.expires_at": past}, "expired")
    assert (await ask(wire, basic("other-bot", SECRET), path=path)).status == 200

    refused = {
        "unknown": ("nobody", SECRET),
        "never valid": ("No Such Client", SECRET),
        "disabled": ("disabled", SECRET),
        "disabled and wrong": ("disabled", WRONG[1]),
        "expired": ("expired", SECRET),
        "wrong": WRONG,
        "short": (CLIENT, "x"),
    }
    answers: list[Answer | RawAnswer] = []
    for client_id, secret in refused.values():
        answers.append(await ask(wire, basic(client_id, secret), path=path))
        answers.append(await ask(wire, path=path, client_id=client_id, client_secret=secret))
    answers.append(await ask(wire, "Basic !", path=path))
    answers.append(await ask(wire, path=path))
    for answer in answers:
        refusal(answer, 401, "invalid_client")
        assert bare(answer) == bare(answers[0])
    assert len({answer.headers["X-Request-ID"] for answer in answers}) == len(answers)

    headers = ["Content-Type: application/x-www-form-urlencoded"]
    order = [
        [
            line.split(":")[0]
            for line in str(
                (await raw(f"POST {path}", *headers, f"Authorization: {basic(*pair)}")).headers
            ).splitlines()
        ]
        for pair in refused.values()
    ]
    assert all(names == order[0] for names in order)


@pytest.mark.row("C15")
@pytest.mark.gen_test
async def test_a_secret_that_expires_later_is_good(wire: Wire, app: Application) -> None:
    """The test above expires it, and nothing else does."""
    await register(wire)
    await change(app, {"secrets.0.expires_at": datetime.now(UTC) + timedelta(minutes=1)})
    assert (await ask(wire, basic(*CREDENTIALS))).status == 200


def assert_retry_after(answer: Answer) -> None:
    [seconds] = answer.headers.get_list("Retry-After")
    assert re.fullmatch(r"[1-9][0-9]?", seconds)
    assert 1 <= int(seconds) <= 60


@pytest.mark.row("C16")
@pytest.mark.parametrize("config", [{"failure_throttle_limit": 3}], indirect=True)
@pytest.mark.parametrize("path", ENDPOINTS)
@pytest.mark.gen_test
async def test_failures_are_limited(wire: Wire, refusal: Refusal, path: str) -> None:
    """2.3.1: MUST protect any endpoint utilizing it against brute force attacks."""
    await register(wire)
    assert (await ask(wire, basic(*CREDENTIALS), path=path)).status == 200
    guesses = [basic(CLIENT, "x"), basic("nobody", "x"), basic(CLIENT, "y")]
    assert [(await ask(wire, guess, path=path)).status for guess in guesses] == [401, 401, 401]
    # from now on nobody learns whether a secret is right, anywhere
    for endpoint in ENDPOINTS:
        for answer in (
            await ask(wire, basic(CLIENT, "z"), path=endpoint),
            await ask(wire, basic(*CREDENTIALS), path=endpoint),
            await ask(wire, path=endpoint, **IN_BODY),
            await ask(wire, basic("third-bot", "z"), path=endpoint),
        ):
            refusal(answer, 429, "temporarily_unavailable")
            assert_retry_after(answer)


@pytest.mark.row("C16")
@pytest.mark.parametrize("config", [{"token_throttle_limit": 2, "revoke_throttle_limit": 2}], indirect=True)
@pytest.mark.parametrize("path", ENDPOINTS)
@pytest.mark.gen_test
async def test_requests_are_limited(wire: Wire, refusal: Refusal, path: str) -> None:
    """6585 4: 429, with a Retry-After header indicating how long to wait."""
    await register(wire)
    await register(wire, client_id="other-bot")
    assert [(await ask(wire, basic(*CREDENTIALS), path=path)).status for _ in range(2)] == [200, 200]
    # one client is one client, however it authenticates
    for answer in (
        await ask(wire, basic(*CREDENTIALS), path=path),
        await ask(wire, path=path, **IN_BODY),
        await ask(wire, basic("%73tation-bot", SECRET), path=path),
    ):
        refusal(answer, 429, "temporarily_unavailable")
        assert_retry_after(answer)
    assert (await ask(wire, basic("other-bot", SECRET), path=path)).status == 200


@pytest.mark.row("C16")
@pytest.mark.parametrize(
    "config", [{"token_throttle_limit": 1, "token_throttle_ttl_ms": 1100}], indirect=True
)
@pytest.mark.gen_test
async def test_who_waits_as_told_is_served(wire: Wire) -> None:
    """9110 10.2.3: how long the user agent ought to wait before making a follow-up request."""
    await register(wire)
    assert (await ask(wire, basic(*CREDENTIALS))).status == 200
    refused = await ask(wire, basic(*CREDENTIALS))
    assert refused.status == 429
    await asyncio.sleep(int(refused.headers["Retry-After"]))
    assert (await ask(wire, basic(*CREDENTIALS))).status == 200


@pytest.mark.row("C16")
@pytest.mark.parametrize("config", [{"failure_throttle_limit": 2}], indirect=True)
@pytest.mark.gen_test
async def test_guesses_of_the_registration_key_are_limited(wire: Wire) -> None:
    """6585 4, as problem details."""
    document = {"clientId": CLIENT, "scopes": ["bot:api"]}
    wrong = {"x-internal-api-key": "k" * 40}
    for _ in range(2):
        assert (await wire.fetch("POST", "/oauth-clients", headers=wrong, document=document)).status == 401
    answer = await wire.fetch("POST", "/oauth-clients", headers=wrong, document=document)
    assert (answer.status, answer.json["code"]) == (429, "too-many-requests")
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert_retry_after(answer)


BEHIND_A_PROXY = {"trusted_proxies": (ip_network("127.0.0.1/32"),)}


@pytest.mark.row("C17")
@pytest.mark.parametrize("config", [{**BEHIND_A_PROXY, "failure_throttle_limit": 3}], indirect=True)
@pytest.mark.gen_test
async def test_a_flood_of_failures_locks_nobody_else(wire: Wire) -> None:
    """The same client goes on from every other address."""
    await register(wire)
    flood = [(await ask(wire, basic(*WRONG), address="198.51.100.1")).status for _ in range(8)]
    assert flood == [401] * 3 + [429] * 5
    assert (await ask(wire, basic(*CREDENTIALS), address="198.51.100.1")).status == 429
    for address in ("198.51.100.2", "203.0.113.9", "2001:db8::1", "127.0.0.1"):
        assert (await ask(wire, basic(*CREDENTIALS), address=address)).status == 200


@pytest.mark.row("C17")
@pytest.mark.parametrize("config", [{**BEHIND_A_PROXY, "token_throttle_limit": 2}], indirect=True)
@pytest.mark.gen_test
async def test_the_limit_is_per_client_and_address(wire: Wire) -> None:
    """A flood of requests in a client's name from one address leaves it alone at another."""
    await register(wire)
    flood = [(await ask(wire, address="198.51.100.1", client_id=CLIENT)).status for _ in range(4)]
    assert flood == [401, 401, 429, 429]
    assert (await ask(wire, basic(*CREDENTIALS), address="198.51.100.1")).status == 429
    assert (await ask(wire, basic(*CREDENTIALS), address="198.51.100.2")).status == 200


@pytest.mark.row("C17")
@pytest.mark.parametrize(
    "config",
    [{**BEHIND_A_PROXY, "failure_throttle_limit": 3, "token_throttle_limit": 2}],
    indirect=True,
)
@pytest.mark.gen_test
async def test_a_fleet_behind_one_address_is_served(wire: Wire) -> None:
    """Success is no failure, and each client has a limit of its own."""
    fleet = [f"bot-{n}" for n in range(12)]
    for client_id in fleet:
        await register(wire, client_id=client_id)
    for _ in range(2):
        answers = [await ask(wire, basic(client_id, SECRET), address="198.51.100.1") for client_id in fleet]
        assert [answer.status for answer in answers] == [200] * len(fleet)


@pytest.mark.row("C17")
@pytest.mark.parametrize("config", [{**BEHIND_A_PROXY, "failure_throttle_limit": 3}], indirect=True)
@pytest.mark.gen_test
async def test_spraying_is_limited(wire: Wire) -> None:
    """Many ids from one address, which for IPv6 is a network of /64."""
    sprayed = [
        (await ask(wire, basic(f"bot-{n}", "x"), address=f"2001:db8:0:1::{n}")).status for n in range(5)
    ]
    assert sprayed == [401, 401, 401, 429, 429]
    assert (await ask(wire, basic("bot-9", "x"), address="2001:db8:0:2::1")).status == 401


@pytest.mark.row("C19")
@pytest.mark.parametrize("length", [32, 55, 56, 71, 72, 73, 127, 128])
@pytest.mark.gen_test
async def test_secrets_are_compared_whole(wire: Wire, refusal: Refusal, length: int) -> None:
    """Bcrypt alone reads 72 bytes, and what is cut or added there must still be wrong."""
    secret = ("s3cret-" * 20)[:length]
    await register(wire, secret=secret)
    for spell in (lambda text: {"authorization": basic(CLIENT, text)}, in_body):
        assert (await ask(wire, **spell(secret))).status == 200
        for wrong in (secret[:-1], secret[:-1] + "~", "~" + secret[1:], secret + "x", secret[:72] + "x"):
            refusal(await ask(wire, **spell(wrong)), 401, "invalid_client")


def in_body(secret: str) -> dict[str, Any]:
    return {"client_id": CLIENT, "client_secret": secret}


@pytest.mark.row("C19")
@pytest.mark.gen_test
async def test_long_secrets_that_differ_in_the_last_character(wire: Wire, refusal: Refusal) -> None:
    """Two clients with secrets of 128 characters, the first 127 of them the same."""
    secrets = {"bot-a": "s" * 127 + "a", "bot-b": "s" * 127 + "b"}
    for client_id, secret in secrets.items():
        await register(wire, client_id, secret)
    for client_id, own in secrets.items():
        for secret in secrets.values():
            answer = await ask(wire, basic(client_id, secret))
            if secret == own:
                assert answer.status == 200
            else:
                refusal(answer, 401, "invalid_client")


@pytest.mark.row("C19")
@pytest.mark.parametrize("length", [129, 1024, 7000])
@pytest.mark.gen_test
async def test_oversized_secrets(wire: Wire, refusal: Refusal, length: int) -> None:
    """They cannot be registered, and presented they are wrong."""
    secret = (SECRET * 200)[:length]
    document = {"clientId": "long-bot", "clientSecret": secret, "scopes": ["bot:api"]}
    answer = await wire.admin("POST", "/oauth-clients", document)
    assert (answer.status, list(answer.json["errors"])) == (400, ["clientSecret"])
    await register(wire, secret=secret[:128])
    for path in ENDPOINTS:
        refusal(await ask(wire, basic(CLIENT, secret), path=path), 401, "invalid_client")
        refusal(await ask(wire, path=path, **in_body(secret)), 401, "invalid_client")


@pytest.mark.row("C20")
@pytest.mark.gen_test
async def test_what_is_stored_is_no_secret(wire: Wire, app: Application, refusal: Refusal) -> None:
    """Who has read the database still cannot authenticate."""
    await register(wire)
    stored = await app.resources.database["oauth_clients"].find_one({"client_id": CLIENT})
    assert stored is not None
    hashed = stored["secrets"][0]["hash"]
    assert hashed.startswith("$bcrypt-sha256$v=2,t=2b,r=4$")
    assert SECRET not in str(stored)
    for leaked in (
        hashed,
        hashed.rpartition("$")[2],
        stored["salt"],
        stored["generation"],
        str(stored["_id"]),
    ):
        for spelling in (leaked, quote_plus(leaked)):
            refusal(await ask(wire, basic(CLIENT, spelling)), 401, "invalid_client")
        refusal(await ask(wire, **in_body(leaked)), 401, "invalid_client")
