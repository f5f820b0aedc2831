"""Bearer tokens at protected handlers (RFC 6750): table B of docs/protocol.md."""

from __future__ import annotations

import dataclasses
import re
import time
from typing import TYPE_CHECKING, Any

import jwt
import pytest

from plugins.oauth_m2m import ClientToken, client_authenticated, scopes
from plugins.oauth_m2m.config import OAuthM2MConfig
from station import hookimpl
from station.app import make_app
from station.config import load_config
from station.errors import ConfigError, StartError
from station.handlers import BaseHandler, Route, route

if TYPE_CHECKING:
    from pathlib import Path

    from station.app import Application
    from station.config import Config
    from tests.conftest import Answer, Wire
    from tests.plugins.oauth_m2m.conftest import Raw, RawAnswer

METADATA = "http://127.0.0.1:3001/.well-known/oauth-protected-resource"
NO_CREDENTIALS = f'Bearer realm="station", resource_metadata="{METADATA}"'
INVALID_TOKEN = (
    'Bearer realm="station", error="invalid_token", error_description="The token is not valid.", '
    f'resource_metadata="{METADATA}"'
)
ATTRIBUTE = re.compile(r'(?P<name>[a-z_]+)="(?P<value>[\x20\x21\x23-\x5b\x5d-\x7e]*)"')  # RFC 6750 3
PERSON = {"email": "ada@example.com", "password": "correct horse battery"}
FOREIGN = "https://evil.example"


class Guarded(BaseHandler):
    """GET asks for two scopes, POST for those and one more, PUT for one without authenticating first."""

    client_token: ClientToken

    @client_authenticated
    @scopes("fleet:read", "bot:api")
    async def get(self) -> None:
        self.write_json({"client_id": self.client_token.client_id, "user": self.current_user})

    @scopes("fleet:write")
    @client_authenticated
    @scopes("fleet:read")
    @scopes("bot:api")
    def post(self) -> None:
        self.write_json({"client_id": self.client_token.client_id})

    @scopes("bot:api")
    def put(self) -> None:
        self.write_json({"client_id": self.client_token.client_id})


class GuardedPlugin:
    """A plugin object with one route."""

    __name__ = "guarded"

    @hookimpl
    def station_handlers(self) -> list[Route]:
        return [route(r"/guarded", Guarded)]


@pytest.fixture
def plugins() -> list[object]:
    return [GuardedPlugin()]


def challenge(answer: Answer | RawAnswer) -> dict[str, str]:
    """The attributes of the Bearer challenge, which must be one, well-formed and without repeats (row B8)."""
    [header] = answer.headers.get_list("WWW-Authenticate")
    scheme, _, attributes = header.partition(" ")
    assert scheme == "Bearer"
    parsed = [ATTRIBUTE.fullmatch(attribute) for attribute in attributes.split(", ")]
    pairs = [(match["name"], match["value"]) for match in parsed if match]
    assert len(pairs) == len(parsed), header
    assert len(dict(pairs)) == len(pairs), header
    return dict(pairs)


def resigned(wire_token: str, key: str, **changes: object) -> str:
    """The token with other claims under the right key."""
    claims = jwt.decode(wire_token, options={"verify_signature": False})
    return jwt.encode(claims | changes, key, headers={"typ": "at+jwt"})


async def log_in(wire: Wire) -> str:
    """Register a person, log in, and return the cookies of the session."""
    await wire.fetch("POST", "/auth/register", document=PERSON)
    answer = await wire.fetch("POST", "/auth/login", document=PERSON)
    assert answer.status == 200, answer.body
    return "; ".join(cookie.partition(";")[0] for cookie in answer.headers.get_list("Set-Cookie"))


@pytest.mark.row("B1")
@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", "bEaReR"])
@pytest.mark.gen_test
async def test_a_token_in_the_header_whatever_the_case_of_the_scheme(wire: Wire, scheme: str) -> None:
    token = await wire.access_token()
    answer = await wire.fetch("GET", "/auth/client", headers={"Authorization": f"{scheme} {token}"})
    claims = jwt.decode(token, options={"verify_signature": False})
    assert (answer.status, answer.json) == (
        200,
        {"client_id": "station-bot", "scopes": ["bot:api"], "exp": claims["exp"]},
    )
    assert "WWW-Authenticate" not in answer.headers


@pytest.mark.row("B2")
@pytest.mark.parametrize(
    "authorization", [None, "", "Basic c3RhdGlvbi1ib3Q6c2VjcmV0", 'Digest a="b", c="d"', "Bear x"]
)
@pytest.mark.gen_test
async def test_who_sends_no_token_is_told_no_error(wire: Wire, authorization: str | None) -> None:
    headers = {} if authorization is None else {"Authorization": authorization}
    for method, path in (("GET", "/auth/client"), ("GET", "/guarded"), ("POST", "/guarded")):
        answer = await wire.fetch(method, path, headers=headers)
        assert answer.status == 401
        assert answer.headers.get_list("WWW-Authenticate") == [NO_CREDENTIALS]
        assert answer.headers["Content-Type"] == "application/json"
        assert answer.json["error"] not in {"invalid_request", "invalid_token", "insufficient_scope"}


@pytest.mark.row("B3")
@pytest.mark.gen_test
async def test_every_bad_token_is_the_same_invalid_token(wire: Wire, config: Config) -> None:
    credentials = await wire.register()
    token, revoked = await wire.access_token(credentials), await wire.access_token(credentials)
    assert (
        await wire.fetch("POST", "/auth/revoke", form={"token": revoked}, basic=credentials)
    ).status == 200
    head, payload, signature = token.split(".")
    key = config.jwt_secret
    unknown_kid = {"typ": "at+jwt", "kid": "../../etc/passwd"}
    claims = jwt.decode(token, options={"verify_signature": False})
    bad = {
        "expired": resigned(token, key, exp=int(time.time()) - 1),
        "revoked": revoked,
        "no JWT": "garbage",
        "two parts": f"{head}.{payload}",
        "four parts": f"{token}.{signature}",
        "empty signature": f"{head}.{payload}.",
        "another's signature": f"{head}.{payload}.{revoked.split('.')[2]}",
        "another key": resigned(token, "k" * 32),
        "unknown kid": jwt.encode(claims, key, headers=unknown_kid),
        "of nobody": resigned(token, key, sub="no-such-bot", client_id="no-such-bot"),
        "not base64": f"{head}.{payload}=.{signature}",
    }
    for what, sent in bad.items():
        answer = await wire.fetch("GET", "/auth/client", bearer=sent)
        assert (answer.status, answer.headers["WWW-Authenticate"]) == (401, INVALID_TOKEN), what
        assert answer.json == {"error": "invalid_token", "error_description": "The token is not valid."}, what
    assert (await wire.fetch("GET", "/auth/client", bearer=token)).status == 200


@pytest.mark.row("B4", "B8")
@pytest.mark.gen_test
async def test_a_missing_scope_is_403_and_all_that_is_needed_is_named(wire: Wire) -> None:
    token = await wire.access_token()
    needed = {"GET": "bot:api fleet:read", "POST": "bot:api fleet:read fleet:write"}
    for method, scope in needed.items():
        answer = await wire.fetch(method, "/guarded", bearer=token)
        assert answer.status == 403
        assert challenge(answer) == {
            "realm": "station",
            "error": "insufficient_scope",
            "error_description": f"This needs the scope {scope}.",
            "scope": scope,
            "resource_metadata": METADATA,
        }
        assert answer.json["error"] == "insufficient_scope"
    assert (await wire.fetch("PUT", "/guarded", bearer=token)).status == 200

    wide = await wire.register("wide-bot", scopes=["bot:api", "fleet:read", "fleet:write"])
    narrow = await wire.access_token(wide, scope="fleet:read bot:api")
    assert (await wire.fetch("GET", "/guarded", bearer=narrow)).status == 200
    assert (await wire.fetch("POST", "/guarded", bearer=narrow)).status == 403
    assert (await wire.fetch("POST", "/guarded", bearer=await wire.access_token(wide))).status == 200


@pytest.mark.row("B5", "B8")
@pytest.mark.gen_test
async def test_a_repeated_header_is_a_malformed_request(wire: Wire, raw: Raw) -> None:
    token = await wire.access_token()
    bearer, other, basic = f"Bearer {token}", "bearer x.y.z", "Basic c3RhdGlvbi1ib3Q6c2VjcmV0"
    pairs = [(bearer, bearer), (bearer, other), (other, bearer), (bearer, basic), (basic, bearer)]
    for first, second in pairs:
        answer = await raw("GET /auth/client", f"Authorization: {first}", f"authorization: {second}")
        assert answer.status == 400, (first, second)
        assert challenge(answer)["error"] == answer.json["error"] == "invalid_request"


@pytest.mark.row("B5", "B6", "B8")
@pytest.mark.parametrize(
    "query",
    ["access_token={}", "a=b&access_token={}", "access%5Ftoken={}", "access_token", "%61ccess_token={}"],
)
@pytest.mark.gen_test
async def test_a_token_in_the_query_is_refused_alone_and_beside_the_header(wire: Wire, query: str) -> None:
    token = await wire.access_token()
    for bearer in (None, token):
        answer = await wire.fetch("GET", "/auth/client?" + query.format(token), bearer=bearer)
        assert answer.status == 400
        assert challenge(answer)["error"] == answer.json["error"] == "invalid_request"
        assert token not in f"{answer.headers}{answer.body!r}"


@pytest.mark.row("B7")
@pytest.mark.gen_test
async def test_a_token_in_the_form_is_not_read(wire: Wire) -> None:
    token = await wire.access_token()
    answer = await wire.fetch("PUT", "/guarded", form={"access_token": token})
    assert (answer.status, answer.headers["WWW-Authenticate"]) == (401, NO_CREDENTIALS)
    answer = await wire.fetch("PUT", "/guarded", form={"access_token": token}, bearer="x.y.z")
    assert (answer.status, answer.headers["WWW-Authenticate"]) == (401, INVALID_TOKEN)
    assert (await wire.fetch("PUT", "/guarded", form={"access_token": "x"}, bearer=token)).status == 200


@pytest.mark.row("B9")
@pytest.mark.parametrize(
    ("authorization", "status"),
    [
        ("Bearer", 400),
        ("Bearer ", 400),
        ("Bearer  x y", 400),
        ("Bearer x,y", 400),
        ("Bearer x\ty", 401),
        ("Bearer \xe9\xff", 401),
        ('Bearer "x"', 401),
        ("Bearer ====", 401),
        ("Bearer ..", 401),
        ("Bearer " + "x" * 8193, 401),
        ("Bearer " + "e30." * 15_000, 401),
    ],
)
@pytest.mark.gen_test
async def test_a_malformed_header_is_refused(raw: Raw, authorization: str, status: int) -> None:
    answer = await raw("GET /auth/client", f"Authorization: {authorization}".encode("latin-1"))
    code = {400: "invalid_request", 401: "invalid_token"}[status]
    assert (answer.status, challenge(answer)["error"], answer.json["error"]) == (status, code, code)


@pytest.mark.row("B9")
@pytest.mark.gen_test
async def test_a_token_of_64_kilobytes_is_refused(app: Application, raw: Raw) -> None:
    server = app.listen(0, "127.0.0.1")
    [listening] = server._sockets.values()
    url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    answer = await raw("GET /auth/client", "Authorization: Bearer " + "x" * 64 * 1024, url=url)
    assert (answer.status, answer.headers["WWW-Authenticate"]) == (401, INVALID_TOKEN)
    server.stop()


@pytest.mark.row("B10")
def test_misuse_of_the_decorators_fails_at_import() -> None:
    for names in ((), ("",), ("a b",), ('a"b',), ("a\\b",), ("bot:api", "é")):
        with pytest.raises(ValueError, match="scope"):
            scopes(*names)
    without_parentheses: Any = scopes
    with pytest.raises(TypeError):
        without_parentheses(Guarded.get)


@pytest.mark.row("B10")
@pytest.mark.gen_test
async def test_scopes_alone_authenticate_too(wire: Wire) -> None:
    answer = await wire.fetch("PUT", "/guarded")
    assert (answer.status, answer.headers["WWW-Authenticate"]) == (401, NO_CREDENTIALS)


@pytest.mark.row("B11")
def test_a_scope_that_nothing_declares_stops_the_start(config: Config) -> None:
    def start(*declared: str) -> None:
        settings = OAuthM2MConfig(scopes=dict.fromkeys(declared, ""))
        make_app(dataclasses.replace(config, sections={"oauth_m2m": settings}), plugins=[GuardedPlugin()])

    with pytest.raises(StartError) as stopped:
        start("bot:api", "fleet:read")
    [problem] = stopped.value.problems
    assert "asks for the scope fleet:write, which nothing declares" in problem
    start("bot:api", "fleet:read", "fleet:write")


@pytest.mark.row("B12")
@pytest.mark.parametrize("audience", ["https://elsewhere.example", "", "{}/", "{}#x", ["x", "y"], []])
@pytest.mark.gen_test
async def test_a_token_for_another_audience_is_refused(wire: Wire, config: Config, audience: object) -> None:
    if isinstance(audience, str):
        audience = audience.format(config.audience)
    token = resigned(await wire.access_token(), config.jwt_secret, aud=audience)
    answer = await wire.fetch("GET", "/auth/client", bearer=token)
    assert (answer.status, answer.headers["WWW-Authenticate"]) == (401, INVALID_TOKEN)


@pytest.mark.row("B13")
@pytest.mark.gen_test
async def test_neither_a_machine_is_a_user_nor_a_user_a_machine(wire: Wire) -> None:
    token, cookies = await wire.access_token(), await log_in(wire)
    access = cookies.partition("station_access=")[2].partition(";")[0]
    as_client, as_user = {"Authorization": f"Bearer {token}"}, {"Cookie": cookies}
    client_as_user, user_as_client = (
        {"Cookie": f"station_access={token}"},
        {"Authorization": f"Bearer {access}"},
    )
    cases: list[tuple[str, dict[str, str], int]] = [
        ("/auth/me", as_user, 200),
        ("/auth/me", as_client, 401),
        ("/auth/me", client_as_user, 401),
        ("/auth/me", client_as_user | as_client, 401),
        ("/auth/me", user_as_client, 401),
        ("/auth/client", as_client, 200),
        ("/auth/client", as_user, 401),
        ("/auth/client", user_as_client, 401),
        ("/auth/client", user_as_client | as_user, 401),
        ("/auth/client", client_as_user, 401),
        # both together: each path looks at its own kind alone
        ("/auth/me", as_user | as_client, 200),
        ("/auth/client", as_user | as_client, 200),
        # a bad one is not mended by a good one of the other kind
        ("/auth/me", as_client | {"Cookie": "station_access=x.y.z"}, 401),
        ("/auth/client", as_user | {"Authorization": "Bearer x.y.z"}, 401),
    ]
    for path, headers, status in cases:
        answer = await wire.fetch("GET", path, headers=headers)
        assert answer.status == status, (path, headers)
        assert ("WWW-Authenticate" in answer.headers) == (status == 401)
    answer = await wire.fetch("GET", "/guarded", headers=as_user, bearer=await _guarded_token(wire))
    assert answer.json == {"client_id": "wide-bot", "user": None}
    assert (await wire.fetch("GET", "/auth/me", headers=as_user | as_client)).json["email"] == PERSON["email"]


async def _guarded_token(wire: Wire) -> str:
    return await wire.access_token(await wire.register("wide-bot", scopes=["bot:api", "fleet:read"]))


@pytest.mark.row("B14")
@pytest.mark.parametrize(("ttl", "right"), [("59", False), ("60", True), ("3600", True), ("3601", False)])
def test_the_setting_of_the_lifetime_is_at_most_an_hour(tmp_path: Path, ttl: str, right: bool) -> None:
    def load() -> object:
        environ = {"STATION_DATA_DIR": str(tmp_path / "data"), "OAUTH_M2M_TOKEN_TTL": ttl}
        (tmp_path / "station.toml").touch()
        return load_config(environ, file=tmp_path / "station.toml").sections["oauth_m2m"]

    if right:
        assert load() == OAuthM2MConfig(token_ttl=int(ttl))
    else:
        with pytest.raises(ConfigError, match="OAUTH_M2M_TOKEN_TTL"):
            load()


@pytest.mark.row("B14", "R2")
@pytest.mark.gen_test
async def test_the_lifetime_of_a_client_is_at_most_an_hour(wire: Wire, config: Config) -> None:
    for ttl in (0, 59, 3601, 86_400):
        document = {"clientId": "long-bot", "scopes": ["bot:api"], "tokenTtl": ttl}
        answer = await wire.admin("POST", "/oauth-clients", document)
        assert (answer.status, list(answer.json["errors"])) == (400, ["tokenTtl"])
    for client_id, fields, ttl in (("short-bot", {"tokenTtl": 60}, 60), ("plain-bot", {}, 3600)):
        answer = await wire.token(await wire.register(client_id, **fields))
        claims = jwt.decode(answer.json["access_token"], options={"verify_signature": False})
        assert answer.json["expires_in"] == claims["exp"] - claims["iat"] == ttl
    # nor does a right signature make one longer
    longer = resigned(answer.json["access_token"], config.jwt_secret, exp=claims["iat"] + 3601)
    assert (await wire.fetch("GET", "/auth/client", bearer=longer)).status == 401


@pytest.mark.row("B15")
@pytest.mark.gen_test
async def test_no_cache_keeps_an_answer_to_a_token(wire: Wire) -> None:
    token = await wire.access_token()
    for bearer, path, status in (
        (token, "/auth/client", 200),
        (token, "/guarded", 403),
        (None, "/guarded", 401),
    ):
        answer = await wire.fetch("GET", path, bearer=bearer)
        assert (answer.status, answer.headers["Cache-Control"]) == (status, "no-store")


@pytest.mark.row("B17")
@pytest.mark.parametrize(
    "origin",
    [
        {"Origin": FOREIGN},
        {"Origin": "null"},
        {"Origin": FOREIGN, "Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "cross-site"},
    ],
)
@pytest.mark.gen_test
async def test_a_write_from_a_foreign_page_is_refused(wire: Wire, origin: dict[str, str]) -> None:
    user, token = {"Cookie": await log_in(wire)}, await wire.access_token()
    writes: list[tuple[str, str, dict[str, str]]] = [
        ("POST", "/auth/logout", user),
        ("POST", "/oauth-clients", user),
        ("PATCH", "/oauth-clients/station-bot", user),
        ("PUT", "/guarded", {"Authorization": f"Bearer {token}"}),
    ]
    for method, path, headers in writes:
        answer = await wire.fetch(method, path, headers=headers | origin, document={})
        assert (answer.status, answer.headers["Content-Type"]) == (403, "application/problem+json"), path
        assert answer.json["status"] == 403
        assert "Set-Cookie" not in answer.headers
    assert (await wire.fetch("GET", "/auth/me", headers=user)).status == 200
    # a program sends neither Origin nor Sec-Fetch-Site
    assert (await wire.fetch("PUT", "/guarded", bearer=token)).status == 200
    assert (await wire.fetch("POST", "/auth/logout", headers=user)).status == 204
    assert (await wire.fetch("GET", "/auth/me", headers=user)).status == 401


@pytest.mark.row("B17")
@pytest.mark.gen_test
async def test_a_call_with_a_token_reads_no_cookie(wire: Wire) -> None:
    token = await _guarded_token(wire)
    plain = await wire.fetch("GET", "/guarded", bearer=token)
    for cookie in ("station_access=x.y.z; station_refresh=x", 'a="\\777', ";;=;", "\xe9=\xff"):
        answer = await wire.fetch("GET", "/guarded", bearer=token, headers={"Cookie": cookie})
        assert (answer.status, answer.body) == (200, plain.body)
        assert "Set-Cookie" not in answer.headers
