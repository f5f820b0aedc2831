"""Table C, the second part: guessing, comparing and replacing secrets (RFC 6749 10.10)."""

from __future__ import annotations

import asyncio
import math
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from plugins.oauth_m2m.conformance import expect
from plugins.oauth_m2m.conformance.clients import Client
from plugins.oauth_m2m.conformance.needs import Need
from plugins.oauth_m2m.conformance.rows import row
from plugins.oauth_m2m.conformance.server import basic
from plugins.oauth_m2m.conformance.tokens import claims_of

if TYPE_CHECKING:
    from plugins.oauth_m2m.conformance.server import Server
    from plugins.oauth_m2m.conformance.wire import Answer

_WRONG = "not-a-secret-of-this-client-0123456789"
_VARYING = {"date", "x-request-id"}
_BITS = 128
_LASTS_SECONDS = 3
_LENGTHS = {72: ["one more"], 73: ["cut to 72"], 128: ["the last changed", "cut to 72"]}


@row("C4", Need.ADMIN)
async def what_the_server_issues(server: Server) -> None:
    answer = await server.admin.call(
        "POST", document={"clientId": server.admin.new_id(), "scopes": list(server.admin.scopes)}
    )
    expect.status(answer, 201)
    made = expect.json_object(answer)
    for member in ("id", "clientSecret"):
        plain = re.fullmatch(r"[A-Za-z0-9_-]+", str(made.get(member, "")))
        expect.that(plain, f"{member} needs encoding", answer)


@row("C15", unseen="the time and the work that each takes")
async def every_failure_is_the_same_answer(server: Server) -> None:
    client = await server.client()
    presented = {"wrong": (client.id, _WRONG), "unknown": (f"{client.id}-nobody", _WRONG)}
    if Need.ADMIN not in server.missing:
        disabled, expired = await server.admin.register(), await server.admin.register()
        changed = await server.admin.call("PATCH", f"/{disabled.id}", {"isActive": False})
        expect.status(changed, 200, case="disabling a client")
        added = await server.admin.call("POST", f"/{expired.id}/secrets", {"endOthersIn": 0})
        expect.status(added, 201, case="ending a secret")
        presented |= {"disabled": (disabled.id, disabled.secret), "expired": (expired.id, expired.secret)}
    first = None
    for case, credentials in presented.items():
        answer = await server.ask(authorization=basic(*credentials))
        expect.refusal(answer, "invalid_client", 401, case=case)
        first = first or _bare(answer)
        expect.that(_bare(answer) == first, f"{case} is told from {next(iter(presented))}", answer)


def _bare(answer: Answer) -> tuple[object, ...]:
    headers = [pair for pair in answer.headers if pair[0].lower() not in _VARYING]
    return answer.status, answer.body, headers


@row("C18", Need.ADMIN, unseen="that the generator is random")
async def secrets_and_tokens_are_long_and_differ(server: Server) -> None:
    clients = [await server.admin.register() for _ in range(6)]
    made = {client.secret for client in clients}
    expect.that(len(made) == len(clients), "two clients were given the same secret")
    for secret in made:
        # base64 holds six bits in a character: whatever alphabet it is, a shorter one cannot hold enough
        expect.that(len(secret) * 6 >= _BITS, f"a secret of {len(secret)} characters can be guessed")
    same = [place for place in zip(*(c.secret for c in clients), strict=False) if len(set(place)) == 1]
    free = min(len(secret) for secret in made) - len(same)
    expect.that(free * 6 >= _BITS, f"only {free} characters of the secrets differ")
    tokens = [await server.access_token(client) for client in clients]
    expect.that(len(set(tokens)) == len(tokens), "two tokens are the same")
    for jti in (str(claims_of(token)["jti"]) for token in tokens if claims_of(token).get("jti")):
        expect.that(len(jti) * 6 >= _BITS, f"a jti of {len(jti)} characters can be guessed")


@row("C19", Need.ADMIN)
async def secrets_are_compared_whole(server: Server) -> None:
    for length, changes in _LENGTHS.items():
        secret = ("s3cret-" * 20)[:length]
        client = await server.admin.register(clientSecret=secret)
        expect.token(await server.ask(client=client), f"{length} characters")
        wrong = {"one more": f"{secret}x", "the last changed": f"{secret[:-1]}~", "cut to 72": secret[:72]}
        for case in changes:
            answer = await server.ask(authorization=basic(client.id, wrong[case]))
            expect.refusal(answer, "invalid_client", 401, case=f"{length} characters, {case}")
    answer = await server.ask(authorization=basic(client.id, (secret * 8)[:1024]))
    expect.refusal(answer, "invalid_client", 401, case="1024 characters")


@row("C21", Need.ADMIN, unseen="that the audit names the secret")
async def secrets_overlap(server: Server) -> None:
    old = await server.admin.register()
    added = await server.admin.call("POST", f"/{old.id}/secrets", {})
    expect.status(added, 201)
    new = Client(old.id, str(expect.json_object(added).get("clientSecret")))
    for case, client in (("the old secret", old), ("the new one", new)):
        expect.token(await server.ask(client=client), f"{case} while both live")
    listed = await server.admin.call("GET", f"/{old.id}/secrets")
    expect.status(listed, 200)
    [first, *_] = expect.json_object(listed)["secrets"]
    expect.status(await server.admin.call("DELETE", f"/{old.id}/secrets/{first['id']}"), 204)
    answer = await server.ask(client=old)
    expect.refusal(answer, "invalid_client", 401, case="the old secret when it has ended")
    expect.token(await server.ask(client=new), "the new one when the old has ended")


@row("C22", Need.ADMIN)
async def a_secret_ends_at_its_second(server: Server) -> None:
    """By the server's own clock, as far as its Date headers tell: to the second."""
    client = await server.admin.register()
    answer = await server.ask(client=client)
    never = expect.json_object(answer).get("client_secret_expires_at", 0)
    expect.that(never == 0, "client_secret_expires_at of a secret that does not end is not 0", answer)
    ends = math.ceil(server.now(answer)) + _LASTS_SECONDS
    moment = datetime.fromtimestamp(ends, UTC).isoformat().replace("+00:00", "Z")
    added = await server.admin.call("POST", f"/{client.id}/secrets", {"expiresAt": moment})
    expect.status(added, 201)
    ending = Client(client.id, str(expect.json_object(added).get("clientSecret")))
    answer = await server.ask(client=ending)
    if server.now(answer) < ends:
        expect.token(answer, "before it ends")
        told = expect.json_object(answer).get("client_secret_expires_at")
        expect.that(told == ends, f"client_secret_expires_at is not {ends}", answer)
    await asyncio.sleep(max(0.0, ends - server.now(answer)) + 0.1)
    answer = await server.ask(client=ending)
    while server.now(answer) < ends:
        await asyncio.sleep(0.2)
        answer = await server.ask(client=ending)
    expect.refusal(answer, "invalid_client", 401, case="when it has ended")
