"""Call Station as a machine, with requests-oauthlib: ``python requests_oauthlib_bot.py [PATH [TIMES]]``.

Needs ``pip install requests-oauthlib``. STATION_URL, STATION_CLIENT_ID and
STATION_CLIENT_SECRET in the environment say where and who.
"""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING

from oauthlib.oauth2 import BackendApplicationClient  # type: ignore[import-untyped] # it has no types
from requests.adapters import HTTPAdapter
from requests.auth import HTTPBasicAuth
from requests_oauthlib import OAuth2Session
from urllib3.util import Retry

if TYPE_CHECKING:
    import requests

URL = os.environ.get("STATION_URL", "http://127.0.0.1:3001")
RENEW_BEFORE = int(os.environ.get("STATION_RENEW_BEFORE", "30"))  # seconds that a token must still live

# urllib3 waits for as long as Retry-After says; None: for POST as well
PATIENCE = Retry(total=4, status_forcelist=[429, 503], allowed_methods=None, backoff_factor=1)


class Station:
    """One Station, called with a token that is kept."""

    def __init__(self, url: str, client_id: str, client_secret: str) -> None:
        self._url = url
        self._basic = HTTPBasicAuth(client_id, client_secret)
        self._session = OAuth2Session(client=BackendApplicationClient(client_id))
        for scheme in ("https://", "http://"):
            self._session.mount(scheme, HTTPAdapter(max_retries=PATIENCE))

    def _fetch_token(self) -> None:
        self._session.fetch_token(f"{self._url}/auth/token", auth=self._basic, timeout=10)

    def get(self, path: str) -> str:
        """The answer of a handler; a token that is about to end is renewed, one that was revoked replaced."""
        if self._session.token.get("expires_at", 0) - time.time() <= RENEW_BEFORE:
            self._fetch_token()
        response: requests.Response = self._session.get(self._url + path, timeout=10)
        if response.status_code == 401 and "invalid_token" in response.headers.get("WWW-Authenticate", ""):
            self._fetch_token()
            response = self._session.get(self._url + path, timeout=10)
        response.raise_for_status()
        return response.text


def main(path: str = "/auth/client", times: str = "3") -> None:
    """Make all calls with one token and one connection."""
    station = Station(URL, os.environ["STATION_CLIENT_ID"], os.environ["STATION_CLIENT_SECRET"])
    for _ in range(int(times)):
        print(station.get(path), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
