"""Two Stations behind nginx, and how a client asks them."""

from __future__ import annotations

import contextlib
import dataclasses
import http.client
import json
import ssl
import time
from base64 import b64encode
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from certificates import certify
from stations import ADMIN_KEY, serving

from station.embedded.engine import free_port

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from leaks import Leaks
    from stations import StationProcess

__all__ = ["ADMIN", "BOTS", "OTHERS", "PATIENCE", "SECRET", "Answer", "Pair"]

SECRET = "a-client-secret-for-the-tests-0123456789"
ADMIN = {"x-internal-api-key": ADMIN_KEY}
BOTS, OTHERS = "127.0.0.2", "127.0.0.3"  # where clients come from: nginx and Stations are at 127.0.0.1
PATIENCE = 30.0


@dataclasses.dataclass(frozen=True)
class Answer:
    """An HTTP response."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


class Pair:
    """Two Stations, a and b, in production behind nginx, on stores that they share."""

    def __init__(self, directory: Path, leaks: Leaks, settings: Mapping[str, str]) -> None:
        self.directory = directory
        self.marks = directory / "marks"
        self.marks.mkdir()
        self.ports = {"a": free_port(), "b": free_port()}
        self.https, self.http = free_port(), free_port()
        self.certificate = certify(directory)
        self.tls = ssl.create_default_context(cafile=str(self.certificate))
        self.stations: dict[str, StationProcess] = {}
        self._leaks = leaks
        self._settings = settings
        self._running: dict[str, contextlib.ExitStack] = {}
        self._starts = 0

    def start(self, name: str) -> None:
        """Start a Station on its port."""
        self._starts += 1
        stack = contextlib.ExitStack()
        directory = self.directory / f"{name}{self._starts}"
        settings = {**self._settings, "PORT": str(self.ports[name])}
        [self.stations[name]] = stack.enter_context(serving(directory, self._leaks, count=1, **settings))
        self._running[name] = stack

    def start_all(self) -> None:
        """Start those that a test has left stopped."""
        for name in self.ports:
            if name not in self._running or self.stations[name].poll() is not None:
                self._running.pop(name, None)
                self.start(name)

    def stop(self, name: str) -> None:
        """End a Station as an operator does, and see what it has logged."""
        self._running.pop(name).close()

    def close(self) -> None:
        """Stop all."""
        for name in list(self._running):
            self.stop(name)

    def connect(self, source: str = BOTS, station: str | None = None) -> http.client.HTTPConnection:
        """A connection to nginx, or straight to one Station."""
        if station is not None:
            return http.client.HTTPConnection("127.0.0.1", self.ports[station], PATIENCE, (source, 0))
        return http.client.HTTPSConnection(
            "127.0.0.1", self.https, timeout=PATIENCE, source_address=(source, 0), context=self.tls
        )

    def ask(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str] | None = None,
        body: object = None,
        *,
        source: str = BOTS,
        station: str | None = None,
    ) -> Answer:
        """One request on a connection of its own; a body that is no text is sent as JSON."""
        sent = dict(headers or {})
        if body is not None and not isinstance(body, str):
            sent, body = {"Content-Type": "application/json", **sent}, json.dumps(body)
        with contextlib.closing(self.connect(source, station)) as connection:
            connection.request(method, path, body, sent)
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read())

    def register(self, client_id: str) -> None:
        """Register a client that may read."""
        document = {"clientId": client_id, "clientSecret": SECRET, "scopes": ["demo:read"]}
        answer = self.ask("POST", "/oauth-clients", ADMIN, document)
        assert answer.status == 201, answer.body

    def form(self, path: str, client_id: str, **form: str) -> Answer:
        """Post a form as a client."""
        basic = b64encode(f"{client_id}:{SECRET}".encode()).decode()
        headers = {"Authorization": f"Basic {basic}", "Content-Type": "application/x-www-form-urlencoded"}
        return self.ask("POST", path, headers, urlencode(form))

    def token(self, client_id: str) -> str:
        """A token of a client."""
        answer = self.form("/auth/token", client_id, grant_type="client_credentials")
        assert answer.status == 200, answer.body
        self._leaks.keep(answer.json["access_token"])
        return str(answer.json["access_token"])

    def wait_for(self, mark: str) -> None:
        """Wait until a handler has left this mark."""
        end = time.monotonic() + PATIENCE
        while not (self.marks / mark).exists():
            assert time.monotonic() < end, f"nobody says {mark}"
            time.sleep(0.01)
