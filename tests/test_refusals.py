"""One table of refusals: every protected route x everybody whom it does not let in.

The routes are those of the application, so that a new one is in the table by itself. A new scheme needs a
column, and a new public route a line in `PUBLIC_ROUTES`: both are decisions.
"""

from __future__ import annotations

import base64
import dataclasses
import json
import re
import time
from typing import TYPE_CHECKING, Any

import jwt
import pytest

from station.security import PUBLIC

if TYPE_CHECKING:
    from collections.abc import Mapping

    from station.app import Application, RouteInfo
    from station.config import Config
    from tests.conftest import Answer, Wire

PUBLIC_ROUTES = {
    "POST /auth/register",
    "POST /auth/login",
    "POST /auth/refresh",
    "POST /auth/logout",
    "POST /auth/forgot-password",
    "POST /auth/reset-password",
    "GET /health/live",
    "GET /health/ready",
    "GET /openapi.json",
    "GET /docs",
    "HEAD /docs",
    "GET /docs/([a-z0-9-]+.[a-z]+)",
    "HEAD /docs/([a-z0-9-]+.[a-z]+)",
    "GET /console",
    "GET /console/login",
    "POST /console/login",
    "GET /auth/console",
    "POST /auth/console",
    "POST /auth/console/logout",
    "GET /console/static/([a-z0-9-][a-z0-9.-]*)",
    "HEAD /console/static/([a-z0-9-][a-z0-9.-]*)",
    "GET /console(/.*|)",
    "GET /.well-known/oauth-authorization-server(/.*|)",
    "GET /.well-known/oauth-protected-resource(/.*|)",
    "GET /.well-known/jwks.json",
}

CHALLENGES = {
    "client": "Bearer",
    "client-secret": "Basic",
    "session": "Session",
    "admin": "Session",
    "client-either": "Basic",  # and Bearer for those who sent one
    "console": "",  # pages: who is not known is sent to the login
}
LET_IN = 0  # that is no refusal: other tests are about it
REFUSALS: dict[str, tuple[int, ...]] = {
    # client, client-secret, session, admin, client-either, console
    "nobody": (401, 401, 401, 401, 401, 307),
    "a bad token": (401, 401, 401, 401, 401, 307),
    "an expired token": (401, 401, 401, 401, 401, 307),
    "a revoked token": (401, 401, 401, 401, 401, 307),
    "a token of a disabled client": (401, 401, 401, 401, 401, 307),
    "a token without the scopes": (403, 401, 401, 401, LET_IN, 307),  # 403 where scopes are asked for
    "a token in the cookie": (401, 401, 401, 401, 401, 307),
    "a token as the admin key": (401, 401, 401, 401, 401, 307),
    "a wrong secret": (401, 401, 401, 401, 401, 307),
    "a secret of a disabled client": (401, 401, 401, 401, 401, 307),
    "a client's secret": (401, LET_IN, 401, 401, LET_IN, 307),
    "a session": (401, 401, LET_IN, 403, 401, 403),
    "a session that has ended": (401, 401, 401, 401, 401, 307),
    "a forged session": (401, 401, 401, 401, 401, 307),
    "a session's token as a bearer": (401, 401, 401, 401, 401, 307),
    "a session and a client's token": (403, 401, LET_IN, 403, LET_IN, 403),
    "the admin key": (401, 401, 401, LET_IN, 401, 307),
    "a wrong admin key": (401, 401, 401, 401, 401, 307),
    "an admin with a wrong key": (401, 401, LET_IN, 401, 401, LET_IN),
}


@pytest.fixture
def config(config: Config) -> Config:
    return dataclasses.replace(config, plugins=("oauth_m2m", "demo"))


def basic(client_id: str, secret: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{client_id}:{secret}".encode()).decode()}


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def log_in(wire: Wire, email: str) -> dict[str, str]:
    """The cookies of a new session of a person, who is registered first unless known."""
    person = {"email": email, "password": "correct horse battery"}
    await wire.fetch("POST", "/auth/register", document=person)
    answer = await wire.fetch("POST", "/auth/login", document=person)
    return {
        name: value.partition(";")[0]
        for name, _, value in (cookie.partition("=") for cookie in answer.headers.get_list("Set-Cookie"))
    }


def cookies(jar: Mapping[str, str]) -> dict[str, str]:
    return {"Cookie": "; ".join(f"{name}={value}" for name, value in jar.items())}


async def everybody(wire: Wire, app: Application, config: Config) -> dict[str, dict[str, str]]:
    """The headers that everybody of `REFUSALS` sends."""
    client_id, secret = credentials = await wire.register("other-bot", scopes=["nothing:at-all"])
    token, revoked = await wire.access_token(credentials), await wire.access_token(credentials)
    await wire.fetch("POST", "/auth/revoke", form={"token": revoked}, basic=credentials)
    claims = jwt.decode(token, options={"verify_signature": False}) | {"exp": int(time.time()) - 1}
    expired = jwt.encode(claims, config.jwt_secret, headers={"typ": "at+jwt"})

    disabled = await wire.register("disabled-bot")
    of_disabled = await wire.access_token(disabled)
    await wire.admin("PATCH", "/oauth-clients/disabled-bot", {"isActive": False})

    person, ended = await log_in(wire, "ada@example.com"), await log_in(wire, "ada@example.com")
    await wire.fetch("POST", "/auth/logout", headers=cookies(ended))
    admin = await log_in(wire, "admin@example.com")
    users = app.resources.database["users"]
    await users.update_one({"email": "admin@example.com"}, {"$set": {"roles": ["admin"]}})
    access = person["station_access"]
    forged = jwt.encode(jwt.decode(access, options={"verify_signature": False}), "k" * 32)

    return {
        "nobody": {},
        "a bad token": bearer("x.y.z"),
        "an expired token": bearer(expired),
        "a revoked token": bearer(revoked),
        "a token of a disabled client": bearer(of_disabled),
        "a token without the scopes": bearer(token),
        "a token in the cookie": cookies({"station_access": token, "station_refresh": token}),
        "a token as the admin key": {"x-internal-api-key": token},
        "a wrong secret": basic(client_id, "w" * 40),
        "a secret of a disabled client": basic(*disabled),
        "a client's secret": basic(client_id, secret),
        "a session": cookies(person),
        "a session that has ended": cookies(ended),
        "a forged session": cookies({"station_access": forged}),
        "a session's token as a bearer": bearer(access),
        "a session and a client's token": cookies(person) | bearer(token),
        "the admin key": {"x-internal-api-key": str(config.internal_api_key)},
        "a wrong admin key": {"x-internal-api-key": "k" * 40},
        "an admin with a wrong key": cookies(admin) | {"x-internal-api-key": "k" * 40},
    }


def path_of(route: RouteInfo) -> str:
    """A path that the route matches, with the id of a client in place of every group."""
    path = re.sub(r"\([^()]*\)", "station-bot", route.path)
    assert re.fullmatch(route.path, path), f"give {route.path} a path"
    return path


def faults(answer: Answer, scheme: str, sent: Mapping[str, str], expected: int) -> list[str]:
    """What is wrong with a refusal."""
    challenge = CHALLENGES[scheme]
    if scheme == "client-either" and sent.get("Authorization", "").startswith("Bearer"):
        challenge = "Bearer"
    found = []
    if answer.status != expected:
        found.append(f"answered {answer.status}, not {expected}")
    if scheme == "console":
        if answer.headers.get("Content-Type") != "text/html; charset=utf-8":
            found.append("is no page")
        if expected == 307 and not answer.headers["Location"].startswith("/auth/console?next=%2Fconsole"):
            found.append(f"leads to {answer.headers['Location']}")
    elif answer.headers.get("Content-Type") not in {"application/json", "application/problem+json"}:
        found.append("is no JSON")
    elif not isinstance(json.loads(answer.body), dict):
        found.append("is no JSON object")
    challenges = answer.headers.get_list("WWW-Authenticate")
    if answer.status == 401 and [header.partition(" ")[0] for header in challenges] != [challenge]:
        found.append(f"has the challenges {challenges}")
    if answer.headers.get("Cache-Control") != "no-store":
        found.append("may be cached")
    return found


@pytest.mark.row("B2", "B3", "B4", "B13", "C13", "T17")
@pytest.mark.gen_test
async def test_every_protected_route_refuses_everybody_else(
    wire: Wire, app: Application, config: Config
) -> None:
    mine = await wire.access_token(await wire.register())
    callers = await everybody(wire, app, config)
    assert callers.keys() == REFUSALS.keys()
    form: dict[str, Any] = {"grant_type": "client_credentials", "token": mine}
    routes = [route for route in app.routes if route.security != PUBLIC]
    columns = list(CHALLENGES)
    assert {route.security.scheme for route in routes} == set(columns)
    found, refused = [], 0
    for route in routes:
        scheme = route.security.scheme
        for caller, expected in REFUSALS.items():
            status = expected[columns.index(scheme)]
            if status == LET_IN or (status == 403 and scheme == "client" and not route.security.scopes):
                continue
            body = None if route.method in {"GET", "HEAD"} else form
            answer = await wire.fetch(route.method, path_of(route), headers=callers[caller], form=body)
            if route.method == "HEAD":
                assert answer.body == b""
                answer = dataclasses.replace(answer, body=b"{}")  # what GET answers is in the table as well
            refused += 1
            found += [
                f"{route.method} {route.path}, {caller}: {fault}"
                for fault in faults(answer, scheme, callers[caller], status)
            ]
    assert found == []
    assert refused >= 17 * len(routes)
    shown = await wire.admin("GET", "/oauth-clients/station-bot")
    assert (shown.json["isActive"], shown.json["createdAt"]) == (True, shown.json["updatedAt"])
    assert (await wire.fetch("GET", "/auth/client", bearer=mine)).status == 200


def test_the_public_routes_are_these(app: Application) -> None:
    public = {f"{route.method} {route.path}" for route in app.routes if route.security == PUBLIC}
    assert public == PUBLIC_ROUTES
