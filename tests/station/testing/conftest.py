"""The stores of the suite for the fixtures of `station.testing`: no second pair of engines is started."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from station.embedded import Endpoints


@pytest.fixture(scope="session")
def station_stores(engines: Endpoints) -> Mapping[str, str]:
    return {"MONGODB_URI": engines.mongodb_uri, "REDIS_URL": engines.redis_url}
