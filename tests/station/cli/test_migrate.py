from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Any

import pymongo
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from station.embedded import Endpoints
    from tests.station.cli.conftest import Station


@pytest.fixture
def environ(engines: Endpoints) -> Iterator[dict[str, str]]:
    database = f"test_{uuid.uuid4().hex}"
    yield {
        "STATION_PLUGINS": "oauth_m2m",
        "MONGODB_URI": engines.mongodb_uri,
        "MONGODB_DATABASE": database,
        "REDIS_URL": engines.redis_url,
    }
    with pymongo.MongoClient[dict[str, Any]](engines.mongodb_uri) as mongodb:
        mongodb.drop_database(database)


def applied(station: Station, environ: dict[str, str]) -> list[bool]:
    rows = json.loads(station("migrate", "status", "--json", **environ).stdout)
    return [row["applied_at"] is not None for row in rows]


def test_up_status_and_down(station: Station, environ: dict[str, str]) -> None:
    pending = applied(station, environ)
    assert len(pending) >= 2
    assert not any(pending)

    up = station("migrate", "up", **environ)
    assert up.exit_code == 0
    names = [line.removeprefix("applied ") for line in up.stdout.splitlines()]
    assert [line for line in up.stderr.splitlines() if line.endswith("...")] == [
        f"applying {name} ..." for name in names
    ]
    assert names[0].startswith("auth/")
    assert len(names) == len(pending)
    assert all(applied(station, environ))
    assert station("migrate", "up", **environ).stdout == "Nothing to be applied.\n"
    assert names[0] in station("migrate", "status", **environ).stdout

    assert station("migrate", "down", "--yes", **environ).stdout == f"reversed {names[-1]}\n"
    everything = station("migrate", "down", "--steps", "99", "--yes", **environ).stdout.splitlines()
    assert everything == [f"reversed {name}" for name in reversed(names[:-1])]
    assert station("migrate", "down", "--yes", **environ).stdout == "Nothing to be reversed.\n"
    assert applied(station, environ) == pending


def test_down_asks(station: Station, environ: dict[str, str]) -> None:
    station("migrate", "up", **environ)
    refused = station("migrate", "down", input="n\n", **environ)
    assert refused.exit_code == 1
    assert environ["MONGODB_DATABASE"] in refused.stdout
    assert all(applied(station, environ))
    assert station("migrate", "down", input="y\n", **environ).exit_code == 0
    assert applied(station, environ)[-1] is False


def test_a_store_that_is_away_is_a_sentence(station: Station, environ: dict[str, str]) -> None:
    result = station("migrate", "status", **{**environ, "REDIS_URL": "redis://127.0.0.1:1"})
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: REDIS_URL: ")
