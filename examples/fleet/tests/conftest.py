"""The fixtures of `station.testing`, with the fleet switched on; the fleet has two places."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from station.testing import BearerToken, ClientTokens


@pytest.fixture
def station_plugins() -> Sequence[str]:
    return ("oauth_m2m", "fleet")


@pytest.fixture
def station_settings() -> Mapping[str, str]:
    return {"FLEET_SIZE": "2"}


@pytest.fixture
def captain(client_token: ClientTokens) -> BearerToken:
    """The token of a machine that may read and write."""
    return client_token(scopes=["fleet:read", "fleet:write"], client_id="captain")
