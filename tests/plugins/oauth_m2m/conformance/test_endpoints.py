"""Where the endpoints are: what a server names may be anything."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from plugins.oauth_m2m.conformance.endpoints import CannotRun, Endpoints, find_endpoints
from plugins.oauth_m2m.conformance.wire import Wire

if TYPE_CHECKING:
    from tests.plugins.oauth_m2m.conformance.conftest import Passing, Proxy

NOWHERE = "http://127.0.0.1:1"


class Documents:
    """A server that has nothing but these documents."""

    def __init__(self, documents: dict[str, object]) -> None:
        self.documents = documents

    def __call__(self, p: Passing) -> None:
        found = p.path in self.documents
        p.answer(200 if found else 404, self.documents.get(p.path))


async def find(
    proxy: Proxy,
    metadata: object,
    path: str = "",
    at: str = "/.well-known/oauth-authorization-server",
    **more: Any,
) -> tuple[str, Endpoints]:
    """What is found at a server that says this of itself; and where it is."""
    documents = {at: metadata, **more.pop("documents", {})}
    async with proxy(NOWHERE, Documents(documents)) as url:
        return url, await find_endpoints(Wire(), url + path, more)


@pytest.mark.gen_test
async def test_the_url_stands_in_for_the_issuers_origin(proxy: Proxy) -> None:
    metadata = {
        "issuer": "https://as.example/tenant",
        "token_endpoint": "https://as.example/tenant/token?x=y",
        "revocation_endpoint": "https://other.example/revoke",
    }
    url, found = await find(proxy, metadata)
    assert found.token == f"{url}/tenant/token?x=y"
    assert found.revocation == "https://other.example/revoke"
    assert (found.introspection, found.jwks, found.resource, found.scoped_resource) == (None,) * 4


@pytest.mark.parametrize(
    "at",
    [
        "/.well-known/oauth-authorization-server/a/b",
        "/a/b/.well-known/openid-configuration",
        "/.well-known/oauth-authorization-server",
    ],
)
@pytest.mark.gen_test
async def test_the_issuers_path_follows_the_well_known_one(proxy: Proxy, at: str) -> None:
    metadata = {"issuer": "https://as.example/a/b", "token_endpoint": "https://as.example/a/b/token"}
    url, found = await find(proxy, metadata, "/a/b/", at)
    assert found.token == f"{url}/a/b/token"
    assert found.is_described == ("oauth-authorization-server" in at)


@pytest.mark.gen_test
async def test_what_is_given_counts_more(proxy: Proxy) -> None:
    given = {"token": "https://a.example/t", "jwks": "https://a.example/j", "resource": "https://a.example/r"}
    _, found = await find(proxy, {"token_endpoint": "https://b.example/t"}, **given)
    assert (found.token, found.jwks, found.resource) == tuple(given.values())


@pytest.mark.parametrize(
    "named", ["http://[", "http:///x", "javascript:x", "/token", "", 5, None, [], "http://x:99999999"]
)
@pytest.mark.gen_test
async def test_what_is_no_url_is_none(proxy: Proxy, named: object) -> None:
    with pytest.raises(CannotRun, match="--token-endpoint"):
        await find(proxy, {"issuer": named, "token_endpoint": named})


@pytest.mark.parametrize(
    ("path", "found"),
    [("/fleet", True), ("/fleet/{id}", False), ("@evil.example/x", False), ("//evil.example/x", True)],
)
@pytest.mark.gen_test
async def test_a_resource_with_a_scope_is_one_of_this_server(proxy: Proxy, path: str, found: bool) -> None:
    openapi = {
        "paths": {
            "/a": 5,
            "/b": {"get": {"security": [{"admin": []}]}},
            path: {"get": {"security": [{"o": ["x"]}]}},
        }
    }
    metadata = {"token_endpoint": "https://as.example/token"}
    url, endpoints = await find(proxy, metadata, documents={"/openapi.json": openapi})
    assert endpoints.scoped_resource == (f"{url}{path}" if found else None)
