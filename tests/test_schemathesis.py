"""schemathesis against a running Station: what /openapi.json says is what happens, whatever is sent.

It makes requests that fit the document and requests that do not, with and without credentials, and checks
that every answer is one that the document has: status, media type, headers and JSON; that nothing is a 5xx;
that bad data, missing credentials and other methods are refused; and that good data is taken, save where
`UNDECLARED` says why it cannot know what is good.
"""

from __future__ import annotations

import asyncio
import base64
import json
import subprocess
import sys
import threading
import uuid
from typing import TYPE_CHECKING, Any
from urllib.request import Request, urlopen

import pymongo
import pytest
import redis

from station.app import make_app
from station.config import load_config
from tests.conftest import ADMIN_KEY, JWT_SECRET, SECRET

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from station.embedded import Endpoints

EXAMPLES = 15
SECONDS = 240  # for each part, on a busy machine; it takes 15 on a quiet one

THROTTLES = ("TOKEN", "LOGIN", "REGISTER", "FORGOT", "REVOKE", "INTROSPECT", "FAILURE")

# rules that no schema of JSON can tell
UNDECLARED = {
    "GET /oauth-clients": "the cursor is one that Station gave",
    "GET /oauth-clients/{clientId}/tokens": "the cursor is one that Station gave",
    "POST /oauth-clients": "the scopes have 2,000 characters at most together",
    "PATCH /oauth-clients/{clientId}": "an empty change is refused, and as many scopes",
    "DELETE /oauth-clients/{clientId}": "If-Match names the version that the client has",
    "POST /oauth-clients/{clientId}/secrets": "times lie in the future, and one end excludes the other",
    "POST /auth/token": "credentials stand in one place, and the body's are not those of the header",
    "POST /auth/revoke": "likewise",
    "POST /auth/introspect": "likewise",
    "POST /auth/register": "an email that a person can have",
    "POST /auth/reset-password": "the token is one that Station sent",
    "GET /fleet/{value1}/reports": "the handshake of a WebSocket has headers of its own (RFC 6455 4.1)",
}


@pytest.fixture(scope="module")
def url(engines: Endpoints, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where a Station listens whose throttles are off, in a thread of its own."""
    database = f"test_{uuid.uuid4().hex}"
    environ = {
        "STATION_ENV": "test",
        "STATION_DATA_DIR": str(tmp_path_factory.mktemp("fuzzed")),
        "STATION_PLUGINS": "oauth_m2m,demo,fleet",
        "MONGODB_URI": engines.mongodb_uri,
        "MONGODB_DATABASE": database,
        "REDIS_URL": engines.redis_url,
        "JWT_SECRET": JWT_SECRET,
        "INTERNAL_API_KEY": ADMIN_KEY,
        "AUTH_BCRYPT_COST": "4",
        "OAUTH_M2M_BCRYPT_COST": "4",
        **{f"AUTH_{name}_THROTTLE_LIMIT": "0" for name in THROTTLES},
    }
    config = load_config(environ)
    started, stop = threading.Event(), threading.Event()
    found: list[str] = []

    async def run() -> None:
        app = make_app(config)
        async with app.lifespan():
            server = app.listen(0, "127.0.0.1")
            (socket,) = server._sockets.values()
            found.append(f"http://127.0.0.1:{socket.getsockname()[1]}")
            started.set()
            await asyncio.to_thread(stop.wait)
            server.stop()
            await server.close_all_connections()

    thread = threading.Thread(target=lambda: asyncio.run(run()))
    thread.start()
    try:
        assert started.wait(20), "Station did not start"
        yield found[0]
    finally:
        stop.set()
        thread.join()
        with pymongo.MongoClient[dict[str, Any]](engines.mongodb_uri) as mongodb:
            mongodb.drop_database(database)
        with redis.Redis.from_url(engines.redis_url) as client:
            client.flushdb()


def send(url: str, document: object, **headers: str) -> tuple[Any, list[str]]:
    """POST JSON; the JSON and the cookies of the answer."""
    sent = {"Content-Type": "application/json"} | headers
    with urlopen(Request(url, json.dumps(document).encode(), sent), timeout=10) as answer:
        cookies = [value.partition(";")[0] for value in answer.headers.get_all("Set-Cookie", [])]
        return json.loads(answer.read()), cookies


def settings(url: str, client_id: str) -> str:
    """A ``schemathesis.toml`` with credentials of everybody: a new client, the admin, and a person."""
    scopes = ["demo:read", "demo:write", "fleet:read", "fleet:write", "oauth:introspect"]
    client = {"clientId": client_id, "clientSecret": SECRET, "scopes": scopes}
    send(f"{url}/oauth-clients", client, **{"x-internal-api-key": ADMIN_KEY})
    basic = "Basic " + base64.b64encode(f"{client_id}:{SECRET}".encode()).decode()
    token, _ = send(f"{url}/auth/token", {"grant_type": "client_credentials"}, Authorization=basic)
    person = {"email": f"{client_id}@example.com", "password": "correct horse battery"}
    send(f"{url}/auth/register", person)
    _, cookies = send(f"{url}/auth/login", person)
    session = dict(cookie.split("=", 1) for cookie in cookies)["station_access"]
    exceptions = "".join(
        f'[[operations]]\ninclude-name = "{name}"\nchecks.positive_data_acceptance.enabled = false\n'
        for name in UNDECLARED
    )
    return f"""
seed = 1
continue-on-failure = true
base-url = "{url}"
cache.enabled = false
generation.database = "none"
generation.deterministic = true
generation.max-examples = {EXAMPLES}
[auth.openapi]
session.api_key = "{session}"
internal-api-key.api_key = "{ADMIN_KEY}"
client.bearer = "{token["access_token"]}"
client-secret = {{username = "{client_id}", password = "{SECRET}"}}
{exceptions}"""


@pytest.mark.parametrize(
    "part",
    [
        # apart, because the admin's requests end the client whose token the others send
        pytest.param(("--exclude-path-regex", "^/oauth-clients"), id="everybody"),
        pytest.param(("--include-path-regex", "^/oauth-clients"), id="admin"),
    ],
)
def test_what_the_document_says_is_what_happens(url: str, tmp_path: Path, part: tuple[str, str]) -> None:
    configured = tmp_path / "schemathesis.toml"
    configured.write_text(settings(url, f"caller-{uuid.uuid4().hex}"))
    main = "from schemathesis.cli import schemathesis; schemathesis()"  # what its command st does
    command = [sys.executable, "-c", main, "--config-file", str(configured)]
    ran = subprocess.run(
        [*command, "run", f"{url}/openapi.json", *part, "--no-color"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    print(ran.stdout)
