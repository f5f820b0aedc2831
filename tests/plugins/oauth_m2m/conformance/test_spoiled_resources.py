"""The checks can fail: a Station that breaks one rule beside the token endpoint fails exactly those rows."""

from __future__ import annotations

import base64
import json
from collections import Counter
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from tests.plugins.oauth_m2m.conformance.conftest import Case

if TYPE_CHECKING:
    from tests.conftest import Server
    from tests.plugins.oauth_m2m.conformance.conftest import Check, Passing, Proxy

TOKEN, REVOKE, INTROSPECT, CLIENTS = "/auth/token", "/auth/revoke", "/auth/introspect", "/oauth-clients"
WHOAMI, ME, METADATA = "/auth/client", "/auth/me", "/.well-known/oauth-authorization-server"
RESOURCE_METADATA, JWKS = "/.well-known/oauth-protected-resource", "/.well-known/jwks.json"
ADMIN_KEY = "an-admin-key-for-the-tests-only-0123456789"
KEY_HEADER = "x-internal-api-key"


def payload(token: str) -> str:
    return token.split(".")[1] if token.count(".") == 2 else ""


class Issued:
    """Remembers the tokens that were issued, by what they say, and those that were revoked."""

    def __init__(self) -> None:
        self.tokens: dict[str, str] = {}
        self.revoked: set[str] = set()

    def remember(self, p: Passing) -> None:
        token = p.json.get("access_token")
        if isinstance(token, str):
            self.tokens[payload(token)] = token

    def genuine(self, token: str) -> str:
        return self.tokens.get(payload(token), token)


class SignaturesAreNotVerified(Issued):
    """Whatever says what a genuine token says is one."""

    def before(self, p: Passing) -> None:
        if p.path == WHOAMI:
            scheme, _, token = p.sent("Authorization").partition(" ")
            if payload(token):
                p.send("Authorization", f"{scheme} {self.genuine(token)}")


class ForgedTokensRevoke(Issued):
    """The same at the revocation endpoint."""

    def before(self, p: Passing) -> None:
        if p.path == REVOKE and (token := p.parameter("token")):
            p.form = [(name, self.genuine(token) if name == "token" else value) for name, value in p.form]


class RevokedTokensLive(Issued):
    """The protected resource hears of no revocation."""

    def before(self, p: Passing) -> None:
        if p.path == REVOKE and p.credentials[0]:
            self.revoked.add(p.parameter("token") or "")
        if p.path == WHOAMI and p.sent("Authorization").partition(" ")[2] in self.revoked - {""}:
            p.answer(200)


class OldIntrospections(Issued):
    """What was active once is active for ever, for everybody."""

    def __init__(self) -> None:
        super().__init__()
        self.known: dict[str, bytes] = {}

    def after(self, p: Passing) -> None:
        if p.path == INTROSPECT and p.status == 200:
            token = p.parameter("token") or ""
            if p.json.get("active"):
                self.known.setdefault(token, p.body)
            p.body = self.known.get(token, p.body)


# B


def bearer_in_one_case(p: Passing) -> None:
    if p.path == WHOAMI and p.sent("Authorization").startswith("bearer"):
        p.refuse("invalid_token", 401)


def an_error_for_nobody(p: Passing) -> None:
    if p.status == 401 and p.path == WHOAMI and not p.sent("Authorization"):
        p.set("WWW-Authenticate", f'{p.header("WWW-Authenticate")}, error="invalid_request"')


def missing_scopes_are_401(p: Passing) -> None:
    if p.status == 403 and p.path != CLIENTS:
        p.status = 401


def no_scope_is_named(p: Passing) -> None:
    if p.status == 403:
        p.set("WWW-Authenticate", 'Bearer realm="station", error="insufficient_scope"')


def tokens_in_the_query(p: Passing) -> None:
    found = dict(parse_qsl(urlsplit(p.target).query))
    if p.path == WHOAMI and "access_token" in found:
        p.target = WHOAMI
        p.send("Authorization", f"Bearer {found['access_token']}")


def tokens_in_the_form(p: Passing) -> None:
    if p.path == WHOAMI and (token := p.parameter("access_token")):
        p.method = "GET"
        p.send("Authorization", f"Bearer {token}")


def a_repeated_attribute(p: Passing) -> None:
    if p.path == WHOAMI and "x.y.z" in p.sent("Authorization"):
        p.set("WWW-Authenticate", f'{p.header("WWW-Authenticate")}, realm="again"')


def a_crash_for_an_empty_bearer(p: Passing) -> None:
    if p.sent("Authorization") == "Bearer":
        p.answer(500)


def machines_are_people(p: Passing) -> None:
    if p.path == ME and "station_access" in p.sent("Cookie"):
        p.answer(200)


def no_resource_metadata(p: Passing) -> None:
    if p.path == WHOAMI and p.status == 401:
        p.set("WWW-Authenticate", p.header("WWW-Authenticate").partition(", resource_metadata")[0])


def any_origin(p: Passing) -> None:
    p.send("Origin")
    p.send("Sec-Fetch-Site")


def cookies_are_read(p: Passing) -> None:
    if p.path == WHOAMI and p.sent("Cookie"):
        p.refuse("invalid_token", 401)


# J: the token that is handed out says something else; its signature is no business of these rows


def reforge(p: Passing, place: int, **changes: object) -> None:
    if "access_token" not in p.json:
        return
    parts = p.json["access_token"].split(".")
    part: dict[str, Any] = json.loads(base64.urlsafe_b64decode(parts[place] + "=="))
    changed = {name: value for name, value in (part | changes).items() if value is not ...}
    parts[place] = base64.urlsafe_b64encode(json.dumps(changed).encode()).rstrip(b"=").decode()
    p.members(access_token=".".join(parts))


def a_plain_jwt(p: Passing) -> None:
    reforge(p, 0, typ="JWT")


def no_jti(p: Passing) -> None:
    reforge(p, 1, jti=...)


def long_expired(p: Passing) -> None:
    reforge(p, 1, iat=1, exp=3601)


def scope_is_an_array(p: Passing) -> None:
    reforge(p, 1, scope=["conformance:read"])


def another_issuer(p: Passing) -> None:
    reforge(p, 1, iss="https://elsewhere.example")


def another_audience(p: Passing) -> None:
    reforge(p, 1, aud="https://elsewhere.example")


def an_unpublished_kid(p: Passing) -> None:
    reforge(p, 0, kid="nowhere")


def a_crash_for_odd_kids(p: Passing) -> None:
    token = p.sent("Authorization").partition(" ")[2]
    if p.path == WHOAMI and b"dev/null" in base64.urlsafe_b64decode(token.split(".")[0] + "=="):
        p.answer(500)


def unsigned_tokens(p: Passing) -> None:
    if p.path == WHOAMI and p.sent("Authorization").endswith(".") and payload(p.sent("Authorization")):
        p.answer(200)


# V


def anybody_revokes(p: Passing) -> None:
    if p.path == REVOKE and not p.sent("Authorization") and not p.parameter("client_secret"):
        p.answer(200)


def garbage_is_malformed(p: Passing) -> None:
    if p.path == REVOKE and p.parameter("token") == "garbage":
        p.refuse("invalid_request")


def foreign_tokens_are_fine(p: Passing) -> None:
    if p.json.get("error") == "invalid_grant":
        p.answer(200)


def hints_are_believed(p: Passing) -> None:
    if p.path == REVOKE and p.parameter("token_type_hint"):
        p.answer(200)


def every_kind_is_supported(p: Passing) -> None:
    if p.json.get("error") == "unsupported_token_type":
        p.answer(200)


def revoking_all_does_nothing(p: Passing) -> None:
    if p.method == "DELETE" and p.path.endswith("/tokens"):
        p.answer(200)


def disabling_does_nothing(p: Passing) -> None:
    if p.method == "PATCH" and b"isActive" in p.request_body:
        p.answer(200)


def revoked_by_get(p: Passing) -> None:
    if p.path == REVOKE and p.method == "GET":
        p.method, p.request_body, p.target = "POST", urlsplit(p.target).query.encode(), REVOKE
        p.send("Content-Type", "application/x-www-form-urlencoded")


# I


def anybody_introspects(p: Passing) -> None:
    if p.path == INTROSPECT and not p.sent("Authorization") and not p.parameter("client_secret"):
        p.answer(200, {"active": False})


def inactive_and_why(p: Passing) -> None:
    if p.json.get("active") is False:
        p.members(reason="expired")


def times_as_text(p: Passing) -> None:
    if p.json.get("active"):
        p.members(exp=str(p.json["exp"]))


def introspection_is_cached(p: Passing) -> None:
    if p.path == INTROSPECT:
        p.set("Cache-Control", "max-age=60")


def no_token_is_inactive(p: Passing) -> None:
    if p.path == INTROSPECT and not p.parameter("token"):
        p.answer(200, {"active": False})


# M


def another_json(p: Passing) -> None:
    if p.path == METADATA:
        p.set("Content-Type", "application/metadata+json")


def the_host_is_the_issuer(p: Passing) -> None:
    host = p.sent("Host")
    if p.path == METADATA and host.endswith(".invalid"):
        p.members(issuer=f"https://{host}")


def no_response_types(p: Passing) -> None:
    if p.path == METADATA:
        p.members(response_types_supported=...)


def an_empty_list(p: Passing) -> None:
    if p.path == METADATA:
        p.members(ui_locales_supported=[])


def more_grants(p: Passing) -> None:
    if p.path == METADATA:
        p.members(grant_types_supported=["client_credentials", "authorization_code"])


def private_scopes_are_named(p: Passing) -> None:
    if p.path == METADATA:
        p.members(scopes_supported=["oauth:introspect"])


def a_symmetric_key(p: Passing) -> None:
    if p.path == JWKS:
        p.members(keys=[{"kty": "oct", "k": "c2VjcmV0", "kid": "1"}])


def a_private_key(p: Passing) -> None:
    if p.path == JWKS:
        p.members(keys=[{"kty": "OKP", "crv": "Ed25519", "x": "eA", "d": "ZA", "kid": "1"}])


def tokens_anywhere(p: Passing) -> None:
    if p.path == RESOURCE_METADATA:
        p.members(bearer_methods_supported=["header", "query"])


def no_etag(p: Passing) -> None:
    p.set("ETag")


# G


class SecretsAreShown:
    """What was generated is shown for ever."""

    def __init__(self) -> None:
        self.secrets: dict[str, str] = {}

    def after(self, p: Passing) -> None:
        if p.status == 201 and "clientSecret" in p.json:
            self.secrets[p.json["clientId"]] = p.json["clientSecret"]
        if p.status == 200 and p.json.get("clientId") in self.secrets:
            p.members(clientSecret=self.secrets[p.json["clientId"]])


def bad_fields_are_not_named(p: Passing) -> None:
    if p.status == 400 and "errors" in p.json:
        p.members(errors={"body": ["It is wrong."]})


def the_second_one_wins(p: Passing) -> None:
    if p.status == 409:
        p.status = 201


def no_key_is_needed(p: Passing) -> None:
    if p.path == CLIENTS and not p.sent(KEY_HEADER):
        p.send(KEY_HEADER, ADMIN_KEY)


def what_is_stale_is_done(p: Passing) -> None:
    p.send("If-Match")


def people_are_machines(p: Passing) -> None:
    if p.method == "POST" and p.path == CLIENTS and b"usr_" in p.request_body:
        p.answer(201)


unverified, forging, deaf, old = (
    SignaturesAreNotVerified(),
    ForgedTokensRevoke(),
    RevokedTokensLive(),
    OldIntrospections(),
)
B = "B1,B2,B3,B4,B5,B6,B7,B8,B9,B13,B14,B15,B16,B17"
J = "J1,J3,J4,J5,J6,J8"
V = "V1,V2,V3,V4,V5,V6,V8,V12"
I = "I1,I2,I3,I7,I8"  # noqa: E741 - the name of the table
M = "M1,M2,M3,M4,M5,M6,M7,M8,M9"
CASES = {
    "Bearer in one case": Case(B, "B1", before=bearer_in_one_case),
    "an error where nobody tried": Case(B, "B2", after=an_error_for_nobody),
    "signatures are not verified": Case(f"B1,B3,B9,{J}", "B3,J1,J8", unverified.before, unverified.remember),
    "revoked tokens live": Case(f"B3,{V}", "B3,V4,V5", before=deaf.before),
    "missing scopes are 401": Case(B, "B4", after=missing_scopes_are_401),
    "missing scopes are not named": Case(B, "B4", after=no_scope_is_named),
    "tokens in the query": Case(B, "B6", before=tokens_in_the_query),
    "tokens in the form": Case(B, "B7", before=tokens_in_the_form),
    "a repeated attribute": Case("B1,B2,B4,B8,B9", "B8", after=a_repeated_attribute),
    "a crash for an empty Bearer": Case(B, "B9", before=a_crash_for_an_empty_bearer),
    "machines are people": Case(B, "B13", before=machines_are_people),
    "no resource_metadata": Case(B, "B16", after=no_resource_metadata),
    "any origin": Case("B15,B17", "B17", before=any_origin),
    "cookies are read": Case("B1,B17", "B17", before=cookies_are_read),
    "unsigned tokens": Case(f"B3,{J}", "B3,J1", before=unsigned_tokens),
    "a plain JWT": Case(J, "J3", after=a_plain_jwt),
    "no jti": Case(J, "J4", after=no_jti),
    "expired when issued": Case(f"{J},R2", "J4", after=long_expired),
    "scope is an array": Case(J, "J5", after=scope_is_an_array),
    "tokens of another issuer": Case(f"{J},M2", "J6,M2", after=another_issuer),
    "tokens for another audience": Case(J, "J6", after=another_audience),
    "a kid that is not published": Case(J, "J8", after=an_unpublished_kid),
    "a crash for odd kids": Case(J, "J8", before=a_crash_for_odd_kids),
    "anybody revokes": Case(V, "V1", before=anybody_revokes),
    "garbage is malformed": Case(V, "V2", before=garbage_is_malformed),
    "foreign tokens are fine": Case(V, "V3", after=foreign_tokens_are_fine),
    "hints are believed": Case(V, "V4", before=hints_are_believed),
    "every kind is supported": Case(V, "V6", after=every_kind_is_supported),
    "forged tokens revoke": Case(V, "V6,V8", forging.before, forging.remember),
    "revoking all does nothing": Case("V10,V11,I4", "V10,I4", before=revoking_all_does_nothing),
    "disabling does nothing": Case("V10,V11,I4", "V11,I4", before=disabling_does_nothing),
    "revoked by GET": Case(V, "V12", before=revoked_by_get),
    "anybody introspects": Case(I, "I1", before=anybody_introspects),
    "inactive, and why": Case(f"{I},I4,I5", "I2,I4,I5,I7", after=inactive_and_why),
    "times as text": Case(I, "I3", after=times_as_text),
    "old introspections": Case(f"{I},I4,I5,S9", "I4,I5,I7,S9", after=old.after),
    "introspection is cached": Case(I, "I7", after=introspection_is_cached),
    "no token is inactive": Case(I, "I8", before=no_token_is_inactive),
    "another media type": Case(M, "M1", after=another_json),
    "the Host is the issuer": Case(M, "M2", after=the_host_is_the_issuer),
    "no response types": Case(M, "M3", after=no_response_types),
    "an empty list": Case(M, "M3", after=an_empty_list),
    "more grants": Case(M, "M4", after=more_grants),
    "private scopes are named": Case(M, "M6", after=private_scopes_are_named),
    "a symmetric key": Case(M, "M7", after=a_symmetric_key),
    "a private key": Case(M, "M7", after=a_private_key),
    "tokens anywhere": Case(M, "M8", after=tokens_anywhere),
    "no ETag": Case(M, "M9", after=no_etag),
    "secrets are shown": Case("G1,G2,G5", "G1,G5", after=SecretsAreShown().after),
    "bad fields are not named": Case("G1,G2,G5", "G2", after=bad_fields_are_not_named),
    "the second one wins": Case("G1,G3", "G3", after=the_second_one_wins),
    "no key is needed": Case("G1,G4", "G4", before=no_key_is_needed),
    "what is stale is done": Case("G1,G5", "G5", before=what_is_stale_is_done),
    "people are machines": Case("G2,G6", "G6", before=people_are_machines),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
@pytest.mark.gen_test
async def test_exactly_the_rows_fail_that_say_so(
    server: Server, proxy: Proxy, check: Check, case: Case
) -> None:
    async with proxy(server.url, case.before, case.after) as url:
        results = await check(url, case.checked, endpoints={"scoped_resource": f"{url}/demo/greeting"})
    fates = {row: (result.fate, result.reason) for row, result in results.items()}
    assert {row for row, (fate, _) in fates.items() if fate == "failed"} == set(case.fails.split(",")), fates
    assert not [row for row, (fate, _) in fates.items() if fate == "skipped"], fates


class Throttles:
    """Lets a client ask twenty times; and again if it says that it is elsewhere."""

    def __init__(self) -> None:
        self.count: Counter[str] = Counter()

    def before(self, p: Passing) -> None:
        self.count[p.credentials[0]] += 1
        if p.path == TOKEN and self.count[p.credentials[0]] > 20 and not p.sent("X-Forwarded-For"):
            p.refuse("temporarily_unavailable", 429)


def introspections_are_free(p: Passing) -> None:
    if p.path == INTROSPECT:
        p.answer(200, {"active": False})


@pytest.mark.gen_test
async def test_a_server_without_throttles(server: Server, proxy: Proxy, check: Check) -> None:
    async with proxy(server.url, before=introspections_are_free) as url:
        results = await check(url, "C16,I6,T16", flood=True)
    assert [results[row].fate for row in ("C16", "I6", "T16")] == ["failed", "failed", "skipped"]
    assert "no 429" in results["C16"].reason


@pytest.mark.gen_test
async def test_a_server_that_believes_forwarded_headers(server: Server, proxy: Proxy, check: Check) -> None:
    async with proxy(server.url, before=Throttles().before) as url:
        [result] = (await check(url, "T16", flood=True)).values()
    assert result.reason == "under a forged X-Forwarded-For: expected 429, got 200"
    assert result.fate == "failed"
