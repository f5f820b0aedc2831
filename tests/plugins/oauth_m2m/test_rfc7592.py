"""Managing clients that are there (RFC 7592 2), with preconditions (RFC 9110 13)."""

from __future__ import annotations

import asyncio
import re
import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import pytest

from plugins.oauth_m2m.config import OAuthM2MConfig

if TYPE_CHECKING:
    from station.app import Application
    from tests.conftest import Answer, Wire

SECRET = "a-client-secret-for-the-tests-0123456789"
BOT = "/oauth-clients/station-bot"


def assert_problem(answer: Answer, status: int, *fields: str) -> None:
    """Problem details, with errors for exactly these fields."""
    assert (answer.status, answer.headers["Content-Type"]) == (status, "application/problem+json"), (
        answer.body
    )
    assert set(answer.json.get("errors", {})) == set(fields), answer.body


async def whoami(wire: Wire, token: str) -> int:
    return (await wire.fetch("GET", "/auth/client", bearer=token)).status


async def audited(app: Application, action: str) -> list[dict[str, Any]]:
    found = app.resources.database["audit_events"].find({"action": action})
    return [document async for document in found]


class TestShowing:
    @pytest.mark.row("G5")
    @pytest.mark.gen_test
    async def test_the_entity_tag_is_the_version(self, wire: Wire) -> None:
        registration = {"clientId": "station-bot", "clientSecret": SECRET, "scopes": ["bot:api"]}
        registered = await wire.admin("POST", "/oauth-clients", registration)
        changed = await wire.admin("PATCH", BOT, {"name": "The bot"})
        shown = await wire.admin("GET", BOT)
        assert [answer.headers.get_list("ETag") for answer in (registered, changed, shown)] == [
            ['"1"'],
            ['"2"'],
            ['"2"'],
        ]
        assert (changed.status, changed.json) == (200, {**shown.json, "confirmedBy": 1, "pending": 0})

    @pytest.mark.row("G5")
    @pytest.mark.gen_test
    async def test_what_has_not_changed_is_304(self, wire: Wire) -> None:
        await wire.register()
        for tag, status in (('"1"', 304), ('W/"1"', 304), ("*", 304), ('"0", "1"', 304), ('"2"', 200)):
            answer = await wire.admin("GET", BOT, headers={"If-None-Match": tag})
            assert answer.status == status, tag
            assert answer.headers["ETag"] == '"1"'
            assert bool(answer.body) == (status == 200)
        await wire.admin("PATCH", BOT, {"name": "The bot"})
        assert (await wire.admin("GET", BOT, headers={"If-None-Match": '"1"'})).status == 200

    @pytest.mark.row("G5")
    @pytest.mark.gen_test
    async def test_the_last_use_of_a_secret_is_no_change(self, wire: Wire, app: Application) -> None:
        before = await wire.access_token()
        assert before
        clients = app.resources.database["oauth_clients"]
        await clients.update_one({}, {"$set": {"secrets.0.last_used_at": datetime.now(UTC)}})
        shown = await wire.admin("GET", BOT)
        assert (shown.headers["ETag"], shown.json["createdAt"]) == ('"1"', shown.json["updatedAt"])

    @pytest.mark.row("G5", "G1")
    @pytest.mark.gen_test
    async def test_neither_secret_nor_hash_is_ever_shown(self, wire: Wire, app: Application) -> None:
        await wire.register()
        document = await app.resources.database["oauth_clients"].find_one({})
        assert document is not None
        hidden = [SECRET, document["salt"], document["generation"], document["secrets"][0]["hash"], "$"]
        for answer in (
            await wire.admin("GET", "/oauth-clients"),
            await wire.admin("GET", BOT),
            await wire.admin("PATCH", BOT, {"isActive": False}),
        ):
            assert answer.status == 200
            assert not [text for text in hidden if text in answer.body.decode()]

    @pytest.mark.row("G6")
    @pytest.mark.gen_test
    async def test_no_client_has_the_id_of_a_user(self, wire: Wire, app: Application) -> None:
        person = {"email": "ada@example.com", "password": "correct horse battery"}
        assert (await wire.fetch("POST", "/auth/register", document=person)).status == 201
        user = await app.resources.database["users"].find_one({})
        assert user is not None
        assert str(user["_id"]).startswith("usr_")
        for client_id in (str(user["_id"]), "usr_" + uuid.uuid4().hex, "usr_"):
            document = {"clientId": client_id, "scopes": ["bot:api"]}
            assert_problem(await wire.admin("POST", "/oauth-clients", document), 400, "clientId")
            assert (await wire.admin("GET", f"/oauth-clients/{client_id}")).status == 404


class TestChanging:
    @pytest.mark.row("G5")
    @pytest.mark.gen_test
    async def test_everything_that_may_change(self, wire: Wire) -> None:
        await wire.register()
        before = (await wire.admin("GET", BOT)).json
        change = {"name": "Bot", "scopes": ["a", "b", "a"], "tokenTtl": 60, "isActive": False}
        after = (await wire.admin("PATCH", BOT, change)).json
        updated = after["updatedAt"]
        assert updated > before["updatedAt"]
        assert after == {
            **before,
            **change,
            "scopes": ["a", "b"],
            "version": 2,
            "updatedAt": updated,
            "confirmedBy": 1,
            "pending": 0,
        }
        shown = (await wire.admin("GET", BOT)).json
        assert after == {**shown, "confirmedBy": 1, "pending": 0}
        reset = (await wire.admin("PATCH", BOT, {"tokenTtl": None})).json
        assert (reset["tokenTtl"], reset["name"], reset["version"]) == (None, "Bot", 3)

    @pytest.mark.row("G5")
    @pytest.mark.gen_test
    async def test_what_may_not_change_is_named_and_nothing_changes(self, wire: Wire) -> None:
        await wire.register()
        before = (await wire.admin("GET", BOT)).json
        read_only = ["id", "clientId", "clientSecret", "secrets", "createdAt", "updatedAt", "version"]
        for document, fields in [
            *[({field: before.get(field, SECRET), "name": "Bot"}, [field]) for field in read_only],
            ({"generation": "g", "client_id": "x", "$set": {}}, ["generation", "client_id", "$set"]),
            ({"secretHashes": ["x"], "secret_hashes": ["x"]}, ["secretHashes", "secret_hashes"]),
            ({"name": None, "scopes": None, "isActive": None}, ["name", "scopes", "isActive"]),
            ({"name": "n" * 201, "scopes": [], "tokenTtl": 59}, ["name", "scopes", "tokenTtl"]),
            ({"isActive": 1, "tokenTtl": 60.5, "name": {}}, ["isActive", "tokenTtl", "name"]),
            ({"scopes": ["good", "not good"]}, ["scopes.1"]),
            ({}, ["body"]),
        ]:
            assert_problem(await wire.admin("PATCH", BOT, document), 400, *fields)
        assert (await wire.admin("GET", BOT)).json == before

    @pytest.mark.row("G5")
    @pytest.mark.parametrize(
        "m2m_settings", [OAuthM2MConfig(bcrypt_cost=4, scopes={"bot:api": "", "bot:write": ""})]
    )
    @pytest.mark.gen_test
    async def test_a_closed_catalogue_applies(self, wire: Wire) -> None:
        await wire.register()
        assert_problem(await wire.admin("PATCH", BOT, {"scopes": ["bot:api", "b", "c"]}), 400, "scopes")
        assert (await wire.admin("GET", BOT)).json["version"] == 1

    @pytest.mark.row("S9")
    @pytest.mark.gen_test
    async def test_a_scope_that_is_removed_is_gone_from_live_tokens(self, wire: Wire) -> None:
        credentials = await wire.register(scopes=["bot:api", "bot:write"])
        token = await wire.access_token(credentials)

        async def statuses() -> list[int]:
            return [(await wire.fetch(method, "/probe", bearer=token)).status for method in ("GET", "POST")]

        assert await statuses() == [200, 200]
        await wire.admin("PATCH", BOT, {"scopes": ["bot:api"]})
        assert await statuses() == [200, 403]  # narrowed, not ended
        shown = await wire.fetch("GET", "/auth/client", bearer=token)
        assert shown.json["scopes"] == ["bot:api"]
        # what a token was granted comes back with the scope; what it was not granted never comes
        await wire.admin("PATCH", BOT, {"scopes": ["bot:write", "bot:more"]})
        assert await statuses() == [403, 200]
        shown = await wire.fetch("GET", "/auth/client", bearer=token)
        assert shown.json["scopes"] == ["bot:write"]

    @pytest.mark.row("V11")
    @pytest.mark.gen_test
    async def test_disabling_ends_live_tokens_and_enabling_revives_none(self, wire: Wire) -> None:
        credentials = await wire.register()
        token = await wire.access_token(credentials)
        await wire.admin("PATCH", BOT, {"name": "no reason to die"})
        assert await whoami(wire, token) == 200
        assert (await wire.admin("PATCH", BOT, {"isActive": False})).status == 200
        assert (await whoami(wire, token), (await wire.token(credentials)).status) == (401, 401)
        await wire.admin("PATCH", BOT, {"isActive": True})
        assert await whoami(wire, token) == 401
        assert await whoami(wire, await wire.access_token(credentials)) == 200


class TestDeleting:
    @pytest.mark.row("G5", "V11")
    @pytest.mark.gen_test
    async def test_live_tokens_end_and_the_same_id_revives_none(self, wire: Wire) -> None:
        credentials = await wire.register()
        token = await wire.access_token(credentials)
        deleted = await wire.admin("DELETE", BOT)
        assert (deleted.status, deleted.body) == (204, b"")
        assert (await whoami(wire, token), (await wire.token(credentials)).status) == (401, 401)
        assert_problem(await wire.admin("GET", BOT), 404)
        await wire.register()
        assert await whoami(wire, token) == 401
        assert await whoami(wire, await wire.access_token(credentials)) == 200

    @pytest.mark.gen_test
    async def test_a_client_that_is_not_there(self, wire: Wire) -> None:
        for method, document in (("GET", None), ("PATCH", {"name": "x"}), ("DELETE", None)):
            for headers in ({}, {"If-Match": '"1"'}, {"If-Match": "*"}):
                assert_problem(await wire.admin(method, BOT, document, headers=headers), 404)


class TestIfMatch:
    @pytest.mark.row("G5")
    @pytest.mark.gen_test
    async def test_what_is_stale_is_412_and_nothing_happens(self, wire: Wire) -> None:
        await wire.register()
        await wire.admin("PATCH", BOT, {"name": "Bot"})
        before = (await wire.admin("GET", BOT)).json
        for tag in (
            '"1"',
            '"3"',
            'W/"2"',
            '"02"',
            '"2 "',
            '""',
            '"x"',
            '"1", "3"',
            '"9999999999999999999999"',
        ):
            for method, document in (("PATCH", {"name": "Other"}), ("DELETE", None)):
                answer = await wire.admin(method, BOT, document, headers={"If-Match": tag})
                if tag == '"2 "':
                    assert_problem(answer, 400)
                    continue
                assert_problem(answer, 412)
                assert answer.json["code"] == "precondition-failed"
        assert (await wire.admin("GET", BOT)).json == before

    @pytest.mark.row("G5")
    @pytest.mark.gen_test
    async def test_what_matches_is_done(self, wire: Wire) -> None:
        await wire.register()
        for version, tags in enumerate(('"1"', "*", '"7" , "3"', 'W/"4",\t"4"'), 1):
            answer = await wire.admin("PATCH", BOT, {"name": tags}, headers={"If-Match": tags})
            assert (answer.status, answer.headers["ETag"]) == (200, f'"{version + 1}"')
        assert (await wire.admin("DELETE", BOT, headers={"If-Match": '"5"'})).status == 204

    @pytest.mark.row("G5")
    @pytest.mark.gen_test
    async def test_what_is_malformed_is_400(self, wire: Wire) -> None:
        await wire.register()
        for tag in ("1", '"1', "'1'", 'w/"1"', '"1" "2"', "*, *", '*, "1"', "", '"a"b"'):
            for method, document in (("PATCH", {"name": "Other"}), ("DELETE", None)):
                assert_problem(await wire.admin(method, BOT, document, headers={"If-Match": tag}), 400)
        assert (await wire.admin("GET", BOT)).json["version"] == 1

    @pytest.mark.row("G5")
    @pytest.mark.gen_test
    async def test_of_two_admins_one_is_told(self, wire: Wire) -> None:
        await wire.register()
        for version in range(1, 6):
            answers = await asyncio.gather(
                *[
                    wire.admin("PATCH", BOT, {"name": name}, headers={"If-Match": f'"{version}"'})
                    for name in ("Ada", "Bob", "Eve")
                ]
            )
            assert sorted(answer.status for answer in answers) == [200, 412, 412]
            [done] = [answer.json for answer in answers if answer.status == 200]
            shown = (await wire.admin("GET", BOT)).json
            assert done == {**shown, "confirmedBy": 1, "pending": 0}


class TestListing:
    @staticmethod
    async def fleet(wire: Wire) -> None:
        for client_id, name, scopes in (
            ("delta", "Fleet (north)", ["bot:api", "bot:write"]),
            ("alpha", "fleet .* south", ["bot:api"]),
            ("bravo-2", "", ["bot:write"]),
            ("bravo", "Übung", ["bot:api"]),
        ):
            await wire.register(client_id, name=name, scopes=scopes)
        await wire.admin("PATCH", "/oauth-clients/bravo", {"isActive": False})

    @staticmethod
    async def ids(wire: Wire, query: str = "") -> list[str]:
        answer = await wire.admin("GET", f"/oauth-clients?{query}")
        assert (answer.status, answer.json["nextCursor"]) == (200, None), answer.body
        return [client["clientId"] for client in answer.json["clients"]]

    @pytest.mark.gen_test
    async def test_clients_come_by_id_as_they_are_shown(self, wire: Wire) -> None:
        empty = await wire.admin("GET", "/oauth-clients")
        assert (empty.status, empty.json) == (200, {"clients": [], "nextCursor": None})
        await self.fleet(wire)
        assert await self.ids(wire) == ["alpha", "bravo", "bravo-2", "delta"]
        listed = (await wire.admin("GET", "/oauth-clients")).json["clients"]
        for client in listed:
            assert (await wire.admin("GET", f"/oauth-clients/{client['clientId']}")).json == client

    @pytest.mark.gen_test
    async def test_filters(self, wire: Wire) -> None:
        await self.fleet(wire)
        for query, expected in {
            "search=FLEET": ["alpha", "delta"],
            "search=ravo": ["bravo", "bravo-2"],
            "search=-2": ["bravo-2"],
            "search=%C3%9Cbung": ["bravo"],
            "search=": ["alpha", "bravo", "bravo-2", "delta"],
            "search=.*": ["alpha"],  # a text, not a pattern
            "search=(north)": ["delta"],
            "search=^a": [],
            "search=a%7Cb": [],
            "search=%5C": [],
            "search=fleet%20": ["alpha", "delta"],
            "search=%20": ["alpha", "delta"],
            "scope=bot:write": ["bravo-2", "delta"],
            "scope=bot:": [],
            "isActive=true": ["alpha", "bravo-2", "delta"],
            "isActive=false": ["bravo"],
            "scope=bot:api&isActive=true&search=fleet": ["alpha", "delta"],
        }.items():
            assert await self.ids(wire, query) == expected, query

    @pytest.mark.gen_test
    async def test_every_character_is_searched_as_itself(self, wire: Wire) -> None:
        name = "".join(map(chr, range(32, 127))) + "\t\n\u00df\u20ac\U0001f916"
        await wire.register(name=name)
        for place, character in enumerate(name):
            for part in (character, name[place : place + 9]):
                assert await self.ids(wire, urlencode({"search": part})) == ["station-bot"], part

    @pytest.mark.gen_test
    async def test_pages_hold_every_client_once(self, wire: Wire) -> None:
        await self.fleet(wire)
        for limit, sizes in ((1, [1, 1, 1, 1]), (2, [2, 2]), (3, [3, 1]), (4, [4]), (200, [4])):
            pages, query = [], f"limit={limit}"
            while True:
                answer = await wire.admin("GET", f"/oauth-clients?{query}")
                pages.append([client["clientId"] for client in answer.json["clients"]])
                cursor = answer.json["nextCursor"]
                if cursor is None:
                    break
                assert re.fullmatch("[A-Za-z0-9_-]+", cursor)
                query = f"limit={limit}&cursor={cursor}"
            assert [len(page) for page in pages] == sizes
            assert [one for page in pages for one in page] == ["alpha", "bravo", "bravo-2", "delta"]

    @pytest.mark.gen_test
    async def test_a_page_goes_on_where_the_other_ended_whatever_happened_between(self, wire: Wire) -> None:
        await self.fleet(wire)
        cursor = (await wire.admin("GET", "/oauth-clients?limit=2")).json["nextCursor"]
        await wire.admin("DELETE", "/oauth-clients/bravo")
        await wire.register("aaa")
        await wire.register("charlie")
        assert await self.ids(wire, f"cursor={cursor}") == ["bravo-2", "charlie", "delta"]

    @pytest.mark.gen_test
    async def test_bad_parameters_are_named(self, wire: Wire) -> None:
        await self.fleet(wire)
        cursor = (await wire.admin("GET", "/oauth-clients?limit=2")).json["nextCursor"]
        assert cursor
        for query, fields in {
            "limit=0": ["limit"],
            "limit=201": ["limit"],
            "limit=": ["limit"],
            "limit=-1": ["limit"],
            "limit=5_0": ["limit"],
            "limit=%D9%A5": ["limit"],
            "limit=10.0": ["limit"],
            "isActive=1": ["isActive"],
            "isActive=True": ["isActive"],
            "scope=a%20b": ["scope"],
            "search=" + "s" * 201: ["search"],
            "cursor=": ["cursor"],
            "cursor=x": ["cursor"],
            "cursor=alpha": ["cursor"],
            f"cursor={cursor}x": ["cursor"],
            f"cursor={cursor[:-1]}": ["cursor"],
            f"cursor=A{cursor[1:]}": ["cursor"],
            f"cursor={cursor}%3D": ["cursor"],
            f"cursor={cursor}%0A": ["cursor"],
            "cursor=%C3%9C": ["cursor"],
            "page=2": ["page"],
            "is_active=true&foo": ["is_active", "foo"],
            "limit=1&limit=2&scope=a&scope=a": ["limit", "scope"],
            "limit=x&isActive=x&more=x": ["limit", "isActive", "more"],
        }.items():
            assert_problem(await wire.admin("GET", f"/oauth-clients?{query}"), 400, *fields)
        assert (await wire.admin("GET", "/oauth-clients?search=%00")).status == 400
        assert (await wire.admin("GET", "/oauth-clients?search=%FF")).status == 400


@pytest.mark.row("G7")
@pytest.mark.gen_test
async def test_every_change_is_audited_with_before_and_after(wire: Wire, app: Application) -> None:
    await wire.register()
    changed = await wire.admin("PATCH", BOT, {"scopes": ["bot:write"]})
    stale = await wire.admin("PATCH", BOT, {"name": "late"}, headers={"If-Match": '"1"'})
    await wire.admin("PATCH", BOT, {"isActive": False})
    deleted = await wire.admin("DELETE", BOT)
    done, refused = await audited(app, "client.changed")
    assert (done["before"]["scopes"], done["after"]["scopes"]) == (["bot:api"], ["bot:write"])
    assert (done["request_id"], done["actor"]["kind"]) == (changed.headers["X-Request-ID"], "key")
    assert (refused["outcome"], refused["request_id"]) == ("refused", stale.headers["X-Request-ID"])
    assert "after" not in refused
    [disabled] = await audited(app, "client.disabled")
    assert (disabled["before"]["is_active"], disabled["after"]["is_active"]) == (True, False)
    [gone] = await audited(app, "client.deleted")
    assert (gone["before"]["version"], gone["request_id"]) == (3, deleted.headers["X-Request-ID"])
    events = [event async for event in app.resources.database["audit_events"].find({})]
    assert "$bcrypt" not in str(events)
    assert SECRET not in str(events)
