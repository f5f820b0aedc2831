"""Table V: revocation (RFC 7009)."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

from plugins.oauth_m2m.conformance import expect
from plugins.oauth_m2m.conformance.needs import Need
from plugins.oauth_m2m.conformance.rows import row
from plugins.oauth_m2m.conformance.server import basic, with_query
from plugins.oauth_m2m.conformance.tokens import claims_of, forge, header_of, with_broken_signature
from plugins.oauth_m2m.conformance.wire import Request

if TYPE_CHECKING:
    from plugins.oauth_m2m.conformance.clients import Client
    from plugins.oauth_m2m.conformance.server import Server

_WRONG = "not-a-secret-of-this-client-0123456789"


async def _alive(server: Server, token: str, client: Client, case: str = "") -> None:
    about = f"{case}: " if case else ""
    expect.that(await server.is_alive(token, client), f"{about}the token is dead", None)


async def _dead(server: Server, token: str, client: Client, case: str = "") -> None:
    about = f"{case}: " if case else ""
    expect.that(not await server.is_alive(token, client), f"{about}the token is alive", None)


@row("V1", Need.REVOCATION)
async def the_request(server: Server) -> None:
    client, url = await server.client(), server.endpoints.revocation or ""
    token = await server.access_token(client)
    for case, form in (("no token", {}), ("an empty token", {"token": ""})):
        expect.refusal(await server.post(url, form, client=client), "invalid_request", case=case)
    form = {"token": token}
    expect.refusal(await server.post(url, form), "invalid_client", 401, case="no client")
    wrong = basic(client.id, _WRONG)
    answer = await server.post(url, form, authorization=wrong)
    expect.refusal(answer, "invalid_client", 401, case="a wrong secret")
    in_body = {**form, "client_id": client.id, "client_secret": client.secret}
    expect.status(await server.post(url, in_body), 200, case="credentials in the body")


@row("V2", Need.REVOCATION, unseen="expired tokens")
async def what_is_no_live_token(server: Server) -> None:
    client = await server.client()
    token = await server.access_token(client)
    expect.status(await server.revoke(token, client), 200, case="alive")
    for case, presented in {"revoked": token, "garbage": "garbage", "odd": "é\0", "long": "x" * 9000}.items():
        expect.status(await server.revoke(presented, client), 200, case=case)


@row("V3", Need.REVOCATION, Need.ADMIN, Need.LIVENESS, unseen="that it is audited")
async def the_token_of_another_client(server: Server) -> None:
    mine, other = await server.admin.register(), await server.admin.register()
    token = await server.access_token(other)
    answer = await server.revoke(token, mine)
    expect.refusal(answer, "invalid_grant")
    await _alive(server, token, other)


@row("V4", Need.REVOCATION, Need.LIVENESS)
async def hints(server: Server) -> None:
    for hint in ("refresh_token", "conformance"):
        client = await server.client()
        token = await server.access_token(client)
        answer = await server.revoke(token, client, token_type_hint=hint)
        expect.status(answer, 200, case=f"hint {hint}")
        await _dead(server, token, client, f"hint {hint}")


@row("V5", Need.REVOCATION, Need.LIVENESS, unseen="other nodes, and how long they take")
async def at_once(server: Server) -> None:
    client = await server.client()
    token, other = await server.access_token(client), await server.access_token(client)
    await _alive(server, token, client)
    expect.status(await server.revoke(token, client), 200)
    await _dead(server, token, client)
    await _alive(server, other, client, "another token of the client")


@row("V6", Need.REVOCATION, Need.JWT)
async def tokens_of_another_kind(server: Server) -> None:
    client = await server.client()
    token = await server.access_token(client)
    header = {**header_of(token), "typ": "session+jwt"}
    foreign = forge(header, claims_of(token), signature=token.rpartition(".")[2])
    expect.refusal(await server.revoke(foreign, client), "unsupported_token_type")


@row("V8", Need.REVOCATION, Need.LIVENESS)
async def forged_tokens(server: Server) -> None:
    client = await server.client()
    token = await server.access_token(client)
    forged = {"another signature": with_broken_signature(token), "none": token.rpartition(".")[0] + "."}
    if header_of(token):
        forged["another key"] = forge({**header_of(token), "alg": "HS256"}, claims_of(token), key=b"k" * 32)
    for case, presented in forged.items():
        await server.revoke(presented, client)
        await _alive(server, token, client, case)


@row("V10", Need.ADMIN, Need.LIVENESS, unseen="other nodes, whose clocks differ")
async def revoke_all(server: Server) -> None:
    client = await server.admin.register()
    before = [await server.access_token(client) for _ in range(2)]
    answer = await server.admin.call("DELETE", f"/{client.id}/tokens")
    expect.status(answer, 200)
    after = await server.access_token(client)
    for token in before:
        await _dead(server, token, client, "issued before")
    await _alive(server, after, client, "issued after")


@row("V11", Need.ADMIN, Need.RESOURCE)
async def what_ends_a_client(server: Server) -> None:
    for case in ("disabled", "deleted", "a secret ended with its tokens"):
        client = await server.admin.register()
        token = await server.access_token(client)
        await _alive(server, token, client, case)
        if case == "disabled":
            answer = await server.admin.call("PATCH", f"/{client.id}", {"isActive": False})
        elif case == "deleted":
            answer = await server.admin.call("DELETE", f"/{client.id}")
        else:
            listed = await server.admin.call("GET", f"/{client.id}/secrets")
            expect.status(listed, 200)
            [secret] = expect.json_object(listed)["secrets"]
            path = f"/{client.id}/secrets/{secret['id']}?force=true&revokeTokens=true"
            answer = await server.admin.call("DELETE", path)
        expect.status(answer, 200, 204, case=case)
        await _dead(server, token, client, case)


@row("V12", Need.REVOCATION)
async def other_methods(server: Server) -> None:
    client = await server.client()
    token = await server.access_token(client)
    url = with_query(server.endpoints.revocation or "", f"token={quote(token)}&callback=conformance")
    answer = await server.send(Request("GET", url, (("Authorization", basic(client.id, client.secret)),)))
    await server.revoke(token, client)  # a proxy may have written it into its log
    expect.status(answer, 405)
    expect.that(b"conformance(" not in answer.body, "the answer is a script", answer)
