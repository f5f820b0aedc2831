"""Processes of a fleet are stopped and killed: what was revoked stays out, and answers say the truth."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest
from nodes import Fleet, fleet_of
from waiting import Waiting

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from hammer import Hammer
    from leaks import Leaks
    from traffic import Token

NODE_LIFE = 3.0
BACKLOG = 220  # registrations: more changes than MongoDB tells in one answer
WAITING = 15
REVOCATIONS = 20


@pytest.fixture
def fleet(request: pytest.FixtureRequest, tmp_path: Path, leaks: Leaks) -> Iterator[Fleet]:
    with fleet_of(directory=tmp_path, leaks=leaks, **request.param) as running:
        yield running


def fleets(count: int, bound: float, **settings: str) -> pytest.MarkDecorator:
    """Let the fixture ``fleet`` be so many Stations with this bound."""
    return pytest.mark.parametrize(
        "fleet", [{"count": count, "bound": bound, **settings}], indirect=True, ids=[""]
    )


async def victims(hammer: Hammer, station: str, count: int) -> list[Token]:
    """Tokens of clients of their own, which every Station has seen."""
    tokens = []
    for _ in range(count):
        client = await hammer.traffic.register(station)
        assert client.status == 201
        tokens.append(await hammer.issue(station, hammer.traffic.registered[-1]))
    for token in tokens:
        for one in hammer.stations:
            assert (await hammer.traffic.get(one, token)).status == 200
    return tokens


async def check_awakening(hammer: Hammer, paused: str, waiting: Waiting, dead: list[Token]) -> None:
    """Neither what waited nor what comes later lets one of the dead in, and soon those that live get in.

    The process may refuse at first, or keep everybody waiting until it has heard MongoDB.
    """
    answered = await waiting.answers()
    assert answered
    assert {status for token, status in answered if token in dead} <= {401, 503}
    assert {status for token, status in answered if token not in dead} <= {200, 503}
    await hammer.recovers([paused])
    for token in dead:
        assert (await hammer.traffic.get(paused, token)).status == 401
    assert not [
        one
        for one in hammer.traffic.exchanges
        if one.jti in {token.jti for token in dead}
        and one.station == paused
        and one.status == 200
        and one.began > hammer.revocations[0].answered_at
    ]


@fleets(2, bound=2.0)
@pytest.mark.gen_test
async def test_a_process_wakes_up_past_the_bound(fleet: Fleet) -> None:
    """It was stopped for so long that MongoDB cannot tell in one answer what has happened."""
    stopped, other = fleet.stations
    async with fleet.quiet() as hammer:
        live = hammer.live[0]
        first, last = dead = await victims(hammer, other.url, 2)
        assert (await hammer.traffic.get(stopped.url, live)).status == 200
        stopped.pause()
        paused_at = time.monotonic()
        async with Waiting.at(stopped.url, first, live, last, each=WAITING) as waiting:
            ended = await hammer.end(other.url, first)
            assert (ended.body["confirmedBy"], ended.body["pending"]) == (1, 1)
            for start in range(0, BACKLOG, 20):
                await asyncio.gather(*(hammer.traffic.register(other.url) for _ in range(start, start + 20)))
            assert (await hammer.end(other.url, last)).status == 200
            await asyncio.sleep(paused_at + fleet.bound + 0.2 - time.monotonic())
            hammer.begin()
            stopped.resume()
            await check_awakening(hammer, stopped.url, waiting, dead)


@fleets(2, bound=15.0)
@pytest.mark.gen_test
async def test_a_process_wakes_up_that_nobody_has_waited_for(fleet: Fleet) -> None:
    """It was stopped for less than the bound, but longer than others count it."""
    stopped, other = fleet.stations
    async with fleet.quiet() as hammer:
        live = hammer.live[0]
        (token,) = dead = await victims(hammer, other.url, 1)
        assert (await hammer.traffic.get(stopped.url, live)).status == 200
        stopped.pause()
        await asyncio.sleep(NODE_LIFE)
        async with Waiting.at(stopped.url, token, live, each=WAITING) as waiting:
            ended = await hammer.end(other.url, token)
            assert (ended.body["confirmedBy"], ended.body["pending"]) == (1, 0)
            hammer.begin()
            stopped.resume()
            await check_awakening(hammer, stopped.url, waiting, dead)
        await hammer.all_are_known(2)


@fleets(2, bound=2.0)
@pytest.mark.gen_test
async def test_a_process_is_killed(fleet: Fleet) -> None:
    killed, other = fleet.stations
    async with fleet.hammered() as hammer:
        tokens = await victims(hammer, other.url, 12)
        hammer.killed.add(killed.url)
        killed.kill()
        killed.wait()
        killed_at = time.monotonic()
        answers = []
        while time.monotonic() < killed_at + NODE_LIFE + 0.5:
            answers.append(await hammer.end(other.url, tokens.pop()))
            await asyncio.sleep(0.1)
        assert {one.body["confirmedBy"] for one in answers} == {1}
        # it had said at most a second before, unless the machine is busy, that it lives
        early = [one for one in answers if one.ended < killed_at + NODE_LIFE - 2]
        late = [one for one in answers if one.began > killed_at + NODE_LIFE]
        assert {one.body["pending"] for one in early} == {1}
        assert {one.body["pending"] for one in late} == {0}
        await hammer.recovers([other.url])


@fleets(1, bound=2.0, STATION_WORKERS="4")
@pytest.mark.gen_test
async def test_four_workers_under_load(fleet: Fleet) -> None:
    """Right after an answer that says so, all four of them refuse."""
    [station] = fleet.urls
    async with fleet.hammered() as hammer:
        confirmed = 0
        for token in await victims(hammer, station, REVOCATIONS):
            body = (await hammer.end(station, token)).body
            assert body["confirmedBy"] + body["pending"] == 4
            if body["pending"] == 0:
                confirmed += 1
                answers = await asyncio.gather(*(hammer.traffic.get(station, token) for _ in range(16)))
                assert {one.status for one in answers} == {401}
        assert confirmed > REVOCATIONS / 2  # the others took longer than a quarter of a second
