"""Nothing secret is in the log: everything is used and misused, and every line that is written is read.

The log is the one that Station writes, at DEBUG and in both forms; the secrets are all that were sent,
answered, stored or configured.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import dataclasses
import io
import logging
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest

from plugins.oauth_m2m import client_authenticated
from station import hookimpl
from station.handlers import BaseHandler, Route, route
from station.logging import configure_logging
from station.security import public

if TYPE_CHECKING:
    from collections.abc import Iterator

    from station.app import Application
    from station.config import Config
    from tests.conftest import Answer, Wire

SECRET = "a/client+secret=with:odd&characters%0123456789"
WRONG_SECRET = "another-secret-that-nobody-has-0123456789"
PASSWORD = "correct horse battery staple"
WRONG_PASSWORD = "wrong horse battery staple"
WRONG_KEY = "a-wrong-admin-key-0123456789-0123456789"
PREVIOUS_KEY = "the-admin-key-before-the-last-rotation-012345"
PREVIOUS_SECRET = "the-signing-secret-before-the-last-rotation-0123456789"
GARBAGE = "garbage-that-somebody-took-for-a-token-0123456789"


class Broken(BaseHandler):
    """Fails, with and without a client."""

    @client_authenticated
    async def get(self) -> None:
        raise RuntimeError("broken on purpose")

    @public
    def post(self) -> None:
        raise RuntimeError("broken on purpose")


class BrokenPlugin:
    """A plugin object with one route."""

    __name__ = "broken"

    @hookimpl
    def station_handlers(self) -> list[Route]:
        return [route(r"/broken", Broken)]


@pytest.fixture
def plugins() -> list[object]:
    return [BrokenPlugin()]


@pytest.fixture
def config(config: Config) -> Config:
    return dataclasses.replace(
        config, jwt_secret_previous=PREVIOUS_SECRET, internal_api_key_previous=PREVIOUS_KEY
    )


@pytest.fixture
def log(env: str) -> Iterator[io.StringIO]:
    """What Station writes to its log in ``env``, every level included."""
    root, quiet = logging.getLogger(), ("pymongo", "tornado.general")
    before = root.handlers[:], root.level, [logging.getLogger(name).level for name in quiet]
    configure_logging(env, logging.DEBUG)
    [handler] = root.handlers
    assert isinstance(handler, logging.StreamHandler)
    written = io.StringIO()
    handler.setStream(written)
    yield written
    root.handlers[:] = before[0]
    root.setLevel(before[1])
    for name, level in zip(quiet, before[2], strict=True):
        logging.getLogger(name).setLevel(level)


class Secrets(set[str]):
    """Whatever must not be written, in every spelling that it may have."""

    def keep(self, *secrets: str) -> None:
        for secret in secrets:
            assert len(secret) >= 16
            self.update({secret, quote(secret), quote(secret, safe=""), repr(secret)[1:-1]})

    def keep_basic(self, client_id: str, secret: str) -> None:
        self.keep(secret, base64.b64encode(f"{client_id}:{secret}".encode()).decode())

    def keep_token(self, token: str) -> None:
        """The parts count too: the signature alone turns what is in other places into a token."""
        self.keep(token, *(part for part in token.split(".") if len(part) >= 40))

    def keep_cookies(self, answer: Answer) -> str:
        """Keep what the answer sets; returns the header that sends it back."""
        cookies = [cookie.partition(";")[0] for cookie in answer.headers.get_list("Set-Cookie")]
        for cookie in cookies:
            self.keep_token(cookie.partition("=")[2])
        assert cookies
        return "; ".join(cookies)


async def use_as_people_do(wire: Wire, secrets: Secrets) -> None:
    person = {"email": "ada@example.com", "password": PASSWORD}
    secrets.keep(PASSWORD, WRONG_PASSWORD)
    await wire.fetch("POST", "/auth/register", document=person)
    await wire.fetch("POST", "/auth/register", document=person)
    await wire.fetch("POST", "/auth/register", document={"email": PASSWORD, "password": [PASSWORD]})
    await wire.fetch("POST", f"/auth/login?password={quote(PASSWORD)}", document=person)
    for wrong in (
        {"password": WRONG_PASSWORD},
        {"password": PASSWORD, "more": PASSWORD},
        {PASSWORD: PASSWORD},
    ):
        await wire.fetch("POST", "/auth/login", document={"email": "ada@example.com", **wrong})
    await wire.fetch(
        "POST",
        "/auth/login",
        body=f'{{"password": "{PASSWORD}"',
        headers={"Content-Type": "application/json"},
    )
    cookies = {"Cookie": secrets.keep_cookies(await wire.fetch("POST", "/auth/login", document=person))}
    await wire.fetch("GET", "/auth/me", headers=cookies)
    await wire.fetch("POST", "/oauth-clients", headers=cookies, document={})
    await wire.fetch("POST", "/auth/logout", headers=cookies | {"Origin": "https://evil.example"}, body="")
    renewed = {
        "Cookie": secrets.keep_cookies(await wire.fetch("POST", "/auth/refresh", headers=cookies, body=""))
    }
    await wire.fetch("POST", "/broken", headers=renewed, document=person)
    await wire.fetch("POST", "/auth/logout", headers=renewed, body="")
    await wire.fetch("POST", "/auth/refresh", headers=renewed, body="")
    await wire.fetch("GET", "/auth/me", headers=renewed)


async def use_as_admins_do(wire: Wire, app: Application, secrets: Secrets) -> None:
    config = app.config
    secrets.keep(str(config.internal_api_key), PREVIOUS_KEY, WRONG_KEY, config.jwt_secret, PREVIOUS_SECRET)
    document = {"clientId": "station-bot", "clientSecret": SECRET, "scopes": ["bot:api"]}
    generated = await wire.admin("POST", "/oauth-clients", {"clientId": "other-bot", "scopes": ["bot:api"]})
    added = await wire.admin("POST", "/oauth-clients/other-bot/secrets", {"endOthersIn": 60})
    secrets.keep(generated.json["clientSecret"], added.json["clientSecret"])
    await wire.admin("POST", "/oauth-clients/other-bot/secrets", {"clientSecret": SECRET + "\n"})
    await wire.admin("POST", "/oauth-clients/other-bot/secrets", [SECRET])
    await wire.admin("DELETE", f"/oauth-clients/other-bot/secrets/{added.json['id']}?key={SECRET}")
    for key in (str(config.internal_api_key), PREVIOUS_KEY, WRONG_KEY):
        headers = {"x-internal-api-key": key}
        await wire.fetch("POST", "/oauth-clients", document=document, headers=headers)
        await wire.fetch(
            "POST", "/oauth-clients", document=document | {"clientSecret": SECRET + "\n"}, headers=headers
        )
        await wire.fetch("POST", f"/oauth-clients?x-internal-api-key={key}", document=document)
        await wire.fetch("POST", "/oauth-clients", document=[SECRET], headers=headers)
        await wire.fetch("GET", "/oauth-clients/station-bot", headers=headers)
        await wire.fetch("GET", f"/oauth-clients/nobody?key={key}", headers=headers)
    async for client in app.resources.database["oauth_clients"].find():
        secrets.keep(client["salt"], *(secret["hash"] for secret in client["secrets"]))
    async for user in app.resources.database["users"].find():
        secrets.keep(user["password"])


async def use_as_machines_do(wire: Wire, secrets: Secrets) -> None:
    right, wrong, unknown = ("station-bot", SECRET), ("station-bot", WRONG_SECRET), ("nobody", WRONG_SECRET)
    tokens = []
    for credentials in (right, wrong, unknown):
        secrets.keep_basic(*credentials)
        in_body = dict(zip(("client_id", "client_secret"), credentials, strict=True))
        form = {"grant_type": "client_credentials"}
        for answer in (
            await wire.fetch("POST", "/auth/token", form=form, basic=credentials),
            await wire.fetch("POST", "/auth/token", form=form | in_body),
            await wire.fetch("POST", "/auth/token", document=form | in_body),
        ):
            tokens += [answer.json["access_token"]] if answer.status == 200 else []
        await wire.fetch("POST", "/auth/token", form=form | in_body, basic=credentials)
        await wire.fetch("POST", f"/auth/token?client_secret={quote(credentials[1])}", form=form)
        await wire.fetch("POST", "/auth/token", form=form | {"scope": SECRET}, basic=credentials)
        await wire.fetch("POST", "/auth/token", form=form | {"grant_type": SECRET}, basic=credentials)
        await wire.fetch("POST", "/auth/token", body=f"client_secret={SECRET}%", basic=credentials)
        await wire.fetch("PUT", "/auth/token", form=in_body, basic=credentials)
        await wire.fetch("GET", f"/auth/token?client_secret={quote(credentials[1])}", basic=credentials)
    assert len(tokens) == 3
    secrets.keep(GARBAGE)
    for token in (*tokens, GARBAGE):
        secrets.keep_token(token)
        await wire.fetch("GET", "/auth/client", bearer=token)
        await wire.fetch("GET", f"/auth/client?access_token={token}")
        await wire.fetch("GET", "/broken", bearer=token)
        await wire.fetch("GET", f"/nowhere?token={token}", bearer=token)
        await wire.fetch("POST", "/auth/introspect", form={"token": token}, basic=right)
        await wire.fetch("POST", "/auth/introspect", form={"token": token}, bearer=token)
        await wire.fetch("POST", f"/auth/introspect?token={token}", bearer=token)
        await wire.fetch("POST", "/auth/revoke", form={"token": token}, basic=("other-bot", WRONG_SECRET))
        await wire.fetch("POST", f"/auth/revoke?token={token}", basic=right, body="")
        await wire.fetch("POST", "/auth/revoke", form={"token": token}, basic=right)
        await wire.fetch("GET", "/auth/client", bearer=token)


async def send_malformed(wire: Wire) -> None:
    """Requests that Tornado itself refuses, with secrets in what is wrong with them."""
    host, _, port = wire.base_url.removeprefix("http://").partition(":")
    for line in (
        f"Authorization: Bearer {GARBAGE}\x01",
        f"Authorization: Bearer {GARBAGE}\r\nauthorization: Basic {GARBAGE}",
        f"Authorization Bearer {GARBAGE}: x",
        f"{GARBAGE}",
        f" {GARBAGE}",
        f"Cookie: station_access={GARBAGE}\x7f",
        f"Content-Length: {GARBAGE}",
        f"Transfer-Encoding: {GARBAGE}",
        f"Host: {GARBAGE}/",
        f"Content-Type: multipart/form-data; boundary={GARBAGE}",
        f"Content-Type: application/x-www-form-urlencoded; charset={GARBAGE}",
        "X: " + GARBAGE * 3000,
    ):
        for start in (
            "GET /auth/client HTTP/1.1",
            f"POST /auth/token?token={GARBAGE} HTTP/1.1",
            f"{GARBAGE} / HTTP/9",
        ):
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(f"{start}\r\nHost: {host}\r\nConnection: close\r\n{line}\r\n\r\n".encode("latin-1"))
            with contextlib.suppress(ConnectionError):  # Tornado hangs up on some
                await reader.read()
            writer.close()


@pytest.mark.row("E6", "T12")
@pytest.mark.parametrize("env", ["development", "production"])
@pytest.mark.gen_test
async def test_no_secret_is_logged(wire: Wire, app: Application, log: io.StringIO) -> None:
    secrets = Secrets()
    await use_as_people_do(wire, secrets)
    await use_as_admins_do(wire, app, secrets)
    await use_as_machines_do(wire, secrets)
    await send_malformed(wire)

    lines = log.getvalue().splitlines()
    assert len(secrets) > 40
    assert [(secret, line) for line in lines for secret in secrets if secret in line] == []
    # the log was listened to: failures with their traceback, refusals, and every request without its query
    text = log.getvalue()
    assert "RuntimeError: broken on purpose" in text
    assert "refused: InvalidToken" in text
    assert "POST /auth/token 401" in text
    assert "GET /auth/client 200" in text
    assert "access_token" not in text
