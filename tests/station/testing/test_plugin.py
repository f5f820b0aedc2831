"""What the fixtures give: a whole Station over HTTP, one for each test, as it was asked for."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pymongo
import pytest
import redis

from station import hookimpl
from station.errors import ConfigError
from station.handlers import BaseHandler, Route, route
from station.security import public
from station.testing import plugin
from station.testing.stores import empty_stores

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from station.app import Application
    from station.testing import ClientTokens, Http, RunningStation, UserSession

FAILED = pytest.fail.Exception


class PingHandler(BaseHandler):
    @public
    def get(self) -> None:
        self.write_json({"ping": "pong"})


class PingPlugin:
    """A plugin that nobody has installed."""

    @hookimpl
    def station_handlers(self) -> list[Route]:
        return [route(r"/ping", PingHandler)]


def test_a_machine_calls_with_a_token_for_its_scopes(station_http: Http, client_token: ClientTokens) -> None:
    token = client_token(scopes=["bot:api", "bot:write"])
    answer = station_http.get("/auth/client", token=token)
    assert answer.json["client_id"] == token.client_id == "bot-1"
    assert answer.json["scopes"] == ["bot:api", "bot:write"]
    other = client_token(scopes=" bot:api  other ", client_id="captain")
    assert station_http.get("/auth/client", token=other).json["scopes"] == ["bot:api", "other"]
    credentials = (other.client_id, other.client_secret)
    assert station_http.post("/auth/revoke", form={"token": other}, basic=credentials).status == 200
    assert station_http.get("/auth/client", token=other).status == 401


def test_a_client_that_cannot_be_registered_says_why(client_token: ClientTokens) -> None:
    with pytest.raises(AssertionError, match=r"answered 400, not 201: .*scopes"):
        client_token(scopes=[])
    client_token(scopes="a", client_id="captain")
    with pytest.raises(AssertionError, match="POST /oauth-clients answered 409, not 201"):
        client_token(scopes="a", client_id="captain")


@pytest.mark.parametrize("station_plugins", [[]])
def test_without_the_plugin_for_machines_there_are_no_tokens(client_token: ClientTokens) -> None:
    with pytest.raises(AssertionError, match="oauth_m2m is not among the fixture station_plugins"):
        client_token(scopes="a")


def test_people_are_logged_in_with_their_role_or_none(
    user_session: UserSession, admin_session: UserSession, station_http: Http, station_admin: Http
) -> None:
    assert user_session.get("/auth/me").json["email"] == user_session.email
    assert user_session.get("/auth/me").json["id"] == user_session.user_id
    assert user_session.email != admin_session.email
    who = (station_http, user_session, admin_session, station_admin)
    assert [http.get("/oauth-clients").status for http in who] == [401, 403, 200, 200]


@pytest.mark.parametrize(
    "station_settings", [{"AUTH_REGISTRATION": "closed", "OAUTH_M2M_TOKEN_TTL": "61", "PORT": "1"}]
)
def test_settings_are_environment_variables_and_the_port_stays_free(
    station_app: RunningStation, user_session: UserSession, station_http: Http, client_token: ClientTokens
) -> None:
    config = station_app.application.config
    assert (config.auth_registration, config.env) == ("closed", "test")
    assert config.issuer == station_app.url != "http://127.0.0.1:1"
    assert user_session.get("/auth/me").status == 200
    token = client_token(scopes="a")
    form = {"token": token}
    said = station_http.post("/auth/introspect", form=form, basic=(token.client_id, token.client_secret)).json
    assert said["exp"] - said["iat"] == 61


@pytest.fixture
def _surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "station.toml").write_text('allowed_origin = ["https://elsewhere.example"]\n')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AUDIENCE", "elsewhere")
    monkeypatch.setenv("STATION_PLUGINS", "elsewhere")


@pytest.mark.usefixtures("_surroundings")
def test_what_is_set_around_the_tests_is_not_read(station_app: RunningStation) -> None:
    config = station_app.application.config
    assert (config.audience, config.allowed_origin) == (station_app.url, ())


@pytest.mark.parametrize("station_plugins", [["oauth_m2m", PingPlugin()]])
def test_a_plugin_may_be_an_object(station_http: Http) -> None:
    assert station_http.get("/ping").json == {"ping": "pong"}


def test_no_throttle_is_reached(station_http: Http) -> None:
    login = {"email": "nobody@example.com", "password": "no such password"}
    answers = {station_http.post("/auth/login", json=login).status for _ in range(12)}
    assert answers == {401}


def test_what_http_does_not_show_is_asked_where_the_application_runs(station_app: RunningStation) -> None:
    async def collections(app: Application) -> list[str]:
        return list(await app.resources.database.list_collection_names())

    async def fail(_app: Application) -> None:
        raise LookupError("lost")

    assert "users" in station_app.run(collections)
    with pytest.raises(LookupError, match="lost"):
        station_app.run(fail)


@pytest.mark.gen_test
async def test_a_coroutine_on_tornados_loop_uses_the_same_fixtures(
    station_http: Http, client_token: ClientTokens
) -> None:
    assert station_http.get("/auth/client", token=client_token(scopes="a")).status == 200


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.mark.anyio
async def test_a_coroutine_on_another_loop_uses_them_too(
    station_app: RunningStation, station_http: Http, client_token: ClientTokens
) -> None:
    async def alive(_app: Application) -> bool:
        return True

    assert station_http.get("/auth/client", token=client_token(scopes="a")).status == 200
    assert station_app.run(alive)


def test_each_test_leaves_the_stores_as_it_found_them(
    station_stores: Mapping[str, str], request: pytest.FixtureRequest
) -> None:
    with (
        pymongo.MongoClient[dict[str, object]](station_stores["MONGODB_URI"]) as mongodb,
        redis.Redis.from_url(station_stores["REDIS_URL"]) as client,
    ):
        station: RunningStation = request.getfixturevalue("station_app")
        name = station.application.config.mongodb_database
        assert name in mongodb.list_database_names()
        assert client.keys()
        empty_stores({**station_stores, "MONGODB_DATABASE": name})
        assert name not in mongodb.list_database_names()
        assert not client.keys()


def test_what_keeps_station_from_starting_is_said_without_a_traceback() -> None:
    sentence = "Station cannot start:\n  - PORT must be a whole number."
    with pytest.raises(FAILED) as failed, plugin._explained():
        raise ConfigError(["PORT must be a whole number."])
    assert (failed.value.msg, failed.value.pytrace) == (sentence, False)
    assert failed.value.__suppress_context__


FOREIGN = """
import sys

def test_something_else(request):
    heavy = {"station.app", "station.config", "tornado", "motor", "redis", "click"}
    assert not heavy & set(sys.modules)
    assert request.config.pluginmanager.has_plugin("station")
"""


def test_in_the_runs_of_others_it_is_there_and_does_nothing(tmp_path: Path) -> None:
    (tmp_path / "test_foreign.py").write_text(FOREIGN)
    others = ["schemathesis", "hypothesispytest", "tornado", "anyio", "xdist", "playwright", "base_url"]
    command = [sys.executable, "-m", "pytest", "-q", *(f"-pno:{other}" for other in others)]
    environ = {"PATH": os.environ["PATH"]}
    done = subprocess.run(
        command, cwd=tmp_path, env=environ, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout
