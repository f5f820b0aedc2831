"""A Station in which something goes on: clients, live tokens, refusals, and a day of usage."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from datetime import timedelta
from typing import TYPE_CHECKING

import httpx2

from plugins.oauth_m2m.models import UsageKey
from plugins.oauth_m2m.stores import UsageStore
from station.config import Config
from station.embedded import embedded_engines
from station.resources import open_resources

if TYPE_CHECKING:
    from pathlib import Path

    from leaks import Leaks

    from tests.conftest import Server

__all__ = ["BOT", "inhabit"]

BOT = "station-bot"
CLIENTS = {
    BOT: ("The bot of this station", ["demo:read", "demo:write"]),
    "door-controller": ("Doors and locks", ["doors:open"]),
    "fleet-reader": ("Reads where everything is", ["fleet:read", "demo:read"]),
    "nightly-report": ("Mails the figures of the day", ["fleet:read"]),
    "old-importer": ("Replaced in spring", ["demo:write"]),
}
_DAY, _STEP, _BATCH = 86_400, 1800, 20


def inhabit(station: Server, leaks: Leaks) -> None:
    """Register clients, let them in and refuse some, and remember a day."""
    key = {"x-internal-api-key": station.admin_key}
    with httpx2.Client(base_url=station.url, headers={"User-Agent": "station-bot/1.0"}) as http:
        for client_id, (name, scopes) in CLIENTS.items():
            document = {"clientId": client_id, "name": name, "scopes": scopes}
            client = http.post("/oauth-clients", headers=key, json=document).raise_for_status().json()
            secret = client["clientSecret"]
            leaks.keep(secret)
            for _ in range(3):
                _token(http, client_id, secret, leaks)
        token = _token(http, BOT, _second_secret(http, key, leaks), leaks)
        bearer = {"Authorization": f"Bearer {token}"}
        assert http.get("/demo/greeting", headers=bearer).status_code == 200
        for asking in (BOT, "nobody-knows"):
            form = {"grant_type": "client_credentials"}
            assert http.post("/auth/token", data=form, auth=(asking, "x" * 40)).status_code == 401
        disabled = http.patch("/oauth-clients/old-importer", headers=key, json={"isActive": False})
        disabled.raise_for_status()
    # in a thread, because the browser's loop runs in this one
    thread = threading.Thread(target=lambda: asyncio.run(_remember_a_day(station.data_dir)))
    thread.start()
    thread.join()


def _token(http: httpx2.Client, client_id: str, secret: str, leaks: Leaks) -> str:
    form = {"grant_type": "client_credentials"}
    answer = http.post("/auth/token", data=form, auth=(client_id, secret))
    token: str = answer.raise_for_status().json()["access_token"]
    leaks.keep(token)
    return token


def _second_secret(http: httpx2.Client, key: dict[str, str], leaks: Leaks) -> str:
    added = http.post(f"/oauth-clients/{BOT}/secrets", headers=key, json={"endOthersIn": 86_400})
    secret: str = added.raise_for_status().json()["clientSecret"]
    leaks.keep(secret)
    return secret


async def _remember_a_day(data_dir: Path) -> None:
    now = int(time.time())
    counted = []
    for client_id in ("", BOT, "fleet-reader"):
        for at in range(now - _DAY, now + 1, _STEP):
            hour = at % _DAY / 3600
            busy = 1 + math.sin((hour - 9) / 24 * 2 * math.pi)
            fields = {"issued": round(4 * busy), "calls": round(90 * busy)}
            if 13 <= hour < 15:
                fields |= {"refused.token.wrong_secret": round(3 * busy), "refused.bearer.revoked": 20}
            counted.append((UsageKey(client_id, at), fields))
    async with embedded_engines(data_dir) as endpoints:
        config = Config(
            env="test",
            mongodb_uri=endpoints.mongodb_uri,
            redis_url=endpoints.redis_url,
            jwt_secret="x" * 32,
        )
        async with open_resources(config) as resources:
            store = UsageStore(resources, retention=timedelta(days=2))
            for start in range(0, len(counted), _BATCH):
                await store.add(dict(counted[start : start + _BATCH]))
