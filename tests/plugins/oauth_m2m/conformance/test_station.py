"""Station keeps every rule that can be checked from outside, however it is configured."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pytest

from plugins.oauth_m2m.config import OAuthM2MConfig
from plugins.oauth_m2m.conformance import Client, read_rows
from plugins.oauth_m2m.conformance.needs import Need
from plugins.oauth_m2m.conformance.rows import rules
from plugins.oauth_m2m.conformance.untestable import UNTESTABLE

if TYPE_CHECKING:
    from plugins.oauth_m2m.conformance import Result
    from station.config import Config
    from tests.conftest import Wire
    from tests.plugins.oauth_m2m.conformance.conftest import Check

SETTINGS = [
    OAuthM2MConfig(bcrypt_cost=4),
    OAuthM2MConfig(bcrypt_cost=4, signing_alg="EdDSA", invalid_scope_status=400),
]
CLOSED = {"conformance:read": "", "conformance:write": "", "bot:api": "", "bot:write": ""}
LIMITS = {
    "token_throttle_limit": 3,
    "introspect_throttle_limit": 30,
    "failure_throttle_limit": 4,
    **dict.fromkeys(("token_throttle_ttl_ms", "introspect_throttle_ttl_ms", "failure_throttle_ttl_ms"), 1100),
}


@pytest.fixture
def config(config: Config, request: pytest.FixtureRequest) -> Config:
    """The usual configuration, with the fields that a test asks for."""
    return dataclasses.replace(config, **getattr(request, "param", {}))


def needing(*needs: Need) -> set[str]:
    return {row for row, rule in rules().items() if set(needs) & set(rule.needs)}


def rows_of(results: dict[str, Result], fate: str) -> set[str]:
    return {row for row, result in results.items() if result.fate == fate}


def assert_passed(results: dict[str, Result], *, but: set[str]) -> None:
    """Every row was checked and holds, but for these, which were skipped."""
    failed = {row: result.reason for row, result in results.items() if result.fate == "failed"}
    assert failed == {}
    assert rows_of(results, "skipped") == set(UNTESTABLE) | but
    assert list(results) == [row.id for row in read_rows()]


@pytest.mark.parametrize("m2m_settings", SETTINGS, ids=["HS256-401", "EdDSA-400"])
@pytest.mark.gen_test
async def test_station_keeps_every_rule(wire: Wire, check: Check, left: list[str]) -> None:
    assert_passed(await check(wire.base_url), but=needing(Need.FLOOD))
    assert left == []
    assert (await wire.admin("GET", "/oauth-clients")).json["clients"] == []


@pytest.mark.parametrize("m2m_settings", [OAuthM2MConfig(bcrypt_cost=4, scopes=CLOSED)], ids=["closed"])
@pytest.mark.gen_test
async def test_with_one_client_and_no_admin_access(wire: Wire, check: Check) -> None:
    client_id, secret = await wire.register(scopes=["conformance:read", "conformance:write"])
    results = await check(wire.base_url, client=Client(client_id, secret))
    assert_passed(results, but=needing(Need.FLOOD, Need.ADMIN))
    assert "--admin-key-file" in results["G1"].reason
    assert [one["clientId"] for one in (await wire.admin("GET", "/oauth-clients")).json["clients"]] == [
        client_id
    ]


@pytest.mark.parametrize("config", [LIMITS], indirect=True)
@pytest.mark.gen_test
async def test_throttles_are_waited_for_and_checked_when_asked_for(
    wire: Wire, check: Check, waited: list[float]
) -> None:
    results = await check(wire.base_url, "T1,T10,C16,T16,I6", flood=True)
    assert rows_of(results, "passed") == {"T1", "T10", "C16", "T16", "I6"}, results
    assert waited


@pytest.mark.parametrize("config", [{**LIMITS, "token_throttle_ttl_ms": 60_000}], indirect=True)
@pytest.mark.gen_test
async def test_a_throttle_that_outlasts_the_patience_is_named(
    wire: Wire, check: Check, waited: list[float]
) -> None:
    client = Client(*await wire.register())
    results = await check(wire.base_url, "T1,T2,T10,C1", client=client, patience=10.0)
    assert (rows_of(results, "passed"), waited) == ({"T1", "T2"}, [])
    for row in ("T10", "C1"):
        assert "AUTH_TOKEN_THROTTLE_LIMIT" in results[row].reason
