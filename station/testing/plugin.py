"""The fixtures; pytest loads this module wherever Station is installed (entry point group ``pytest11``).

So the application is imported when a fixture is asked for, and no fixture is used by itself. To change what
a fixture gives, define one of the same name in a ``conftest.py``, a test module or a class, or parametrize
it::

    @pytest.mark.parametrize("station_settings", [{"FLEET_SIZE": "2"}])
"""

from __future__ import annotations

import contextlib
import uuid
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from station.testing.http import Http
    from station.testing.machines import ClientTokens
    from station.testing.people import UserSession
    from station.testing.running import RunningStation


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare ``station_plugins`` of pytest's configuration file (called by pytest)."""
    help_text = "the plugins that the fixture station_app has on; oauth_m2m by default"
    parser.addini("station_plugins", help_text, type="args", default=["oauth_m2m"])


@pytest.fixture
def station_plugins(pytestconfig: pytest.Config) -> Sequence[object]:
    """The plugins of ``station_app``: names of installed ones, or plugin objects, in order."""
    named: list[str] = pytestconfig.getini("station_plugins")
    return named


@pytest.fixture
def station_settings() -> Mapping[str, str]:
    """The settings of ``station_app`` that differ from those for tests: environment variables by name."""
    return {}


@pytest.fixture(scope="session")
def station_stores(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, str]]:
    """Where the stores are, once for all tests: ``MONGODB_URI`` and ``REDIS_URL`` of the embedded engines.

    Their data is in memory where that is possible. Each test gets a database of its own in MongoDB, and Redis
    is emptied after it.
    """
    from station.embedded import embedded_engines  # noqa: PLC0415 - see the module's docstring
    from station.testing.background import kept_open  # noqa: PLC0415
    from station.testing.stores import in_memory  # noqa: PLC0415

    with (
        _explained(),
        in_memory(tmp_path_factory.mktemp("stores")) as directory,
        kept_open(embedded_engines(directory)) as (engines, _),
    ):
        yield {"MONGODB_URI": engines.mongodb_uri, "REDIS_URL": engines.redis_url}


@pytest.fixture
def station_app(
    station_plugins: Sequence[object],
    station_settings: Mapping[str, str],
    station_stores: Mapping[str, str],
    tmp_path: Path,
) -> Iterator[RunningStation]:
    """A whole Station that serves on the loopback while the test runs, in a thread of its own."""
    from station.testing.running import run_station  # noqa: PLC0415
    from station.testing.settings import settings_for_tests  # noqa: PLC0415
    from station.testing.stores import empty_stores  # noqa: PLC0415

    names = [plugin for plugin in station_plugins if isinstance(plugin, str)]
    objects = [plugin for plugin in station_plugins if not isinstance(plugin, str)]
    settings = {
        **settings_for_tests(names, tmp_path / "station"),
        **station_stores,
        "MONGODB_DATABASE": f"test_{uuid.uuid4().hex}",
        **station_settings,
    }
    with _explained(), run_station(settings, objects) as station:
        yield station
    empty_stores(settings)


@pytest.fixture
def station_http(station_app: RunningStation) -> Http:
    """An HTTP client that is nobody: give a request its ``token=``."""
    return station_app.http


@pytest.fixture
def station_admin(station_app: RunningStation) -> Http:
    """An HTTP client that sends the admin key."""
    return station_app.admin


@pytest.fixture
def client_token(station_app: RunningStation) -> ClientTokens:
    """Call it with ``scopes=`` for the token of a new client."""
    from station.testing.machines import ClientTokens  # noqa: PLC0415

    return ClientTokens(station_app)


@pytest.fixture
def user_session(station_app: RunningStation) -> UserSession:
    """The HTTP client of a person who is logged in, without any role."""
    from station.testing.people import UserSession  # noqa: PLC0415

    return UserSession(station_app)


@pytest.fixture
def admin_session(station_app: RunningStation) -> UserSession:
    """The HTTP client of a person who is logged in and has the role admin."""
    from station.auth.models import ADMIN  # noqa: PLC0415
    from station.testing.people import UserSession  # noqa: PLC0415

    return UserSession(station_app, roles=[ADMIN])


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    """Fail with what a `StartError` says: it names what is wrong, and no traceback says it better."""
    from station.errors import StartError  # noqa: PLC0415

    try:
        yield
    except StartError as error:
        sentences = ["Station cannot start:", *(f"  - {problem}" for problem in error.problems)]
        raise pytest.fail.Exception("\n".join(sentences), pytrace=False) from None
