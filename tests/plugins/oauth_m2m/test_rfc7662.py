"""Introspection (RFC 7662): table I of docs/protocol.md."""

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING, Any

import jwt
import pytest

from plugins.oauth_m2m.config import OAuthM2MConfig

if TYPE_CHECKING:
    from collections.abc import Mapping

    from station.app import Application
    from station.config import Config
    from tests.conftest import Answer, Wire
    from tests.plugins.oauth_m2m.conftest import Refusal

SECRET = "the-secret-of-these-tests-0123456789"
BOT = ("station-bot", SECRET)
API = ("resource-server", SECRET)
INVALID_TOKEN = 'Bearer realm="station", error="invalid_token"'
INACTIVE = b'{"active": false}'


@pytest.fixture
def config(config: Config, request: pytest.FixtureRequest) -> Config:
    """The usual configuration, with the fields that a test asks for."""
    return dataclasses.replace(config, **getattr(request, "param", {}))


async def register(wire: Wire) -> None:
    """A bot, and a resource server that may introspect."""
    await wire.register(BOT[0], clientSecret=SECRET, scopes=["bot:api", "bot:write"])
    await wire.register(API[0], clientSecret=SECRET, scopes=["oauth:introspect"])


async def introspect(
    wire: Wire, token: str, basic: tuple[str, str] | None = API, bearer: str | None = None, **more: str
) -> Answer:
    form = {"token": token, **more}
    return await wire.fetch("POST", "/auth/introspect", form=form, basic=basic, bearer=bearer)


@pytest.mark.row("I3", "I7")
@pytest.mark.gen_test
async def test_an_active_token_says_what_it_is(wire: Wire, config: Config) -> None:
    await register(wire)
    token = await wire.access_token(BOT)
    claims = jwt.decode(token, options={"verify_signature": False})
    answer = await introspect(wire, token)
    assert (answer.status, answer.headers["Content-Type"]) == (200, "application/json")
    assert (answer.headers["Cache-Control"], answer.headers["Pragma"]) == ("no-store", "no-cache")
    assert answer.json == {
        "active": True,
        "scope": "bot:api bot:write",
        "client_id": "station-bot",
        "token_type": "Bearer",
        "exp": claims["exp"],
        "iat": claims["iat"],
        "sub": "station-bot",
        "aud": config.audience,
        "iss": config.issuer,
        "jti": claims["jti"],
    }
    assert answer.json["active"] is True


def forged(token: str, config: Config) -> Mapping[str, str]:
    claims = jwt.decode(token, options={"verify_signature": False})
    typ = {"typ": "at+jwt"}
    return {
        "empty of sense": "x",
        "no text": "é\0",
        "forged": jwt.encode(claims, "k" * 40, headers=typ),
        "expired": jwt.encode(claims | {"exp": int(time.time()) - 1}, config.jwt_secret, headers=typ),
        "of another audience": jwt.encode(claims | {"aud": "x"}, config.jwt_secret, headers=typ),
        "of another issuer": jwt.encode(claims | {"iss": "x"}, config.jwt_secret, headers=typ),
        "of another type": jwt.encode(claims, config.jwt_secret),
        "of an unknown client": jwt.encode(
            claims | {"sub": "x", "client_id": "x"}, config.jwt_secret, headers=typ
        ),
        "of another generation": jwt.encode(claims | {"gen": "x"}, config.jwt_secret, headers=typ),
        "cut": token[:-1],
    }


@pytest.mark.row("I2", "I4")
@pytest.mark.gen_test
async def test_what_a_handler_refuses_is_inactive_and_nothing_else_is_said(
    wire: Wire, config: Config
) -> None:
    await register(wire)
    for what, token in forged(await wire.access_token(BOT), config).items():
        answer = await introspect(wire, token)
        assert (answer.status, answer.body) == (200, INACTIVE), what


@pytest.mark.row("I4", "I7")
@pytest.mark.parametrize(
    ("method", "path", "document"),
    [
        ("PATCH", "/oauth-clients/station-bot", {"isActive": False}),
        ("DELETE", "/oauth-clients/station-bot", None),
        ("DELETE", "/oauth-clients/station-bot/tokens", None),
        ("DELETE", "/oauth-clients/station-bot/tokens/JTI", None),
    ],
)
@pytest.mark.gen_test
async def test_what_ends_a_token_is_known_at_once(
    wire: Wire, method: str, path: str, document: object
) -> None:
    await register(wire)
    token = await wire.access_token(BOT)
    jti = (await introspect(wire, token)).json["jti"]
    assert (await wire.admin(method, path.replace("JTI", jti), document)).status in {200, 204}
    assert (await introspect(wire, token)).body == INACTIVE


@pytest.mark.row("I7")
@pytest.mark.gen_test
async def test_revoked_then_introspected(wire: Wire) -> None:
    await register(wire)
    token = await wire.access_token(BOT)
    assert (await introspect(wire, token)).json["active"] is True
    await wire.fetch("POST", "/auth/revoke", form={"token": token}, basic=BOT)
    assert (await introspect(wire, token)).body == INACTIVE


@pytest.mark.row("I3")
@pytest.mark.gen_test
async def test_the_scope_is_what_a_handler_would_find(wire: Wire) -> None:
    """A scope that the client has lost is lost here as well."""
    await register(wire)
    token = await wire.access_token(BOT)
    await wire.admin("PATCH", "/oauth-clients/station-bot", {"scopes": ["bot:write", "bot:admin"]})
    assert (await introspect(wire, token)).json["scope"] == "bot:write"


@pytest.mark.row("I5")
@pytest.mark.gen_test
async def test_without_the_scope_a_client_sees_its_own_tokens_only(wire: Wire) -> None:
    await register(wire)
    mine, theirs = await wire.access_token(BOT), await wire.access_token(API)
    for caller in ({"basic": BOT}, {"basic": None, "bearer": mine}):
        assert (await introspect(wire, mine, **caller)).json["active"] is True
        assert (await introspect(wire, theirs, **caller)).body == INACTIVE
    await wire.admin("PATCH", "/oauth-clients/resource-server", {"scopes": ["something:else"]})
    for caller in ({"basic": API}, {"basic": None, "bearer": theirs}):
        assert (await introspect(wire, mine, **caller)).body == INACTIVE


@pytest.mark.row("I5")
@pytest.mark.parametrize(
    "m2m_settings", [OAuthM2MConfig(bcrypt_cost=4, scopes={"bot:api": "", "bot:write": ""})]
)
@pytest.mark.gen_test
async def test_the_scope_is_the_plugins_own(wire: Wire) -> None:
    """It can be registered although the catalogue is closed."""
    await register(wire)
    assert (await introspect(wire, await wire.access_token(BOT))).json["active"] is True


@pytest.mark.row("I1")
@pytest.mark.gen_test
async def test_a_client_may_authenticate_by_its_token(wire: Wire) -> None:
    """2.1: by bearer token as well; it spares both sides the secret."""
    await register(wire)
    token = await wire.access_token(BOT)
    caller = await wire.access_token(API)
    assert (await introspect(wire, token, None, bearer=caller)).json["client_id"] == "station-bot"
    narrow = await wire.access_token(API, scope="oauth:introspect")
    assert (await introspect(wire, token, None, bearer=narrow)).json["active"] is True


@pytest.mark.row("I1")
@pytest.mark.gen_test
async def test_who_does_not_authenticate_learns_nothing(
    wire: Wire, config: Config, refusal: Refusal, app: Application
) -> None:
    await register(wire)
    token = await wire.access_token(BOT)
    for basic in (None, ("resource-server", "w" * 40), ("nobody", SECRET)):
        refusal(await introspect(wire, token, basic), 401, "invalid_client", basic)
    bearers = {**forged(await wire.access_token(API), config)}
    for what in ("empty of sense", "forged", "expired", "of another generation", "cut"):
        answer = await introspect(wire, token, None, bearer=bearers[what])
        assert (answer.status, answer.json["error"]) == (401, "invalid_token"), what
        [challenge] = answer.headers.get_list("WWW-Authenticate")
        assert challenge.startswith(INVALID_TOKEN)
        assert answer.headers["Cache-Control"] == "no-store"
    two = await introspect(
        wire, token, None, bearer=await wire.access_token(API), client_id=API[0], client_secret=SECRET
    )
    refusal(two, 400, "invalid_request")


@pytest.mark.row("I8")
@pytest.mark.gen_test
async def test_the_form(wire: Wire, refusal: Refusal) -> None:
    await register(wire)
    token = await wire.access_token(BOT)
    for form in ({}, {"token": ""}, {"token_type_hint": "access_token"}):
        answer = await wire.fetch("POST", "/auth/introspect", form=form, basic=API)
        refusal(answer, 400, "invalid_request", form)
    for hint in ("access_token", "refresh_token", "x", ""):
        assert (await introspect(wire, token, token_type_hint=hint)).json["active"] is True
    answer = await wire.fetch("POST", f"/auth/introspect?token={token}", basic=API, body="")
    refusal(answer, 400, "invalid_request")
    answer = await wire.fetch("GET", f"/auth/introspect?token={token}", basic=API)
    refusal(answer, 405, "invalid_request")


@pytest.mark.row("I6", "C16")
@pytest.mark.parametrize("config", [{"introspect_throttle_limit": 2}], indirect=True)
@pytest.mark.gen_test
async def test_introspection_is_throttled_per_caller(wire: Wire, refusal: Refusal) -> None:
    await register(wire)
    caller: dict[str, Any] = {"basic": None, "bearer": await wire.access_token(API)}
    assert [(await introspect(wire, "x")).status, (await introspect(wire, "x", **caller)).status] == [
        200,
        200,
    ]
    for more in ({}, caller):
        refusal(await introspect(wire, "x", **more), 429, "temporarily_unavailable")
    assert (await introspect(wire, "x", BOT)).status == 200
