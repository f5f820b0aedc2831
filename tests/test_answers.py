"""What the endpoints send has no member that /openapi.json does not name; schemathesis checks the rest."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import pytest
from jsonschema import Draft202012Validator

from tests.conftest import SECRET

if TYPE_CHECKING:
    from tests.conftest import Answer, Wire

BOT = "/oauth-clients/station-bot"


def strict(document: dict[str, Any]) -> dict[str, Any]:
    """The schemas with nothing beyond what they name."""
    schemas: dict[str, Any] = copy.deepcopy(document["components"]["schemas"])
    for schema in schemas.values():
        schema["additionalProperties"] = False
    return schemas


def check(document: dict[str, Any], path: str, method: str, answer: Answer) -> None:
    response = document["paths"][path][method]["responses"][str(answer.status)]
    if "$ref" in response:
        response = document["components"]["responses"][response["$ref"].rpartition("/")[2]]
    content = response["content"][answer.headers["Content-Type"]]
    schema = {**content["schema"], "components": {"schemas": strict(document)}}
    assert [error.message for error in Draft202012Validator(schema).iter_errors(answer.json)] == []


@pytest.mark.gen_test
async def test_people_are_answered_what_is_described_and_nothing_else(wire: Wire) -> None:
    document = (await wire.fetch("GET", "/openapi.json")).json
    person = {"email": "ada@example.com", "password": "correct horse battery"}
    for path in ("register", "login"):
        answer = await wire.fetch("POST", f"/auth/{path}", document=person)
        check(document, f"/auth/{path}", "post", answer)
    cookies = "; ".join(value.partition(";")[0] for value in answer.headers.get_list("Set-Cookie"))
    me = await wire.fetch("GET", "/auth/me", headers={"Cookie": cookies})
    check(document, "/auth/me", "get", me)
    sent = await wire.fetch("POST", "/auth/forgot-password", document={"email": person["email"]})
    check(document, "/auth/forgot-password", "post", sent)
    changed = {"currentPassword": person["password"], "newPassword": "battery horse correct"}
    again = await wire.fetch("POST", "/auth/change-password", document=changed, headers={"Cookie": cookies})
    check(document, "/auth/change-password", "post", again)
    cookies = "; ".join(value.partition(";")[0] for value in again.headers.get_list("Set-Cookie"))
    refreshed = await wire.fetch("POST", "/auth/refresh", headers={"Cookie": cookies}, body="")
    check(document, "/auth/refresh", "post", refreshed)


@pytest.mark.gen_test
async def test_errors_are_what_is_described(wire: Wire) -> None:
    document = (await wire.fetch("GET", "/openapi.json")).json
    check(document, "/auth/me", "get", await wire.fetch("GET", "/auth/me"))
    check(document, "/auth/client", "get", await wire.fetch("GET", "/auth/client"))
    check(document, "/auth/token", "post", await wire.fetch("POST", "/auth/token", form={"a": "b"}))
    check(document, "/oauth-clients", "post", await wire.admin("POST", "/oauth-clients", {"scopes": []}))
    check(document, "/oauth-clients", "get", await wire.fetch("GET", "/oauth-clients"))


@pytest.mark.gen_test
async def test_clients_are_answered_what_is_described_and_nothing_else(wire: Wire) -> None:
    document = (await wire.fetch("GET", "/openapi.json")).json
    one, secrets, tokens = (f"/oauth-clients/{{clientId}}{rest}" for rest in ("", "/secrets", "/tokens"))
    registration = {"clientId": "station-bot", "scopes": ["bot:api", "oauth:introspect"], "tokenTtl": 60}
    made = await wire.admin("POST", "/oauth-clients", registration)
    check(document, "/oauth-clients", "post", made)
    credentials = ("station-bot", made.json["clientSecret"])
    check(document, "/oauth-clients", "get", await wire.admin("GET", "/oauth-clients"))
    check(document, one, "get", await wire.admin("GET", BOT))
    check(document, one, "patch", await wire.admin("PATCH", BOT, {"name": "Bot"}))
    added = await wire.admin("POST", f"{BOT}/secrets", {"endOthersIn": 3600})
    check(document, secrets, "post", added)
    chosen = await wire.admin("POST", f"{BOT}/secrets", {"clientSecret": SECRET})
    check(document, secrets, "post", chosen)
    granted = await wire.token(credentials)
    assert "client_secret_expires_at" in granted.json
    check(document, "/auth/token", "post", granted)
    token = granted.json["access_token"]
    check(document, secrets, "get", await wire.admin("GET", f"{BOT}/secrets"))
    check(document, tokens, "get", await wire.admin("GET", f"{BOT}/tokens"))
    check(document, "/auth/client", "get", await wire.fetch("GET", "/auth/client", bearer=token))
    for asked in (token, "no token"):
        said = await wire.fetch("POST", "/auth/introspect", form={"token": asked}, basic=credentials)
        check(document, "/auth/introspect", "post", said)
    revoked = await wire.fetch("POST", "/auth/revoke", form={"token": token}, basic=credentials)
    check(document, "/auth/revoke", "post", revoked)
    check(document, tokens, "delete", await wire.admin("DELETE", f"{BOT}/tokens"))
    for path in ("oauth-authorization-server", "oauth-protected-resource", "jwks.json"):
        check(document, f"/.well-known/{path}", "get", await wire.fetch("GET", f"/.well-known/{path}"))
