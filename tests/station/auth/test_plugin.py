from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from station.app import make_app
from station.auth.plugin import station_security_schemes
from station.migrations import Migrator

if TYPE_CHECKING:
    from tornado.ioloop import IOLoop

    from station.app import Application
    from station.config import Config
    from station.resources import Resources

PRODUCTION: dict[str, Any] = {
    "env": "production",
    "mongodb_uri": "mongodb://given-by-the-test",
    "redis_url": "redis://given-by-the-test",
    "internal_api_key": "k" * 32,
    "allowed_origin": ("https://console.example",),
}


def test_the_endpoints_and_who_may_call_them(app: Application) -> None:
    table = {(row.path, row.method): str(row.security) for row in app.routes if row.path.startswith("/auth")}
    assert table == {
        ("/auth/register", "POST"): "public",
        ("/auth/login", "POST"): "public",
        ("/auth/refresh", "POST"): "public",
        ("/auth/logout", "POST"): "public",
        ("/auth/change-password", "POST"): "session",
        ("/auth/forgot-password", "POST"): "public",
        ("/auth/reset-password", "POST"): "public",
        ("/auth/me", "GET"): "session",
    }


def test_an_admin_is_the_key_or_a_session() -> None:
    schemes = {scheme.name: scheme.openapi for scheme in station_security_schemes()}
    assert set(schemes) == {"session", "admin"}
    assert list(schemes["admin"]) == ["internal-api-key", "session"]
    assert schemes["admin"]["session"] == schemes["session"]["session"]


@pytest.mark.parametrize("serving", [True, False])
@pytest.mark.parametrize(
    ("settings", "warned"), [(PRODUCTION, True), ({}, False), ({"env": "development"}, False)]
)
def test_a_start_that_delivers_no_messages_says_so(
    io_loop: IOLoop,
    config: Config,
    resources: Resources,
    caplog: pytest.LogCaptureFixture,
    serving: bool,
    warned: bool,
) -> None:
    async def start() -> None:
        app = make_app(config, resources)
        await Migrator(resources.database, app.plugins.call("station_migrations")).up()
        async with app.lifespan(serving=serving):
            pass

    io_loop.run_sync(start)
    assert ("no plugin delivers messages" in caplog.text) is (warned and serving)
