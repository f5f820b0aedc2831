"""Fixtures for the tests of plugins; pytest finds them by itself wherever Station is installed.

::

    @pytest.fixture
    def station_plugins():
        return ["oauth_m2m", "fleet"]

    def test_the_fleet_is_listed(station_http, client_token):
        token = client_token(scopes=["fleet:read"])
        assert station_http.get("/fleet", token=token).json == {"bots": []}

A test that asks for them speaks real HTTP to a whole Station on real stores, which runs in a thread of its
own: so the test may be a plain function, or a coroutine on whichever event loop. `station.testing.plugin` has
the fixtures; here are the types of what they give, for annotations. ``pip install 'station[testing]'`` brings
what they need.
"""

from station.testing.http import Answer, Http
from station.testing.machines import BearerToken, ClientTokens
from station.testing.people import UserSession
from station.testing.running import RunningStation, run_station

__all__ = [
    "Answer",
    "BearerToken",
    "ClientTokens",
    "Http",
    "RunningStation",
    "UserSession",
    "run_station",
]
