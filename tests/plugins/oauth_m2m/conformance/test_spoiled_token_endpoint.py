"""The checks can fail: a Station whose token endpoint breaks one rule fails exactly the rows that say so."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlsplit

import pytest

from tests.plugins.oauth_m2m.conformance.conftest import Case

if TYPE_CHECKING:
    from tests.conftest import Server
    from tests.plugins.oauth_m2m.conformance.conftest import Check, Passing, Proxy

TOKEN, REVOKE, CLIENTS = "/auth/token", "/auth/revoke", "/oauth-clients"
FORM = "application/x-www-form-urlencoded"


# T


def other_methods_are_post(p: Passing) -> None:
    if p.path == TOKEN and p.method == "GET":
        p.method = "POST"


def no_allow(p: Passing) -> None:
    p.set("Allow")


def one_spelling_of_the_media_type(p: Passing) -> None:
    sent = p.sent("Content-Type")
    if sent != FORM and sent.partition(";")[0].strip().lower() == FORM:
        p.refuse("invalid_request")


def no_json(p: Passing) -> None:
    if p.path == TOKEN and p.sent("Content-Type") == "application/json":
        p.refuse("invalid_request")


def any_media_type(p: Passing) -> None:
    if p.path == TOKEN and p.method == "POST" and p.sent("Content-Type") == "text/plain":
        p.send("Content-Type", FORM)


def a_default_grant(p: Passing) -> None:
    if (
        p.path == TOKEN
        and p.method == "POST"
        and p.parameter("grant_type") is None
        and b"{" not in p.request_body
    ):
        p.form = [*p.form, ("grant_type", "client_credentials")]


def an_empty_grant_is_the_default(p: Passing) -> None:
    if p.parameter("grant_type") == "":
        p.form = [("grant_type", "client_credentials")]


def another_code_for_grants(p: Passing) -> None:
    if p.json.get("error") == "unsupported_grant_type":
        p.members(error="invalid_request")


def grants_in_any_case(p: Passing) -> None:
    for spelling in (b"Client_Credentials", b"CLIENT_CREDENTIALS"):
        p.request_body = p.request_body.replace(spelling, b"client_credentials")


def the_last_of_repeated(p: Passing) -> None:
    if p.sent("Content-Type") == FORM and p.path in {TOKEN, REVOKE} and b"%z" not in p.request_body:
        p.form = list(dict(p.form).items())


def no_unknown_parameters(p: Passing) -> None:
    if p.parameter("conformance") is not None:
        p.refuse("invalid_request")


def an_empty_scope_is_invalid(p: Passing) -> None:
    if p.parameter("scope") == "":
        p.refuse("invalid_scope")


def secrets_in_the_query(p: Passing) -> None:
    found = dict(parse_qsl(urlsplit(p.target).query))
    if p.path == TOKEN and "client_secret" in found:
        p.target, p.form = TOKEN, [*p.form, *found.items()]
        p.send("Authorization")


def secrets_are_not_looked_at(p: Passing) -> None:
    if p.path.startswith(CLIENTS) and "/secrets/" in p.path and p.method == "DELETE":
        p.answer(204)


def no_limit_of_bodies(p: Passing) -> None:
    if p.status == 413:
        p.answer(200)


def a_page_for_large_bodies(p: Passing) -> None:
    if p.status == 413:
        p.set("Content-Type", "text/html")


def a_crash_for_bad_encodings(p: Passing) -> None:
    if b"%zz" in p.request_body:
        p.answer(500)


def a_cookie(p: Passing) -> None:
    p.set("Set-Cookie", "session=x")


# C


def no_basic(p: Passing) -> None:
    if p.path == TOKEN and p.credentials[0]:
        p.refuse("invalid_client", 401)


def basic_in_one_case(p: Passing) -> None:
    scheme = p.sent("Authorization").partition(" ")[0]
    if scheme != "Basic" and scheme.lower() == "basic":
        p.refuse("invalid_client", 401)


def nothing_is_decoded(p: Passing) -> None:
    if "%2B" in p.credentials[1]:
        p.refuse("invalid_client", 401)


def basic_wins(p: Passing) -> None:
    if p.sent("Authorization"):
        p.form = [pair for pair in p.form if pair[0] != "client_secret"]


def assertions_are_ignored(p: Passing) -> None:
    if p.parameter("client_assertion"):
        p.form = [pair for pair in p.form if not pair[0].startswith("client_assertion")]


def another_id_is_ignored(p: Passing) -> None:
    if p.sent("Authorization") and p.parameter("client_id"):
        p.form = [pair for pair in p.form if pair[0] != "client_id"]


def the_last_authorization(p: Passing) -> None:
    found = [value for name, value in p.request_headers if name == "Authorization"]
    if len(found) > 1:
        p.send("Authorization", next(value for value in found if value[:6] in {"Basic ", "Bearer"}))


def a_crash_for_bad_base64(p: Passing) -> None:
    if "!!!!" in p.sent("Authorization"):
        p.answer(500)


def a_way_out_of_bad_basic(p: Passing) -> None:
    if p.sent("Authorization") == "Basic !!!!" and p.parameter("client_secret"):
        p.send("Authorization")


def no_challenge(p: Passing) -> None:
    if p.path == TOKEN:
        p.set("WWW-Authenticate")


def body_failures_are_400(p: Passing) -> None:
    if p.status == 401 and not p.sent("Authorization") and p.parameter("client_secret"):
        p.status = 400


def another_scheme_is_malformed(p: Passing) -> None:
    if p.path == TOKEN and p.sent("Authorization").startswith("Bearer"):
        p.refuse("invalid_request")


def post_is_not_named(p: Passing) -> None:
    if "token_endpoint" in p.json:
        p.members(token_endpoint_auth_methods_supported=["client_secret_basic"])


def unknown_is_told(p: Passing) -> None:
    if p.status == 401 and p.credentials[0].endswith("-nobody"):
        p.members(error_description="There is no such client.")


def one_more_header_for_the_disabled(p: Passing) -> None:
    if p.status == 401 and p.credentials[0] and not p.credentials[1].startswith("not-a-secret"):
        p.set("X-State", "disabled")


class OneSecretForAll:
    """What is generated is always the same, and needs encoding."""

    secret = "one+secret+for+all+clients+0123456789abc"

    def before(self, p: Passing) -> None:
        if p.method == "POST" and p.path == CLIENTS and b"clientSecret" not in p.request_body:
            p.request_body = p.request_body.replace(
                b"{", b'{"clientSecret": "%s", ' % self.secret.encode(), 1
            )

    def after(self, p: Passing) -> None:
        if p.method == "POST" and p.status == 201:
            p.members(clientSecret=self.secret)


def seventy_two_bytes(p: Passing) -> None:
    client_id, secret = p.credentials
    if len(secret) > 72:
        p.send("Authorization", "Basic " + base64.b64encode(f"{client_id}:{secret[:72]}".encode()).decode())
    if p.method == "POST" and p.path == CLIENTS:
        p.request_body = p.request_body.replace((b"s3cret-" * 20)[:73], (b"s3cret-" * 20)[:72])


def no_end_is_told(p: Passing) -> None:
    p.members(client_secret_expires_at=...) if "access_token" in p.json else None


# S


def characters_are_dropped(p: Passing) -> None:
    if p.parameter("scope"):
        p.form = [
            (name, "".join(c for c in value if ("!" <= c <= "~" and c not in '"\\') or c == " "))
            for name, value in p.form
        ]


def scopes_in_any_case(p: Passing) -> None:
    p.request_body = p.request_body.replace(b"CONFORMANCE%3AREAD", b"conformance:read")


def foreign_scopes_are_dropped(p: Passing) -> None:
    if p.parameter("scope") == "conformance:not-registered":
        p.form = [pair for pair in p.form if pair[0] != "scope"]


def scopes_are_looked_at_first(p: Passing) -> None:
    if p.parameter("scope") == "conformance:not-registered":
        p.refuse("invalid_scope")
        p.members(error_description="conformance:not-registered")


def one_scope_by_default(p: Passing) -> None:
    if p.path == TOKEN and not (p.parameter("scope") or "").strip():
        p.form = [*(pair for pair in p.form if pair[0] != "scope"), ("scope", "conformance:read")]


def the_default_is_not_told(p: Passing) -> None:
    if p.parameter("scope") is None:
        p.members(scope=...)


def every_plus_is_a_space(p: Passing) -> None:
    p.request_body = p.request_body.replace(b"%2B", b"+")


def any_scope_is_registered(p: Passing) -> None:
    if p.method == "POST" and p.path == CLIENTS and p.status == 400:
        p.status = 201


def introspection_knows_no_change(p: Passing) -> None:
    if p.json.get("active"):
        p.members(scope="conformance:read conformance:write")


# R and E


def no_cache_control(p: Passing) -> None:
    p.set("Cache-Control")


def no_pragma(p: Passing) -> None:
    p.set("Pragma")


def another_json(p: Passing) -> None:
    p.set("Content-Type", "application/token+json")


def an_envelope(p: Passing) -> None:
    if "access_token" in p.json:
        p.answer(200, {"data": p.json})


def seconds_as_text(p: Passing) -> None:
    if "expires_in" in p.json:
        p.members(expires_in=str(p.json["expires_in"]))


def two_hours(p: Passing) -> None:
    if "expires_in" in p.json:
        p.members(expires_in=7200)


def a_refresh_token(p: Passing) -> None:
    if "access_token" in p.json:
        p.members(refresh_token="x")


def another_token_type(p: Passing) -> None:
    if "access_token" in p.json:
        p.members(token_type="MAC")


class OneTokenForAll:
    """Hands out the first token again and again."""

    def __init__(self) -> None:
        self.first = b""

    def after(self, p: Passing) -> None:
        if "access_token" in p.json:
            self.first = self.first or p.body
            p.body = self.first


def two_codes(p: Passing) -> None:
    if "error" in p.json:
        p.members(error=f"{p.json['error']} invalid_request")


def descriptions_repeat_input(p: Passing) -> None:
    if p.status == 400:
        p.members(error_description=p.parameter("scope") or p.parameter("grant_type") or "")


def a_bad_uri(p: Passing) -> None:
    if "error" in p.json:
        p.members(error_uri='https://station.example/"')


def headers_repeat_input(p: Passing) -> None:
    if p.status == 400 and p.parameter("scope"):
        p.set("X-Scope", (p.parameter("scope") or "").replace("\u2028", ""))


def a_page_for_what_is_not_there(p: Passing) -> None:
    if p.status == 404:
        p.set("Content-Type", "text/html")


one_secret = OneSecretForAll()
# T15 and C9 ask most, so they are asked where they are to fail
T = "T1,T2,T3,T4,T5,T6,T7,T8,T9,T10,T11,T12,T17"
C = "C1,C2,C5,C6,C7,C8,C10,C11,C12,C13,C14"
S = "S1,S2,S3,S5,S6,S7"
R = "R1,R2,R3,R4,R5,R7,B14"
E = "E1,E2,E3,E4,E5"
CASES = {
    "GET gets a token": Case(T, "T2", before=other_methods_are_post),
    "405 without Allow": Case(T, "T2", after=no_allow),
    "media types by the letter": Case(T, "T3", before=one_spelling_of_the_media_type),
    "no JSON": Case(T, "T4", before=no_json),
    "text/plain is a form": Case(T, "T4", before=any_media_type),
    "a missing grant_type is one": Case("T5,T6,T7,T12", "T5,T12", before=a_default_grant),
    "an empty grant_type is one": Case(T, "T6", before=an_empty_grant_is_the_default),
    "unknown grants are malformed": Case(T, "T7,T8", after=another_code_for_grants),
    "grants in any case": Case(T, "T8", before=grants_in_any_case),
    "the last of repeated parameters": Case("T1,T9,T10", "T9", before=the_last_of_repeated),
    "unknown parameters are refused": Case(T, "T10", before=no_unknown_parameters),
    "an empty scope is invalid": Case(f"{T},S5", "T11,S5", before=an_empty_scope_is_invalid),
    "secrets in the query": Case(T, "T12", before=secrets_in_the_query),
    "secrets do not end": Case("T13,C21", "T13,C21", before=secrets_are_not_looked_at),
    "no limit of bodies": Case(f"{T},T15,E5", "T15,E5", after=no_limit_of_bodies),
    "a page for large bodies": Case(f"{T},T15,E5", "T15,E5", after=a_page_for_large_bodies),
    "a crash for bad encodings": Case(f"{T},T15", "T15", before=a_crash_for_bad_encodings),
    "a cookie": Case(T, "T17", after=a_cookie),
    "no Basic": Case("C1,C10,C11,C13,T1", "C1,T1", before=no_basic),
    "Basic in one case": Case(C, "C2", before=basic_in_one_case),
    "Basic is not decoded": Case("C1,C3", "C3", before=nothing_is_decoded),
    "Basic wins over the body": Case(C, "C5", before=basic_wins),
    "assertions are ignored": Case(C, "C6", before=assertions_are_ignored),
    "another client_id is ignored": Case(C, "C7", before=another_id_is_ignored),
    "one of two Authorization headers": Case(f"{C},B5", "C8,B5", before=the_last_authorization),
    "a crash for bad base64": Case(f"{C},C9", "C9", before=a_crash_for_bad_base64),
    "a way out of bad Basic": Case(f"{C},C9", "C9", before=a_way_out_of_bad_basic),
    "no challenge": Case(f"{C},S3", "C10,C11,C12,S3", after=no_challenge),
    "400 for failures in the body": Case("C10,C11,C12,C13", "C12", after=body_failures_are_400),
    "other schemes are malformed": Case(C, "C13", before=another_scheme_is_malformed),
    "a method is not named": Case(f"{C},M5", "C14,M5", after=post_is_not_named),
    "unknown clients are told": Case(f"{C},C15", "C15", after=unknown_is_told),
    "disabled clients are told": Case("C11,C15", "C15", after=one_more_header_for_the_disabled),
    "one secret for all": Case("C4,C18,G1", "C4,C18", before=one_secret.before, after=one_secret.after),
    "bcrypt alone": Case("C18,C19", "C19", before=seventy_two_bytes),
    "the end of a secret is not told": Case("C22", "C22", after=no_end_is_told),
    "bad characters are dropped": Case(S, "S1", before=characters_are_dropped),
    "scopes in any case": Case(S, "S2", before=scopes_in_any_case),
    "foreign scopes are dropped": Case(S, "S3", before=foreign_scopes_are_dropped),
    "scopes are looked at first": Case(S, "S3", before=scopes_are_looked_at_first),
    "one scope by default": Case(f"{S},S4", "S4,S5", before=one_scope_by_default),
    "the default is not told": Case(S, "S6", after=the_default_is_not_told),
    "%2B is a space": Case(S, "S7", before=every_plus_is_a_space),
    "any scope is registered": Case("S8", "S8", after=any_scope_is_registered),
    "a lost scope is kept": Case("S9,I3", "S9", after=introspection_knows_no_change),
    "no Cache-Control": Case(f"{R},B15,I7,G1,M9", "R3,B15,I7,G1,M9", after=no_cache_control),
    "no Pragma": Case(R, "R3", after=no_pragma),
    "another media type": Case(R, "R1", after=another_json),
    "an envelope": Case("R1,T1,T2", "R1,T1", after=an_envelope),
    "expires_in is text": Case(R, "R2,B14", after=seconds_as_text),
    "two hours": Case(R, "R2,B14", after=two_hours),
    "a refresh token": Case(R, "R4", after=a_refresh_token),
    "another token_type": Case(R, "R5", after=another_token_type),
    "one token for all": Case(R, "R7", after=OneTokenForAll().after),
    "two codes": Case(E, "E1", after=two_codes),
    "descriptions repeat input": Case(E, "E2", after=descriptions_repeat_input),
    "a bad error_uri": Case(E, "E3", after=a_bad_uri),
    "headers repeat input": Case(E, "E4", after=headers_repeat_input),
    "pages for 404": Case(E, "E5", after=a_page_for_what_is_not_there),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
@pytest.mark.gen_test
async def test_exactly_the_rows_fail_that_say_so(
    server: Server, proxy: Proxy, check: Check, case: Case
) -> None:
    async with proxy(server.url, case.before, case.after) as url:
        results = await check(url, case.checked, endpoints={"scoped_resource": f"{url}/demo/greeting"})
    fates = {row: (result.fate, result.reason) for row, result in results.items()}
    failed = {row for row, (fate, _) in fates.items() if fate == "failed"}
    assert failed == set(case.fails.split(",")), fates
    assert all(results[row].reason and results[row].request for row in failed - {"C18"})
