"""A client library of another language finds its way by itself: openid-client, for Node.js."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from plugins.oauth_m2m.config import OAuthM2MConfig
from station.embedded.engine import free_port

if TYPE_CHECKING:
    from pathlib import Path

    from station.app import Application
    from station.config import Config
    from tests.conftest import Wire

PROGRAM = """
import * as client from 'openid-client'

const [issuer, id, secret] = process.argv.slice(2)
const options = { algorithm: 'oauth2', execute: [client.allowInsecureRequests] }
const config = await client.discovery(new URL(issuer), id, secret, client.ClientSecretBasic(secret), options)
const { access_token, token_type, scope } = await client.clientCredentialsGrant(config)
const before = await client.tokenIntrospection(config, access_token)
await client.tokenRevocation(config, access_token)
const after = await client.tokenIntrospection(config, access_token)
const server = config.serverMetadata()
console.log(JSON.stringify({ server, token_type, scope, active: [before.active, after.active] }))
"""


@pytest.fixture
def config(config: Config) -> Config:
    """With an issuer where the application can really listen."""
    issuer = f"http://127.0.0.1:{free_port()}"
    return dataclasses.replace(config, issuer=issuer, audience=issuer)


@pytest.fixture
def m2m_settings() -> OAuthM2MConfig:
    return OAuthM2MConfig(bcrypt_cost=4, signing_alg="ES256")


async def run(directory: Path, *command: str) -> bytes:
    """Run a command, and return what it prints."""
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=directory,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    printed, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    return printed


@pytest.mark.row("M1", "M2", "M3", "M5")
@pytest.mark.gen_test(timeout=180)
async def test_openid_client_discovers_the_server_and_does_all_it_offers(
    app: Application, wire: Wire, config: Config, node_project: Path
) -> None:
    (node_project / "program.mjs").write_text(PROGRAM)
    server = app.listen(urlsplit(config.issuer).port or 0, "127.0.0.1")
    client_id, secret = await wire.register()
    said = json.loads(await run(node_project, "node", "program.mjs", config.issuer, client_id, secret))
    server.stop()
    assert said["server"] == (await wire.fetch("GET", "/.well-known/oauth-authorization-server")).json
    assert (said["token_type"], said["scope"], said["active"]) == ("bearer", "bot:api", [True, False])
