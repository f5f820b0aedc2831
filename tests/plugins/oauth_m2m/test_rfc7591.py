"""Registration and management of clients (RFC 7591): rows G1 to G4 of docs/protocol.md."""

from __future__ import annotations

import asyncio
import dataclasses
import re
import time
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from tornado.httputil import HTTPHeaders

from plugins.oauth_m2m.config import OAuthM2MConfig

if TYPE_CHECKING:
    from station.app import Application
    from station.config import Config
    from tests.conftest import Answer, Wire

SECRET = "a-client-secret-for-the-tests-0123456789"
ADMIN_KEY = "an-admin-key-for-the-tests-only-0123456789"
PREVIOUS_KEY = "the-admin-key-before-the-last-rotation-012345"
KEY_HEADER = "x-internal-api-key"
REGISTRATION = {"clientId": "station-bot", "clientSecret": SECRET, "scopes": ["bot:api"]}


@pytest.fixture
def settings() -> dict[str, object]:
    """The settings that differ; tests parametrize it."""
    return {}


@pytest.fixture
def config(config: Config, settings: dict[str, Any]) -> Config:
    return dataclasses.replace(config, **settings)


async def stored(app: Application) -> int:
    """How many clients there are."""
    return await app.resources.database["oauth_clients"].count_documents({})


def assert_problem(answer: Answer, status: int) -> None:
    """Problem details with the request id (RFC 9457)."""
    assert (answer.status, answer.headers["Content-Type"]) == (status, "application/problem+json"), (
        answer.body
    )
    assert (answer.json["status"], answer.json["requestId"]) == (status, answer.headers["X-Request-ID"])
    assert ("WWW-Authenticate" in answer.headers) == (status == 401)


@pytest.mark.row("G1", "R3")
@pytest.mark.gen_test
async def test_register(wire: Wire) -> None:
    answer = await wire.admin("POST", "/oauth-clients", {**REGISTRATION, "name": "The bot"})
    assert answer.status == 201
    assert answer.headers["Location"] == "/oauth-clients/station-bot"
    assert (answer.headers["Content-Type"], answer.headers["Cache-Control"]) == (
        "application/json",
        "no-store",
    )
    client = answer.json
    identity, created, updated = client.pop("id"), client.pop("createdAt"), client.pop("updatedAt")
    assert client == {
        "clientId": "station-bot",
        "name": "The bot",
        "scopes": ["bot:api"],
        "isActive": True,
        "tokenTtl": None,
        "version": 1,
    }
    assert re.fullmatch("[0-9a-f]{24}", identity)
    assert created == updated
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", created)
    age = time.time() - datetime.fromisoformat(created).timestamp()
    assert -1 < age < timedelta(minutes=1).total_seconds()
    shown = await wire.admin("GET", answer.headers["Location"])
    assert (shown.status, shown.json) == (200, answer.json)
    assert shown.headers["Cache-Control"] == "no-store"


@pytest.mark.row("G1", "C4", "C18", "R3")
@pytest.mark.gen_test
async def test_a_generated_secret_is_shown_once(wire: Wire, app: Application) -> None:
    secrets = set()
    for number in range(3):
        client_id = f"bot-{number}"
        answer = await wire.admin("POST", "/oauth-clients", {"clientId": client_id, "scopes": ["bot:api"]})
        assert (answer.status, answer.headers["Cache-Control"]) == (201, "no-store")
        secret = answer.json["clientSecret"]
        assert re.fullmatch("stn_[0-9A-Za-z]{49}", secret)  # 256 bits
        secrets.add(secret)
        assert (await wire.token((client_id, secret))).status == 200
        for change in (None, {"isActive": False}, {"isActive": True}):
            method = "PATCH" if change else "GET"
            shown = await wire.admin(method, f"/oauth-clients/{client_id}", change)
            assert shown.status == 200
            assert not {name for name in shown.json if "secret" in name.lower() or "hash" in name.lower()}
            assert secret.encode() not in shown.body
            assert b"$bcrypt" not in shown.body
        document = await app.resources.database["oauth_clients"].find_one({"client_id": client_id})
        assert secret not in repr(document)
    assert len(secrets) == 3


@pytest.mark.row("G1")
@pytest.mark.gen_test
async def test_a_chosen_secret_is_never_shown(wire: Wire) -> None:
    answer = await wire.admin("POST", "/oauth-clients", REGISTRATION)
    assert answer.status == 201
    assert SECRET.encode() not in answer.body
    assert "clientSecret" not in answer.json


BAD_VALUES: list[tuple[str, list[object]]] = [
    (
        "clientId",
        ["", "A", "Station-Bot", "station_bot", "usr_1", "a b", "a.b", "a/b", "é", "a\n", "a" * 129],
    ),
    ("clientId", [None, 7, True, [], ["station-bot"], {}, {"$ne": ""}, "\0"]),
    ("clientSecret", ["", "s" * 31, "s" * 129, "s" * 1024, "s" * 16 + " " + "s" * 16, "s" * 32 + "\n"]),
    ("clientSecret", ["é" * 32, "s" * 32 + "é", "s" * 32 + "\0", "s" * 32 + "\x7f", " " + "s" * 32]),
    ("clientSecret", [None, 7, True, ["s" * 32], {}]),
    ("scopes", [None, [], "bot:api", 7, True, {}, {"bot:api": 1}]),
    ("scopes", [[f"bot:{number}" for number in range(101)], [f"{number:060}" for number in range(40)]]),
    ("scopes.0", [[""], ["a,b"], ['a"b'], ["a\\b"], ["a\tb"], ["a b"], [" a"], ["é"], ["a\n"], ["\0"]]),
    ("scopes.0", [[None], [7], [[]], [{"bot:api": 1}]]),
    ("scopes.1", [["bot:api", "a b"], ["bot:api", None]]),
    ("name", [None, 7, True, [], {}, "n" * 201]),
    ("tokenTtl", [None, 0, -1, 59, 3601, 10**30, 60.5, 600.0, "600", "", True, [], {}]),
    ("isActive", [True, False]),
    ("client_id", ["station-bot"]),
    ("generation", ["0"]),
    ("$set", [{}]),
    ("__proto__", [{}]),
]


@pytest.mark.row("G2")
@pytest.mark.gen_test
async def test_every_bad_value_is_named_and_nothing_is_stored(wire: Wire, app: Application) -> None:
    for field, values in BAD_VALUES:
        for value in values:
            document = REGISTRATION | {field.partition(".")[0]: value}
            answer = await wire.admin("POST", "/oauth-clients", document)
            assert_problem(answer, 400)
            assert set(answer.json["errors"]) == {field}, value
            assert all(isinstance(text, str) for text in answer.json["errors"][field])
            assert SECRET.encode() not in answer.body
    assert await stored(app) == 0


@pytest.mark.row("G2")
@pytest.mark.gen_test
async def test_all_bad_fields_are_named_together(wire: Wire, app: Application) -> None:
    empty = await wire.admin("POST", "/oauth-clients", {})
    assert set(empty.json["errors"]) == {"clientId", "scopes"}
    bad = {
        "clientId": "A",
        "clientSecret": "x",
        "scopes": ["a,b", "ok", 7],
        "name": 7,
        "tokenTtl": 1,
        "more": 1,
    }
    answer = await wire.admin("POST", "/oauth-clients", bad)
    assert_problem(answer, 400)
    named = {"clientId", "clientSecret", "scopes.0", "scopes.2", "name", "tokenTtl", "more"}
    assert set(answer.json["errors"]) == named
    assert all(field in answer.json["detail"] for field in named)
    assert await stored(app) == 0


@pytest.mark.row("G2")
@pytest.mark.gen_test
async def test_what_is_no_json_object_is_refused(wire: Wire, app: Application) -> None:
    bodies = [
        "",
        "{",
        "[]",
        "null",
        "7",
        '"x"',
        "NaN",
        '{"clientId": NaN}',
        '{"clientId": "\\ud800"}',
        "\xff",
    ]
    for body in [*bodies, "[" * 20_000, '{"a":' * 5_000]:
        answer = await wire.admin(
            "POST",
            "/oauth-clients",
            body=body.encode("latin-1"),
            headers={"Content-Type": "application/json"},
        )
        assert_problem(answer, 400)
    for content_type in ("application/x-www-form-urlencoded", "text/plain", "multipart/form-data", ""):
        answer = await wire.admin("POST", "/oauth-clients", body="{}", headers={"Content-Type": content_type})
        assert answer.status in {400, 415}, content_type
    assert_problem(await wire.admin("POST", "/oauth-clients", {"name": "n" * 70_000}), 413)
    assert await stored(app) == 0


@pytest.mark.row("G1", "G2", "C19")
@pytest.mark.gen_test
async def test_what_lies_just_inside_the_limits(wire: Wire) -> None:
    right: list[dict[str, Any]] = [
        {"clientId": "a"},
        {"clientId": "-"},
        {"clientId": "0123456789"},
        {"clientId": "a" * 128},
        {"clientId": "bot-32", "clientSecret": "s" * 32},
        {"clientId": "bot-128", "clientSecret": "s" * 128},
        {"clientId": "bot-odd", "clientSecret": "".join(map(chr, range(0x21, 0x7F)))},
        {"clientId": "bot-100", "scopes": [f"bot:scope-number-{number:03}" for number in range(100)]},
        {
            "clientId": "bot-chars",
            "scopes": ["!#$%&'()*+-./:;<=>?@[]^_`{|}~", "https://example.com/a?b=c", "B"],
        },
        {"clientId": "bot-60", "tokenTtl": 60},
        {"clientId": "bot-3600", "tokenTtl": 3600},
        {"clientId": "bot-name", "name": "\N{ROBOT FACE}" * 200},
    ]
    for changes in right:
        document = REGISTRATION | changes
        answer = await wire.admin("POST", "/oauth-clients", document)
        assert answer.status == 201, answer.body
        token = await wire.access_token((document["clientId"], document["clientSecret"]))
        shown = await wire.fetch("GET", "/auth/client", bearer=token)
        assert (shown.status, shown.json["scopes"]) == (200, sorted(document["scopes"]))


@pytest.mark.row("G2", "S2")
@pytest.mark.gen_test
async def test_repeated_scopes_collapse(wire: Wire) -> None:
    answer = await wire.admin("POST", "/oauth-clients", REGISTRATION | {"scopes": ["b", "a", "b", "B"]})
    assert (answer.status, answer.json["scopes"]) == (201, ["b", "a", "B"])


@pytest.mark.row("G2")
@pytest.mark.parametrize(
    "m2m_settings", [OAuthM2MConfig(bcrypt_cost=4, scopes={"bot:api": "", "bot:read": ""})]
)
@pytest.mark.parametrize("plugins", [[]])  # the probe of all tests asks for bot:write
@pytest.mark.gen_test
async def test_a_closed_catalogue_refuses_other_scopes(wire: Wire, app: Application) -> None:
    for scopes in (["bot:write"], ["bot:api", "bot:write"], ["BOT:API"]):
        answer = await wire.admin("POST", "/oauth-clients", REGISTRATION | {"scopes": scopes})
        assert_problem(answer, 400)
        assert answer.json["errors"] == {"scopes": [f"{scopes[-1]} is not in the catalogue."]}
    assert await stored(app) == 0
    answer = await wire.admin("POST", "/oauth-clients", REGISTRATION | {"scopes": ["bot:read", "bot:api"]})
    assert answer.status == 201


@pytest.mark.row("G3")
@pytest.mark.gen_test
async def test_an_id_is_registered_once(wire: Wire, app: Application) -> None:
    other = REGISTRATION | {"clientSecret": "o" * 40, "scopes": ["bot:write"]}
    assert (await wire.admin("POST", "/oauth-clients", REGISTRATION)).status == 201
    answer = await wire.admin("POST", "/oauth-clients", other)
    assert_problem(answer, 409)
    assert await stored(app) == 1
    assert (await wire.admin("GET", "/oauth-clients/station-bot")).json["scopes"] == ["bot:api"]
    assert (await wire.token(("station-bot", SECRET))).status == 200
    assert (await wire.token(("station-bot", "o" * 40))).status == 401


@pytest.mark.row("G3")
@pytest.mark.gen_test
async def test_of_many_registrations_at_once_one_wins(wire: Wire, app: Application) -> None:
    secrets = [f"the-secret-of-registration-number-{number:04}" for number in range(12)]
    answers = await asyncio.gather(
        *(wire.admin("POST", "/oauth-clients", REGISTRATION | {"clientSecret": secret}) for secret in secrets)
    )
    assert sorted(answer.status for answer in answers) == [201] + [409] * 11
    assert await stored(app) == 1
    for secret, registered in zip(secrets, answers, strict=True):
        expected = 200 if registered.status == 201 else 401
        assert (await wire.token(("station-bot", secret))).status == expected


@pytest.mark.row("G4")
@pytest.mark.parametrize("settings", [{"internal_api_key_previous": PREVIOUS_KEY}])
@pytest.mark.gen_test
async def test_the_admin_key(wire: Wire, app: Application) -> None:
    wrong: list[list[str]] = [
        [],
        [""],
        [ADMIN_KEY[:-1]],
        [ADMIN_KEY + "x"],
        [ADMIN_KEY.upper()],
        [f'"{ADMIN_KEY}"'],
        [f"Bearer {ADMIN_KEY}"],
        ["\xff" * 32],
        [ADMIN_KEY, ADMIN_KEY],
        [ADMIN_KEY, "x"],
        ["x", ADMIN_KEY],
        [PREVIOUS_KEY, ADMIN_KEY],
        [f"{ADMIN_KEY},{PREVIOUS_KEY}"],
    ]
    calls = [("POST", "/oauth-clients"), ("GET", "/oauth-clients/x"), ("PATCH", "/oauth-clients/x")]
    for values in wrong:
        headers = HTTPHeaders()
        for value in values:
            headers.add(KEY_HEADER, value)
        for method, path in calls:
            answer = await wire.fetch(method, path, headers=headers, document=REGISTRATION)
            assert_problem(answer, 401)
            assert answer.headers["WWW-Authenticate"] == 'Session realm="station"'
            assert ADMIN_KEY.encode() not in answer.body
    assert await stored(app) == 0
    for number, key in enumerate((ADMIN_KEY, PREVIOUS_KEY)):
        for header in (KEY_HEADER, KEY_HEADER.upper()):
            document = REGISTRATION | {"clientId": f"bot-{number}-{header[0].lower()}{header[0] == 'X':d}"}
            answer = await wire.fetch("POST", "/oauth-clients", headers={header: key}, document=document)
            assert answer.status == 201


@pytest.mark.row("G4")
@pytest.mark.gen_test
async def test_the_admin_key_is_read_in_its_header_alone(wire: Wire, app: Application) -> None:
    for query in (f"x-internal-api-key={ADMIN_KEY}", f"internal-api-key={ADMIN_KEY}", f"api_key={ADMIN_KEY}"):
        assert_problem(await wire.fetch("POST", f"/oauth-clients?{query}", document=REGISTRATION), 401)
    for headers in (
        {"Authorization": f"Bearer {ADMIN_KEY}"},
        {"Authorization": ADMIN_KEY},
        {"Cookie": f"x-internal-api-key={ADMIN_KEY}; station_access={ADMIN_KEY}"},
        {"x-api-key": ADMIN_KEY},
    ):
        assert_problem(
            await wire.fetch("POST", "/oauth-clients", headers=headers, document=REGISTRATION), 401
        )
    in_body = REGISTRATION | {"x-internal-api-key": ADMIN_KEY}
    assert_problem(await wire.fetch("POST", "/oauth-clients", document=in_body), 401)
    assert await stored(app) == 0


@pytest.mark.row("G4")
@pytest.mark.parametrize(
    "settings",
    [
        {"internal_api_key": key, "internal_api_key_previous": previous}
        for key in (None, "", "   ")
        for previous in (None, "")
    ],
)
@pytest.mark.gen_test
async def test_without_a_key_nothing_opens(
    wire: Wire, app: Application, settings: dict[str, str | None]
) -> None:
    for key in (ADMIN_KEY, "", "   ", "None", "null", "undefined", str(settings["internal_api_key"])):
        answer = await wire.fetch(
            "POST", "/oauth-clients", headers={KEY_HEADER: key.strip()}, document=REGISTRATION
        )
        assert_problem(answer, 401)
    assert await stored(app) == 0


@pytest.mark.row("G4", "C16")
@pytest.mark.parametrize("settings", [{"failure_throttle_limit": 3}])
@pytest.mark.gen_test
async def test_only_wrong_keys_are_throttled(wire: Wire) -> None:
    for number in range(8):
        document = REGISTRATION | {"clientId": f"bot-{number}"}
        assert (await wire.admin("POST", "/oauth-clients", document)).status == 201
        assert (await wire.fetch("POST", "/oauth-clients", document=document)).status == 401  # no key at all
    for _ in range(3):
        assert_problem(await wire.fetch("GET", "/oauth-clients/x", headers={KEY_HEADER: "wrong"}), 401)
    answer = await wire.fetch("GET", "/oauth-clients/x", headers={KEY_HEADER: "wrong"})
    assert_problem(answer, 429)
    assert 1 <= int(answer.headers["Retry-After"]) <= 60
    assert (await wire.admin("GET", "/oauth-clients/bot-0")).status == 200


@pytest.mark.row("G1")
@pytest.mark.gen_test
async def test_an_unknown_client_is_404(wire: Wire) -> None:
    for path in ("/oauth-clients/nobody", "/oauth-clients/" + "a" * 128):
        assert_problem(await wire.admin("GET", path), 404)
        assert_problem(await wire.admin("PATCH", path, {"isActive": True}), 404)
    for path in ("/oauth-clients/", "/oauth-clients/A", "/oauth-clients/" + "a" * 129, "/oauth-clients/a%0A"):
        assert_problem(await wire.admin("GET", path), 404)


@pytest.mark.row("G2")
@pytest.mark.gen_test
async def test_a_bad_change_changes_nothing(wire: Wire) -> None:
    await wire.register()
    before = (await wire.admin("GET", "/oauth-clients/station-bot")).json
    wrong: list[object] = [None, 0, 1, 0.0, 1.0, "true", "false", "", "no", [], [False], {}, {"$set": 1}]
    for value in wrong:
        answer = await wire.admin("PATCH", "/oauth-clients/station-bot", {"isActive": value})
        assert_problem(answer, 400)
        assert set(answer.json["errors"]) == {"isActive"}, value
    for more in ("clientId", "scopes", "generation", "clientSecret", "is_active"):
        answer = await wire.admin("PATCH", "/oauth-clients/station-bot", {"isActive": False, more: "x"})
        assert_problem(answer, 400)
        assert set(answer.json["errors"]) == {more}
    assert set((await wire.admin("PATCH", "/oauth-clients/station-bot", {})).json["errors"]) == {"body"}
    assert (await wire.admin("GET", "/oauth-clients/station-bot")).json == before


@pytest.mark.row("B3", "T13")
@pytest.mark.gen_test
async def test_the_tokens_of_a_disabled_client_die_for_good(wire: Wire) -> None:
    credentials = await wire.register()
    other = await wire.access_token(await wire.register("other-bot"))
    old = await wire.access_token(credentials)

    async def switch(is_active: bool) -> None:
        answer = await wire.admin("PATCH", "/oauth-clients/station-bot", {"isActive": is_active})
        assert (answer.status, answer.json["isActive"]) == (200, is_active)

    async def opens(token: str) -> bool:
        return (await wire.fetch("GET", "/auth/client", bearer=token)).status == 200

    await switch(True)  # it is enabled already: nothing ends
    assert await opens(old)
    await switch(False)
    assert not await opens(old)
    refused = await wire.token(credentials)
    assert (refused.status, refused.json["error"]) == (401, "invalid_client")
    await switch(True)
    assert not await opens(old)
    new = await wire.access_token(credentials)
    assert await opens(new)
    assert not await opens(old)
    await switch(False)
    await switch(False)
    await switch(True)
    assert [await opens(token) for token in (old, new)] == [False, False]
    assert await opens(other)


@pytest.mark.row("B3")
@pytest.mark.gen_test
async def test_the_same_id_registered_again_revives_no_token(wire: Wire, app: Application) -> None:
    old = await wire.access_token()
    await app.resources.database["oauth_clients"].delete_one({"client_id": "station-bot"})
    assert (await wire.fetch("GET", "/auth/client", bearer=old)).status == 401
    new = await wire.access_token(await wire.register())
    assert (await wire.fetch("GET", "/auth/client", bearer=old)).status == 401
    assert (await wire.fetch("GET", "/auth/client", bearer=new)).status == 200
