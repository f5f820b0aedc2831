"""Call Station as a machine, with Tornado alone: ``python tornado_client.py [PATH [TIMES]]``.

Needs ``pip install tornado``. STATION_URL, STATION_CLIENT_ID and
STATION_CLIENT_SECRET in the environment say where and who.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from typing import Any
from urllib.parse import quote_plus, urlencode

from tornado.httpclient import AsyncHTTPClient, HTTPResponse

URL = os.environ.get("STATION_URL", "http://127.0.0.1:3001")
RENEW_BEFORE = int(os.environ.get("STATION_RENEW_BEFORE", "30"))  # seconds that a token must still live
TRIES = 5


class Station:
    """One Station, called with a token that is kept; many coroutines may share it."""

    def __init__(self, url: str, client_id: str, client_secret: str) -> None:
        self._url = url
        # RFC 6749 2.3.1: form-encoded before they are joined
        self._basic = {"auth_username": quote_plus(client_id), "auth_password": quote_plus(client_secret)}
        self._http = AsyncHTTPClient()
        self._token, self._good_until = "", 0.0
        self._fetching = asyncio.Lock()

    async def get(self, path: str) -> str:
        """The answer of a handler; a token that is about to end is renewed, one that was revoked replaced."""
        token = await self._usable_token()
        response = await self._fetch(path, headers={"Authorization": f"Bearer {token}"})
        if response.code == 401 and "invalid_token" in response.headers.get("WWW-Authenticate", ""):
            token = await self._usable_token(instead_of=token)
            response = await self._fetch(path, headers={"Authorization": f"Bearer {token}"})
        response.rethrow()
        return response.body.decode()

    async def _usable_token(self, instead_of: str = "") -> str:
        async with self._fetching:  # one fetches, the others wait and use the same
            if self._token == instead_of or time.monotonic() >= self._good_until:
                asked_at = time.monotonic()
                form = urlencode({"grant_type": "client_credentials"})
                response = await self._fetch("/auth/token", method="POST", body=form, **self._basic)
                response.rethrow()
                answer = json.loads(response.body)
                self._token = answer["access_token"]
                self._good_until = asked_at + answer["expires_in"] - RENEW_BEFORE
            return self._token

    async def _fetch(self, path: str, **options: Any) -> HTTPResponse:
        """Send a request, and come back when Station says after 429 and 503."""
        for _ in range(TRIES - 1):
            response = await self._http.fetch(self._url + path, raise_error=False, **options)
            if response.code not in {429, 503}:
                return response
            await asyncio.sleep(float(response.headers.get("Retry-After", "1")))
        return await self._http.fetch(self._url + path, raise_error=False, **options)


async def main(path: str = "/auth/client", times: str = "3") -> None:
    """Make all calls with one token."""
    station = Station(URL, os.environ["STATION_CLIENT_ID"], os.environ["STATION_CLIENT_SECRET"])
    for _ in range(int(times)):
        print(await station.get(path), flush=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
