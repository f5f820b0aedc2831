"""Station-Bot: a machine that calls Station as itself, in about 60 lines.

    STATION_CLIENT_ID=station-bot STATION_CLIENT_SECRET=... python station_bot.py http://127.0.0.1:3001

Needs ``pip install authlib httpx2``. Authlib fetches the token and renews it before it ends; what is left to
the bot is to take a new one when Station says that the old one is dead (401), and to wait when it is told
to (429, 503).
"""

from __future__ import annotations

import asyncio
import os
import sys
from typing import TYPE_CHECKING, Any

from authlib.integrations.httpx_client import AsyncOAuth2Client

if TYPE_CHECKING:
    import httpx2


class StationBot:
    """Calls one Station; use it as an async context manager. ``options`` go to httpx2."""

    def __init__(self, url: str, client_id: str, client_secret: str, **options: Any) -> None:
        self.http = AsyncOAuth2Client(
            client_id,
            client_secret,
            token_endpoint=f"{url}/auth/token",
            grant_type="client_credentials",
            token_endpoint_auth_method="client_secret_basic",  # noqa: S106 - the name of a method
            base_url=url,
            **options,
        )

    async def __aenter__(self) -> StationBot:
        await self.login()
        return self

    async def __aexit__(self, *_exception: object) -> None:
        await self.http.aclose()

    async def login(self) -> None:
        """Fetch a token for everything that the bot is registered for."""
        await self.http.fetch_token()

    async def call(self, method: str, path: str, **options: Any) -> httpx2.Response:
        """Call a handler; a dead token is replaced once, a busy Station is asked again once."""
        response: httpx2.Response = await self.http.request(method, path, **options)
        if response.status_code == 401:
            await self.login()
            response = await self.http.request(method, path, **options)
        if response.status_code in {429, 503}:
            await asyncio.sleep(float(response.headers.get("Retry-After", 1)))
            response = await self.http.request(method, path, **options)
        return response


async def main(url: str) -> None:
    """Ask Station who we are."""
    async with StationBot(url, os.environ["STATION_CLIENT_ID"], os.environ["STATION_CLIENT_SECRET"]) as bot:
        response = await bot.call("GET", "/auth/client")
        print(response.raise_for_status().text)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:3001"))
