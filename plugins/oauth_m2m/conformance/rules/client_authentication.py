"""Table C, the first part: how a client authenticates (RFC 6749 2.3)."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING
from urllib.parse import quote_plus

from plugins.oauth_m2m.conformance import expect
from plugins.oauth_m2m.conformance.needs import Need
from plugins.oauth_m2m.conformance.rows import row
from plugins.oauth_m2m.conformance.server import basic

if TYPE_CHECKING:
    from collections.abc import Callable

    from plugins.oauth_m2m.conformance.clients import Client
    from plugins.oauth_m2m.conformance.server import Server

_ODD = "a/with+odd=chars:and%more-0123456789"
_WRONG = "not-a-secret-of-this-client-0123456789"
_ASSERTION = {
    "client_assertion": "e30.e30.",
    "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
}


def _header(client: Client) -> str:
    return basic(client.id, client.secret)


def _in_body(client: Client) -> dict[str, str]:
    return {"client_id": client.id, "client_secret": client.secret}


@row("C1")
async def http_basic(server: Server) -> None:
    expect.token(await server.ask(client=await server.client()))


@row("C2")
async def the_case_of_the_scheme(server: Server) -> None:
    for scheme in ("basic", "BASIC", "bAsIc"):
        encoded = _header(await server.client()).removeprefix("Basic ")
        expect.token(await server.ask(authorization=f"{scheme} {encoded}"), scheme)


@row("C3", Need.ADMIN, unseen="that both readings of a secret are one place in a queue and one failure")
async def both_spellings_of_a_secret(server: Server) -> None:
    for secret in (_ODD, "z/tZ9VwFZqApmIQ+ZH1I5pLk/uB4ud:X2/8bL+wfFTt1rFw="):
        client = await server.admin.register(clientSecret=secret)
        encoded = basic(client.id.replace("-", "%2D"), quote_plus(secret))
        expect.token(await server.ask(authorization=encoded), "form-encoded")
        expect.token(await server.ask(client=client), "as it is")
        expect.token(await server.ask(_in_body(client), authorization=()), "in the body")
        twice = basic(client.id, quote_plus(quote_plus(secret)))
        answer = await server.ask(authorization=twice)
        expect.refusal(answer, "invalid_client", 401, case="encoded twice")


@row("C5")
async def basic_and_a_secret_in_the_body(server: Server) -> None:
    client = await server.client()
    for case, secret in (("identical", client.secret), ("different", _WRONG)):
        answer = await server.ask({"client_secret": secret}, client=client)
        expect.refusal(answer, "invalid_request", case=case)


@row("C6")
async def a_secret_and_an_assertion(server: Server) -> None:
    client = await server.client()
    answer = await server.ask(_ASSERTION, client=client)
    expect.refusal(answer, "invalid_request", case="Basic and an assertion")
    answer = await server.ask({**_in_body(client), **_ASSERTION}, authorization=())
    expect.refusal(answer, "invalid_request", case="a secret in the body and an assertion")


@row("C7")
async def basic_and_a_client_id(server: Server) -> None:
    client = await server.client()
    expect.token(await server.ask({"client_id": client.id}, client=client), "the same id")
    answer = await server.ask({"client_id": f"{client.id}-other"}, client=client)
    expect.refusal(answer, "invalid_request", case="another id")


@row("C8")
async def two_authorization_headers(server: Server) -> None:
    client = await server.client()
    header = _header(client)
    for case, lines in {
        "the same twice": [header, header],
        "a good and a wrong one": [header, basic(client.id, _WRONG)],
        "Bearer and Basic": ["Bearer x", header],
    }.items():
        expect.refusal(await server.ask(authorization=lines), "invalid_request", case=case)


@row("C9")
async def malformed_credentials(server: Server) -> None:
    malformed: dict[str, Callable[[bytes, bytes], bytes]] = {
        "bad base64": lambda _client_id, _secret: b"Basic !!!!",
        "no colon": lambda client_id, _secret: _encoded(client_id),
        "an empty id": lambda _client_id, secret: _encoded(b":" + secret),
        "no UTF-8": lambda client_id, secret: _encoded(client_id + b":\xff\xfe" + secret),
        "NUL": lambda client_id, secret: _encoded(client_id + b":" + secret + b"\0"),
        "a space in the secret": lambda client_id, secret: _encoded(client_id + b":" + secret + b" x"),
    }
    for case, make in malformed.items():
        client = await server.client()
        header = make(client.id.encode(), client.secret.encode())
        expect.refusal(await server.ask(authorization=header), "invalid_client", 401, case=case)
        fallen_back = await server.ask(_in_body(client), authorization=header)
        expect.status(fallen_back, 400, 401, case=f"{case}, and right credentials in the body")
    client = await server.client()
    in_body = {"client_id": client.id, "client_secret": f"{client.secret}\0"}
    answer = await server.ask(in_body, authorization=())
    expect.refusal(answer, "invalid_client", 401, case="NUL in the body")


def _encoded(userpass: bytes) -> bytes:
    return b"Basic " + base64.b64encode(userpass)


@row("C10")
async def no_authentication(server: Server) -> None:
    client = await server.client()
    for case, form in (("nothing", {}), ("client_id alone", {"client_id": client.id})):
        answer = await server.ask(form, authorization=())
        expect.refusal(answer, "invalid_client", 401, case=case)
        expect.challenge(answer, "Basic")


@row("C11")
async def a_wrong_secret_by_basic(server: Server) -> None:
    client = await server.client()
    answer = await server.ask(authorization=basic(client.id, _WRONG))
    expect.refusal(answer, "invalid_client", 401)
    expect.that("realm" in expect.challenge(answer, "Basic"), "the challenge has no realm", answer)


@row("C12")
async def a_wrong_secret_in_the_body(server: Server) -> None:
    client = await server.client()
    in_body = await server.ask({"client_id": client.id, "client_secret": _WRONG}, authorization=())
    expect.refusal(in_body, "invalid_client", 401)
    by_basic = await server.ask(authorization=basic(client.id, _WRONG))
    challenges = [answer.all("WWW-Authenticate") for answer in (in_body, by_basic)]
    expect.challenge(in_body, "Basic")
    expect.that(challenges[0] == challenges[1], "the challenge is not that of HTTP Basic", in_body)


@row("C13")
async def other_schemes(server: Server) -> None:
    for authorization in ("Bearer x", 'Digest username="x"', "Conformance x"):
        answer = await server.ask(authorization=authorization)
        expect.refusal(answer, "invalid_client", 401, case=authorization)


@row("C14", Need.METADATA, unseen="turning a method off, which is a setting")
async def the_methods_that_are_on(server: Server) -> None:
    metadata = await server.get(server.endpoints.metadata_url)
    named = expect.json_object(metadata).get("token_endpoint_auth_methods_supported")
    known = {"client_secret_basic", "client_secret_post"}
    names_one = isinstance(named, list) and any(method in known for method in named)
    expect.that(names_one, "the metadata names no method of secrets", metadata)
    client = await server.client()
    answers = {
        "client_secret_basic": await server.ask(client=client),
        "client_secret_post": await server.ask(_in_body(client), authorization=()),
    }
    for method, answer in answers.items():
        if method in (named or ()):
            expect.token(answer, method)
        else:
            expect.refusal(answer, "invalid_client", 401, case=f"{method}, which is off")
