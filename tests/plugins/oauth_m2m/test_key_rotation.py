"""Keys and secrets change while several nodes serve: the steps of docs/operating.md, over HTTP."""

from __future__ import annotations

import contextlib
import dataclasses
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import jwt
import pytest

from plugins.oauth_m2m.config import OAuthM2MConfig
from plugins.oauth_m2m.services import services_of
from station.app import Application, make_app
from station.errors import StartError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from station.config import Config
    from tests.conftest import Wire

OLD = "the-signing-secret-before-the-rotation-0123456789"
NEW = "the-signing-secret-after-the-rotation-0123456789"
EDDSA = OAuthM2MConfig(bcrypt_cost=4, signing_alg="EdDSA")


@dataclasses.dataclass(frozen=True)
class Node:
    """A node that listens."""

    app: Application
    wire: Wire

    async def token(self, credentials: tuple[str, str]) -> str:
        return await self.wire.access_token(credentials)

    async def accepts(self, token: str) -> bool:
        answer = await self.wire.fetch("GET", "/auth/client", bearer=token)
        assert answer.status in {200, 401}, answer.body
        return answer.status == 200

    async def published(self) -> list[str]:
        answer = await self.wire.fetch("GET", "/.well-known/jwks.json")
        return [key["kid"] for key in answer.json["keys"]]

    async def refresh(self) -> None:
        """What it does by itself every few seconds."""
        await services_of(self.app).keyring.refresh()


@contextlib.asynccontextmanager
async def node(wire: Wire, config: Config, **changes: Any) -> AsyncIterator[Node]:
    """Start a node beside the one of ``wire``, with these settings changed."""
    async with make_app(dataclasses.replace(config, **changes)).lifespan() as app:
        server = app.listen(0, "127.0.0.1")
        [listening] = server._sockets.values()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        yield Node(app, wire.at(url))
        server.stop()
        await server.close_all_connections()


@pytest.fixture
def config(config: Config) -> Config:
    return dataclasses.replace(config, jwt_secret=OLD)


@pytest.mark.row("J8", "J9", "J10")
@pytest.mark.gen_test
async def test_from_hs256_to_public_keys_and_on(wire: Wire, app: Application, config: Config) -> None:
    credentials = await wire.register()
    first = Node(app, wire)
    symmetric = await first.token(credentials)
    async with node(wire, config, sections={"oauth_m2m": EDDSA}) as second:
        kid, following = await second.published()
        public = await second.token(credentials)
        assert jwt.get_unverified_header(public) == {"alg": "EdDSA", "typ": "at+jwt", "kid": kid}
        # neither node was told anything: an unknown key is looked up
        for token in (symmetric, public):
            assert await first.accepts(token)
            assert await second.accepts(token)
        await services_of(app).keyring.rotate(force=True)
        rotated = await first.token(credentials)
        assert jwt.get_unverified_header(rotated)["kid"] == following
        assert await second.accepts(rotated)  # which knew that key before it signed
        assert set(await first.published()) >= {kid, following}
        await hour_passes(app)
        for each in (first, second):
            await each.refresh()
            assert not await each.accepts(symmetric)
            assert not await each.accepts(public)
            assert await each.accepts(rotated)
            assert await each.published() == await first.published()
            assert kid not in await each.published()


async def hour_passes(app: Application) -> None:
    """Write to MongoDB that every retired key ended a second ago."""
    collection = app.resources.database["signing_keys"]
    document = await collection.find_one({"_id": "keyring"})
    assert document is not None
    for key in document["keys"]:
        if key["state"] == "retired":
            key["verifies_until"] = datetime.now(UTC) - timedelta(seconds=1)
    document["version"] += 1
    await collection.replace_one({"_id": "keyring"}, document)


@pytest.mark.parametrize(
    "m2m_settings",
    [OAuthM2MConfig(bcrypt_cost=4, signing_alg=alg) for alg in ("HS256", "ES256")],
    ids=["HS256", "ES256"],
)
@pytest.mark.gen_test
async def test_a_rotation_of_jwt_secret_step_by_step(
    wire: Wire, app: Application, config: Config, m2m_settings: OAuthM2MConfig
) -> None:
    """In every step nodes before and after it serve side by side and accept each other's tokens."""
    credentials = await wire.register()
    before = Node(app, wire)
    tokens = [await before.token(credentials)]

    async def agree(*nodes: Node) -> None:
        tokens.extend([await each.token(credentials) for each in nodes])
        for each in nodes:
            for token in tokens:
                assert await each.accepts(token)

    async with node(wire, config, jwt_secret=OLD, jwt_secret_previous=NEW) as prepared:
        await agree(before, prepared)
        async with node(wire, config, jwt_secret=NEW, jwt_secret_previous=OLD) as changed:
            await agree(prepared, changed)
            await services_of(changed.app).keyring.reencrypt()
            await prepared.refresh()
            await agree(prepared, changed)
            last = tokens[-1]
            async with node(wire, config, jwt_secret=NEW) as done:
                assert await done.accepts(last)
                assert await done.accepts(tokens[0]) == (m2m_settings.signing_alg != "HS256")
                tokens = [last]
                await agree(changed, done)


@pytest.mark.parametrize("m2m_settings", [EDDSA], ids=["EdDSA"])
@pytest.mark.gen_test
async def test_a_node_that_cannot_open_the_key_does_not_start(
    app: Application, wire: Wire, config: Config
) -> None:
    with pytest.raises(StartError, match="station oauth-keys reencrypt"):
        async with node(wire, config, jwt_secret=NEW):
            pass
    assert services_of(app).keyring.signer().alg == "EdDSA"
