from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from marshmallow import Schema, ValidationError

from plugins.oauth_m2m.models import Client, ClientSecret, Registration
from plugins.oauth_m2m.schemas import (
    ChangeSchema,
    QuerySchema,
    RegistrationSchema,
    SecretSchema,
    client_json,
    timestamp,
)

GOOD: dict[str, Any] = {"clientId": "station-bot", "scopes": ["bot:api"]}


def bad_fields(document: dict[str, Any]) -> set[str]:
    return set(RegistrationSchema().validate(document))


def test_a_registration() -> None:
    assert RegistrationSchema().load(GOOD) == Registration("station-bot", ("bot:api",))
    everything = {
        **GOOD,
        "scopes": ["bot:write", "bot:api", "bot:write"],
        "clientSecret": "s" * 32,
        "name": "The bot",
        "tokenTtl": 60,
    }
    assert RegistrationSchema().load(everything) == Registration(
        "station-bot", ("bot:write", "bot:api"), client_secret="s" * 32, name="The bot", token_ttl=60
    )


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("clientId", ["a", "-", "0", "a" * 128, "station-bot"]),
        ("clientSecret", ["s" * 32, "s" * 128, "!~" * 16, '"\\' * 16]),
        ("scopes", [["!"], ["a", "b", "a"], ["bot:api/x"], ["s"] * 100]),
        ("name", ["", "n" * 200, "Ünïcode\n"]),
        ("tokenTtl", [60, 3600]),
    ],
)
def test_what_a_field_may_be(field: str, values: list[object]) -> None:
    for value in values:
        assert bad_fields({**GOOD, field: value}) == set(), value


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("clientId", ["", "a" * 129, "A", "a_b", "a b", "a\n", "ä", "usr_1", None, 7, ["a"]]),
        ("clientSecret", ["", "s" * 31, "s" * 129, "s" * 31 + " ", "s" * 31 + "\n", "s" * 31 + "é", None, 7]),
        ("scopes", [[], "bot:api", [""], ["a b"], ["a,b"], ['a"'], ["a\\"], ["ä"], ["a\t"], [None], [["a"]]]),
        ("scopes", [["s"] * 101, None, {"a": "b"}, ["good", "not good"]]),
        ("name", ["n" * 201, None, 7]),
        ("tokenTtl", [59, 3601, "60", 60.5, None, [60]]),
        ("client_id", ["station-bot"]),  # the names of the wire are camelCase
        ("isActive", [True]),
    ],
)
def test_what_a_field_may_not_be(field: str, values: list[object]) -> None:
    for value in values:
        assert bad_fields({**GOOD, field: value}) == {field}, value


def test_every_bad_field_is_named_at_once() -> None:
    assert bad_fields({}) == {"clientId", "scopes"}
    everything = {"clientId": "", "clientSecret": "", "scopes": [], "name": 1, "tokenTtl": 1, "more": 1}
    assert bad_fields(everything) == set(everything)


def test_a_refused_secret_is_not_repeated() -> None:
    secret = "a-secret-that-is-too-short"
    with pytest.raises(ValidationError) as error:
        RegistrationSchema().load({**GOOD, "clientSecret": secret})
    assert secret not in str(error.value.messages)


@pytest.mark.parametrize(
    ("document", "change"),
    [
        ({"isActive": True}, {"is_active": True}),
        ({"name": ""}, {"name": ""}),
        ({"scopes": ["b", "a", "b"]}, {"scopes": ("b", "a")}),
        ({"tokenTtl": None}, {"token_ttl": None}),
        ({"tokenTtl": 60, "isActive": False}, {"token_ttl": 60, "is_active": False}),
    ],
)
def test_a_change(document: dict[str, object], change: dict[str, object]) -> None:
    assert ChangeSchema().load(document) == change


@pytest.mark.parametrize(
    ("document", "fields"),
    [
        ({}, {"_schema"}),
        ({"isActive": "true"}, {"isActive"}),
        ({"isActive": None, "name": None, "scopes": None}, {"isActive", "name", "scopes"}),
        ({"clientId": "x", "name": "x"}, {"clientId"}),
        ({"secret_hashes": []}, {"secret_hashes"}),
    ],
)
def test_what_is_no_change(document: dict[str, object], fields: set[str]) -> None:
    assert set(ChangeSchema().validate(document)) == fields


def test_a_query() -> None:
    assert QuerySchema().load({}) == {}
    query = {"search": "a", "scope": "b", "isActive": "false", "limit": "007", "cursor": "c"}
    assert QuerySchema().load(query) == {
        "search": "a",
        "scope": "b",
        "is_active": False,
        "limit": 7,
        "cursor": "c",
    }


def test_a_client_is_shown_without_its_secrets() -> None:
    moment = datetime(2025, 1, 2, 3, 4, 5, 678_000, UTC)
    client = Client(
        id="1",
        client_id="station-bot",
        name="The bot",
        salt="a-salt",
        secrets=(ClientSecret("s1", "a-hash", moment),),
        scopes=("bot:api",),
        is_active=True,
        token_ttl=None,
        generation="g1",
        version=1,
        created_at=moment,
        updated_at=moment,
    )
    assert client_json(client) == {
        "id": "1",
        "clientId": "station-bot",
        "name": "The bot",
        "scopes": ["bot:api"],
        "isActive": True,
        "tokenTtl": None,
        "version": 1,
        "createdAt": "2025-01-02T03:04:05.678Z",
        "updatedAt": "2025-01-02T03:04:05.678Z",
    }


def test_a_timestamp_has_milliseconds_even_on_the_second() -> None:
    assert timestamp(datetime(2025, 1, 2, tzinfo=UTC)) == "2025-01-02T00:00:00.000Z"


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
_names = st.sampled_from(
    ["clientId", "clientSecret", "scopes", "name", "tokenTtl", "isActive"]
) | st.sampled_from(["expiresAt", "endOthersAt", "endOthersIn"])
_almost = st.sampled_from(
    ["a" * 32, "bot:api", "2099-01-01T00:00:00Z", 60, True, ["bot:api"], {"$gt": ""}, "\0"]
)


@pytest.mark.parametrize("schema", [RegistrationSchema(), ChangeSchema(), SecretSchema()], ids=repr)
@given(document=st.dictionaries(_names | st.text(), _json | _almost, max_size=5))
def test_any_object_is_loaded_or_its_fields_are_named(schema: Schema, document: dict[str, object]) -> None:
    try:
        schema.load(document)
        named: object = {}
    except ValidationError as error:
        named = error.messages
    assert isinstance(named, dict)
    assert set(named) <= {*document, "clientId", "scopes", "_schema", "endOthersIn"}


@given(st.dictionaries(st.sampled_from(["search", "scope", "isActive", "limit", "cursor", "x"]), st.text()))
def test_any_query_is_loaded_or_its_fields_are_named(query: dict[str, str]) -> None:
    try:
        found = QuerySchema().load(query)
        named: object = {}
    except ValidationError as error:
        found, named = {}, error.messages
    assert isinstance(named, dict)
    assert set(named) <= set(query)
    assert 1 <= found.get("limit", 1) <= 200
