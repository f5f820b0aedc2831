"""Protected resource metadata (RFC 9728): rows M8 and B16 of docs/protocol.md."""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from station.config import Config
    from tests.conftest import Wire

METADATA = "/.well-known/oauth-protected-resource"
ISSUER = "https://station.example"


@pytest.fixture
def audience() -> str:
    return ISSUER


@pytest.fixture
def config(config: Config, audience: str) -> Config:
    return dataclasses.replace(config, issuer=ISSUER, audience=audience)


@pytest.mark.row("M8", "B16")
@pytest.mark.parametrize(
    ("audience", "resource", "where", "path"),
    [
        (ISSUER, ISSUER, f"{ISSUER}{METADATA}", ""),
        ("https://api.example/v1", "https://api.example/v1", f"https://api.example{METADATA}/v1", "/v1"),
        ("https://api.example/", "https://api.example/", f"https://api.example{METADATA}", ""),
        ("the bots' API", ISSUER, f"{ISSUER}{METADATA}", ""),
    ],
)
@pytest.mark.gen_test
async def test_the_challenge_leads_to_the_resource_and_that_to_its_server(
    wire: Wire, resource: str, where: str, path: str
) -> None:
    refused = await wire.fetch("GET", "/probe")
    [found] = re.findall(r'resource_metadata="([^"]*)"', refused.headers["WWW-Authenticate"])
    assert found == where
    for suffix in {"", path}:
        answer = await wire.fetch("GET", METADATA + suffix)
        assert (answer.status, answer.headers["Content-Type"]) == (200, "application/json")
        assert answer.json == {
            "resource": resource,
            "authorization_servers": [ISSUER],
            "jwks_uri": f"{ISSUER}/.well-known/jwks.json",
            "bearer_methods_supported": ["header"],
        }
    assert (await wire.fetch("GET", f"{METADATA}/other")).status == 404


@pytest.mark.row("B16")
@pytest.mark.gen_test
async def test_every_bearer_refusal_names_the_metadata_and_no_other_answer_does(wire: Wire) -> None:
    credentials = await wire.register()
    token = await wire.access_token(credentials)
    metadata = f'resource_metadata="{ISSUER}{METADATA}"'
    refusals = [
        (401, await wire.fetch("GET", "/probe")),
        (401, await wire.fetch("GET", "/probe", basic=credentials)),
        (401, await wire.fetch("GET", "/probe", bearer="x.y.z")),
        (403, await wire.fetch("POST", "/probe", bearer=token)),
        (400, await wire.fetch("GET", "/probe?access_token=x")),
    ]
    for status, answer in refusals:
        [challenge] = answer.headers.get_list("WWW-Authenticate")
        assert (answer.status, challenge.count("resource_metadata")) == (status, 1)
        assert challenge.endswith(metadata)
    others = [await wire.fetch("GET", "/probe", bearer=token), await wire.token(("nobody", "x" * 40))]
    assert [answer.status for answer in others] == [200, 401]
    assert not any("resource_metadata" in answer.headers.get("WWW-Authenticate", "") for answer in others)
