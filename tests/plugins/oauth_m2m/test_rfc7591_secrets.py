"""Secrets with overlap and with an end (RFC 7591 3.2.1): rows C21 and C22 of docs/protocol.md."""

from __future__ import annotations

import asyncio
import math
import re
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from plugins.oauth_m2m.services import services_of

if TYPE_CHECKING:
    from station.app import Application
    from tests.conftest import Answer, Wire

SECRET = "the-secret-of-these-tests-0123456789"
OTHER = "another-secret-of-these-tests-0123456789"
SECRETS = "/oauth-clients/station-bot/secrets"


async def register(wire: Wire, client_id: str = "station-bot") -> None:
    await wire.register(client_id, clientSecret=SECRET)


async def add(wire: Wire, **document: object) -> Answer:
    return await wire.admin("POST", SECRETS, document)


async def shown(wire: Wire) -> list[dict[str, Any]]:
    secrets: list[dict[str, Any]] = (await wire.admin("GET", SECRETS)).json["secrets"]
    return secrets


async def works(wire: Wire, secret: str) -> bool:
    answer = await wire.token(("station-bot", secret))
    assert answer.status in {200, 401}
    return answer.status == 200


def at(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")


async def age(app: Application, **ages: timedelta) -> None:
    """Set when secrets were made or last used, by place and field: ``made_0``, ``used_1``."""
    fields = {"made": "created_at", "used": "last_used_at"}
    now = datetime.now(UTC)
    changes = {}
    for name, ago in ages.items():
        field, _, place = name.partition("_")
        changes[f"secrets.{place}.{fields[field]}"] = now - ago
    await app.resources.database["oauth_clients"].update_one({"client_id": "station-bot"}, {"$set": changes})


@pytest.mark.row("C21")
@pytest.mark.gen_test
async def test_old_and_new_both_work_until_the_old_one_ends(wire: Wire) -> None:
    await register(wire)
    added = await add(wire)
    assert (added.status, added.headers["Cache-Control"]) == (201, "no-store")
    assert added.headers["Location"] == f"{SECRETS}/{added.json['id']}"
    new = added.json["clientSecret"]
    assert re.fullmatch(r"stn_[0-9A-Za-z]{49}", new)
    assert [await works(wire, secret) for secret in (SECRET, new)] == [True, True]
    old, _ = await shown(wire)
    assert (await wire.admin("DELETE", f"{SECRETS}/{old['id']}")).status == 204
    assert [await works(wire, secret) for secret in (SECRET, new)] == [False, True]
    assert [secret["id"] for secret in await shown(wire)] == [added.json["id"]]
    assert (await wire.admin("DELETE", f"{SECRETS}/{old['id']}")).status == 404


@pytest.mark.row("C21")
@pytest.mark.gen_test
async def test_which_secret_was_used_is_known_of_every_token(wire: Wire, app: Application) -> None:
    await register(wire)
    added = await add(wire)
    old, new = await shown(wire)
    for secret in (SECRET, added.json["clientSecret"], SECRET):
        await wire.access_token(("station-bot", secret))
    tokens = (await wire.admin("GET", "/oauth-clients/station-bot/tokens")).json["tokens"]
    used = [token["secretId"] for token in tokens]
    assert sorted(used) == sorted([old["id"], old["id"], new["id"]])
    await app.audit.flush()
    events = app.resources.database["audit_events"].find({"action": "token.issued"})
    counts = {event["detail"]["secret"]: event["count"] async for event in events}
    assert counts == {old["id"]: 2, new["id"]: 1}


@pytest.mark.row("C21")
@pytest.mark.gen_test
async def test_a_secret_that_has_ended_is_named_to_the_operator_alone(wire: Wire, app: Application) -> None:
    """To the caller it is a wrong one."""
    await register(wire)
    await add(wire, clientSecret=OTHER, endOthersIn=0)
    ended, wrong = await wire.token(("station-bot", SECRET)), await wire.token(("station-bot", "w" * 40))
    assert (ended.status, ended.body) == (wrong.status, wrong.body)
    await app.audit.flush()
    events = app.resources.database["audit_events"].find({"action": "token.refused"})
    reasons = {event["request_id"]: event["reason"]["code"] async for event in events}
    assert [reasons[answer.headers["X-Request-ID"]] for answer in (ended, wrong)] == [
        "expired_secret",
        "wrong_secret",
    ]


@pytest.mark.row("C22")
@pytest.mark.gen_test
async def test_a_secret_ends_at_the_exact_second(wire: Wire) -> None:
    await register(wire)
    ends = math.ceil(time.time()) + 1
    answer = await add(wire, clientSecret=OTHER, expiresAt=at(datetime.fromtimestamp(ends, UTC)))
    assert answer.status == 201, answer.body
    assert answer.json["expiresAt"] == at(datetime.fromtimestamp(ends, UTC)).replace("Z", ".000Z")
    seen = set()
    while time.time() < ends + 0.3:
        before = time.time()
        alive = await works(wire, OTHER)
        if time.time() < ends:
            assert alive
            seen.add("before")
        elif before >= ends:
            assert not alive
            seen.add("after")
        await asyncio.sleep(0.05)
    assert seen == {"before", "after"}
    assert await works(wire, SECRET)


@pytest.mark.row("C22")
@pytest.mark.gen_test
async def test_the_end_is_told_with_every_token_that_the_secret_gets(wire: Wire) -> None:
    await register(wire)
    ends = datetime.now(UTC).replace(microsecond=0) + timedelta(days=30)
    await add(wire, clientSecret=OTHER, expiresAt=at(ends + timedelta(microseconds=700_000)))
    answer = await wire.token(("station-bot", OTHER))
    assert answer.json["client_secret_expires_at"] == ends.timestamp()
    assert type(answer.json["client_secret_expires_at"]) is int
    assert "client_secret_expires_at" not in (await wire.token(("station-bot", SECRET))).json


@pytest.mark.gen_test
async def test_the_new_one_may_say_when_the_others_end(wire: Wire) -> None:
    await register(wire)
    soon = datetime.now(UTC) + timedelta(hours=1)
    await add(wire, endOthersAt=at(soon))
    await add(wire, endOthersIn=7200)
    first, second, third = await shown(wire)
    assert first["expiresAt"] == at(soon.replace(microsecond=0)).replace(
        "Z", ".000Z"
    )  # what ends sooner stays
    left = datetime.fromisoformat(second["expiresAt"]) - datetime.now(UTC)
    assert timedelta(seconds=7190) < left <= timedelta(seconds=7200)
    assert third["expiresAt"] is None
    last = await add(wire, endOthersIn=0)
    assert not await works(wire, SECRET)
    assert await works(wire, last.json["clientSecret"])


@pytest.mark.gen_test
async def test_at_most_five_live(wire: Wire) -> None:
    await register(wire)
    for _ in range(4):
        assert (await add(wire)).status == 201
    refused = await add(wire)
    assert (refused.status, "5 live secrets" in refused.json["detail"]) == (409, True)
    assert (await add(wire, endOthersIn=60)).status == 409  # they would all be live for a minute
    assert len(await shown(wire)) == 5
    assert (await add(wire, clientSecret=OTHER, endOthersIn=0)).status == 201
    assert await works(wire, OTHER)
    assert (await add(wire)).status == 201
    assert len(await shown(wire)) == 2  # what has ended leaves when the next one comes


@pytest.mark.gen_test
async def test_the_last_live_one_needs_force(wire: Wire) -> None:
    await register(wire)
    [only] = await shown(wire)
    path = f"{SECRETS}/{only['id']}"
    refused = await wire.admin("DELETE", path)
    assert (refused.status, "last live secret" in refused.json["detail"]) == (409, True)
    assert (await wire.admin("DELETE", f"{path}?force=false")).status == 409
    assert await works(wire, SECRET)
    token = await wire.access_token(("station-bot", SECRET))
    assert (await wire.admin("DELETE", f"{path}?force=true")).status == 204
    assert not await works(wire, SECRET)
    assert await shown(wire) == []
    # ending a secret ends no tokens unless asked to
    assert (await wire.fetch("GET", "/auth/client", bearer=token)).status == 200
    assert (await add(wire, clientSecret=OTHER)).status == 201
    assert await works(wire, OTHER)


@pytest.mark.gen_test
async def test_a_secret_that_has_ended_counts_for_nothing(wire: Wire) -> None:
    await register(wire)
    await add(wire, clientSecret=OTHER, endOthersIn=0)
    old, new = await shown(wire)
    assert (await wire.admin("DELETE", f"{SECRETS}/{new['id']}")).status == 409
    assert (await wire.admin("DELETE", f"{SECRETS}/{old['id']}")).status == 204


@pytest.mark.gen_test
async def test_ending_one_may_end_the_live_tokens(wire: Wire) -> None:
    await register(wire)
    token = await wire.access_token(("station-bot", SECRET))
    await add(wire, clientSecret=OTHER)
    old, _ = await shown(wire)
    assert (await wire.admin("DELETE", f"{SECRETS}/{old['id']}?revokeTokens=true")).status == 204
    assert (await wire.fetch("GET", "/auth/client", bearer=token)).status == 401
    after = await wire.access_token(("station-bot", OTHER))
    assert (await wire.fetch("GET", "/auth/client", bearer=after)).status == 200


@pytest.mark.gen_test
async def test_bad_bodies_name_every_bad_field_and_store_nothing(wire: Wire) -> None:
    await register(wire)
    past, soon = at(datetime.now(UTC) - timedelta(seconds=2)), at(datetime.now(UTC) + timedelta(hours=1))
    bad: list[tuple[dict[str, object], set[str]]] = [
        ({"clientSecret": "short", "expiresAt": past, "x": 1}, {"clientSecret", "expiresAt", "x"}),
        ({"endOthersAt": past}, {"endOthersAt"}),
        ({"endOthersAt": soon, "endOthersIn": 5}, {"endOthersIn"}),
        ({"endOthersIn": -1, "expiresAt": "2030-01-01T00:00:00"}, {"endOthersIn", "expiresAt"}),
        ({"endOthersIn": "5", "expiresAt": 2_000_000_000}, {"endOthersIn", "expiresAt"}),
        ({"endOthersIn": 1.5, "expiresAt": True}, {"endOthersIn", "expiresAt"}),
        ({"endOthersIn": 10**9, "expiresAt": "9999-12-31T23:59:59-12:00"}, {"endOthersIn", "expiresAt"}),
        ({"expiresAt": "tomorrow", "clientSecret": None}, {"expiresAt", "clientSecret"}),
    ]
    for document, fields in bad:
        answer = await wire.admin("POST", SECRETS, document)
        assert (answer.status, set(answer.json["errors"])) == (400, fields), document
    for query in ("force=1", "force=true&force=true", "x=true", "revokeTokens="):
        assert (await wire.admin("DELETE", f"{SECRETS}/x?{query}")).status == 400, query
    assert (await wire.admin("DELETE", f"{SECRETS}/x")).status == 404
    for method, path in (("GET", "secrets"), ("POST", "secrets"), ("DELETE", "secrets/x")):
        answer = await wire.admin(method, f"/oauth-clients/nobody/{path}", {} if method == "POST" else None)
        assert answer.status == 404
    assert len(await shown(wire)) == 1


@pytest.mark.gen_test
async def test_no_body_at_all_asks_for_a_generated_one(wire: Wire) -> None:
    await register(wire)
    answer = await wire.admin("POST", SECRETS, body="")
    assert (answer.status, await works(wire, answer.json["clientSecret"])) == (201, True)


@pytest.mark.gen_test
async def test_the_same_secret_twice_is_refused(wire: Wire) -> None:
    """Ending one of the two would leave what leaked alive."""
    await register(wire)
    assert (await add(wire, clientSecret=SECRET)).status == 409
    assert (await add(wire, clientSecret=SECRET, endOthersIn=0)).status == 409
    assert len(await shown(wire)) == 1


@pytest.mark.gen_test
async def test_one_bcrypt_checks_them_all(wire: Wire, app: Application) -> None:
    await register(wire)
    for _ in range(4):
        await add(wire)
    document = await app.resources.database["oauth_clients"].find_one({"client_id": "station-bot"})
    assert document is not None
    shared = {re.sub(r"[^$]+$", "", secret["hash"]) for secret in document["secrets"]}
    assert len(shared) == 1
    assert document["salt"] in shared.pop()


@pytest.mark.gen_test
async def test_two_admins_cannot_end_both(wire: Wire) -> None:
    await register(wire)
    for _ in range(5):
        await add(wire, clientSecret=OTHER)
        ids = [secret["id"] for secret in await shown(wire)]
        ended = await asyncio.gather(*[wire.admin("DELETE", f"{SECRETS}/{one}") for one in ids])
        assert sorted(answer.status for answer in ended) == [204, 409]
        assert len(await shown(wire)) == 1
        if not await works(wire, SECRET):
            [left] = await shown(wire)
            await add(wire, clientSecret=SECRET)
            await wire.admin("DELETE", f"{SECRETS}/{left['id']}")


@pytest.mark.gen_test
async def test_admins_who_rotate_at_once_end_with_a_live_secret(wire: Wire, app: Application) -> None:
    await register(wire)
    added = await asyncio.gather(*[add(wire, endOthersIn=0) for _ in range(8)])
    assert {answer.status for answer in added} == {201}
    live = [await works(wire, answer.json["clientSecret"]) for answer in added]
    assert (live.count(True), await works(wire, SECRET)) == (1, False)
    versions = app.resources.database["oauth_clients"].find({}, {"version": 1})
    assert [document["version"] async for document in versions] == [
        1 + 8 + 7
    ]  # 7 cleared the ended one first


@pytest.mark.gen_test
async def test_the_last_use_is_noted_once_a_minute_and_is_no_change(wire: Wire, app: Application) -> None:
    await register(wire)
    clients = app.resources.database["oauth_clients"]

    async def stored() -> dict[str, Any]:
        document = await clients.find_one({"client_id": "station-bot"})
        assert document is not None
        return dict(document)

    before = await stored()
    assert before["secrets"][0]["last_used_at"] is None
    assert (await wire.token(("station-bot", "w" * 40))).status == 401
    assert await stored() == before
    started = datetime.now(UTC)
    assert all(await asyncio.gather(*[works(wire, SECRET) for _ in range(10)]))
    for _ in range(100):  # a second, in which it is written by itself, and more
        if (noted := await stored())["secrets"][0]["last_used_at"]:
            break
        await asyncio.sleep(0.05)
    use = noted["secrets"][0]
    assert started - timedelta(milliseconds=1) <= use["last_used_at"] <= datetime.now(UTC)
    assert use["last_used_from"] == "127.0.0.1"
    assert (noted["version"], noted["updated_at"]) == (before["version"], before["updated_at"])
    await works(wire, SECRET)
    await services_of(app).uses.flush()
    assert await stored() == noted


@pytest.mark.gen_test
async def test_safe_to_retire(wire: Wire, app: Application) -> None:
    """Another took over, and this one was not used for 25 hours."""
    await register(wire)
    hour = timedelta(hours=1)

    async def safe(**ages: timedelta) -> list[bool]:
        await age(app, **ages)
        return [secret["safeToRetire"] for secret in await shown(wire)]

    assert await safe(made_0=900 * hour, used_0=900 * hour) == [False]  # the only one
    await add(wire, clientSecret=OTHER)
    assert await safe() == [False, False]  # the new one was never used
    assert await safe(made_0=900 * hour, used_0=26 * hour, used_1=hour) == [True, False]
    assert await safe(used_0=24 * hour) == [False, False]
    assert await safe(used_0=26 * hour, used_1=27 * hour) == [False, True]
    await add(wire, endOthersIn=0)
    assert await safe() == [True, True, False]


@pytest.mark.gen_test
async def test_every_change_is_audited_and_no_event_holds_a_secret(wire: Wire, app: Application) -> None:
    await register(wire)
    added = await add(wire)
    old, _ = await shown(wire)
    await wire.admin("DELETE", f"{SECRETS}/{old['id']}?revokeTokens=true")
    refused = await wire.admin("DELETE", f"{SECRETS}/{added.json['id']}")
    assert refused.status == 409
    await app.audit.flush()
    found = [
        event
        async for event in app.resources.database["audit_events"].find({"action": {"$regex": "^secret"}})
    ]
    assert [(event["action"], event["target"], event["outcome"]) for event in found] == [
        ("secret.added", added.json["id"], "ok"),
        ("secret.ended", old["id"], "ok"),
        ("secret.ended", added.json["id"], "refused"),
    ]
    assert {event["actor"]["kind"] for event in found} == {"key"}
    assert found[0]["before"]["secrets"] == [old["id"]]
    assert found[0]["after"]["secrets"] == [old["id"], added.json["id"]]
    assert found[0]["detail"] == {"confirmed_by": 1, "pending": 0}
    assert found[1]["detail"] == {"tokens_revoked": True, "confirmed_by": 1, "pending": 0}
    for text in (added.json["clientSecret"], SECRET, "bcrypt-sha256"):
        assert text not in str(found)


@pytest.mark.gen_test
async def test_a_wrong_checksum_is_a_wrong_secret_like_any_other(wire: Wire) -> None:
    await register(wire)
    generated = (await add(wire)).json["clientSecret"]
    damaged = generated[:-1] + ("a" if generated[-1] != "a" else "b")
    answers = [await wire.token(("station-bot", secret)) for secret in (damaged, "w" * 40)]
    assert [(answer.status, answer.body) for answer in answers] == [(401, answers[1].body)] * 2
    assert answers[0].headers.get_list("WWW-Authenticate") == answers[1].headers.get_list("WWW-Authenticate")
