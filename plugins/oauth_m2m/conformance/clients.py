"""The clients that the rules use: registered for the run and deleted after it, or the one that was given."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import secrets
from typing import TYPE_CHECKING, Any

from plugins.oauth_m2m.conformance.endpoints import CannotRun, origin_of
from plugins.oauth_m2m.conformance.rows import Failed, Skipped
from plugins.oauth_m2m.conformance.wire import NoAnswer, Request

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from plugins.oauth_m2m.conformance.endpoints import Endpoints
    from plugins.oauth_m2m.conformance.masking import Masking
    from plugins.oauth_m2m.conformance.wire import Answer

__all__ = ["ADMIN_PATH", "KEY_HEADER", "Admin", "Client"]

ADMIN_PATH = "/oauth-clients"
KEY_HEADER = "x-internal-api-key"

_DELETING_SECONDS = 30.0
_AT_ONCE = 4


@dataclasses.dataclass(frozen=True, slots=True)
class Client:
    """A client that may authenticate, and the scopes that it is registered for."""

    id: str
    secret: str = dataclasses.field(repr=False)
    scopes: tuple[str, ...] = ()


class Admin:
    """Station's admin interface: registers clients ``conformance-XXXX-N`` and knows which are left."""

    def __init__(
        self,
        send: Callable[..., Awaitable[Answer]],
        endpoints: Endpoints,
        *,
        key: str,
        masking: Masking,
    ) -> None:
        self.scopes: tuple[str, ...] = ()
        self.prefix = f"conformance-{secrets.token_hex(4)}"
        self.url = origin_of(endpoints.base) + ADMIN_PATH
        self._send = send
        self._key = key
        self._masking = masking
        self._count = 0
        self._left: dict[str, None] = {}

    @property
    def left(self) -> list[str]:
        """The ids that may still be registered."""
        return list(self._left)

    @property
    def key_header(self) -> list[tuple[str, str]]:
        """The header that proves that one is an admin."""
        return [(KEY_HEADER, self._key)]

    def new_id(self) -> str:
        """An id for one more client, which is deleted in the end whether or not it is registered."""
        self._count += 1
        client_id = f"{self.prefix}-{self._count}"
        self._left[client_id] = None
        return client_id

    async def call(
        self,
        method: str,
        path: str = "",
        document: object = None,
        *,
        headers: Sequence[tuple[str, str | bytes]] | None = None,
        patient: bool = True,
    ) -> Answer:
        """Send a request with the admin key, or with these headers instead of it."""
        sent = self.key_header if headers is None else list(headers)
        body = b""
        if document is not None:
            sent.append(("Content-Type", "application/json"))
            body = json.dumps(document).encode()
        answer = await self._send(Request(method, self.url + path, tuple(sent), body), patient=patient)
        if isinstance(answer.json, dict):
            secret = answer.json.get("clientSecret")
            self._masking.keep(secret if isinstance(secret, str) else None)
        return answer

    async def register(self, **fields: object) -> Client:
        """A new client, with a secret of Station's unless ``clientSecret`` is chosen."""
        document: dict[str, Any] = {"clientId": self.new_id(), "scopes": list(self.scopes), **fields}
        chosen = document.get("clientSecret")
        self._masking.keep(chosen)
        answer = await self.call("POST", document=document)
        made = answer.json if isinstance(answer.json, dict) else {}
        secret = chosen or made.get("clientSecret")
        if answer.status != 201 or not isinstance(secret, str):
            raise Failed(f"registering a client: expected 201 and a secret, got {answer.status}", answer)
        return Client(document["clientId"], secret, tuple(document["scopes"]))

    async def open(self, candidates: Sequence[Sequence[str]]) -> None:
        """Find out which scopes can be registered; raises `CannotRun`."""
        for scopes in filter(None, candidates):
            client_id = self.new_id()
            answer = await self.call("POST", document={"clientId": client_id, "scopes": list(scopes)})
            if answer.status == 201:
                self.scopes = tuple(scopes)
                return
            del self._left[client_id]
            errors = answer.json.get("errors") if isinstance(answer.json, dict) else None
            if answer.status != 400 or not isinstance(errors, dict):
                raise CannotRun(self._why_not(answer))
        raise CannotRun("The server refuses every scope that was tried; name one that it knows by --scope.")

    def _why_not(self, answer: Answer) -> str:
        if answer.status == 401:
            return "The server does not accept the admin key; give its INTERNAL_API_KEY in --admin-key-file."
        if answer.status == 429:
            return "The server throttles this address (429); wait a minute and run it again."
        if answer.status in {404, 405}:
            return (
                f"{self.url} is not there, so this is no Station; give --client-id and --client-secret-file."
            )
        return (
            f"Registering a client at {self.url} was answered by {answer.status}; look into the server's log."
        )

    async def close(self) -> None:
        """Delete every client that was registered; `left` says which could not be."""
        gate = asyncio.Semaphore(_AT_ONCE)

        async def delete(client_id: str) -> None:
            async with gate:
                with contextlib.suppress(NoAnswer, Skipped):
                    answer = await self.call("DELETE", f"/{client_id}")
                    if answer.status in {204, 404}:
                        del self._left[client_id]

        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_DELETING_SECONDS):
                await asyncio.gather(*map(delete, self.left))
