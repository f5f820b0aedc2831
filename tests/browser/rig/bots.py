"""Station-Bot of ``examples/`` at work, in a thread of its own, while somebody clicks."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import jwt
from authlib.integrations.base_client import OAuthError

from tests.conftest import load_file

if TYPE_CHECKING:
    from types import ModuleType, TracebackType

    import httpx2
    from leaks import Leaks

__all__ = ["CALL", "TOKEN", "WorkingBot"]

FILE = Path(__file__).parents[3] / "examples" / "station_bot.py"
PATIENCE = 20.0
PAUSE = 0.05
CALL, TOKEN = "GET /demo/greeting", "POST /auth/token"


class WorkingBot:
    """Calls a handler again and again, whatever it is answered; `sees` waits for what it should come to.

    ``jti`` is the id of the token that it got last.
    """

    jti = ""

    def __init__(self, url: str, client_id: str, secret: str, leaks: Leaks) -> None:
        self._url, self._client_id, self._secret = url, client_id, secret
        self._leaks = leaks
        self._exchanges: list[tuple[str, int]] = []
        self._changed = threading.Condition()
        self._stopping = False
        self._thread = threading.Thread(target=lambda: asyncio.run(self._work()))

    def __enter__(self) -> WorkingBot:
        self._thread.start()
        return self

    def __exit__(self, *_raised: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._stopping, self._secret = True, ""
        self._thread.join()

    def take(self, secret: str) -> None:
        """Work with another secret from now on, as after a deployment."""
        self._secret = secret

    def sees(self, *expected: tuple[str, int]) -> None:
        """Wait until exactly this has happened in a row, after what was waited for before; forget it."""
        with self._changed:
            assert self._changed.wait_for(lambda: self._end_of(expected), PATIENCE), self._exchanges[-10:]
            del self._exchanges[: self._end_of(expected)]

    def only_sees(self, *expected: tuple[str, int]) -> None:
        """Nothing else has happened since, up to now."""
        with self._changed:
            others = [exchange for exchange in self._exchanges if exchange not in expected]
            assert others == []

    def _end_of(self, expected: tuple[tuple[str, int], ...]) -> int:
        """Where this ends that has happened in a row; 0 if it has not."""
        number = len(expected)
        ends = range(number, len(self._exchanges) + 1)
        return next((end for end in ends if tuple(self._exchanges[end - number : end]) == expected), 0)

    async def _work(self) -> None:
        bots = load_station_bot()
        while not self._stopping:
            secret = self._secret
            options = {"event_hooks": {"response": [self._note]}}
            bot = bots.StationBot(self._url, self._client_id, secret, **options)
            try:
                await bot.login()
                while secret is self._secret:
                    await bot.call("GET", "/demo/greeting")
                    await asyncio.sleep(PAUSE)
            except OAuthError:  # no token: it is not let in now
                await asyncio.sleep(PAUSE)
            finally:
                await bot.http.aclose()

    async def _note(self, response: httpx2.Response) -> None:
        request = response.request
        if request.url.path == "/auth/token" and response.status_code == 200:
            await response.aread()
            token: str = response.json()["access_token"]
            self._leaks.keep(token)
            self.jti = jwt.decode(token, options={"verify_signature": False})["jti"]
        with self._changed:
            self._exchanges.append((f"{request.method} {request.url.path}", response.status_code))
            self._changed.notify_all()


def load_station_bot() -> ModuleType:
    """The example, which is a file and no module of a package."""
    return load_file(FILE)
