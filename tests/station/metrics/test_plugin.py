from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families

from station import hookimpl
from station.metrics.families import counter

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client import Metric
    from prometheus_client.registry import Collector

    from station.app import Application
    from tests.conftest import Wire

OPENMETRICS = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"


class Launches:
    def __init__(self, app: Application) -> None:
        self._app = app

    def collect(self) -> Iterator[Metric]:
        yield counter("fleet_launches", "Launches.", {self._app.config.env: 3}, labels=("env",))


class FleetPlugin:
    __name__ = "fleet"

    @hookimpl
    def station_metrics(self, app: Application) -> list[Collector]:
        assert app.settings["auth"], "called once every lifespan has begun"
        return [Launches(app)]


@pytest.fixture
def plugins() -> list[object]:
    return [FleetPlugin()]


@pytest.mark.gen_test
async def test_the_admin_key_reads_them(wire: Wire) -> None:
    answer = await wire.admin("GET", "/metrics")
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert answer.headers["Cache-Control"] == "no-store"
    families = {family.name: family for family in text_string_to_metric_families(answer.body.decode())}
    [launches] = families["fleet_launches"].samples
    assert (launches.labels, launches.value) == ({"env": "test"}, 3)
    [build] = families["station_build_info"].samples
    assert build.labels.keys() == {"version", "python_version", "tornado_version"}
    assert families["process_resident_memory_bytes"].samples[0].value > 1e6


@pytest.mark.gen_test
async def test_prometheus_may_have_openmetrics(wire: Wire) -> None:
    answer = await wire.admin("GET", "/metrics", headers={"Accept": OPENMETRICS})
    assert answer.headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
    names = {family.name for family in parse_openmetrics(answer.body.decode())}  # type: ignore[no-untyped-call] # as it is
    assert {"fleet_launches", "station_http_requests", "station_redis_turn_duration_seconds"} <= names


@pytest.mark.gen_test
async def test_head_answers_the_headers_alone(wire: Wire) -> None:
    answer = await wire.admin("HEAD", "/metrics")
    assert (answer.status, answer.body) == (200, b"")
    assert int(answer.headers["Content-Length"]) > 1000


@pytest.mark.gen_test
async def test_nobody_else_reads_them(wire: Wire) -> None:
    for headers in ({}, {"x-internal-api-key": "w" * 40}):
        answer = await wire.fetch("GET", "/metrics", headers=headers)
        assert answer.status == 401
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert b"fleet" not in answer.body
    answer = await wire.admin("POST", "/metrics", {})
    assert (answer.status, answer.headers["Allow"]) == (405, "GET, HEAD, OPTIONS")


@pytest.mark.gen_test
async def test_openapi_knows_what_they_are(wire: Wire) -> None:
    document = json.loads((await wire.fetch("GET", "/openapi.json")).body)
    operation = document["paths"]["/metrics"]["get"]
    assert operation["responses"]["200"]["content"] == {"text/plain": {"schema": {"type": "string"}}}
    assert {"internal-api-key": []} in operation["security"]
