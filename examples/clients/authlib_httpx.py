"""Call Station as a machine, with Authlib and httpx: ``python authlib_httpx.py [PATH [TIMES]]``.

Needs ``pip install authlib httpx2``. STATION_URL, STATION_CLIENT_ID and
STATION_CLIENT_SECRET in the environment say where and who.
"""

from __future__ import annotations

import asyncio
import os
import sys

import httpx2
from authlib.integrations.httpx_client import AsyncOAuth2Client

URL = os.environ.get("STATION_URL", "http://127.0.0.1:3001")
RENEW_BEFORE = int(os.environ.get("STATION_RENEW_BEFORE", "30"))  # seconds that a token must still live
TRIES = 5
REPLACING = asyncio.Lock()


class PatientTransport(httpx2.AsyncHTTPTransport):
    """Comes back when Station says, for tokens and for calls alike."""

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send the request again after 429 and 503, a few times."""
        for _ in range(TRIES - 1):
            response = await super().handle_async_request(request)
            if response.status_code not in {429, 503}:
                return response
            await response.aclose()
            await asyncio.sleep(float(response.headers.get("Retry-After", "1")))
        return await super().handle_async_request(request)


def connect() -> AsyncOAuth2Client:
    """A client that keeps its token and its connections; many tasks may share it."""
    return AsyncOAuth2Client(
        os.environ["STATION_CLIENT_ID"],
        os.environ["STATION_CLIENT_SECRET"],
        token_endpoint=f"{URL}/auth/token",
        grant_type="client_credentials",
        leeway=RENEW_BEFORE,
        base_url=URL,
        transport=PatientTransport(),
    )


async def call(client: AsyncOAuth2Client, path: str) -> str:
    """The answer of a handler. Authlib renews a token before it ends; one that was revoked is replaced."""
    response: httpx2.Response = await client.get(path)
    if response.status_code == 401 and "invalid_token" in response.headers.get("WWW-Authenticate", ""):
        async with REPLACING:  # unless another task has done it meanwhile
            if response.request.headers["Authorization"] == f"Bearer {client.token['access_token']}":
                await client.fetch_token()
        response = await client.get(path)
    return response.raise_for_status().text


async def main(path: str = "/auth/client", times: str = "3") -> None:
    """Make all calls with one client."""
    async with connect() as client:
        await client.fetch_token()
        for _ in range(int(times)):
            print(await call(client, path), flush=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
