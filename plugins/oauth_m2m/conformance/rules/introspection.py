"""Table I: introspection (RFC 7662)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from plugins.oauth_m2m.conformance import expect
from plugins.oauth_m2m.conformance.needs import Need
from plugins.oauth_m2m.conformance.rows import row
from plugins.oauth_m2m.conformance.server import basic
from plugins.oauth_m2m.conformance.tokens import with_broken_signature
from plugins.oauth_m2m.scope import INTROSPECT

if TYPE_CHECKING:
    from plugins.oauth_m2m.conformance.server import Server
    from plugins.oauth_m2m.conformance.wire import Answer

_WRONG = "not-a-secret-of-this-client-0123456789"
_TEXTS = ("scope", "client_id", "sub", "iss", "jti", "token_type")


def _inactive(answer: Answer, case: str) -> None:
    expect.status(answer, 200, case=case)
    document = expect.json_object(answer, case)
    expect.that(document == {"active": False}, f"{case}: expected active false and nothing else", answer)


def _active(answer: Answer, case: str = "") -> dict[str, object]:
    expect.status(answer, 200, case=case)
    document = expect.json_object(answer, case)
    about = f"{case}: " if case else ""
    expect.that(document.get("active") is True, f"{about}the token is not active", answer)
    return document


@row("I1", Need.INTROSPECTION)
async def who_may_ask(server: Server) -> None:
    client, url = await server.client(), server.endpoints.introspection or ""
    form = {"token": await server.access_token(client)}
    expect.refusal(await server.post(url, form), "invalid_client", 401, case="no client")
    wrong = basic(client.id, _WRONG)
    answer = await server.post(url, form, authorization=wrong)
    expect.refusal(answer, "invalid_client", 401, case="a wrong secret")
    answer = await server.post(url, form, authorization="Bearer x.y.z")
    expect.status(answer, 401, case="a bad token")
    error = expect.challenge(answer, "Bearer").get("error")
    expect.that(error == "invalid_token", f"a bad token: the challenge says {error}", answer)


@row("I2", Need.INTROSPECTION, unseen="expired tokens")
async def what_is_inactive(server: Server) -> None:
    client = await server.client()
    token = await server.access_token(client)
    cases = {"garbage": "garbage", "odd": "é\0", "forged": with_broken_signature(token)}
    if server.endpoints.revocation:
        expect.status(await server.revoke(token, client), 200)
        cases["revoked"] = token
    for case, presented in cases.items():
        _inactive(await server.introspect(presented, client), case)
    if Need.ADMIN not in server.missing:
        other = await server.admin.register()
        foreign = await server.introspect(await server.access_token(other), client)
        _inactive(foreign, "not for you")


@row("I3", Need.INTROSPECTION)
async def what_is_said_of_an_active_token(server: Server) -> None:
    client = await server.client()
    answer = await server.introspect(await server.access_token(client), client)
    document = _active(answer)
    for member in _TEXTS:
        expect.that(isinstance(document.get(member), str), f"{member} is no string", answer)
    for member in ("exp", "iat"):
        expect.that(type(document.get(member)) in {int, float}, f"{member} is no number", answer)
    expect.that(isinstance(document.get("aud"), str | list), "aud is missing", answer)
    expect.that(document["client_id"] == client.id, "client_id is not the client", answer)


@row("I4", Need.INTROSPECTION, Need.ADMIN)
async def the_checks_of_a_resource(server: Server) -> None:
    """A second client asks, which may see all tokens: the first one cannot once it is disabled."""
    watcher = await server.admin.register(scopes=[INTROSPECT])
    for case, end in (("disabled", "PATCH"), ("all tokens revoked", "DELETE")):
        client = await server.admin.register()
        token = await server.access_token(client)
        _active(await server.introspect(token, watcher), case)
        if end == "PATCH":
            ended = await server.admin.call("PATCH", f"/{client.id}", {"isActive": False})
        else:
            ended = await server.admin.call("DELETE", f"/{client.id}/tokens")
        expect.status(ended, 200, case=case)
        _inactive(await server.introspect(token, watcher), case)
    token = await server.access_token()
    _inactive(await server.introspect(with_broken_signature(token), watcher), "a bad signature")


@row("I5", Need.INTROSPECTION, Need.ADMIN)
async def who_may_see_which_token(server: Server) -> None:
    watcher = await server.admin.register(scopes=[INTROSPECT])
    mine, other = await server.admin.register(), await server.admin.register()
    token = await server.access_token(mine)
    _active(await server.introspect(token, mine), "its own")
    _active(await server.introspect(token, watcher), f"with the scope {INTROSPECT}")
    _inactive(await server.introspect(token, other), "of another client")


@row("I7", Need.INTROSPECTION, Need.REVOCATION)
async def revoked_then_introspected(server: Server) -> None:
    client = await server.client()
    token = await server.access_token(client)
    answer = await server.introspect(token, client)
    _active(answer)
    told = answer.header("Cache-Control").lower()
    expect.that("no-store" in told, "Cache-Control does not say no-store", answer)
    expect.status(await server.revoke(token, client), 200)
    _inactive(await server.introspect(token, client), "right after it was revoked")


@row("I8", Need.INTROSPECTION)
async def the_form(server: Server) -> None:
    client, url = await server.client(), server.endpoints.introspection or ""
    for case, form in (("no token", {}), ("an empty token", {"token": ""})):
        expect.refusal(await server.post(url, form, client=client), "invalid_request", case=case)
    token = await server.access_token(client)
    for hint in ("refresh_token", "conformance"):
        answer = await server.introspect(token, client, token_type_hint=hint)
        _active(answer, f"hint {hint}")
