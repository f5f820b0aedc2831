"""Table M: what the server says of itself (RFC 8414, 9728, 7517)."""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from plugins.oauth_m2m.conformance import expect
from plugins.oauth_m2m.conformance.needs import Need
from plugins.oauth_m2m.conformance.rows import row
from plugins.oauth_m2m.conformance.server import basic
from plugins.oauth_m2m.conformance.tokens import claims_of
from plugins.oauth_m2m.scope import INTROSPECT, is_scope_token

if TYPE_CHECKING:
    from plugins.oauth_m2m.conformance.server import Server
    from plugins.oauth_m2m.conformance.wire import Answer

_EVIL = "conformance.invalid"
_SECRET_MEMBERS = {"d", "p", "q", "dp", "dq", "qi", "oth", "k"}
_MAX_AGE = re.compile(r"\bmax-age=[1-9]\d*\b", re.IGNORECASE)


async def _metadata(server: Server) -> tuple[dict[str, Any], Answer]:
    answer = await server.get(server.endpoints.metadata_url)
    expect.status(answer, 200)
    return expect.json_object(answer), answer


@row("M1", Need.METADATA)
async def where_it_is(server: Server) -> None:
    _, answer = await _metadata(server)
    expect.that(answer.media_type == "application/json", "the Content-Type is not application/json", answer)


@row("M2", Need.METADATA, unseen="that it is the configured value")
async def the_issuer(server: Server) -> None:
    document, answer = await _metadata(server)
    issuer = document.get("issuer")
    parts = urlsplit(issuer if isinstance(issuer, str) else "")
    secure = parts.scheme == "https" or _is_loopback(parts.hostname)
    expect.that(secure and parts.netloc, "the issuer is no https URL", answer)
    expect.that(not parts.query and not parts.fragment, "the issuer has a query or a fragment", answer)
    iss = claims_of(await server.access_token()).get("iss", issuer)
    expect.that(iss == issuer, f"the tokens are of another issuer, {iss}", answer)
    url = server.endpoints.metadata_url
    forged = await server.get(url, ("X-Forwarded-Host", _EVIL), ("Forwarded", f"host={_EVIL}"))
    expect.that(_EVIL.encode() not in forged.body, "X-Forwarded-Host changes it", forged)
    forged = await server.get(url, ("Host", _EVIL))
    expect.that(_EVIL.encode() not in forged.body, "the Host header changes it", forged)


def _is_loopback(host: str | None) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return False


@row("M3", Need.METADATA)
async def response_types(server: Server) -> None:
    document, answer = await _metadata(server)
    expect.that(document.get("response_types_supported") == ["none"], "it is not ['none']", answer)
    empty = sorted(name for name, value in document.items() if value == [])
    expect.that(not empty, f"an empty list: {', '.join(empty)}", answer)


@row("M4", Need.METADATA)
async def grant_types(server: Server) -> None:
    document, answer = await _metadata(server)
    found = document.get("grant_types_supported")
    expect.that(found == ["client_credentials"], f"it is {found!r}", answer)


@row("M5", Need.METADATA)
async def authentication_methods(server: Server) -> None:
    document, answer = await _metadata(server)
    client = await server.client()
    urls = (server.endpoints.token, server.endpoints.revocation, server.endpoints.introspection)
    for name, url in zip(("token", "revocation", "introspection"), urls, strict=True):
        if url is None or f"{name}_endpoint" not in document:
            continue
        named = document.get(f"{name}_endpoint_auth_methods_supported", ["client_secret_basic"])
        expect.that(isinstance(named, list), f"the methods of {name} are no list", answer)
        form = {"grant_type": "client_credentials", "token": "x"}
        in_body = {**form, "client_id": client.id, "client_secret": client.secret}
        answers = {
            "client_secret_basic": await server.post(
                url, form, authorization=basic(client.id, client.secret)
            ),
            "client_secret_post": await server.post(url, in_body),
        }
        for method, tried in answers.items():
            if method in named:
                expect.status(tried, 200, case=f"{method} at {name}")
            else:
                expect.status(tried, 400, 401, case=f"{method} at {name}, which is not named")


@row("M6", Need.METADATA, unseen="which other scopes are private")
async def scopes(server: Server) -> None:
    document, answer = await _metadata(server)
    named = document.get("scopes_supported", ["x"])
    right = isinstance(named, list) and named and all(isinstance(n, str) and is_scope_token(n) for n in named)
    expect.that(right, "scopes_supported is no list of scopes", answer)
    expect.that(INTROSPECT not in named, f"{INTROSPECT} is private", answer)


@row("M7", Need.JWKS)
async def keys(server: Server) -> None:
    answer = await server.get(server.endpoints.jwks or "")
    expect.status(answer, 200)
    found = expect.json_object(answer).get("keys")
    expect.that(isinstance(found, list), "there is no list of keys", answer)
    for key in found or ():
        expect.that(isinstance(key, dict) and key.get("kty"), "a key has no kty", answer)
        expect.that(key["kty"] != "oct", "a symmetric key is published", answer)
        secret = sorted(_SECRET_MEMBERS & key.keys())
        if secret:  # without the answer, which holds them
            expect.that(False, f"a private member is published: {', '.join(secret)}")


@row("M8", Need.METADATA)
async def the_protected_resource(server: Server) -> None:
    answer = await server.get(server.endpoints.protected_resource)
    expect.status(answer, 200)
    document = expect.json_object(answer)
    expect.that(isinstance(document.get("resource"), str), "there is no resource", answer)
    servers = document.get("authorization_servers")
    named = isinstance(servers, list) and server.endpoints.metadata.get("issuer") in servers
    expect.that(named, "authorization_servers does not name the issuer", answer)
    methods = document.get("bearer_methods_supported")
    expect.that(methods == ["header"], f"bearer_methods_supported is {methods!r}", answer)


@row("M9", Need.METADATA, unseen="that it works while the stores are away")
async def caching(server: Server) -> None:
    answer = await server.get(server.endpoints.metadata_url)
    expect.status(answer, 200)
    expect.that(_MAX_AGE.search(answer.header("Cache-Control")), "Cache-Control has no max-age", answer)
    etag = answer.header("ETag")
    expect.that(etag, "there is no ETag", answer)
    again = await server.get(server.endpoints.metadata_url, ("If-None-Match", etag))
    expect.status(again, 304, case="with If-None-Match")
