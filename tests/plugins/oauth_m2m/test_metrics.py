from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pytest
from prometheus_client.parser import text_string_to_metric_families

from plugins.oauth_m2m import reasons
from plugins.oauth_m2m.metrics import REASONS
from plugins.oauth_m2m.secret_format import generate_secret
from plugins.oauth_m2m.services import services_of

if TYPE_CHECKING:
    from station.app import Application
    from station.config import Config
    from tests.conftest import Wire

Found = dict[tuple[str, ...], float]
WRONG = "w" * 40


@pytest.fixture
def config(config: Config) -> Config:
    return dataclasses.replace(config, token_throttle_limit=20)


async def told(wire: Wire) -> Found:
    """Every sample of the plugin, by its name and the words of its labels but the worker."""
    text = (await wire.admin("GET", "/metrics")).body.decode()
    found = {}
    for family in text_string_to_metric_families(text):
        if family.name.startswith("oauth_m2m_"):
            for sample in family.samples:
                words = [word for label, word in sorted(sample.labels.items()) if label != "worker"]
                found[sample.name.removeprefix("oauth_m2m_"), *words] = sample.value
    return found


def grown(before: Found, after: Found, name: str) -> Found:
    """By how much the samples of a family have grown, of those that have."""
    return {
        key[1:]: number - before.get(key, 0)
        for key, number in after.items()
        if key[0] == name and number != before.get(key, 0)
    }


@pytest.mark.gen_test
async def test_tokens_are_told_and_refusals_by_reason(wire: Wire) -> None:
    basic = await wire.register()
    before = await told(wire)
    for _ in range(3):
        await wire.access_token(basic)
    await wire.token((basic[0], WRONG))
    await wire.token(("nobody", WRONG))
    await wire.token(basic, scope="bot:other")
    await wire.fetch("POST", "/auth/token", form={"grant_type": "client_credentials"})
    await wire.fetch("POST", "/auth/token", form={"grant_type": "password"})
    after = await told(wire)
    assert grown(before, after, "tokens_issued_total") == {(): 3}
    assert grown(before, after, "tokens_refused_total") == {
        ("wrong_secret",): 1,
        ("unknown",): 1,
        ("scope",): 1,
        ("missing",): 1,
        ("malformed",): 1,
    }


@pytest.mark.gen_test
async def test_what_the_throttle_refuses_is_told(wire: Wire) -> None:
    basic = await wire.register()
    statuses = [(await wire.token(basic)).status for _ in range(22)]
    assert statuses.count(429) == 2
    found = await told(wire)
    assert found["tokens_refused_total", "throttled"] == 2
    assert found["tokens_issued_total",] == 20


@pytest.mark.gen_test
async def test_all_reasons_are_there_from_the_start(wire: Wire) -> None:
    found = await told(wire)
    named = {key[1] for key in found if key[0] == "tokens_refused_total"}
    assert named == {*REASONS, "other"}
    assert not any(found["tokens_refused_total", reason] for reason in named)


def test_the_reasons_of_the_token_endpoint_are_those_that_the_audit_knows() -> None:
    made = {
        reasons.NO_CREDENTIALS,
        reasons.MALFORMED_CREDENTIALS,
        reasons.METHOD_OFF,
        reasons.unknown("a"),
        reasons.inactive("a"),
        reasons.wrong_secret("a"),
        reasons.expired_secret("a"),
        reasons.not_registered(["a"]),
        reasons.vetoed("no"),
        reasons.check_failed("fleet", "LookupError"),
    }
    assert {reason.code for reason in made} == set(REASONS) - {"throttled"}


@pytest.mark.gen_test
async def test_caches_are_told(wire: Wire) -> None:
    basic = await wire.register()
    before = await told(wire)
    token = await wire.access_token(basic)
    for _ in range(3):
        await wire.access_token(basic)
    for _ in range(3):
        await wire.fetch("GET", "/probe", bearer=token)
    await wire.token((basic[0], WRONG))
    after = await told(wire)
    lookups = grown(before, after, "cache_lookups_total")
    assert {key: number for key, number in lookups.items() if key[0] != "clients"} == {
        ("secrets", "hit"): 3,
        ("secrets", "miss"): 2,  # the first one, and the wrong one
        ("stored_secrets", "miss"): 2,
        ("tokens", "hit"): 2,
        ("tokens", "miss"): 1,
    }
    assert lookups["clients", "miss"] == 1
    assert lookups["clients", "hit"] >= 6
    assert after["cache_entries", "clients"] == after["cache_entries", "secrets"] == 1
    assert after["cache_entries", "tokens"] == 1


@pytest.mark.gen_test
async def test_a_secret_that_redis_knew_is_told(wire: Wire, app: Application) -> None:
    basic = await wire.register(clientSecret=generate_secret())
    await wire.access_token(basic)
    services_of(app).memory._known.clear()  # as after a restart
    before = await told(wire)
    await wire.access_token(basic)
    assert grown(before, await told(wire), "cache_lookups_total").items() >= {
        (("secrets", "miss"), 1),
        (("stored_secrets", "hit"), 1),
    }


@pytest.mark.gen_test
async def test_revocations_are_told_with_what_became_of_them(wire: Wire) -> None:
    basic = await wire.register()
    token = await wire.access_token(basic)
    before = await told(wire)
    await wire.fetch("POST", "/auth/revoke", form={"token": token}, basic=basic)
    await wire.admin("PATCH", "/oauth-clients/station-bot", {"isActive": False})
    await wire.admin("DELETE", "/oauth-clients/station-bot")
    after = await told(wire)
    assert grown(before, after, "changes_total") == {
        ("token_revoked", "confirmed"): 1,
        ("client_changed", "confirmed"): 1,
        ("client_deleted", "confirmed"): 1,
    }
    assert grown(before, after, "change_confirmation_seconds_count") == {(): 3}
    assert after["revoked_tokens",] == 1


@pytest.mark.gen_test
async def test_the_lag_is_told_with_its_bound(wire: Wire) -> None:
    found = await told(wire)
    assert 0 <= found["change_stream_lag_seconds",] < 10
    assert found["change_stream_max_lag_seconds",] == 15
    assert found["change_stream_interruptions_total",] == 0
    assert found["announcement_failures_total",] == 0


@pytest.mark.gen_test
async def test_no_client_is_named(wire: Wire) -> None:
    basic = await wire.register("a-client-of-its-own")
    token = await wire.access_token(basic)
    await wire.token((basic[0], WRONG))
    await wire.fetch("GET", "/probe", bearer=token)
    await wire.admin("GET", "/oauth-clients/a-client-of-its-own")
    text = (await wire.admin("GET", "/metrics")).body
    assert b"/oauth-clients/{}" in text
    assert b"a-client-of-its-own" not in text
