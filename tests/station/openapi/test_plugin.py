"""``GET /openapi.json`` over HTTP."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pytest

from station.app import make_app

if TYPE_CHECKING:
    from station.config import Config
    from tests.conftest import Wire

ORIGIN = "https://docs.example"


@pytest.fixture
def config(config: Config) -> Config:
    return dataclasses.replace(config, allowed_origin=(ORIGIN,))


@pytest.mark.gen_test
async def test_everybody_may_read_and_keep_it(wire: Wire) -> None:
    answer = await wire.fetch("GET", "/openapi.json", headers={"Origin": ORIGIN})
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["Cache-Control"] == "public, max-age=300"
    assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN
    assert "/probe" in answer.json["paths"]
    again = await wire.fetch("GET", "/openapi.json", headers={"If-None-Match": answer.headers["ETag"]})
    assert (again.status, again.body) == (304, b"")


@pytest.mark.gen_test
async def test_a_command_makes_no_document(config: Config) -> None:
    app = make_app(config)
    async with app.lifespan(serving=False):
        assert app.settings["openapi"] is None
