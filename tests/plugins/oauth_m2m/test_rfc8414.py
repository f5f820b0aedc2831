"""Authorization server metadata (RFC 8414): table M of docs/protocol.md."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import jwt
import pytest
from authlib.oauth2.rfc8414 import AuthorizationServerMetadata, get_well_known_url

from plugins.oauth_m2m.config import OAuthM2MConfig
from plugins.oauth_m2m.services import services_of
from station import hookimpl

if TYPE_CHECKING:
    from station.app import Application
    from station.config import Config
    from tests.conftest import Wire

METADATA = "/.well-known/oauth-authorization-server"
DOCUMENTS = [METADATA, "/.well-known/oauth-protected-resource", "/.well-known/jwks.json"]
ISSUER = "https://station.example"


@pytest.fixture
def issuer() -> str:
    return ISSUER


@pytest.fixture
def config(config: Config, issuer: str) -> Config:
    return dataclasses.replace(config, issuer=issuer, audience=issuer)


async def metadata(wire: Wire, path: str = METADATA, **request: Any) -> dict[str, Any]:
    answer = await wire.fetch("GET", path, **request)
    assert (answer.status, answer.headers["Content-Type"]) == (200, "application/json"), answer.body
    document: dict[str, Any] = answer.json
    return document


@pytest.mark.row("M1", "M2", "M3", "M4", "M5", "M7")
@pytest.mark.gen_test
async def test_what_the_server_says_of_itself(wire: Wire) -> None:
    methods = ["client_secret_basic", "client_secret_post"]
    assert await metadata(wire) == {
        "issuer": ISSUER,
        "token_endpoint": f"{ISSUER}/auth/token",
        "token_endpoint_auth_methods_supported": methods,
        "revocation_endpoint": f"{ISSUER}/auth/revoke",
        "revocation_endpoint_auth_methods_supported": methods,
        "introspection_endpoint": f"{ISSUER}/auth/introspect",
        "introspection_endpoint_auth_methods_supported": [*methods, "Bearer"],
        "jwks_uri": f"{ISSUER}/.well-known/jwks.json",
        "response_types_supported": ["none"],
        "grant_types_supported": ["client_credentials"],
    }


@pytest.mark.row("M1", "M2")
@pytest.mark.gen_test
async def test_authlib_finds_and_accepts_it(wire: Wire) -> None:
    path = get_well_known_url(ISSUER)
    document = AuthorizationServerMetadata(await metadata(wire, path))
    document.validate()
    assert document["issuer"] == ISSUER


@pytest.mark.row("M1", "M2")
@pytest.mark.parametrize(
    ("issuer", "path"),
    [
        ("https://station.example", ""),
        ("https://station.example/", ""),
        ("https://station.example/tenant", "/tenant"),
        ("https://station.example/a/b/", "/a/b"),
    ],
)
@pytest.mark.gen_test
async def test_the_path_of_the_issuer_follows_the_well_known_one(wire: Wire, issuer: str, path: str) -> None:
    found = await metadata(wire, METADATA + path)
    assert found["issuer"] == issuer
    assert found["token_endpoint"] == issuer.rstrip("/") + "/auth/token"
    assert found == await metadata(wire)  # for proxies that strip the path
    AuthorizationServerMetadata(found).validate()
    for other in ("/other", f"{path}/", f"{path}/more", "//", "/../tenant"):
        answer = await wire.fetch("GET", METADATA + other)
        assert (answer.status, answer.headers["Cache-Control"]) == (404, "no-store"), other


@pytest.mark.row("M2")
@pytest.mark.gen_test
async def test_no_header_of_the_request_changes_it(wire: Wire) -> None:
    plain = await metadata(wire)
    token = await wire.access_token()
    for headers in (
        {"Host": "evil.example"},
        {"X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "http", "Forwarded": "host=evil.example"},
    ):
        assert await metadata(wire, headers=headers) == plain
    assert jwt.decode(token, options={"verify_signature": False})["iss"] == plain["issuer"]


@pytest.mark.row("M5")
@pytest.mark.gen_test
async def test_the_methods_that_it_names_are_those_that_work(wire: Wire) -> None:
    client_id, secret = credentials = await wire.register()
    in_body = {"client_id": client_id, "client_secret": secret}
    token = await wire.access_token(credentials)
    document = await metadata(wire)
    for endpoint, form in (
        ("token", {"grant_type": "client_credentials"}),
        ("revocation", {"token": "x"}),
        ("introspection", {"token": "x"}),
    ):
        path = urlsplit(document[f"{endpoint}_endpoint"]).path
        answers = {
            "client_secret_basic": await wire.fetch("POST", path, form=form, basic=credentials),
            "client_secret_post": await wire.fetch("POST", path, form=form | in_body),
            "Bearer": await wire.fetch("POST", path, form=form, bearer=token),
        }
        working = [method for method, answer in answers.items() if answer.status == 200]
        assert document[f"{endpoint}_endpoint_auth_methods_supported"] == working, endpoint


class ScopesPlugin:
    """A plugin object that declares scopes."""

    __name__ = "scoped"

    @hookimpl
    def station_scopes(self) -> dict[str, str]:
        return {"fleet:read": "", "secret:sauce": "", "oauth:introspect": ""}


OPEN = OAuthM2MConfig(bcrypt_cost=4, private_scopes=("oauth:introspect", "secret:sauce"))
CLOSED = dataclasses.replace(OPEN, scopes={"bot:write": "", "bot:api": "", "secret:sauce": ""})


@pytest.mark.row("M6")
@pytest.mark.parametrize("plugins", [[ScopesPlugin()]], ids=["plugin"])
@pytest.mark.parametrize(
    ("m2m_settings", "named"),
    [(OPEN, ["fleet:read"]), (CLOSED, ["bot:api", "bot:write", "fleet:read"])],
    ids=["open", "closed"],
)
@pytest.mark.gen_test
async def test_private_scopes_are_not_named(wire: Wire, named: list[str]) -> None:
    for path in DOCUMENTS[:2]:
        assert (await metadata(wire, path))["scopes_supported"] == named


@pytest.mark.row("M5")
@pytest.mark.parametrize(
    "m2m_settings", [OAuthM2MConfig(bcrypt_cost=4, client_auth_methods=("client_secret_post",))], ids=["post"]
)
@pytest.mark.gen_test
async def test_a_method_that_is_off_is_not_named(wire: Wire) -> None:
    document = await metadata(wire)
    for endpoint, more in (("token", []), ("revocation", []), ("introspection", ["Bearer"])):
        assert document[f"{endpoint}_endpoint_auth_methods_supported"] == ["client_secret_post", *more]
    assert (await wire.token(await wire.register())).status == 401


@pytest.mark.row("M9")
@pytest.mark.parametrize("path", DOCUMENTS)
@pytest.mark.gen_test
async def test_everybody_may_read_and_keep_it(wire: Wire, path: str) -> None:
    answer = await wire.fetch("GET", path)
    assert answer.status == 200
    assert answer.headers.get_list("Cache-Control") == ["public, max-age=300"]
    assert "Set-Cookie" not in answer.headers
    etag = answer.headers["Etag"]
    for known in (
        answer.headers["Etag"],
        f'"x", {answer.headers["Etag"]}',
        f"W/{answer.headers['Etag']}",
        "*",
    ):
        again = await wire.fetch("GET", path, headers={"If-None-Match": known})
        assert (again.status, again.body) == (304, b""), known
        assert again.headers["Etag"] == etag
    assert (await wire.fetch("GET", path, headers={"If-None-Match": '"x"'})).body == answer.body
    refused = await wire.fetch("POST", path, form={})
    assert (refused.status, refused.headers["Cache-Control"]) == (405, "no-store")


@pytest.mark.row("M9")
@pytest.mark.parametrize("m2m_settings", [OAuthM2MConfig(bcrypt_cost=4, signing_alg="EdDSA")], ids=["EdDSA"])
@pytest.mark.gen_test
async def test_the_etag_of_the_keys_changes_with_them(wire: Wire, app: Application) -> None:
    before = await wire.fetch("GET", DOCUMENTS[2])
    await services_of(app).keyring.rotate(force=True)
    after = await wire.fetch("GET", DOCUMENTS[2], headers={"If-None-Match": before.headers["Etag"]})
    assert after.status == 200
    assert after.headers["Etag"] != before.headers["Etag"]
