"""Who did what, and why something was really refused: over real HTTP, and in no answer."""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import jwt
import pytest

from plugins.oauth_m2m.config import OAuthM2MConfig
from station.audit import AuditFilter, Event

if TYPE_CHECKING:
    from station.app import Application
    from station.config import Config
    from tests.conftest import Answer, Wire

ADMIN_KEY = "an-admin-key-for-the-tests-only-0123456789"
JWT_SECRET = "a-signing-secret-for-the-tests-only-0123456789"
SECRET = "a-client-secret-for-the-tests-0123456789"
WRONG = "a-wrong-secret-for-the-tests-01234567890"
KEY_FINGERPRINT = hashlib.sha256(ADMIN_KEY.encode()).hexdigest()[:8]
BOT = ("station-bot", SECRET)
GRANT = {"grant_type": "client_credentials"}


@pytest.fixture
def config(config: Config) -> Config:
    return dataclasses.replace(config, token_throttle_limit=20)


async def events_of(app: Application, answer: Answer) -> list[Event]:
    """The events of the request that was answered so."""
    await app.audit.flush()
    request_id = answer.headers["X-Request-ID"]
    return await app.audit.find(AuditFilter(request_id=request_id), limit=100)


async def event_of(app: Application, answer: Answer) -> Event:
    [event] = await events_of(app, answer)
    return event


async def reason_of(app: Application, answer: Answer) -> str:
    event = await event_of(app, answer)
    assert event.outcome == "refused"
    assert event.reason is not None
    return event.reason.code


class TestChanges:
    """Row G7, one test for each change."""

    @pytest.mark.gen_test
    @pytest.mark.row("G7")
    async def test_registration(self, app: Application, wire: Wire) -> None:
        document = {"clientId": "station-bot", "clientSecret": SECRET, "scopes": ["bot:api"]}
        event = await event_of(app, await wire.admin("POST", "/oauth-clients", document))
        assert (event.action, event.outcome) == ("client.registered", "ok")
        assert (event.target, event.client_id) == ("station-bot", "station-bot")
        assert (event.actor.kind, event.actor.id) == ("key", KEY_FINGERPRINT)
        assert event.actor.address == "127.0.0.1"
        assert event.before is None
        assert event.after is not None
        assert event.after["scopes"] == ["bot:api"]
        assert not {"salt", "hash"} & event.after.keys()

    @pytest.mark.gen_test
    @pytest.mark.row("G7")
    async def test_a_registration_that_is_refused(self, app: Application, wire: Wire) -> None:
        await wire.register()
        document = {"clientId": "station-bot", "scopes": ["bot:api"]}
        assert await reason_of(app, await wire.admin("POST", "/oauth-clients", document)) == "conflict"

    @pytest.mark.gen_test
    @pytest.mark.row("G7")
    async def test_of_scopes_outside_a_closed_catalogue(self, app: Application, wire: Wire) -> None:
        await wire.register()
        for method, path, document, action in [
            ("POST", "/oauth-clients", {"clientId": "other", "scopes": ["bot:admin"]}, "client.registered"),
            ("PATCH", "/oauth-clients/station-bot", {"scopes": ["bot:admin"]}, "client.changed"),
        ]:
            answer = await wire.admin(method, path, document)
            assert answer.status == 400
            event = await event_of(app, answer)
            assert (event.action, event.outcome, event.actor.id) == (action, "refused", KEY_FINGERPRINT)
            assert event.reason is not None
            assert event.reason.code == "validation-failed"

    @pytest.mark.parametrize(
        ("change", "action", "name", "before", "after"),
        [
            ({"isActive": False}, "client.disabled", "is_active", True, False),
            ({"isActive": True}, "client.enabled", "is_active", True, True),
            ({"scopes": ["bot:read"]}, "client.changed", "scopes", ["bot:api"], ["bot:read"]),
            ({"name": "The bot"}, "client.changed", "name", "", "The bot"),
            ({"tokenTtl": 60}, "client.changed", "token_ttl", None, 60),
        ],
    )
    @pytest.mark.gen_test
    @pytest.mark.row("G7")
    async def test_a_change(
        self,
        app: Application,
        wire: Wire,
        change: object,
        action: str,
        name: str,
        before: object,
        after: object,
    ) -> None:
        await wire.register()
        event = await event_of(app, await wire.admin("PATCH", "/oauth-clients/station-bot", change))
        assert (event.action, event.outcome, event.client_id) == (action, "ok", "station-bot")
        assert event.actor.id == KEY_FINGERPRINT
        assert event.before is not None
        assert event.after is not None
        assert (event.before[name], event.after[name]) == (before, after)

    @pytest.mark.gen_test
    @pytest.mark.row("G7")
    async def test_deletion(self, app: Application, wire: Wire) -> None:
        await wire.register()
        event = await event_of(app, await wire.admin("DELETE", "/oauth-clients/station-bot"))
        assert (event.action, event.client_id, event.after) == ("client.deleted", "station-bot", None)
        assert event.before is not None
        assert event.before["scopes"] == ["bot:api"]

    @pytest.mark.gen_test
    @pytest.mark.row("G7")
    async def test_secrets(self, app: Application, wire: Wire) -> None:
        await wire.register()
        added = await wire.admin("POST", "/oauth-clients/station-bot/secrets", {})
        event = await event_of(app, added)
        assert (event.action, event.target) == ("secret.added", added.json["id"])
        assert event.after is not None
        assert added.json["id"] in str(event.after["secrets"])
        ended = await wire.admin("DELETE", f"/oauth-clients/station-bot/secrets/{added.json['id']}")
        event = await event_of(app, ended)
        assert (event.action, event.target, event.outcome) == ("secret.ended", added.json["id"], "ok")

    @pytest.mark.gen_test
    @pytest.mark.row("G7")
    async def test_revocations(self, app: Application, wire: Wire) -> None:
        token = await wire.access_token()
        jti = jwt.decode(token, options={"verify_signature": False})["jti"]
        event = await event_of(
            app, await wire.fetch("POST", "/auth/revoke", form={"token": token}, basic=BOT)
        )
        assert (event.action, event.target, event.client_id) == ("token.revoked", jti, "station-bot")
        assert (event.actor.kind, event.actor.id) == ("client", "station-bot")
        event = await event_of(app, await wire.admin("DELETE", "/oauth-clients/station-bot/tokens"))
        assert (event.action, event.client_id) == ("tokens.revoked", "station-bot")
        assert event.actor.kind == "key"

    @pytest.mark.gen_test
    @pytest.mark.row("G7")
    async def test_an_admin_with_a_session_is_named(self, app: Application, wire: Wire) -> None:
        person = {"email": "ada@example.com", "password": "correct horse battery staple"}
        user = await app.settings["auth"].create_user(person["email"], person["password"], ["admin"])
        login = await wire.fetch("POST", "/auth/login", document=person)
        cookies = "; ".join(one.partition(";")[0] for one in login.headers.get_list("Set-Cookie"))
        document = {"clientId": "station-bot", "scopes": ["bot:api"]}
        answer = await wire.fetch("POST", "/oauth-clients", document=document, headers={"Cookie": cookies})
        event = await event_of(app, answer)
        assert (event.actor.kind, event.actor.id) == ("user", user.id)

    @pytest.mark.gen_test
    @pytest.mark.row("G7")
    async def test_an_account(self, app: Application, wire: Wire) -> None:
        person = {"email": "ada@example.com", "password": "correct horse battery staple"}
        answer = await wire.fetch("POST", "/auth/register", document=person)
        event = await event_of(app, answer)
        assert (event.action, event.target) == ("user.registered", answer.json["id"])
        assert event.actor.kind == "anonymous"
        assert event.after == {"email": "ada@example.com", "roles": []}


class TestRefusals:
    """The real reason is recorded, and the answer does not tell it."""

    @pytest.mark.gen_test
    @pytest.mark.row("C15", "C16")
    async def test_the_reasons_of_one_answer(self, app: Application, wire: Wire) -> None:
        await wire.register()
        await wire.register("disabled-bot")
        await wire.admin("PATCH", "/oauth-clients/disabled-bot", {"isActive": False})
        await wire.register("expired-bot")
        await app.resources.database["oauth_clients"].update_one(
            {"client_id": "expired-bot"},
            {"$set": {"secrets.0.expires_at": datetime.now(UTC) - timedelta(seconds=1)}},
        )
        cases = {
            "unknown": ("nobody", SECRET),
            "inactive": ("disabled-bot", SECRET),
            "wrong_secret": ("station-bot", WRONG),
            "expired_secret": ("expired-bot", SECRET),
        }
        answers = {reason: await wire.token(basic) for reason, basic in cases.items()}
        assert len({(answer.status, answer.body) for answer in answers.values()}) == 1
        for answer in answers.values():
            del answer.headers["Date"]
        for reason, answer in answers.items():
            event = await event_of(app, answer)
            assert event.reason is not None
            assert (event.action, event.reason.code) == ("token.refused", reason)
            assert event.reason.because not in answer.body.decode()
            assert event.client_id == cases[reason][0]
            assert event.actor.kind == "anonymous"
            del answer.headers["X-Request-ID"]
        assert len({str(sorted(answer.headers.get_all())) for answer in answers.values()}) == 1

    @pytest.mark.parametrize(
        ("request_", "reason"),
        [
            ({"form": GRANT}, "missing"),
            ({"form": GRANT, "headers": {"Authorization": "Basic !"}}, "malformed"),
            ({"form": GRANT, "headers": {"Authorization": "Bearer x"}}, "malformed"),
            ({"form": {}, "basic": BOT}, "malformed"),
            ({"form": {"grant_type": "password"}, "basic": BOT}, "malformed"),
            ({"form": {**GRANT, "client_secret": SECRET}, "basic": BOT}, "malformed"),
            ({"form": {**GRANT, "client_id": "station-bot", "client_secret": SECRET}}, "method"),
            ({"form": {**GRANT, "scope": "bot:admin"}, "basic": BOT}, "scope"),
            ({"body": "x", "headers": {"Content-Type": "text/plain"}, "basic": BOT}, "malformed"),
        ],
    )
    @pytest.mark.gen_test
    async def test_at_the_token_endpoint(
        self, app: Application, wire: Wire, request_: dict[str, Any], reason: str
    ) -> None:
        await wire.register()
        assert await reason_of(app, await wire.fetch("POST", "/auth/token", **request_)) == reason

    @pytest.mark.gen_test
    @pytest.mark.row("C16")
    async def test_throttled(self, app: Application, wire: Wire) -> None:
        basic = await wire.register()
        answers = [await wire.token(basic) for _ in range(21)]
        assert answers[-1].status == 429
        event = await event_of(app, answers[-1])
        assert event.reason is not None
        assert (event.reason.code, event.client_id) == ("throttled", "station-bot")

    @pytest.mark.gen_test
    async def test_at_a_protected_handler(self, app: Application, wire: Wire) -> None:
        async def reason(token: str | None, method: str = "GET") -> str:
            answer = await wire.fetch(method, "/probe", bearer=token)
            assert (await event_of(app, answer)).action == "bearer.refused"
            return await reason_of(app, answer)

        token = await wire.access_token()
        claims = jwt.decode(token, options={"verify_signature": False})

        def signed(key: str = JWT_SECRET, **changes: object) -> str:
            return jwt.encode({**claims, **changes}, key, headers={"typ": "at+jwt"})

        assert await reason(None) == "missing"
        assert await reason("rubbish") == "malformed"
        assert await reason(signed("another-signing-secret-for-the-tests-0123456789")) == "signature"
        expired = signed(exp=claims["iat"] - 1, iat=claims["iat"] - 60)
        assert await reason(expired) == "expired"
        known = await event_of(app, await wire.fetch("GET", "/probe", bearer=expired))
        assert known.client_id == "station-bot"  # the signature is ours
        assert await reason(signed(aud="https://elsewhere.example")) == "audience"
        assert await reason(signed(type="user")) == "malformed"
        assert await reason(signed(sub="gone", client_id="gone")) == "unknown"
        assert await reason(token, "POST") == "scope"
        await wire.fetch("POST", "/auth/revoke", form={"token": token}, basic=BOT)
        assert await reason(token) == "revoked"
        other = (await wire.token(BOT)).json["access_token"]
        await wire.admin("PATCH", "/oauth-clients/station-bot", {"isActive": False})
        assert await reason(other) == "inactive"
        await wire.admin("PATCH", "/oauth-clients/station-bot", {"isActive": True})
        assert await reason(other) == "generation"

    @pytest.mark.gen_test
    @pytest.mark.row("V3")
    async def test_the_token_of_another_client(self, app: Application, wire: Wire) -> None:
        token = await wire.access_token()
        other = await wire.register("other-bot")
        answer = await wire.fetch("POST", "/auth/revoke", form={"token": token}, basic=other)
        assert (answer.status, answer.json["error"]) == (400, "invalid_grant")
        event = await event_of(app, answer)
        assert event.reason is not None
        assert (event.action, event.reason.code) == ("revoke.refused", "foreign")
        assert (event.actor.kind, event.actor.id) == ("client", "other-bot")
        assert (await wire.fetch("GET", "/probe", bearer=token)).status == 200

    @pytest.mark.gen_test
    async def test_of_admins_and_people(self, app: Application, wire: Wire) -> None:
        wrong = {"x-internal-api-key": "a-wrong-admin-key-0123456789-0123456789"}
        refused = [
            await wire.fetch("POST", "/oauth-clients", document={}, headers=wrong),
            await wire.fetch("POST", "/oauth-clients", document={}),
            await wire.fetch("POST", "/auth/login", document={"email": "a@b.example", "password": "x" * 12}),
        ]
        found = [((await event_of(app, one)).action, await reason_of(app, one)) for one in refused]
        assert found == [
            ("admin.refused", "wrong_key"),
            ("admin.refused", "missing"),
            ("login.refused", "unknown"),
        ]

    @pytest.mark.gen_test
    async def test_of_every_request_without_a_reason_of_its_own(self, app: Application, wire: Wire) -> None:
        elsewhere = {"Origin": "https://elsewhere.example", "Sec-Fetch-Site": "cross-site"}
        refused = [
            await wire.admin("POST", "/oauth-clients", {"clientId": "", "name": 1}),
            await wire.fetch("POST", "/auth/logout", document={}, headers=elsewhere),
            await wire.fetch("POST", "/auth/refresh", document={}),
            await wire.fetch("GET", "/auth/me"),
        ]
        found = [
            (one.status, (await event_of(app, one)).action, await reason_of(app, one)) for one in refused
        ]
        assert found == [
            (400, "admin.refused", "validation-failed"),
            (403, "request.refused", "forbidden"),
            (401, "request.refused", "unauthorized"),
            (401, "request.refused", "unauthorized"),
        ]
        assert (await event_of(app, refused[0])).actor.id == KEY_FINGERPRINT

    @pytest.mark.parametrize(("method", "path"), [("GET", "/nothing"), ("PUT", "/auth/me")])
    @pytest.mark.gen_test
    async def test_what_does_not_exist_refuses_nobody(
        self, app: Application, wire: Wire, method: str, path: str
    ) -> None:
        answer = await wire.fetch(method, path, body="" if method == "PUT" else None)
        assert answer.status in {404, 405}
        assert await events_of(app, answer) == []

    @pytest.mark.gen_test
    async def test_of_a_refresh_token_that_was_used_before(self, app: Application, wire: Wire) -> None:
        person = {"email": "ada@example.com", "password": "correct horse battery staple"}
        await app.settings["auth"].create_user(person["email"], person["password"])
        login = await wire.fetch("POST", "/auth/login", document=person)

        async def refresh(answer: Answer) -> Answer:
            cookies = "; ".join(one.partition(";")[0] for one in answer.headers.get_list("Set-Cookie"))
            return await wire.fetch("POST", "/auth/refresh", body="", headers={"Cookie": cookies})

        latest = await refresh(await refresh(login))
        assert latest.status == 200
        reused, ended = await refresh(login), await refresh(latest)
        assert (reused.status, ended.status) == (401, 401)
        assert await reason_of(app, reused) == "reused"
        assert await reason_of(app, ended) == "unauthorized"

    @pytest.mark.gen_test
    async def test_a_secret_in_the_place_of_the_client_id_is_not_kept(
        self, app: Application, wire: Wire
    ) -> None:
        secret = "Zm9v_a-secret-that-somebody-sent-as-the-id"
        event = await event_of(app, await wire.token((secret, "station-bot")))
        assert event.client_id == ""
        assert secret not in str(event)

    @pytest.mark.gen_test
    async def test_they_are_written_within_a_second(self, app: Application, wire: Wire) -> None:
        answer = await wire.token(("nobody", SECRET))
        wanted = AuditFilter(request_id=answer.headers["X-Request-ID"])
        for _ in range(10):
            if await app.audit.find(wanted, limit=1):
                break
            await asyncio.sleep(0.1)
        else:
            pytest.fail("the refusal was not written within a second")


@pytest.fixture
def m2m_settings(request: pytest.FixtureRequest) -> OAuthM2MConfig:
    """Only Basic is on where the refusal of another method is tested, and a catalogue where it is closed."""
    if "method" in str(request.node.name):
        return OAuthM2MConfig(bcrypt_cost=4, client_auth_methods=("client_secret_basic",))
    if "closed_catalogue" in str(request.node.name):
        return OAuthM2MConfig(bcrypt_cost=4, scopes={"bot:api": "", "bot:write": ""})
    return OAuthM2MConfig(bcrypt_cost=4)


@pytest.mark.gen_test
@pytest.mark.row("C21")
async def test_both_secrets_of_an_overlap_are_told_apart(app: Application, wire: Wire) -> None:
    basic = await wire.register()
    added = await wire.admin("POST", "/oauth-clients/station-bot/secrets", {})
    new = ("station-bot", added.json["clientSecret"])
    for presented in (basic, basic, new):
        assert (await wire.token(presented)).status == 200
    await app.audit.flush()
    issued = await app.audit.find(AuditFilter(action="token.issued"), limit=10)
    counts = {event.detail["secret"]: event.count for event in issued}
    assert counts.pop(added.json["id"]) == 1
    assert list(counts.values()) == [2]


@pytest.mark.gen_test
async def test_no_secret_is_in_the_audit(app: Application, wire: Wire) -> None:
    token = await wire.access_token()
    added = await wire.admin("POST", "/oauth-clients/station-bot/secrets", {})
    await wire.token(("station-bot", WRONG))
    await wire.token((WRONG, WRONG))
    await wire.token(BOT, scope=WRONG)
    await wire.fetch("POST", "/auth/token", body=WRONG, headers={"Content-Type": WRONG}, basic=BOT)
    await wire.fetch("GET", "/probe", bearer=token[:-4] + "AAAA")
    await wire.fetch("POST", "/auth/login", document={"email": WRONG, "password": WRONG})
    await wire.fetch("POST", "/oauth-clients", document={}, headers={"x-internal-api-key": WRONG})
    await wire.fetch("POST", "/auth/revoke", form={"token": token}, basic=BOT)
    await wire.admin("DELETE", "/oauth-clients/station-bot")
    clients = app.resources.database["oauth_clients"]
    hashes = [secret["hash"] async for client in clients.find() for secret in client["secrets"]]
    await app.audit.flush()
    documents = [document async for document in app.resources.database["audit_events"].find()]
    assert len(documents) >= 10
    kept = json.dumps(documents, default=str)
    secrets = [SECRET, WRONG, ADMIN_KEY, JWT_SECRET, added.json["clientSecret"], *token.split("."), *hashes]
    assert [secret for secret in secrets if secret in kept] == []


@pytest.mark.gen_test
async def test_events_are_forgotten_after_their_retention(app: Application, wire: Wire) -> None:
    await wire.register()
    events = app.resources.database["audit_events"]
    [document] = [document async for document in events.find({"action": "client.registered"})]
    assert document["expires_at"] - document["time"] == timedelta(days=app.config.audit_retention_days)
    indexes = await events.index_information()
    assert indexes["expires_at"]["expireAfterSeconds"] == 0
