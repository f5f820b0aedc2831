from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugins.oauth_m2m.keyring.cycle import KeyCycle
from plugins.oauth_m2m.keyring.sealing import KeySealer
from plugins.oauth_m2m.models import SigningKey, SigningKeys
from station.errors import Conflict, NotFound

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.plugins.oauth_m2m.keyring.conftest import Clock

SECRET = "a-signing-secret-for-these-tests-0123456789"
PUBLIC = ["EdDSA", "ES256", "RS256"]
PUBLISHED = 305  # seconds: the refresh of every node, and the max-age of the JWK Set
RETIRED = timedelta(seconds=3660)


def cycle(alg: str, clock: Callable[[], float]) -> KeyCycle:
    return KeyCycle(alg, KeySealer([SECRET]), clock)


def started(alg: str, clock: Callable[[], float], keys: SigningKeys | None = None) -> SigningKeys:
    """The keys after a node with this algorithm has started."""
    return after(cycle(alg, clock).prepared(keys or SigningKeys()))


def after(keys: tuple[SigningKey, ...]) -> SigningKeys:
    return SigningKeys(1, keys)


def states(keys: SigningKeys) -> list[tuple[str, str]]:
    return [(key.alg, key.state) for key in keys.keys]


def of(keys: SigningKeys, kid: str) -> SigningKey:
    [found] = [key for key in keys.keys if key.kid == kid]
    return found


def active(keys: SigningKeys) -> SigningKey:
    found = keys.in_state("active")
    assert found is not None
    return found


def following(keys: SigningKeys) -> SigningKey:
    found = keys.in_state("next")
    assert found is not None
    return found


@pytest.mark.parametrize("alg", PUBLIC)
def test_the_first_start_makes_a_key_that_signs_and_one_that_is_next(alg: str, clock: Clock) -> None:
    keys = started(alg, clock)
    assert states(keys) == [(alg, "active"), (alg, "next")]
    members = {"EdDSA": {"kty", "crv", "x"}, "ES256": {"kty", "crv", "x", "y"}, "RS256": {"kty", "n", "e"}}
    for key in keys.keys:
        assert key.jwk.keys() == members[alg]
        assert key.sealed
        assert key.published_at.timestamp() == clock.time
    assert len({key.kid for key in keys.keys}) == 2
    assert started(alg, clock, keys) == keys  # and the second changes nothing


def test_hs256_has_neither_an_id_nor_a_successor(clock: Clock) -> None:
    keys = started("HS256", clock)
    assert states(keys) == [("HS256", "active")]
    assert (keys.keys[0].jwk, keys.keys[0].sealed) == ({}, None)
    assert started("HS256", clock, keys) == keys


def test_a_change_from_hs256_and_back_is_at_once_and_what_was_signed_lives_on(clock: Clock) -> None:
    first = started("HS256", clock)
    second = started("EdDSA", clock, first)
    assert states(second) == [("HS256", "retired"), ("EdDSA", "active"), ("EdDSA", "next")]
    since = cycle("EdDSA", clock).now()
    assert of(second, "HS256").verifies_until == since + RETIRED
    clock.time += 1000
    third = started("HS256", clock, second)
    assert states(third) == [("EdDSA", "retired"), ("HS256", "active")]
    assert third.keys[0].kid == active(second).kid
    assert third.keys[0].verifies_until == since + timedelta(seconds=1000) + RETIRED


def test_a_change_between_public_algorithms_waits_until_the_key_has_been_published(clock: Clock) -> None:
    first = started("EdDSA", clock)
    clock.time += 1000
    second = started("ES256", clock, first)
    assert states(second) == [("EdDSA", "active"), ("ES256", "next")]
    assert active(second) == active(first)
    clock.time += PUBLISHED - 1
    assert cycle("ES256", clock).due(second) == second.keys
    clock.time += 1
    third = after(cycle("ES256", clock).due(second))
    assert states(third) == [("EdDSA", "retired"), ("ES256", "active"), ("ES256", "next")]
    assert active(third).kid == following(second).kid
    assert cycle("EdDSA", clock).due(third) == third.keys  # a node of before does not change it back
    assert cycle("ES256", clock).due(third) == third.keys


@pytest.mark.row("J9")
@pytest.mark.parametrize("alg", PUBLIC)
def test_a_key_signs_only_once_everybody_may_know_it(alg: str, clock: Clock) -> None:
    rules, keys = cycle(alg, clock), started(alg, clock)
    for age in (0, PUBLISHED - 1):
        clock.time += age
        with pytest.raises(Conflict, match=following(keys).kid):
            rules.rotated(keys)
    clock.time += 1
    rotated = after(rules.rotated(keys))
    assert states(rotated) == [(alg, "retired"), (alg, "active"), (alg, "next")]
    old, new = of(rotated, active(keys).kid), active(rotated)
    assert (new.kid, new.sealed) == (following(keys).kid, following(keys).sealed)
    assert (old.sealed, old.verifies_until) == (None, rules.now() + RETIRED)
    assert following(rotated).kid not in {old.kid, new.kid}


def test_an_operator_may_force_it(clock: Clock) -> None:
    keys = started("EdDSA", clock)
    assert active(after(cycle("EdDSA", clock).rotated(keys, force=True))).kid == following(keys).kid


def test_hs256_is_not_rotated_here(clock: Clock) -> None:
    with pytest.raises(Conflict, match="JWT_SECRET"):
        cycle("HS256", clock).rotated(started("HS256", clock), force=True)


def test_a_key_is_over_at_its_very_second_and_forgotten_at_the_next_rotation(clock: Clock) -> None:
    rules, keys = cycle("EdDSA", clock), started("EdDSA", clock)
    first = active(keys).kid
    keys = after(rules.rotated(keys, force=True))
    clock.time += 3659
    assert not rules.is_over(of(keys, first))
    clock.time += 1
    assert rules.is_over(of(keys, first))
    assert first not in {key.kid for key in rules.rotated(keys)}


def test_one_key_is_ended_but_never_the_one_that_signs(clock: Clock) -> None:
    rules = cycle("EdDSA", clock)
    keys = after(rules.rotated(started("EdDSA", clock), force=True))
    retired, signs, to_come = keys.keys
    assert rules.without(keys, retired.kid) == (signs, to_come)
    rest = after(rules.without(keys, to_come.kid))
    assert rest.keys[:2] == (retired, signs)
    assert following(rest).kid != to_come.kid
    with pytest.raises(Conflict, match="rotate first"):
        rules.without(keys, signs.kid)
    with pytest.raises(NotFound, match="no-such-key"):
        rules.without(keys, "no-such-key")


def test_a_secret_that_opens_nothing_changes_nothing(clock: Clock) -> None:
    keys = started("EdDSA", clock)
    with pytest.raises(Conflict, match="JWT_SECRET_PREVIOUS"):
        KeyCycle("EdDSA", KeySealer(["another" * 8]), clock).resealed(keys)


STEPS = [
    "start HS256",
    "start EdDSA",
    "start ES256",
    "due EdDSA",
    "due ES256",
    "rotate",
    "force",
    "retire",
    "wait",
]


@given(st.lists(st.sampled_from(STEPS), max_size=12))
def test_whatever_happens_one_key_signs_and_at_most_one_is_next(steps: list[str]) -> None:
    time = [1_800_000_000.0]
    keys = started("EdDSA", lambda: time[0])
    for step in steps:
        verb, _, alg = step.partition(" ")
        rules = cycle(alg or "EdDSA", lambda: time[0])
        before = keys
        try:
            if verb == "start":
                keys = after(rules.prepared(keys))
            elif verb == "due":
                keys = after(rules.due(keys))
            elif verb in {"rotate", "force"}:
                keys = after(rules.rotated(keys, force=verb == "force"))
            elif verb == "retire":
                keys = after(rules.without(keys, keys.keys[0].kid))
            else:
                time[0] += 400
        except Conflict:
            assert keys == before
        found = [key.state for key in keys.keys]
        assert found.count("active") == 1
        assert found.count("next") == (active(keys).alg != "HS256")
        assert len({key.kid for key in keys.keys}) == len(keys.keys)
        for key in keys.keys:
            assert (key.verifies_until is not None) == (key.state == "retired")
            assert (key.sealed is not None) == (key.alg != "HS256" and key.state != "retired")
        # what signed until now still verifies, unless it was HS256 and signs again
        assert active(before).kid in {key.kid for key in keys.keys}
