"""Table T: the request for a token (RFC 6749 3.2 and 4.4.2)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from plugins.oauth_m2m.conformance import expect
from plugins.oauth_m2m.conformance.needs import Need
from plugins.oauth_m2m.conformance.rows import row
from plugins.oauth_m2m.conformance.server import FORM, basic, with_query
from plugins.oauth_m2m.conformance.wire import Request

if TYPE_CHECKING:
    from plugins.oauth_m2m.conformance.server import Server
    from plugins.oauth_m2m.conformance.wire import Answer

_BODY = b"grant_type=client_credentials"
_METHODS = ("GET", "PUT", "DELETE", "PATCH", "HEAD")


async def _post(server: Server, body: bytes, *, query: str = "", content_type: str | None = FORM) -> Answer:
    url = with_query(server.endpoints.token, query)
    return await server.post(url, body=body, client=await server.client(), content_type=content_type)


@row("T1")
async def a_token(server: Server) -> None:
    expect.token(await server.ask())


@row("T2")
async def other_methods(server: Server) -> None:
    client = await server.client()
    headers = (("Authorization", basic(client.id, client.secret)), ("Content-Type", FORM))
    for method in _METHODS:
        answer = await server.send(Request(method, server.endpoints.token, headers, _BODY))
        expect.status(answer, 405, case=method)
        expect.that("POST" in answer.header("Allow"), f"{method}: Allow does not name POST", answer)
        if method != "HEAD":
            document = expect.json_object(answer, method)
            expect.that("access_token" not in document, f"{method}: a token was issued", answer)


@row("T3")
async def the_media_type_of_a_form(server: Server) -> None:
    spellings = (FORM.upper(), f"{FORM};charset=UTF-8", f'{FORM} ; Charset="utf-8"')
    for content_type in spellings:
        answer = await server.ask(content_type=content_type, more="comment=Grüße".encode())
        expect.token(answer, content_type)


@row("T4")
async def json_and_other_types(server: Server) -> None:
    grant = {"grant_type": "client_credentials"}
    document = json.dumps(grant).encode()
    expect.token(await _post(server, document, content_type="application/json"), "application/json")
    multipart = (
        b'--b\r\nContent-Disposition: form-data; name="grant_type"\r\n\r\nclient_credentials\r\n--b--\r\n'
    )
    for content_type, body in (
        ("text/plain", _BODY),
        ("multipart/form-data; boundary=b", multipart),
        (None, _BODY),
    ):
        case = content_type or "no Content-Type"
        answer = await _post(server, body, content_type=content_type)
        description = expect.refusal(answer, "invalid_request", case=case)
        expect.that("content-type" in description.lower(), f"{case}: the Content-Type is not named", answer)
    repeated = document[:-1] + b", " + document[1:]
    answer = await _post(server, repeated, content_type="application/json")
    expect.refusal(answer, "invalid_request", case="a repeated member")
    array = json.dumps({"grant_type": ["client_credentials"]}).encode()
    answer = await _post(server, array, content_type="application/json")
    expect.refusal(answer, "invalid_request", case="a member that is no string")


@row("T5")
async def no_grant_type(server: Server) -> None:
    expect.refusal(await _post(server, b"x=y"), "invalid_request")


@row("T6")
async def an_empty_grant_type(server: Server) -> None:
    expect.refusal(await _post(server, b"grant_type="), "invalid_request")


@row("T7")
async def other_grants(server: Server) -> None:
    for grant in ("password", "conformance", "urn:ietf:params:oauth:grant-type:conformance"):
        body = urlencode({"grant_type": grant}).encode()
        expect.refusal(await _post(server, body), "unsupported_grant_type", case=grant)


@row("T8")
async def the_case_of_grant_type(server: Server) -> None:
    for grant in ("Client_Credentials", "CLIENT_CREDENTIALS"):
        body = urlencode({"grant_type": grant}).encode()
        expect.refusal(await _post(server, body), "unsupported_grant_type", case=grant)


@row("T9")
async def repeated_parameters(server: Server) -> None:
    client = await server.client()
    scope = client.scopes[0] if client.scopes else "x"
    client_id = urlencode({"client_id": client.id})
    for repeated in (
        "grant_type=client_credentials",
        "&".join([urlencode({"scope": scope})] * 2),
        f"{client_id}&{client_id}",
        "client_secret=&client_secret=",
    ):
        answer = await server.ask(more=repeated.encode(), client=client)
        expect.refusal(answer, "invalid_request", case=f"{repeated.partition('=')[0]} repeated")
    if server.endpoints.revocation:
        answer = await server.post(server.endpoints.revocation, body=b"token=x&token=x", client=client)
        expect.refusal(answer, "invalid_request", case="token repeated")
    two = b"resource=https://a.example&resource=https://b.example"
    answer = await server.ask(more=two)
    if answer.status != 200:
        expect.refusal(answer, "invalid_target", case="resource repeated")


@row("T10")
async def unknown_parameters(server: Server) -> None:
    for more in (b"conformance=1", b"conformance=1&conformance=2&conformance=2", b"Scope=x&SCOPE=x"):
        expect.token(await server.ask(more=more), more.decode())


@row("T11")
async def empty_parameters(server: Server) -> None:
    for more in (b"scope=", b"client_id=", b"client_secret="):
        expect.token(await server.ask(more=more), more.decode())
    client = await server.client()
    answer = await server.ask({"client_id": client.id, "client_secret": ""}, authorization=())
    expect.refusal(answer, "invalid_client", 400, 401, case="client_secret= alone")


@row("T12", unseen="that the secret is absent from the server's logs")
async def parameters_in_the_query(server: Server) -> None:
    client = await server.client()
    in_query = await _post(server, b"", query="grant_type=client_credentials")
    expect.refusal(in_query, "invalid_request", case="grant_type in the query")
    # not the client's own secret, which a proxy could write into its log
    credentials = urlencode({"client_id": client.id, "client_secret": "not-a-secret-of-this-client"})
    url = with_query(server.endpoints.token, credentials)
    for case, authorizes in (("a secret in the query", None), ("a secret there and in Basic", client)):
        answer = await server.post(url, body=_BODY, client=authorizes)
        expect.refusal(answer, "invalid_request", case=case)


@row("T13", Need.ADMIN)
async def a_client_without_secrets(server: Server) -> None:
    client = await server.admin.register()
    listed = await server.admin.call("GET", f"/{client.id}/secrets")
    expect.status(listed, 200)
    for secret in expect.json_object(listed)["secrets"]:
        ended = await server.admin.call("DELETE", f"/{client.id}/secrets/{secret['id']}?force=true")
        expect.status(ended, 204, case="ending the last secret")
    expect.refusal(await server.ask(client=client), "invalid_client", 401)


@row("T15")
async def large_and_malformed_bodies(server: Server) -> None:
    for url in server.endpoints.oauth:
        answer = await server.post(url, body=_BODY + b"&x=" + b"x" * 20_000, client=await server.client())
        expect.status(answer, 413, case="20 KB")
        expect.json_object(answer, "20 KB")
        for malformed in (b"%", b"%zz", b"%ff", b"\xff", b"%c0%80"):
            body = _BODY + b"&scope=" + malformed + b"&token=" + malformed
            answer = await server.post(url, body=body, client=await server.client())
            expect.refusal(answer, "invalid_request", case=repr(malformed))


@row("T17", unseen="that the session of a person authenticates no client")
async def cookies(server: Server) -> None:
    client = await server.client()
    # a client that was given keeps its own secret, which belongs into no cookie
    secret = "not-a-secret-of-this-client" if Need.ADMIN in server.missing else client.secret
    forged = f"client_id={client.id}; client_secret={secret}; session=x; _xsrf=x"
    for cookie, headers in (("without a cookie", ()), ("with one", (("Cookie", forged),))):
        answer = await server.ask(headers=headers)
        expect.token(answer, cookie)
        expect.that(not answer.all("Set-Cookie"), f"{cookie}: a cookie is set", answer)
    answer = await server.ask(authorization=(), headers=(("Cookie", forged),))
    expect.refusal(answer, "invalid_client", 400, 401, case="credentials in a cookie")
