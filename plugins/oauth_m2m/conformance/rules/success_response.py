"""Table R: the answer with a token (RFC 6749 5.1)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from plugins.oauth_m2m.conformance import expect
from plugins.oauth_m2m.conformance.needs import Need
from plugins.oauth_m2m.conformance.rows import row
from plugins.oauth_m2m.conformance.server import basic
from plugins.oauth_m2m.conformance.tokens import claims_of

if TYPE_CHECKING:
    from plugins.oauth_m2m.conformance.server import Server

_WRONG = "not-a-secret-of-this-client-0123456789"


@row("R1")
async def the_members(server: Server) -> None:
    answer = await server.ask()
    expect.token(answer)
    expect.that(answer.media_type == "application/json", "the Content-Type is not application/json", answer)
    named = expect.json_object(answer).get("token_type")
    expect.that(isinstance(named, str) and named, "there is no token_type", answer)


@row("R2")
async def expires_in(server: Server) -> None:
    answer = await server.ask()
    claims = claims_of(expect.token(answer))
    seconds = expect.json_object(answer).get("expires_in")
    expect.that(type(seconds) is int, "expires_in is no number", answer)
    if {"iat", "exp"} <= claims.keys():
        expect.that(seconds == claims["exp"] - claims["iat"], "expires_in is not exp - iat", answer)


@row("R3")
async def no_cache_keeps_it(server: Server) -> None:
    client = await server.client()
    answers = {
        "a token": await server.ask(),
        "a malformed request": await server.post(server.endpoints.token, {}, client=client),
        "a refused client": await server.ask(authorization=basic(client.id, _WRONG)),
    }
    if Need.ADMIN not in server.missing:
        document = {"clientId": server.admin.new_id(), "scopes": list(server.admin.scopes)}
        answers["a registration"] = await server.admin.call("POST", document=document)
        rotated = await server.admin.call("POST", f"/{document['clientId']}/secrets", {})
        answers["a rotation"] = rotated
    for case, answer in answers.items():
        for name, value in (("Cache-Control", "no-store"), ("Pragma", "no-cache")):
            told = answer.header(name).lower()
            expect.that(value in told, f"{case}: {name} does not say {value}", answer)


@row("R4")
async def no_refresh_token(server: Server) -> None:
    answer = await server.ask()
    expect.that("refresh_token" not in expect.json_object(answer), "there is a refresh_token", answer)


@row("R5")
async def token_type(server: Server) -> None:
    answer = await server.ask()
    named = str(expect.json_object(answer).get("token_type"))
    expect.that(named.lower() == "bearer", f"token_type is {named!r}", answer)


@row("R7")
async def requests_at_once(server: Server) -> None:
    client = await server.client()
    answers = await asyncio.gather(*(server.ask(client=client) for _ in range(3)))
    tokens = [expect.token(answer) for answer in answers]
    expect.that(len(set(tokens)) == len(tokens), "two requests got the same token", answers[0])
    jtis = [claims_of(token).get("jti") for token in tokens]
    expect.that(None in jtis or len(set(jtis)) == len(jtis), "two tokens have the same jti", answers[0])
    if Need.LIVENESS not in server.missing:
        for token in tokens:
            expect.that(await server.is_alive(token, client), "one of the tokens is dead", answers[0])
