"""How a client authenticates (RFC 6749 2.3): rows C1 to C14 of docs/protocol.md, without C4."""

from __future__ import annotations

import base64
import dataclasses
from typing import TYPE_CHECKING
from urllib.parse import quote_plus

import pytest

from plugins.oauth_m2m.config import OAuthM2MConfig

if TYPE_CHECKING:
    from station.app import Application
    from tests.conftest import Answer, Wire
    from tests.plugins.oauth_m2m.conftest import Raw, Refusal

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
    **parameters: str,
) -> Answer:
    """Call an endpoint with this Authorization header and these parameters in a form."""
    headers = {"Authorization": authorization} if authorization is not None else {}
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


MALFORMED_BASIC = [
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
]


@pytest.mark.row("C9")
@pytest.mark.gen_test
async def test_malformed_basic(wire: Wire, raw: Raw, refusal: Refusal) -> None:
    """5.2: Client authentication failed."""
    await register(wire)
    for authorization in MALFORMED_BASIC:
        headers = (
            "Content-Type: application/x-www-form-urlencoded",
            b"Authorization: " + authorization.encode("latin-1"),
        )
        body = b"grant_type=client_credentials&token=x"
        for path in ENDPOINTS:
            refusal(await raw(f"POST {path}", *headers, body=body), 401, "invalid_client", authorization)
        # the credentials in the body are right, and no way out
        body += f"&client_id={CLIENT}&client_secret={SECRET}".encode()
        assert (await raw("POST /auth/token", *headers, body=body)).status in {400, 401}, authorization


@pytest.mark.row("C9")
@pytest.mark.gen_test
async def test_control_characters_in_a_header(wire: Wire, raw: Raw) -> None:
    """9110 5.5: Tornado answers a bare 400 before any handler."""
    await register(wire)
    for byte in (b"\0", b"\1", b"\n", b"\v", b"\x7f"):
        header = b"Authorization: " + basic(*CREDENTIALS).encode() + byte + b"x"
        form = "Content-Type: application/x-www-form-urlencoded"
        assert (
            await raw("POST /auth/token", header, form, body=b"grant_type=client_credentials")
        ).status == 400


MALFORMED_IN_BODY = [
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
]


@pytest.mark.row("C9")
@pytest.mark.gen_test
async def test_malformed_credentials_in_the_body(wire: Wire, refusal: Refusal) -> None:
    """5.2: Client authentication failed."""
    await register(wire)
    for credentials in MALFORMED_IN_BODY:
        for path in ENDPOINTS:
            refusal(await ask(wire, path=path, **credentials), 401, "invalid_client", credentials)
        answer = await wire.fetch("POST", "/auth/token", document={**GRANT, **credentials})
        refusal(answer, 401, "invalid_client", credentials)


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
    assert by_basic.body == in_body.body


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
