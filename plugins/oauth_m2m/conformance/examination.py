"""One run of the rules: find the server, get clients, check the rows, delete the clients."""

from __future__ import annotations

import contextlib
import dataclasses
from typing import TYPE_CHECKING

from plugins.oauth_m2m.conformance.clients import Admin, Client
from plugins.oauth_m2m.conformance.endpoints import CannotRun, find_endpoints
from plugins.oauth_m2m.conformance.masking import Masking
from plugins.oauth_m2m.conformance.needs import Need
from plugins.oauth_m2m.conformance.rows import Failed, Skipped
from plugins.oauth_m2m.conformance.runner import run
from plugins.oauth_m2m.conformance.server import Server
from plugins.oauth_m2m.conformance.tokens import is_jwt
from plugins.oauth_m2m.conformance.wire import NoAnswer, Wire

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence
    from pathlib import Path

    from plugins.oauth_m2m.conformance.endpoints import Endpoints
    from plugins.oauth_m2m.conformance.rows import Row
    from plugins.oauth_m2m.conformance.runner import Result

__all__ = ["Examination", "Listener", "examine"]

_SCOPES = ("conformance:read", "conformance:write")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Examination:
    """What is asked for: the server at ``url``, the rows, and how to get in.

    Either ``admin_key`` or ``client`` gets in. ``endpoints`` are URLs by name for servers that do not
    describe themselves: token, revocation, introspection, jwks, resource, scoped_resource.
    """

    url: str
    rows: Sequence[Row]
    admin_key: str | None = dataclasses.field(default=None, repr=False)
    client: Client | None = None
    scopes: tuple[str, ...] = ()
    endpoints: Mapping[str, str | None] = dataclasses.field(default_factory=dict)
    ca_file: Path | None = None
    flood: bool = False
    patience: float = 180.0
    seconds: float = 900.0


@dataclasses.dataclass(frozen=True, slots=True)
class Listener:
    """Hears of rows that begin, seconds of waiting, how many clients are deleted, and which could not be."""

    begins: Callable[[Row], None]
    waits: Callable[[float], None]
    cleans: Callable[[int], None]
    leaves: Callable[[Sequence[str]], None]


async def examine(asked: Examination, listener: Listener) -> list[Result]:
    """Check the rows; raises `CannotRun` where nothing can be checked.

    Every client that was registered is deleted again, also when the run is cancelled; the listener is told
    of those that could not be.
    """
    masking = Masking()
    masking.keep(asked.admin_key)
    wire = Wire(ca_file=asked.ca_file)
    try:
        endpoints = await find_endpoints(wire, asked.url, asked.endpoints)
    except NoAnswer as silence:
        raise CannotRun(f"{asked.url} cannot be asked: {silence}.") from silence
    server = Server(wire, endpoints, masking, patience=asked.patience, waits=listener.waits)
    server.missing |= set(_missing(endpoints, flood=asked.flood))
    async with _clients(asked, server, listener):
        await _look_at_a_token(server)
        return await run(server, asked.rows, begins=listener.begins, seconds=asked.seconds)


def _missing(endpoints: Endpoints, *, flood: bool) -> list[Need]:
    there = {
        Need.REVOCATION: endpoints.revocation,
        Need.INTROSPECTION: endpoints.introspection,
        Need.METADATA: endpoints.is_described,
        Need.JWKS: endpoints.jwks,
        Need.RESOURCE: endpoints.resource,
        Need.SCOPED_RESOURCE: endpoints.scoped_resource,
        Need.LIVENESS: endpoints.resource or endpoints.introspection,
        Need.FLOOD: flood,
    }
    return [need for need, found in there.items() if not found]


@contextlib.asynccontextmanager
async def _clients(asked: Examination, server: Server, listener: Listener) -> AsyncIterator[None]:
    """Give the server its clients; those that are registered end with the context."""
    if asked.client is not None:
        server.use(await _with_scopes(server, asked.client, asked.scopes))
        yield
        return
    admin = Admin(server.send, server.endpoints, key=asked.admin_key or "", masking=server.masking)
    try:
        supported = server.endpoints.metadata.get("scopes_supported")
        known = [one for one in supported if isinstance(one, str)] if isinstance(supported, list) else []
        try:
            await admin.open([asked.scopes] if asked.scopes else [_SCOPES, known[:2]])
        except (NoAnswer, Skipped) as silence:
            raise CannotRun(f"{admin.url} cannot be asked: {silence}.") from silence
        server.use(admin)
        yield
    finally:
        listener.cleans(len(admin.left))
        try:
            await admin.close()
        finally:
            listener.leaves(admin.left)


async def _with_scopes(server: Server, client: Client, scopes: tuple[str, ...]) -> Client:
    """The client that was given, and the scopes that its first token names; raises `CannotRun`."""
    server.use(client)
    try:
        answer = await server.ask(client=client)
    except (NoAnswer, Skipped) as silence:
        raise CannotRun(f"{server.endpoints.token} cannot be asked: {silence}.") from silence
    document = answer.json if isinstance(answer.json, dict) else {}
    if answer.status in {400, 401} and document.get("error") == "invalid_client":
        refused = f"The server does not accept the secret of {client.id} by HTTP Basic"
        raise CannotRun(f"{refused}; see --client-secret-file.")
    told = document.get("scope")
    found = tuple(told.split()) if isinstance(told, str) else ()
    return dataclasses.replace(client, scopes=scopes or found)


async def _look_at_a_token(server: Server) -> None:
    """Learn whether tokens are JWTs; one that cannot be had is the business of the rules."""
    try:
        jwt = is_jwt(await server.access_token())
    except (Failed, NoAnswer, Skipped):
        jwt = False
    if not jwt:
        server.missing.add(Need.JWT)
