"""OAuth client libraries that are not ours, against a ``station serve`` of its own."""

from __future__ import annotations

import json
import shutil
import subprocess
import uuid
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
import requests
from authlib.integrations.httpx_client import AsyncOAuth2Client, OAuth2Client
from authlib.integrations.requests_client import OAuth2Session
from oauthlib.oauth2 import BackendApplicationClient  # type: ignore[import-untyped] # it has no types
from requests.auth import HTTPBasicAuth
from requests_oauthlib import OAuth2Session as BackendSession

if TYPE_CHECKING:
    from tests.conftest import Server

BASIC, POST = "client_secret_basic", "client_secret_post"
METHODS = pytest.mark.parametrize("method", [BASIC, POST])


class Credentials(NamedTuple):
    """A client that is registered."""

    client_id: str
    client_secret: str


@pytest.fixture(
    params=["a/with+odd=chars:and%more-0123456789", "a-plain-secret-0123456789-0123456789"],
    ids=["odd", "plain"],
)
def credentials(server: Server, request: pytest.FixtureRequest) -> Credentials:
    """A new client whose secret must survive every encoding."""
    found = Credentials(f"bot-{uuid.uuid4().hex}", request.param)
    registration = {"clientId": found.client_id, "clientSecret": found.client_secret, "scopes": ["bot:api"]}
    headers = {"x-internal-api-key": server.admin_key}
    answer = requests.post(f"{server.url}/oauth-clients", json=registration, headers=headers, timeout=10)
    assert answer.status_code == 201, answer.text
    return found


def check(token: Any, whoami: Any, credentials: Credentials) -> None:
    """The token is one of Station's, and it is good for who asked."""
    assert (token["token_type"], token["expires_in"]) == ("Bearer", 3600)
    assert (whoami["client_id"], whoami["scopes"]) == (credentials.client_id, ["bot:api"])


@METHODS
@pytest.mark.row("C1", "C3", "T1")
def test_authlib_with_requests(server: Server, credentials: Credentials, method: str) -> None:
    with OAuth2Session(*credentials, token_endpoint_auth_method=method) as session:
        token = session.fetch_token(f"{server.url}/auth/token", grant_type="client_credentials")
        check(token, session.get(f"{server.url}/auth/client").json(), credentials)


@METHODS
@pytest.mark.row("C1", "C3", "T1")
def test_authlib_with_httpx(server: Server, credentials: Credentials, method: str) -> None:
    with OAuth2Client(*credentials, token_endpoint_auth_method=method) as client:
        token = client.fetch_token(f"{server.url}/auth/token", grant_type="client_credentials")
        check(token, client.get(f"{server.url}/auth/client").json(), credentials)


@METHODS
@pytest.mark.gen_test
@pytest.mark.row("C1", "C3", "T1")
async def test_authlib_with_httpx_async(server: Server, credentials: Credentials, method: str) -> None:
    async with AsyncOAuth2Client(*credentials, token_endpoint_auth_method=method) as client:
        token = await client.fetch_token(f"{server.url}/auth/token", grant_type="client_credentials")
        whoami = await client.get(f"{server.url}/auth/client")
        check(token, whoami.json(), credentials)


@METHODS
@pytest.mark.row("C1", "C3", "T1")
def test_requests_oauthlib(
    server: Server, credentials: Credentials, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OAUTHLIB_INSECURE_TRANSPORT", "1")  # oauthlib refuses http otherwise
    how: dict[str, Any] = {"auth": HTTPBasicAuth(*credentials)}
    if method == POST:
        how = {"client_secret": credentials.client_secret, "include_client_id": True}
    with BackendSession(client=BackendApplicationClient(credentials.client_id)) as session:
        token = session.fetch_token(f"{server.url}/auth/token", **how)
        check(token, session.get(f"{server.url}/auth/client", timeout=10).json(), credentials)


@METHODS
@pytest.mark.row("C1", "C3", "T1")
def test_curl(server: Server, credentials: Credentials, method: str) -> None:
    curl = shutil.which("curl")
    if curl is None:
        pytest.skip("curl is missing: apt-get install curl")

    def fetch(path: str, *options: str) -> Any:
        command = [curl, "--silent", "--show-error", "--fail-with-body", "--max-time", "10", *options]
        done = subprocess.run(
            [*command, server.url + path], capture_output=True, text=True, check=False, timeout=20
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout)

    sent = ["-u", ":".join(credentials)]
    if method == POST:
        sent = []
        for name, value in credentials._asdict().items():
            sent += ["--data-urlencode", f"{name}={value}"]
    token = fetch("/auth/token", *sent, "-d", "grant_type=client_credentials")
    check(token, fetch("/auth/client", "-H", f"Authorization: Bearer {token['access_token']}"), credentials)
