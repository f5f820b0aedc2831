"""The one MongoDB stops, hangs, is killed, steps down or forgets while clients hammer two Stations.

What lives is let in until the staleness bound; then nothing is, until MongoDB is heard again. Whatever was
answered is there afterwards.
"""

from __future__ import annotations

import dataclasses
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import pymongo
import pytest
from nodes import Fleet, fleet_of

from station.embedded.engine import SECANTUS, free_port

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from hammer import Hammer
    from leaks import Leaks
    from traffic import Exchange

BOUND = 2.0
PAUSE = 3.5
MARGIN = 0.2  # a system that is busy takes a moment to stop every thread of a process

# two hosts, the first of which is dead
DEAD_HOST = f"mongodb://127.0.0.1:{free_port()},127.0.0.1:{{port}}/?directConnection=false"
# keeps so little of the past that a resume token is soon gone
FORGETFUL = dataclasses.replace(SECANTUS, arguments=(*SECANTUS.arguments, "--oplog-max-entries", "20"))


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory, leaks: Leaks) -> Iterator[Fleet]:
    directory = tmp_path_factory.mktemp("mongodb-faults")
    with fleet_of(2, directory, leaks, bound=BOUND, mongodb_uri=DEAD_HOST) as running:
        yield running


@pytest.fixture
def forgetful_fleet(tmp_path: Path, leaks: Leaks) -> Iterator[Fleet]:
    with fleet_of(2, tmp_path, leaks, bound=15.0, secantus=FORGETFUL) as running:
        yield running


def statuses(exchanges: Iterable[Exchange], *kinds: str) -> Counter[int]:
    return Counter(one.status for one in exchanges if one.kind in kinds)


async def check_outage(fleet: Fleet, hammer: Hammer, began: float) -> None:
    """Until the bound it goes on, beyond it nothing is open, and nothing is changed."""
    for station in fleet.urls:
        live = hammer.live[0]
        if time.monotonic() < began + BOUND - 1:
            assert (await hammer.traffic.get(station, live)).status == 200
    exchanges = await hammer.goes_on(began + PAUSE - time.monotonic())
    stale = [one for one in exchanges if one.began > began + BOUND + MARGIN]
    late = [(one, one.began - began) for one in stale if one.kind == "get" and one.status != 503]
    assert late == []
    assert statuses(stale, "get")[503]
    assert set(statuses(exchanges, "register", "revoke", "revoke-all")) <= {503}
    for station in fleet.urls:
        ready = await hammer.traffic.ready(station)
        assert ready.status == 503
        assert ready.body["checks"] == {"mongodb": "failed", "redis": "ok", "oauth_m2m": "failed"}
    assert max(one.seconds for one in hammer.traffic.exchanges) < 5.5


@pytest.mark.parametrize("how", ["stop", "pause"])
@pytest.mark.gen_test
async def test_mongodb_is_away(fleet: Fleet, how: str) -> None:
    async with fleet.hammered() as hammer:
        if how == "pause":
            fleet.mongodb.pause()
        else:
            await fleet.mongodb.stop()
        await check_outage(fleet, hammer, time.monotonic())
        if how == "pause":
            fleet.mongodb.resume()
        else:
            await fleet.mongodb.start()
        await hammer.recovers()


@pytest.mark.gen_test
async def test_mongodb_is_killed_and_back_at_once(fleet: Fleet) -> None:
    async with fleet.hammered() as hammer:
        for _ in range(2):
            await fleet.mongodb.kill()
            await fleet.mongodb.start()
            await hammer.recovers()


@pytest.mark.gen_test
async def test_mongodb_steps_down(fleet: Fleet) -> None:
    async with fleet.hammered() as hammer:
        with pymongo.MongoClient[dict[str, Any]](fleet.mongodb.url) as mongodb:
            mongodb.admin.command({"replSetStepDown": 2, "force": True})
        exchanges = await hammer.goes_on(1.5)
        assert set(statuses(exchanges, "register", "revoke-all")) <= {503}
        assert set(statuses(exchanges, "get")) <= {200, 401, 503}
        await hammer.recovers()


@pytest.mark.gen_test
async def test_the_place_in_the_stream_is_forgotten(forgetful_fleet: Fleet) -> None:
    """A process that was stopped finds its resume token gone, and what was revoked meanwhile all the same."""
    fleet = forgetful_fleet
    stopped, other = fleet.stations
    async with fleet.quiet() as hammer:
        token = hammer.live[0]
        assert (await hammer.traffic.get(stopped.url, token)).status == 200
        stopped.pause()
        await fleet.mongodb.kill()
        await fleet.mongodb.start()
        await hammer.recovers([other.url])
        assert (await hammer.end(other.url, token)).status == 200
        with pymongo.MongoClient[dict[str, Any]](fleet.mongodb.url) as mongodb:
            mongodb["station"]["noise"].insert_many({} for _ in range(1500))
        stopped.resume()
        await hammer.recovers([stopped.url])
        assert (await hammer.traffic.get(stopped.url, token)).status == 401
    assert "cannot go on (OperationFailure)" in stopped.log.read_text()
