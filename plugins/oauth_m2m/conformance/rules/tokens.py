"""Table J: access tokens as JWTs (RFC 9068, 7519, 8725), as far as it shows without the key that signs."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

from plugins.oauth_m2m.conformance import expect
from plugins.oauth_m2m.conformance.needs import Need
from plugins.oauth_m2m.conformance.rows import row
from plugins.oauth_m2m.conformance.tokens import claims_of, forge, header_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from plugins.oauth_m2m.conformance.server import Server

_CLAIMS: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(("iss", "sub", "client_id", "jti"), (str,)),
    **dict.fromkeys(("iat", "exp"), (int, float)),
    "aud": (str, list),
}
_SKEW_SECONDS = 60
_KIDS = ("conformance", "", "../../../../dev/null", "' OR '1'='1", "https://conformance.invalid/jwks.json")


async def _refused(server: Server, case: str, token: str) -> None:
    answer = await server.call(f"Bearer {token}")
    expect.status(answer, 401, case=case)


async def _keys(server: Server) -> list[dict[str, Any]]:
    if server.endpoints.jwks is None:
        return []
    answer = await server.get(server.endpoints.jwks)
    found = answer.json.get("keys") if isinstance(answer.json, dict) else None
    return [key for key in found if isinstance(key, dict)] if isinstance(found, list) else []


@row("J1", Need.JWT, Need.RESOURCE, unseen="what a right signature stands under")
async def algorithms(server: Server) -> None:
    token = await server.access_token()
    header, claims = header_of(token), claims_of(token)
    signature = token.rpartition(".")[2]
    for alg in ("none", "None", ""):
        await _refused(server, f"alg {alg!r}", forge({**header, "alg": alg}, claims))
        await _refused(
            server, f"alg {alg!r}, signed", forge({**header, "alg": alg}, claims, signature=signature)
        )
    own = b"k" * 32
    jwk = {"kty": "oct", "k": base64.urlsafe_b64encode(own).decode()}
    hs256 = {**header, "alg": "HS256"}
    for name, value in (("jwk", jwk), ("jku", "https://conformance.invalid/jwks.json"), ("crit", ["exp"])):
        await _refused(server, f"a header with {name}", forge({**hs256, name: value}, claims, key=own))
    for key in await _keys(server):
        for secret in _known_parts(key):
            await _refused(server, "HS256 under a public key", forge(hs256, claims, key=secret))


def _known_parts(key: Mapping[str, Any]) -> Iterator[bytes]:
    """What everybody knows of a public key, and a confused server may take for a secret."""
    yield json.dumps(key).encode()
    for member in ("x", "n"):
        if isinstance(text := key.get(member), str):
            yield text.encode()
            yield base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


@row("J3", Need.JWT, unseen="that a token of another type is refused under a right signature")
async def the_type(server: Server) -> None:
    answer = await server.ask()
    typ = str(header_of(expect.token(answer)).get("typ")).lower()
    expect.that(typ in {"at+jwt", "application/at+jwt"}, f"the token's typ is {typ!r}", answer)


@row("J4", Need.JWT, unseen="that a token without one of them is refused")
async def the_claims(server: Server) -> None:
    client = await server.client()
    answer = await server.ask(client=client)
    claims = claims_of(expect.token(answer))
    for name, kinds in _CLAIMS.items():
        right = isinstance(claims.get(name), kinds) and not isinstance(claims.get(name), bool)
        expect.that(right, f"the claim {name} is missing or has a wrong type", answer)
    expect.that(claims["client_id"] == client.id, "client_id is not the client", answer)
    expect.that(claims["exp"] > server.now(answer), "the token has expired already", answer)
    off = abs(claims["iat"] - server.now(answer))
    expect.that(off <= _SKEW_SECONDS, f"iat is {off:.0f} s off", answer)


@row("J5", Need.JWT)
async def scope_in_the_token(server: Server) -> None:
    answer = await server.ask()
    claims, told = claims_of(expect.token(answer)), expect.json_object(answer).get("scope")
    scope = claims.get("scope")
    expect.that(isinstance(scope, str) and scope, "the claim scope is no string", answer)
    agrees = told is None or sorted(str(told).split()) == sorted(str(scope).split())
    expect.that(agrees, "the claim scope is not what the answer says", answer)
    expect.that(claims.get("scopes") == str(scope).split(" "), "scopes is not scope as an array", answer)
    expect.that(claims.get("type") == "client", "type is not client", answer)


@row("J6", Need.JWT, Need.METADATA, unseen="that a token of another issuer or audience is refused")
async def issuer_and_audience(server: Server) -> None:
    answer = await server.ask()
    claims = claims_of(expect.token(answer))
    issuer = server.endpoints.metadata.get("issuer")
    expect.that(claims.get("iss") == issuer, "iss is not the issuer of the metadata", answer)
    expect.that(claims.get("aud"), "aud is empty", answer)
    resource = await server.get(server.endpoints.protected_resource)
    named = resource.json.get("resource") if isinstance(resource.json, dict) else None
    audience = claims["aud"] if isinstance(claims["aud"], list) else [claims["aud"]]
    urls = [one for one in audience if str(one).startswith(("https://", "http://"))]
    contains = named is None or not urls or named in urls
    expect.that(contains, "aud does not contain the protected resource", answer)


@row("J8", Need.JWT, Need.RESOURCE)
async def the_key_id(server: Server) -> None:
    token = await server.access_token()
    header, claims, signature = header_of(token), claims_of(token), token.rpartition(".")[2]
    known = [key.get("kid") for key in await _keys(server)]
    expect.that("kid" not in header or header["kid"] in known, "the token's kid is not in the JWK Set")
    for kid in _KIDS:
        forged = forge({**header, "kid": kid}, claims, signature=signature)
        await _refused(server, f"kid {kid!r}", forged)
