"""What was asked of Stations, and what came back.

`Traffic` sends the requests that the hammer makes, and keeps every exchange. A request that ends without an
answer (the process was killed) is kept with the status 0.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import time
import uuid
from base64 import urlsafe_b64decode
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from exchange import secrets_of
from stations import ADMIN_KEY
from tornado.httpclient import AsyncHTTPClient, HTTPClientError, HTTPRequest

if TYPE_CHECKING:
    from leaks import Leaks

__all__ = ["SECRET", "Exchange", "Revocation", "Token", "Traffic", "claims_of"]

SECRET = "a-client-secret-for-the-tests-0123456789"
PATIENCE = 10.0
_ADMIN = {"x-internal-api-key": ADMIN_KEY, "Content-Type": "application/json"}
_FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@dataclasses.dataclass(frozen=True, slots=True)
class Token:
    """A token that was answered."""

    access_token: str = dataclasses.field(repr=False)
    jti: str
    client_id: str
    generation: str
    answered_at: float


@dataclasses.dataclass(frozen=True, slots=True)
class Revocation:
    """A revocation that was answered: by whom, when, and how many processes were still to hear of it."""

    token: Token
    station: str
    asked_at: float
    answered_at: float
    confirmed_by: int
    pending: int | None
    of_all: bool


@dataclasses.dataclass(frozen=True, slots=True)
class Exchange:
    """A request and its answer, with the times at which the one was sent and the other read."""

    kind: str
    station: str
    status: int
    began: float
    ended: float
    body: Any
    jti: str = ""

    @property
    def seconds(self) -> float:
        """How long the client waited."""
        return self.ended - self.began


class Traffic:
    """Sends requests to Stations by URL and keeps the ``exchanges``; times are `time.monotonic`'s."""

    def __init__(self, leaks: Leaks) -> None:
        self.exchanges: list[Exchange] = []
        self.registered: list[str] = []
        self.tokens: list[Token] = []
        self.revocations: dict[str, Revocation] = {}
        self._leaks = leaks
        self._client = AsyncHTTPClient(force_instance=True, max_clients=500)

    def close(self) -> None:
        """Close the client."""
        self._client.close()

    async def register(self, station: str, client_id: str = "") -> Exchange:
        """Register a client."""
        name = client_id or f"bot-{uuid.uuid4().hex[:12]}"
        document = {"clientId": name, "clientSecret": SECRET, "scopes": ["demo:read"]}
        answer = await self._send("register", station, "POST", "/oauth-clients", _ADMIN, json.dumps(document))
        if answer.status == 201:
            self.registered.append(name)
        return answer

    async def token(self, station: str, client_id: str) -> Exchange:
        """Ask for a token of a client."""
        form = {"grant_type": "client_credentials", "client_id": client_id, "client_secret": SECRET}
        answer = await self._send("token", station, "POST", "/auth/token", _FORM, urlencode(form))
        if answer.status == 200:
            access_token = answer.body["access_token"]
            claims = claims_of(access_token)
            token = Token(access_token, claims["jti"], client_id, claims["gen"], answer.ended)
            self.tokens.append(token)
        return answer

    async def get(self, station: str, token: Token) -> Exchange:
        """Call a protected handler."""
        headers = {"Authorization": f"Bearer {token.access_token}"}
        return await self._send("get", station, "GET", "/demo/greeting", headers, jti=token.jti)

    async def revoke_all(self, station: str, token: Token) -> Exchange:
        """End all tokens of the client to whom this one, its only one, was issued: that needs no Redis."""
        path = f"/oauth-clients/{token.client_id}/tokens"
        return self._keep(token, await self._send("revoke-all", station, "DELETE", path, _ADMIN), of_all=True)

    async def revoke(self, station: str, token: Token) -> Exchange:
        """End one token, as an admin does."""
        path = f"/oauth-clients/{token.client_id}/tokens/{token.jti}"
        return self._keep(token, await self._send("revoke", station, "DELETE", path, _ADMIN), of_all=False)

    async def ready(self, station: str) -> Exchange:
        """Ask for readiness."""
        return await self._send("ready", station, "GET", "/health/ready", {})

    def _keep(self, token: Token, answer: Exchange, *, of_all: bool) -> Exchange:
        if answer.status == 200:
            confirmed_by, pending = answer.body["confirmedBy"], answer.body["pending"]
            self.revocations[token.jti] = Revocation(
                token, answer.station, answer.began, answer.ended, confirmed_by, pending, of_all
            )
        return answer

    async def _send(
        self,
        kind: str,
        station: str,
        method: str,
        path: str,
        headers: dict[str, str],
        body: str | None = None,
        jti: str = "",
    ) -> Exchange:
        request = HTTPRequest(
            station + path,
            method,
            headers,
            body,
            allow_nonstandard_methods=True,
            connect_timeout=PATIENCE,
            request_timeout=PATIENCE,
        )
        began = time.monotonic()
        try:
            response = await self._client.fetch(request, raise_error=False)
        except (OSError, HTTPClientError, asyncio.IncompleteReadError):
            answer = Exchange(kind, station, 0, began, time.monotonic(), None, jti)
        else:
            ended = time.monotonic()
            assert "json" in response.headers["Content-Type"], response.body
            self._leaks.keep(*secrets_of(request, response))
            answer = Exchange(kind, station, response.code, began, ended, json.loads(response.body), jti)
        self.exchanges.append(answer)
        return answer


def claims_of(access_token: str) -> dict[str, Any]:
    """What a token says, unverified."""
    payload = access_token.split(".")[1]
    claims: dict[str, Any] = json.loads(urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return claims
