"""What the shipped nginx configuration promises, seen from both of its sides."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import http.client
import json
import socket
import ssl
import subprocess
import threading
import uuid
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from pair import ADMIN, BOTS, OTHERS, PATIENCE, Pair
from tornado.httpclient import HTTPRequest
from tornado.websocket import websocket_connect

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.alone  # Stations are stopped, and nobody may notice

LOGINS = 5  # a minute and address
REVOKED = 4401
HAMMERS = 4


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


@pytest.fixture
def bot(pair: Pair) -> str:
    client_id = f"bot-{uuid.uuid4().hex}"
    pair.register(client_id)
    return client_id


def pids(pair: Pair, path: str = "/who", count: int = 8) -> Counter[int]:
    return Counter(pair.ask("GET", path).json["pid"] for _ in range(count))


# addresses and headers


def test_the_client_is_known_by_its_own_address(pair: Pair) -> None:
    for source in (BOTS, OTHERS, "127.0.0.1"):  # the last one is that of a trusted proxy
        forged = {"X-Forwarded-For": "6.6.6.6, 127.0.0.1", "Forwarded": "for=6.6.6.6", "X-Real-IP": "6.6.6.6"}
        assert pair.ask("GET", "/who", forged, source=source).json["address"] == source


def test_the_throttle_counts_the_real_client_on_both_stations(pair: Pair) -> None:
    nobody = {"email": "nobody@example.com", "password": "a-password-of-nobody-0123456789"}
    source = "127.0.0.77"  # of no other test: its window is full afterwards
    statuses = [
        pair.ask("POST", "/auth/login", {"X-Forwarded-For": f"6.6.6.{number}"}, nobody, source=source).status
        for number in range(LOGINS + 3)
    ]
    assert statuses == [401] * LOGINS + [429] * 3
    assert pair.ask("POST", "/auth/login", None, nobody, source="127.0.0.78").status == 401


def test_the_audit_has_the_real_client_and_nginxs_request_id(pair: Pair, bot: str) -> None:
    sent = {"X-Request-ID": "chosen-by-the-client", "X-Forwarded-For": "6.6.6.6", **bearer("nonsense")}
    refused = pair.ask("GET", "/demo/greeting", sent, source=OTHERS)
    assert refused.status == 401
    request_id = refused.headers["X-Request-ID"]
    assert len(request_id) == 32
    lines = [json.loads(line) for line in (pair.directory / "nginx" / "access.log").read_text().splitlines()]
    [line] = [line for line in lines if line["request_id"] == request_id]
    assert (line["address"], line["path"], line["status"]) == (OTHERS, "/demo/greeting", "401")
    for name in ("a", "b"):
        pair.stop(name)  # what a Station has in its queue is written when it ends
        pair.start(name)
    logs = "".join(file.read_text() for file in pair.directory.glob("[ab]*/station0/stderr.log"))
    [event] = [
        event
        for event in (json.loads(line) for line in logs.splitlines())
        if event["logger"] == "station.audit" and event["request_id"] == request_id
    ]
    assert event["audit"]["address"] == OTHERS


def test_no_query_is_logged(pair: Pair) -> None:
    assert pair.ask("GET", "/who?token=a-secret-in-the-wrong-place").status == 200
    assert "wrong-place" not in (pair.directory / "nginx" / "access.log").read_text()


def test_pages_of_another_origin_are_refused_and_those_of_ours_are_not(pair: Pair) -> None:
    host = f"station.example.com:{pair.https}"
    body = {"email": "nobody@example.com", "password": "a-password-of-nobody-0123456789"}
    for origin, status in ((f"https://{host}", 401), ("https://evil.example.com", 403)):
        headers = {"Host": host, "Origin": origin}
        assert pair.ask("POST", "/auth/login", headers, body, source="127.0.0.79").status == status


# TLS and HTTP


def test_tls(pair: Pair) -> None:
    answer = pair.ask("GET", "/health/live")
    assert answer.status == 200
    assert answer.headers.get_all("Strict-Transport-Security") == ["max-age=31536000"]
    assert answer.headers["Server"] == "nginx"
    for version, accepted in ((ssl.TLSVersion.TLSv1_1, False), (ssl.TLSVersion.TLSv1_2, True)):
        context = ssl.create_default_context(cafile=str(pair.certificate))
        context.set_ciphers("DEFAULT:@SECLEVEL=0")  # else the client would not even try
        with pytest.warns(DeprecationWarning, match="TLSv1_1") if not accepted else contextlib.nullcontext():
            context.minimum_version = context.maximum_version = version
        refused = contextlib.nullcontext() if accepted else pytest.raises((ssl.SSLError, OSError))
        with (
            socket.create_connection(("127.0.0.1", pair.https)) as plain,
            refused,
            context.wrap_socket(plain, server_hostname="station.example.com") as secured,
        ):
            assert secured.version() == "TLSv1.2"


def test_http_2(pair: Pair) -> None:
    address = f"https://station.example.com:{pair.https}/who"
    resolve = f"station.example.com:{pair.https}:127.0.0.1"
    curl = ["curl", "-sS", "--http2", "--cacert", str(pair.certificate), "--resolve", resolve]
    said = subprocess.run(
        [*curl, "-w", "\n%{http_version}", address],
        capture_output=True,
        text=True,
        check=True,
        timeout=PATIENCE,
    )
    body, version = said.stdout.rsplit("\n", 1)
    assert version == "2"
    assert json.loads(body)["host"] == f"station.example.com:{pair.https}"


def test_in_the_clear_browsers_are_led_on_and_secrets_are_refused(pair: Pair) -> None:
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", pair.http, timeout=PATIENCE)) as plain:
        plain.request("GET", "/console?a=b", headers={"Host": "station.example.com"})
        answer = plain.getresponse()
        answer.read()
        assert (answer.status, answer.headers["Location"]) == (301, "https://station.example.com/console?a=b")
        plain.request("POST", "/auth/token", "grant_type=client_credentials")
        assert plain.getresponse().status == 403


def test_connections_to_the_stations_are_kept(pair: Pair) -> None:
    seen = Counter(pair.ask("GET", "/who").json["port"] for _ in range(30))
    assert len(seen) == 2, "one connection to each Station serves thirty clients"


@pytest.mark.parametrize("path", ["/metrics", "//metrics", "/%6detrics", "/./metrics", "/metrics?x=1"])
def test_metrics_are_not_public(pair: Pair, path: str) -> None:
    answer = pair.ask("GET", path, ADMIN)
    assert (answer.status, answer.headers["Content-Type"]) == (404, "application/problem+json")
    assert answer.json["status"] == 404


def test_what_nginx_refuses_is_json_as_well(pair: Pair) -> None:
    answer = pair.ask("POST", "/auth/token", {"Content-Type": "application/json"}, "x" * (1024 * 1024 + 1))
    assert (answer.status, answer.headers["Content-Type"]) == (413, "application/problem+json")
    assert answer.json["status"] == 413


# what lasts


def test_a_stream_is_passed_on_as_it_comes(pair: Pair) -> None:
    mark = uuid.uuid4().hex
    with contextlib.closing(pair.connect()) as connection:
        connection.request("GET", f"/stream?until={mark}")
        response = connection.getresponse()
        assert response.readline() == b"first\n"
        (pair.marks / mark).touch()  # only now is the rest written
        assert response.read() == b"second\n"


def test_a_websocket_ends_when_its_token_does(pair: Pair, bot: str) -> None:
    token = pair.token(bot)

    async def talk() -> tuple[str, int | None]:
        url = f"wss://127.0.0.1:{pair.https}/feed"
        headers = {**bearer(token), "X-Forwarded-For": "6.6.6.6"}
        request = HTTPRequest(url, headers=headers, ca_certs=str(pair.certificate))
        socket = await websocket_connect(request)
        await socket.write_message("hello")
        said = str(await socket.read_message())
        revoked = await asyncio.to_thread(pair.form, "/auth/revoke", bot, token=token)
        assert revoked.status == 200
        async with asyncio.timeout(PATIENCE):
            assert await socket.read_message() is None
        code = socket.close_code
        socket.close()
        return said, code

    said, code = asyncio.run(talk())
    assert said.split()[1:] == ["127.0.0.1", "hello"]  # as which Tornado's client comes
    assert code == REVOKED


def test_a_revocation_at_one_station_holds_at_the_other_at_once(pair: Pair, bot: str) -> None:
    for by, _ in (("a", "b"), ("b", "a")):
        token = pair.token(bot)
        for name in ("a", "b"):
            assert pair.ask("GET", "/demo/greeting", bearer(token), station=name).status == 200
        answer = pair.ask("DELETE", f"/oauth-clients/{bot}/tokens", ADMIN, station=by)
        assert (answer.status, answer.json["pending"]) == (200, 0)
        assert [pair.ask("GET", "/demo/greeting", bearer(token)).status for _ in range(8)] == [401] * 8


# one Station is away


def test_what_was_sent_is_not_sent_again_unless_it_is_safe(pair: Pair) -> None:
    for method, status, times in (("GET", 200, 2), ("POST", 502, 1), ("PATCH", 502, 1)):
        mark = uuid.uuid4().hex
        answer = pair.ask(method, f"/cut?mark={mark}", None, "" if method == "GET" else {})
        assert answer.status == status, method
        assert len((pair.marks / mark).read_text().splitlines()) == times, method
        if status == 502:
            assert answer.headers["Content-Type"] == "application/problem+json"


@dataclasses.dataclass
class Hammer(threading.Thread):
    """Asks for a greeting and for a token, on a connection that is kept, until it is told to stop."""

    pair: Pair
    bot: str
    token: str

    def __post_init__(self) -> None:
        super().__init__(daemon=True)
        self.statuses: Counter[tuple[str, int]] = Counter()
        self.errors: list[str] = []
        self._end = threading.Event()

    __hash__ = threading.Thread.__hash__

    def run(self) -> None:
        try:
            while not self._end.is_set():
                greeting = self.pair.ask("GET", "/demo/greeting", bearer(self.token))
                self.statuses["GET", greeting.status] += 1
                issued = self.pair.form("/auth/token", self.bot, grant_type="client_credentials")
                self.statuses["POST", issued.status] += 1
        except (OSError, http.client.HTTPException) as error:
            self.errors.append(repr(error))

    def stop(self) -> None:
        self._end.set()
        self.join(PATIENCE)


@contextlib.contextmanager
def hammered(pair: Pair, bot: str) -> Iterator[list[Hammer]]:
    """Clients ask all the time; in the end nobody was answered anything but what was asked for."""
    hammers = [Hammer(pair, bot, pair.token(bot)) for _ in range(HAMMERS)]
    for hammer in hammers:
        hammer.start()
    try:
        yield hammers
    finally:
        for hammer in hammers:
            hammer.stop()
    assert [error for hammer in hammers for error in hammer.errors] == []
    seen = sum((hammer.statuses for hammer in hammers), Counter())
    assert set(seen) == {("GET", 200), ("POST", 200)}, seen


def test_one_station_after_the_other_is_restarted_and_nobody_notices(pair: Pair, bot: str) -> None:
    with hammered(pair, bot):
        for name in ("a", "b"):
            before = pair.stations[name].pid
            pair.stop(name)
            assert before not in pids(pair)
            pair.start(name)


def test_a_station_is_killed_and_what_is_read_is_read_elsewhere(pair: Pair, bot: str) -> None:
    token = pair.token(bot)
    assert len(pids(pair)) == 2
    pair.stations["a"].kill()
    pair.stations["a"].wait()
    answers = [pair.ask("GET", "/demo/greeting", bearer(token)).status for _ in range(20)]
    assert answers == [200] * 20
    posts = [pair.form("/auth/token", bot, grant_type="client_credentials").status for _ in range(20)]
    assert posts == [200] * 20  # a connection that was refused has sent nothing
    pair.stop("a")
    pair.start("a")


def test_what_was_asked_for_is_answered_while_a_station_stops(pair: Pair) -> None:
    for mark in ("begun", "go-on"):
        (pair.marks / mark).unlink(missing_ok=True)
    answers: list[int] = []
    asking = threading.Thread(target=lambda: answers.append(pair.ask("POST", "/slow", None, {}).status))
    asking.start()
    pair.wait_for("begun")
    pid = int((pair.marks / "begun").read_text())
    [name] = [name for name, station in pair.stations.items() if station.pid == pid]
    pair.stations[name].terminate()
    while pid in pids(pair, count=2):  # until it listens no more
        pass
    assert answers == []
    (pair.marks / "go-on").touch()
    asking.join(PATIENCE)
    assert answers == [200]
    pair.stop(name)
    pair.start(name)


def test_both_stations_are_away_and_come_back(pair: Pair) -> None:
    for name in ("a", "b"):
        pair.stop(name)
    answer = pair.ask("GET", "/who")
    assert (answer.status, answer.headers["Content-Type"]) == (502, "application/problem+json")
    for name in ("a", "b"):
        pair.start(name)
    assert len(pids(pair)) == 2  # at once
