"""Table G: registration and management of clients (RFC 7591, 7592), by Station's admin interface."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from plugins.oauth_m2m.conformance import expect
from plugins.oauth_m2m.conformance.clients import KEY_HEADER
from plugins.oauth_m2m.conformance.needs import Need
from plugins.oauth_m2m.conformance.rows import row

if TYPE_CHECKING:
    from plugins.oauth_m2m.conformance.server import Server
    from plugins.oauth_m2m.conformance.wire import Answer

_WRONG = "not-the-admin-key-of-this-server-0123456789"
_HIDDEN = ("secret", "hash", "salt")


def _document(server: Server, **fields: object) -> dict[str, object]:
    return {"clientId": server.admin.new_id(), "scopes": list(server.admin.scopes), **fields}


def _hides(answer: Answer, secret: str, case: str) -> None:
    expect.status(answer, 200, case=case)
    shown = answer.body.decode(errors="replace")
    hidden = secret not in shown and "$bcrypt" not in shown
    expect.that(hidden, f"{case}: a secret or its hash is shown", answer)


@row("G1", Need.ADMIN)
async def creating(server: Server) -> None:
    document = _document(server)
    answer = await server.admin.call("POST", document=document)
    expect.status(answer, 201)
    secret = expect.json_object(answer).get("clientSecret")
    expect.that(isinstance(secret, str), "there is no generated secret", answer)
    expect.that("no-store" in answer.header("Cache-Control"), "Cache-Control does not say no-store", answer)
    shown = await server.admin.call("GET", f"/{document['clientId']}")
    _hides(shown, str(secret), "shown again")
    chosen = _document(server, clientSecret="s" * 40)
    answer = await server.admin.call("POST", document=chosen)
    expect.status(answer, 201, case="with a chosen secret")
    expect.that(b"s" * 40 not in answer.body, "a chosen secret comes back", None)


@row("G2", Need.ADMIN)
async def bad_registrations(server: Server) -> None:
    bad: dict[str, object] = {"clientSecret": "short", "scopes": ["a b"], "tokenTtl": 1, "conformance": 1}
    document = _document(server, **bad)
    answer = await server.admin.call("POST", document=document)
    expect.status(answer, 400)
    expect.that(answer.media_type == "application/problem+json", "it is no problem details", answer)
    errors = expect.json_object(answer).get("errors")
    named = {name.partition(".")[0] for name in errors} if isinstance(errors, dict) else set()
    missing = ", ".join(sorted(bad.keys() - named))
    expect.that(not missing, f"a bad field is not named: {missing}", answer)
    stored = await server.admin.call("GET", f"/{document['clientId']}")
    expect.status(stored, 404, case="what was refused")


@row("G3", Need.ADMIN)
async def the_same_id_twice(server: Server) -> None:
    document = _document(server)
    answers = await asyncio.gather(*(server.admin.call("POST", document=document) for _ in range(2)))
    statuses = sorted(answer.status for answer in answers)
    expect.that(statuses == [201, 409], f"two at once: expected 201 and 409, got {statuses}", answers[1])
    answer = await server.admin.call("POST", document=document)
    expect.status(answer, 409, case="once more")


@row("G4", Need.ADMIN, unseen="constant time, an unset key, a second key, and what is throttled")
async def the_admin_key(server: Server) -> None:
    document = _document(server)
    [(_, key)] = server.admin.key_header
    for case, query, headers in (
        ("no key", "", []),
        ("a wrong key", "", [(KEY_HEADER, _WRONG)]),
        ("the key as Bearer", "", [("Authorization", f"Bearer {key!s}")]),
        ("the key twice", "", [(KEY_HEADER, key), (KEY_HEADER, key)]),
        ("a key in the query", f"?{KEY_HEADER}={_WRONG}", []),
    ):
        answer = await server.admin.call("POST", query, document, headers=headers)
        expect.status(answer, 401, case=case)


@row("G5", Need.ADMIN)
async def showing_changing_deleting(server: Server) -> None:
    client = await server.admin.register()
    path = f"/{client.id}"
    shown = await server.admin.call("GET", path)
    _hides(shown, client.secret, "GET")
    members = [name for name in expect.json_object(shown) if any(part in name.lower() for part in _HIDDEN)]
    expect.that(not members, f"GET shows {', '.join(members)}", shown)
    listed = await server.admin.call("GET", f"?search={client.id}")
    _hides(listed, client.secret, "the list")
    renamed = await server.admin.call("PATCH", path, {"clientId": server.admin.new_id()})
    expect.status(renamed, 400, case="PATCH of clientId")
    etag = shown.header("ETag")
    expect.status(await server.admin.call("PATCH", path, {"name": "conformance"}), 200, case="PATCH")
    for method, document in (("PATCH", {"name": "stale"}), ("DELETE", None)):
        headers = [*server.admin.key_header, ("If-Match", etag)]
        answer = await server.admin.call(method, path, document, headers=headers)
        expect.status(answer, 412, case=f"{method} with a stale If-Match")
    expect.status(await server.admin.call("DELETE", path), 204, case="DELETE")
    expect.status(await server.admin.call("GET", path), 404, case="GET of what is deleted")


@row("G6", Need.ADMIN)
async def ids_of_people(server: Server) -> None:
    document = _document(server, clientId=f"usr_{server.admin.prefix}")
    answer = await server.admin.call("POST", document=document)
    expect.status(answer, 400, case="an id that a user could have")
