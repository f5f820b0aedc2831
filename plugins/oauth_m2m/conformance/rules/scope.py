"""Table S: scope (RFC 6749 3.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

from plugins.oauth_m2m.conformance import expect
from plugins.oauth_m2m.conformance.needs import Need
from plugins.oauth_m2m.conformance.rows import Skipped, row
from plugins.oauth_m2m.conformance.server import basic

if TYPE_CHECKING:
    from plugins.oauth_m2m.conformance.server import Server
    from plugins.oauth_m2m.conformance.wire import Answer

_WRONG = "not-a-secret-of-this-client-0123456789"
_FOREIGN = "conformance:not-registered"


async def _ask(server: Server, encoded: str) -> Answer:
    return await server.ask(more=b"scope=" + encoded.encode())


async def _scopes(server: Server) -> tuple[str, ...]:
    """What a client of the run is registered for; at least one."""
    scopes = (await server.client()).scopes
    if not scopes:
        raise Skipped("the client has no scope that is known: the answer to its first request names none")
    return scopes


def _granted(answer: Answer, case: str = "") -> list[str]:
    expect.token(answer, case)
    return str(expect.json_object(answer).get("scope", "")).split()


@row("S1")
async def characters_outside_the_grammar(server: Server) -> None:
    [scope, *_] = await _scopes(server)
    for character in ('"', "\\", "\t", "\x00", "\x7f", "é"):
        answer = await _ask(server, quote(f"{scope}{character}"))
        expect.refusal(answer, "invalid_scope", case=f"a scope with {character!r}")


@row("S2")
async def case_order_and_repeats(server: Server) -> None:
    scopes = await _scopes(server)
    if scopes[0].swapcase() != scopes[0] and scopes[0].swapcase() not in scopes:
        answer = await _ask(server, quote(scopes[0].swapcase()))
        expect.refusal(answer, "invalid_scope", 400, 401, case="in another case")
    answer = await _ask(server, quote(f"{scopes[0]} {scopes[0]}"))
    expect.that(_granted(answer, "repeated") == [scopes[0]], "repeats do not collapse", answer)
    answer = await _ask(server, quote(" ".join(reversed(scopes))))
    same = sorted(_granted(answer, "in another order")) == sorted(scopes)
    expect.that(same, "the order of the request changes what is granted", answer)


@row("S3")
async def scopes_that_the_client_does_not_have(server: Server) -> None:
    answer = await _ask(server, quote(_FOREIGN))
    description = expect.refusal(answer, "invalid_scope", 400, 401)
    if answer.status == 401:
        expect.challenge(answer, "Basic")
    expect.that(_FOREIGN in description, "the refused scope is not named", answer)
    client = await server.client()
    wrong = basic(client.id, _WRONG)
    answer = await server.ask({"scope": _FOREIGN}, authorization=wrong)
    expect.refusal(answer, "invalid_client", 401, case="with a wrong secret")


@row("S4", Need.ADMIN, unseen="that metadata's documentation says so")
async def no_scope_is_the_registered_set(server: Server) -> None:
    client = await server.client()
    answer = await server.ask(client=client)
    same = sorted(_granted(answer)) == sorted(client.scopes)
    expect.that(same, "what is granted is not what is registered", answer)


@row("S5")
async def blank_scopes_and_spaces(server: Server) -> None:
    scopes = sorted(await _scopes(server))
    for blank in ("", "+", "%20%20"):
        answer = await _ask(server, blank)
        case = f"scope={blank}"
        expect.that(sorted(_granted(answer, case)) == scopes, f"{case} is not the registered set", answer)
    answer = await _ask(server, f"++{quote(scopes[0])}++{quote(scopes[-1])}+")
    expect.that(set(_granted(answer)) == {scopes[0], scopes[-1]}, "spaces change the scope", answer)


@row("S6")
async def the_answer_says_what_was_granted(server: Server) -> None:
    [scope, *_] = await _scopes(server)
    expect.that(_granted(answer := await server.ask()), "no scope was asked for, and none is named", answer)
    answer = await _ask(server, quote(f"{scope} {scope}"))
    told = expect.json_object(answer).get("scope")
    expect.that(told == scope, "the granted scope differs from the requested one and is not named", answer)


@row("S7")
async def plus_signs(server: Server) -> None:
    scopes = await _scopes(server)
    one, other = quote(scopes[0]), quote(scopes[-1])
    answer = await _ask(server, f"{one}+{other}")
    expect.that(set(_granted(answer, "+")) == {scopes[0], scopes[-1]}, "+ is not a space", answer)
    answer = await _ask(server, f"{one}%2B{other}")
    expect.refusal(answer, "invalid_scope", 400, 401, case="%2B")


@row("S8", Need.ADMIN, unseen="scopes outside a catalogue, which the server may not have")
async def scopes_that_cannot_be_registered(server: Server) -> None:
    bad: tuple[object, ...] = ([], [""], ["a b"], ['a"b'], ["a\\b"], ["a\tb"], ["é"], "bot:api", None)
    for scopes in bad:
        document = {"clientId": server.admin.new_id(), "scopes": scopes}
        answer = await server.admin.call("POST", document=document)
        expect.status(answer, 400, case=f"scopes {scopes!r}")


@row("S9", Need.ADMIN, Need.INTROSPECTION)
async def a_scope_that_a_client_loses(server: Server) -> None:
    scopes = server.admin.scopes
    if len(scopes) < 2:
        raise Skipped("needs two scopes that can be registered: --scope")
    client = await server.admin.register()
    token = await server.access_token(client)
    before = await server.introspect(token, client)
    expect.that(expect.json_object(before).get("active") is True, "the token is not active", before)
    changed = await server.admin.call("PATCH", f"/{client.id}", {"scopes": [scopes[0]]})
    expect.status(changed, 200)
    after = await server.introspect(token, client)
    left = str(expect.json_object(after).get("scope", "")).split()
    expect.that(set(left) <= {scopes[0]}, "a live token keeps a scope that its client has lost", after)
