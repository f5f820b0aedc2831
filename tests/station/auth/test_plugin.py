from __future__ import annotations

from typing import TYPE_CHECKING

from station.auth.plugin import station_security_schemes

if TYPE_CHECKING:
    from station.app import Application


def test_the_endpoints_and_who_may_call_them(app: Application) -> None:
    table = {(row.path, row.method): str(row.security) for row in app.routes if row.path.startswith("/auth")}
    assert table == {
        ("/auth/register", "POST"): "public",
        ("/auth/login", "POST"): "public",
        ("/auth/refresh", "POST"): "public",
        ("/auth/logout", "POST"): "public",
        ("/auth/me", "GET"): "session",
    }


def test_an_admin_is_the_key_or_a_session() -> None:
    schemes = {scheme.name: scheme.openapi for scheme in station_security_schemes()}
    assert set(schemes) == {"session", "admin"}
    assert list(schemes["admin"]) == ["internal-api-key", "session"]
    assert schemes["admin"]["session"] == schemes["session"]["session"]
