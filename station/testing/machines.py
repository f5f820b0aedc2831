"""Machines in tests: each is registered, and fetches its token, by the endpoints that real ones use."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from station.testing.http import Answer, Http
    from station.testing.running import RunningStation

__all__ = ["BearerToken", "ClientTokens"]


class BearerToken(str):
    """An access token, and the credentials that it was got with."""

    __slots__ = ("client_id", "client_secret")
    client_id: str
    client_secret: str


class ClientTokens:
    """What the fixture ``client_token`` gives: call it for a token of a new client."""

    def __init__(self, station: RunningStation) -> None:
        self._admin: Http = station.admin
        self._numbers = itertools.count(1)

    def __call__(self, scopes: Iterable[str] | str, *, client_id: str | None = None) -> BearerToken:
        """Register a client for ``scopes``, a list or words in a text; return a token for all of them."""
        wanted = scopes.split() if isinstance(scopes, str) else list(scopes)
        client = {"clientId": client_id or f"bot-{next(self._numbers)}", "scopes": wanted}
        registered = _expect(201, "POST /oauth-clients", self._admin.post("/oauth-clients", json=client)).json
        credentials = (registered["clientId"], registered["clientSecret"])
        grant = {"grant_type": "client_credentials", "scope": " ".join(wanted)}
        issued = _expect(
            200, "POST /auth/token", self._admin.post("/auth/token", form=grant, basic=credentials)
        )
        token = BearerToken(issued.json["access_token"])
        token.client_id, token.client_secret = credentials
        return token


def _expect(status: int, what: str, answer: Answer) -> Answer:
    if answer.status == 404:
        raise AssertionError(
            f"{what} answered 404: the plugin oauth_m2m is not among the fixture station_plugins"
        )
    if answer.status != status:
        raise AssertionError(f"{what} answered {answer.status}, not {status}: {answer.text}")
    return answer
