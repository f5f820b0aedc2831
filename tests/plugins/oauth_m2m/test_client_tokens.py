"""The live tokens of a client, as admins see and end them."""

from __future__ import annotations

import asyncio
import time
from datetime import datetime
from typing import TYPE_CHECKING, Any

import jwt
import pytest

if TYPE_CHECKING:
    from station.app import Application
    from tests.conftest import Wire

CREDENTIALS = ("station-bot", "the-secret-of-these-tests-0123456789")
TOKENS = "/oauth-clients/station-bot/tokens"


async def register(wire: Wire, client_id: str = "station-bot") -> tuple[str, str]:
    return await wire.register(client_id, clientSecret=CREDENTIALS[1], scopes=["bot:api", "bot:write"])


async def jtis(wire: Wire, path: str = TOKENS) -> set[str]:
    return {token["jti"] for token in (await wire.admin("GET", path)).json["tokens"]}


def jti_of(token: str) -> str:
    return str(jwt.decode(token, options={"verify_signature": False})["jti"])


@pytest.mark.gen_test
async def test_a_live_token_says_who_got_it_and_what_it_may(wire: Wire) -> None:
    await register(wire)
    form = {"grant_type": "client_credentials", "scope": "bot:write"}
    before = time.time()
    answer = await wire.fetch(
        "POST", "/auth/token", form=form, basic=CREDENTIALS, headers={"User-Agent": "[b]ot/1 " + "x" * 300}
    )
    listed = await wire.admin("GET", TOKENS)
    assert (listed.status, listed.json["nextCursor"]) == (200, None)
    [token] = listed.json["tokens"]
    [secret] = (await wire.admin("GET", "/oauth-clients/station-bot/secrets")).json["secrets"]
    issued, expires = (datetime.fromisoformat(token[name]) for name in ("issuedAt", "expiresAt"))
    assert int(before) <= issued.timestamp() <= time.time()
    assert (expires - issued).total_seconds() == 3600
    assert token == {
        "jti": jti_of(answer.json["access_token"]),
        "scopes": ["bot:write"],
        "issuedAt": token["issuedAt"],
        "expiresAt": token["expiresAt"],
        "address": "127.0.0.1",
        "userAgent": ("[b]ot/1 " + "x" * 300)[:256],
        "secretId": secret["id"],
    }


@pytest.mark.gen_test
async def test_pages_hold_every_token_once(wire: Wire) -> None:
    await register(wire)
    issued = {
        jti_of(token) for token in await asyncio.gather(*[wire.access_token(CREDENTIALS) for _ in range(7)])
    }
    seen: list[str] = []
    sizes: list[int] = []
    cursor: str | None = ""
    while cursor is not None:
        page = await wire.admin("GET", f"{TOKENS}?limit=3" + (f"&cursor={cursor}" if cursor else ""))
        seen += [token["jti"] for token in page.json["tokens"]]
        sizes.append(len(page.json["tokens"]))
        cursor = page.json["nextCursor"]
    assert (sorted(seen), sizes) == (sorted(issued), [3, 3, 1])


@pytest.mark.gen_test
async def test_bad_queries(wire: Wire) -> None:
    await register(wire)
    await register(wire, "other-bot")
    for _ in range(2):
        await wire.access_token(("other-bot", CREDENTIALS[1]))
    foreign = (await wire.admin("GET", "/oauth-clients/other-bot/tokens?limit=1")).json["nextCursor"]
    assert foreign
    for query in ("limit=0", "limit=201", "limit=x", "cursor=x", "cursor=", "x=1", f"cursor={foreign}"):
        answer = await wire.admin("GET", f"{TOKENS}?{query}")
        assert (answer.status, list(answer.json["errors"])) == (400, [query.partition("=")[0]]), query
    for method, path in (("GET", "tokens"), ("DELETE", "tokens"), ("DELETE", "tokens/x")):
        assert (await wire.admin(method, f"/oauth-clients/nobody/{path}")).status == 404


@pytest.mark.row("V5")
@pytest.mark.gen_test
async def test_one_is_ended_and_the_others_live_on(wire: Wire, app: Application) -> None:
    await register(wire)
    dead, alive = await wire.access_token(CREDENTIALS), await wire.access_token(CREDENTIALS)
    path = f"{TOKENS}/{jti_of(dead)}"
    answer = await wire.admin("DELETE", path)
    assert (answer.status, answer.json) == (200, {"revoked": 1, "confirmedBy": 1, "pending": 0})
    statuses = [(await wire.fetch("GET", "/auth/client", bearer=token)).status for token in (dead, alive)]
    assert statuses == [401, 200]
    assert await jtis(wire) == {jti_of(alive)}
    assert (await wire.admin("DELETE", path)).status == 404
    events = app.resources.database["audit_events"].find({"action": "token.revoked"})
    ended, refused = [event async for event in events]
    for event, outcome in ((ended, "ok"), (refused, "refused")):
        assert (event["target"], event["client_id"], event["outcome"]) == (
            jti_of(dead),
            "station-bot",
            outcome,
        )
    assert ended["detail"] == {"confirmed_by": 1, "pending": 0}


@pytest.mark.gen_test
async def test_the_token_of_another_client_is_not_found(wire: Wire, app: Application) -> None:
    await register(wire)
    other = await register(wire, "other-bot")
    token = await wire.access_token(other)
    for jti in (jti_of(token), "0" * 32, "x"):
        assert (await wire.admin("DELETE", f"{TOKENS}/{jti}")).status == 404
    assert (await wire.fetch("GET", "/auth/client", bearer=token)).status == 200
    assert await app.resources.database["revoked_tokens"].count_documents({}) == 0


@pytest.mark.gen_test
async def test_nothing_is_left_to_clean_up(wire: Wire, app: Application) -> None:
    """Every key ends by itself, whatever became of its token or its client."""
    await register(wire)
    tokens = [await wire.access_token(CREDENTIALS) for _ in range(3)]
    await wire.fetch("POST", "/auth/revoke", form={"token": tokens[0]}, basic=CREDENTIALS)
    await wire.admin("DELETE", TOKENS)
    await wire.access_token(CREDENTIALS)
    await wire.admin("DELETE", "/oauth-clients/station-bot")
    redis: Any = app.resources.redis
    others = (b"throttle:", b"oauth-node", b"oauth-process")
    keys = [key.decode() for key in await redis.keys() if not key.startswith(others)]
    assert len(keys) == 6  # three records, an index for each generation, and the one that was revoked
    assert all([0 < await redis.pttl(key) <= 3_901_000 for key in await redis.keys()])
    await register(wire)
    assert await jtis(wire) == set()
