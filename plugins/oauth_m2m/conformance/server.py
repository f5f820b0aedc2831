"""The server under test, as rules see it: requests to its endpoints by clients that it knows."""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from plugins.oauth_m2m.conformance import expect
from plugins.oauth_m2m.conformance.clients import Admin, Client
from plugins.oauth_m2m.conformance.needs import Need
from plugins.oauth_m2m.conformance.rows import Skipped
from plugins.oauth_m2m.conformance.wire import Answer, NoAnswer, Request

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import TypeAlias

    from plugins.oauth_m2m.conformance.endpoints import Endpoints
    from plugins.oauth_m2m.conformance.masking import Masking
    from plugins.oauth_m2m.conformance.wire import Wire

    Form: TypeAlias = Sequence[tuple[str, str]] | Mapping[str, str]
    Lines: TypeAlias = str | bytes | Sequence[str | bytes]
    Headers: TypeAlias = Sequence[tuple[str, str | bytes]]

__all__ = ["FORM", "Server", "basic", "with_query"]

FORM = "application/x-www-form-urlencoded"
_GRANT = (("grant_type", "client_credentials"),)

# below the ten token requests a minute and client that Station allows by default
_USES_OF_A_CLIENT = 8
_TRIES = 4


def basic(client_id: str, secret: str) -> str:
    """An Authorization header as most libraries send it: nothing is encoded but the whole."""
    return "Basic " + base64.b64encode(f"{client_id}:{secret}".encode()).decode()


def with_query(url: str, query: str) -> str:
    """The URL with this query, or with it after its own (RFC 6749 3.2)."""
    return f"{url}{'&' if '?' in url else '?'}{query}" if query else url


class Server:
    """What a rule has in its hands.

    A 429 is waited for as the server asks, ``patience`` seconds at most in the whole run; ``waits`` hears of
    it. Where that is used up, the row is skipped.
    """

    def __init__(
        self,
        wire: Wire,
        endpoints: Endpoints,
        masking: Masking,
        *,
        patience: float,
        waits: Callable[[float], None],
    ) -> None:
        self.endpoints = endpoints
        self.masking = masking
        self.missing: set[Need] = set()
        self.last: Answer | NoAnswer | None = None
        self._wire = wire
        self._patience = patience
        self._waits = waits
        self._admin: Admin | None = None
        self._client: Client | None = None
        self._uses = 0

    @property
    def admin(self) -> Admin:
        """The admin interface, for rules that need it."""
        assert self._admin is not None  # noqa: S101 - Need.ADMIN was asked for
        return self._admin

    def use(self, caller: Admin | Client) -> None:
        """Take clients from the admin interface, or always this one."""
        if isinstance(caller, Admin):
            self._admin = caller
        else:
            self.masking.keep(caller.secret)
            self._client = caller
            self.missing.add(Need.ADMIN)

    async def client(self) -> Client:
        """A client with all scopes that the run may have; another one before a throttle would meet it."""
        if self._client is None or (self._admin is not None and self._uses >= _USES_OF_A_CLIENT):
            self._client, self._uses = await self.admin.register(), 0
        self._uses += 1
        return self._client

    async def send(self, request: Request, *, patient: bool = True) -> Answer:
        """Send any request; raises `NoAnswer`."""
        for _ in range(_TRIES):
            try:
                self.last = answer = await self._wire.send(request)
            except NoAnswer as error:
                self.last = error
                raise
            if answer.status != 429 or not patient:
                return answer
            await self._wait(answer)
        return answer

    async def _wait(self, answer: Answer) -> None:
        told = answer.header("Retry-After")
        seconds = float(told) + 0.1 if told.isascii() and told.isdigit() else 5.0
        if seconds > self._patience:
            raise Skipped(
                f"the server throttles (429, Retry-After {told or 'missing'}): raise --patience, or there "
                "AUTH_TOKEN_THROTTLE_LIMIT and AUTH_FAILURE_THROTTLE_LIMIT"
            )
        self._patience -= seconds
        self._waits(seconds)
        await asyncio.sleep(seconds)

    async def post(
        self,
        url: str,
        form: Form = (),
        *,
        client: Client | None = None,
        authorization: Lines = (),
        body: bytes | None = None,
        content_type: str | None = FORM,
        headers: Headers = (),
        patient: bool = True,
    ) -> Answer:
        """POST a form, or a ``body`` as it is, by HTTP Basic of a client or under any Authorization."""
        sent = _authorization(authorization)
        if client is not None:
            sent.insert(0, ("Authorization", basic(client.id, client.secret)))
        if content_type is not None:
            sent.append(("Content-Type", content_type))
        content = urlencode(form).encode() if body is None else body
        answer = await self.send(Request("POST", url, (*sent, *headers), content), patient=patient)
        found = answer.json.get("access_token") if isinstance(answer.json, dict) else None
        self.masking.keep(found if isinstance(found, str) else None)
        return answer

    async def ask(
        self,
        form: Form = (),
        *,
        more: bytes = b"",
        client: Client | None = None,
        authorization: Lines | None = None,
        content_type: str = FORM,
        headers: Headers = (),
        patient: bool = True,
    ) -> Answer:
        """Ask for a token: the grant, with other parameters, and with ``more`` that is encoded already.

        Without ``client`` and ``authorization`` a client of the run asks by HTTP Basic.
        """
        if client is None and authorization is None:
            client = await self.client()
        pairs = [*_GRANT, *(form.items() if isinstance(form, Mapping) else form)]
        return await self.post(
            self.endpoints.token,
            client=client,
            authorization=authorization or (),
            body=urlencode(pairs).encode() + (b"&" + more if more else b""),
            content_type=content_type,
            headers=headers,
            patient=patient,
        )

    async def access_token(self, client: Client | None = None, *, scope: str | None = None) -> str:
        """An access token, of a client of the run unless one is given."""
        form = {} if scope is None else {"scope": scope}
        return expect.token(await self.ask(form, client=client or await self.client()))

    async def revoke(self, token: str, client: Client, **more: str) -> Answer:
        """POST to the revocation endpoint."""
        return await self.post(self.endpoints.revocation or "", {"token": token, **more}, client=client)

    async def introspect(self, token: str, client: Client, **more: str) -> Answer:
        """POST to the introspection endpoint."""
        return await self.post(self.endpoints.introspection or "", {"token": token, **more}, client=client)

    async def call(self, authorization: Lines = (), *, query: str = "", headers: Headers = ()) -> Answer:
        """GET the protected resource with these Authorization headers."""
        url = with_query(self.endpoints.resource or "", query)
        return await self.get(url, *_authorization(authorization), *headers)

    async def get(self, url: str, *headers: tuple[str, str | bytes]) -> Answer:
        """GET any URL."""
        return await self.send(Request("GET", url, headers))

    async def is_alive(self, token: str, client: Client) -> bool:
        """Whether the protected resource, or introspection by its own client, takes the token."""
        if self.endpoints.resource:
            answer = await self.call(f"Bearer {token}")
            expect.status(answer, 200, 401)
            return answer.status == 200
        answer = await self.introspect(token, client)
        expect.status(answer, 200)
        return expect.json_object(answer).get("active") is True

    def now(self, answer: Answer) -> float:
        """The server's clock when it answered, to the second; ours if it has no Date."""
        try:
            return parsedate_to_datetime(answer.header("Date")).timestamp()
        except ValueError:
            return float(int(time.time()))


def _authorization(lines: Lines) -> list[tuple[str, str | bytes]]:
    each = [lines] if isinstance(lines, str | bytes) else lines
    return [("Authorization", line) for line in each]
