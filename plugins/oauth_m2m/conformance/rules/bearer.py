"""Table B: tokens at a protected resource (RFC 6750)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from plugins.oauth_m2m.conformance import expect
from plugins.oauth_m2m.conformance.endpoints import origin_of
from plugins.oauth_m2m.conformance.needs import Need
from plugins.oauth_m2m.conformance.rows import Skipped, row
from plugins.oauth_m2m.conformance.server import FORM
from plugins.oauth_m2m.conformance.tokens import claims_of, forge, header_of, is_jwt, with_broken_signature
from plugins.oauth_m2m.conformance.wire import Request

if TYPE_CHECKING:
    from plugins.oauth_m2m.conformance.server import Server

_SESSION = "/auth/me"
_SESSION_COOKIE = "station_access"
_FOREIGN = "https://conformance.invalid"
_PRIVATE = re.compile(r"\b(no-store|private)\b", re.IGNORECASE)
_SCOPE = re.compile(r"[\x20\x21\x23-\x5b\x5d-\x7e]+")


@row("B1", Need.RESOURCE)
async def the_header(server: Server) -> None:
    token = await server.access_token()
    for scheme in ("Bearer", "bearer", "BEARER"):
        expect.status(await server.call(f"{scheme} {token}"), 200, case=scheme)


@row("B2", Need.RESOURCE)
async def no_credentials(server: Server) -> None:
    answer = await server.call()
    expect.status(answer, 401)
    attributes = expect.challenge(answer, "Bearer")
    expect.that("realm" in attributes, "the challenge has no realm", answer)
    expect.that("error" not in attributes, "the challenge names an error", answer)


@row("B3", Need.RESOURCE, unseen="expired tokens")
async def bad_tokens(server: Server) -> None:
    token = await server.access_token()
    bad = {"garbage": "garbage", "a bad signature": with_broken_signature(token)}
    if is_jwt(token):
        header = {**header_of(token), "kid": "conformance"}
        bad["an unknown kid"] = forge(header, claims_of(token), signature=token.rpartition(".")[2])
        bad["no signature"] = token.rpartition(".")[0] + "."
    if server.endpoints.revocation:
        client = await server.client()
        revoked = await server.access_token(client)
        expect.status(await server.revoke(revoked, client), 200, case="revoking")
        bad["revoked"] = revoked
    for case, presented in bad.items():
        answer = await server.call(f"Bearer {presented}")
        expect.status(answer, 401, case=case)
        error = expect.challenge(answer, "Bearer").get("error")
        expect.that(error == "invalid_token", f"{case}: the challenge says {error}", answer)


@row("B4", Need.SCOPED_RESOURCE)
async def a_missing_scope(server: Server) -> None:
    token = await server.access_token()
    answer = await server.get(server.endpoints.scoped_resource or "", ("Authorization", f"Bearer {token}"))
    expect.status(answer, 403)
    attributes = expect.challenge(answer, "Bearer")
    error = attributes.get("error")
    expect.that(error == "insufficient_scope", f"the challenge says {error}", answer)
    expect.that(attributes.get("scope"), "the challenge does not list the scopes that are needed", answer)


@row("B5", Need.RESOURCE)
async def malformed_requests(server: Server) -> None:
    token = await server.access_token()
    bearer = f"Bearer {token}"
    for case, lines in (
        ("the same header twice", [bearer, bearer]),
        ("Bearer and Basic", [bearer, "Basic eDp5"]),
    ):
        answer = await server.call(lines)
        expect.status(answer, 400, case=case)
        error = expect.challenge(answer, "Bearer").get("error")
        expect.that(error == "invalid_request", f"{case}: the challenge says {error}", answer)


@row("B6", Need.RESOURCE)
async def a_token_in_the_query(server: Server) -> None:
    client = await server.client()
    token = await server.access_token(client)
    answers = [await server.call(bearer, query=f"access_token={token}") for bearer in ((), f"Bearer {token}")]
    if server.endpoints.revocation:  # a proxy may have written it into its log
        await server.revoke(token, client)
    for case, answer in zip(("alone", "beside the header"), answers, strict=True):
        expect.status(answer, 400, 401, case=case)


@row("B7", Need.RESOURCE)
async def a_token_in_the_body(server: Server) -> None:
    body = f"access_token={await server.access_token()}".encode()
    for method in ("GET", "POST"):
        request = Request(method, server.endpoints.resource or "", (("Content-Type", FORM),), body)
        answer = await server.send(request)
        expect.that(400 <= answer.status < 500, f"{method}: expected a refusal, got {answer.status}", answer)


@row("B8", Need.RESOURCE)
async def the_form_of_challenges(server: Server) -> None:
    answers = [await server.call(), await server.call("Bearer x.y.z")]
    if server.endpoints.scoped_resource:
        bearer = ("Authorization", f"Bearer {await server.access_token()}")
        answers.append(await server.get(server.endpoints.scoped_resource, bearer))
    for answer in answers:
        scope = expect.challenge(answer, "Bearer").get("scope", "x")
        expect.that(_SCOPE.fullmatch(scope), "the scope holds characters that it must not", answer)


@row("B9", Need.RESOURCE)
async def odd_headers(server: Server) -> None:
    odd: dict[str, bytes] = {
        "empty": b"Bearer",
        "two words": b"Bearer  x y",
        "no ASCII": b"Bearer \xe9\xff",
        "64 KB": b"Bearer " + b"x" * 64_000,
    }
    for case, header in odd.items():
        expect.status(await server.call(header), 400, 401, case=case)


@row("B13", Need.RESOURCE, unseen="a person's session where a client's token is demanded")
async def a_client_is_no_person(server: Server) -> None:
    url = origin_of(server.endpoints.resource or "") + _SESSION
    if (await server.get(url)).status != 401:
        raise Skipped(f"the server has no sessions of people at {_SESSION}")
    token = await server.access_token()
    bearer, cookie = ("Authorization", f"Bearer {token}"), ("Cookie", f"{_SESSION_COOKIE}={token}")
    for case, headers in (("as Bearer", [bearer]), ("as a cookie", [cookie]), ("as both", [bearer, cookie])):
        expect.status(await server.get(url, *headers), 401, case=f"a client's token {case}")
    answer = await server.call(headers=[cookie])
    expect.status(answer, 401, case="a client's token as a cookie at a machine's resource")


@row("B14")
async def an_hour_at_most(server: Server) -> None:
    answer = await server.ask()
    expect.token(answer)
    seconds = expect.json_object(answer).get("expires_in")
    expect.that(isinstance(seconds, int) and seconds <= 3600, "a token lives longer than an hour", answer)


@row("B15", Need.RESOURCE)
async def no_cache_keeps_it(server: Server) -> None:
    token = await server.access_token()
    for case, answer in (("200", await server.call(f"Bearer {token}")), ("401", await server.call())):
        told = answer.header("Cache-Control")
        expect.that(_PRIVATE.search(told), f"{case}: Cache-Control says neither private nor no-store", answer)


@row("B16", Need.RESOURCE)
async def the_challenge_names_the_metadata(server: Server) -> None:
    for authorization in ((), "Bearer x.y.z"):
        answer = await server.call(authorization)
        named = expect.challenge(answer, "Bearer").get("resource_metadata", "")
        path = urlsplit(named).path
        right = path.startswith("/.well-known/oauth-protected-resource")
        expect.that(right, "the challenge has no resource_metadata", answer)


@row("B17", Need.ADMIN, Need.RESOURCE, unseen="a write with the cookie of a session that is alive")
async def other_origins_and_cookies(server: Server) -> None:
    cookie = ("Cookie", f'{_SESSION_COOKIE}=x.y.z; a="\\777')
    document = {"clientId": server.admin.new_id(), "scopes": list(server.admin.scopes)}
    foreign = [("Origin", _FOREIGN), ("Sec-Fetch-Site", "cross-site"), cookie]
    answer = await server.admin.call("POST", document=document, headers=foreign)
    expect.status(answer, 403, case="a write from another origin")
    expect.json_object(answer, "a write from another origin")
    bearer = f"Bearer {await server.access_token()}"
    expect.status(await server.call(bearer, headers=[cookie]), 200, case="a bearer call with a bad cookie")
