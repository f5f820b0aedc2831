from __future__ import annotations

import asyncio
import dataclasses
import logging
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.trace import SpanKind, StatusCode, format_trace_id
from tornado.httpclient import HTTPRequest
from tornado.websocket import WebSocketHandler, websocket_connect

from plugins.oauth_m2m.secret_format import generate_secret
from plugins.oauth_m2m.services import services_of
from station import hookimpl
from station.addresses import parse_networks
from station.audit.store import AuditFilter
from station.handlers import BaseHandler, Route, route
from station.logging import trace_id_context
from station.security import public

if TYPE_CHECKING:
    from collections.abc import Callable

    from leaks import Leaks
    from opentelemetry.sdk.trace import ReadableSpan

    from station.app import Application
    from station.config import Config
    from tests.conftest import Wire

    Spans = Callable[[], list[ReadableSpan]]

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
TRACEPARENT = {"traceparent": f"00-{TRACE_ID}-b7ad6b7169203331-01"}
WORDS = "whatever the words of an error hold"
PASSWORD = "correct horse battery staple 0123456789"


class FailingHandler(BaseHandler):
    @public
    async def get(self) -> None:
        logging.getLogger("station.notes").warning("about to fail")
        raise LookupError(WORDS)


class EchoHandler(BaseHandler, WebSocketHandler):
    @public
    async def get(self, *args: str, **kwargs: str) -> None:
        await super().get(*args, **kwargs)


class NotesPlugin:
    __name__ = "notes"

    @hookimpl
    def station_handlers(self) -> list[Route]:
        return [route(r"/failing", FailingHandler), route(r"/echo", EchoHandler)]


@pytest.fixture
def plugins(plugins: list[object]) -> list[object]:
    return [*plugins, NotesPlugin()]


def served(spans: list[ReadableSpan]) -> dict[str, ReadableSpan]:
    """The spans of requests, by name."""
    return {span.name: span for span in spans if span.kind is SpanKind.SERVER}


def trace_id(span: ReadableSpan) -> str:
    ours = span.get_span_context()
    assert ours is not None
    return format_trace_id(ours.trace_id)


def within(spans: list[ReadableSpan], parent: ReadableSpan) -> list[dict[str, Any]]:
    """The attributes of the spans within another one."""
    ours = parent.get_span_context()
    assert ours is not None
    return [
        dict(span.attributes or {}) for span in spans if span.parent and span.parent.span_id == ours.span_id
    ]


@pytest.mark.gen_test
async def test_a_request_is_a_span_with_what_it_asks_of_the_stores_within(wire: Wire, spans: Spans) -> None:
    await wire.token(await wire.register())
    found = spans()
    token = served(found)["POST /auth/token"]
    assert token.parent is None
    assert token.status.status_code is StatusCode.UNSET
    attributes: dict[str, Any] = dict(token.attributes or {})
    assert len(attributes.pop("station.request_id")) == 32
    assert attributes == {
        "http.request.method": "POST",
        "http.route": "/auth/token",
        "url.path": "/auth/token",
        "url.scheme": "http",
        "http.response.status_code": 200,
    }
    asked = within(found, token)
    assert {"mongodb", "redis"} == {one["db.system"] for one in asked}
    assert "oauth_clients" in {one.get("db.mongodb.collection") for one in asked}
    assert {one["db.statement"] for one in asked} <= {"EVALSHA", "SCRIPT", "find"}
    registered = within(found, served(found)["POST /oauth-clients"])
    assert [(one["db.statement"], one["db.mongodb.collection"]) for one in registered] == [
        ("insert", "audit_events"),
        ("insert", "oauth_clients"),
        ("update", "audit_events"),
    ]


@pytest.mark.gen_test
async def test_a_refusal_is_no_failure_and_a_failure_has_no_words(wire: Wire, spans: Spans) -> None:
    await wire.token(("nobody", "w" * 40))
    await wire.fetch("GET", "/nothing")
    await wire.fetch("GET", "/failing")
    found = served(spans())
    told = {
        name: ((span.attributes or {})["http.response.status_code"], span.status.status_code.name)
        for name, span in found.items()
    }
    assert told == {
        "POST /auth/token": (401, "UNSET"),
        "GET unmatched": (404, "UNSET"),
        "GET /failing": (500, "ERROR"),
    }
    assert (found["GET /failing"].attributes or {})["error.type"] == "500"
    assert not any(WORDS in span.to_json() for span in found.values())


@pytest.mark.gen_test
async def test_no_secret_is_in_a_span(wire: Wire, app: Application, spans: Spans, leaks: Leaks) -> None:
    secret = generate_secret()
    basic = await wire.register(clientSecret=secret)
    token = await wire.access_token(basic)
    await wire.fetch("GET", "/probe", bearer=token)
    await wire.fetch("GET", f"/probe?access_token={token}#{token}")
    await wire.fetch("POST", "/auth/revoke", form={"token": token}, basic=basic)
    person = {"email": "ada@example.com", "password": PASSWORD}
    await wire.fetch("POST", "/auth/register", document=person)
    session = await wire.fetch("POST", "/auth/login", document=person)
    cookie = session.headers["Set-Cookie"].partition(";")[0]
    await wire.fetch("GET", "/auth/me", headers={"Cookie": cookie})
    found = spans()
    assert len(served(found)) == 7
    text = "\n".join(span.to_json() for span in found)
    key = str(app.config.internal_api_key)
    for one in (secret, token, token.rpartition(".")[2], PASSWORD, cookie.partition("=")[2], key):
        assert one not in text
    assert "ada@example.com" not in text


@pytest.mark.gen_test
async def test_nothing_is_a_trace_that_no_request_began(wire: Wire, app: Application, spans: Spans) -> None:
    spans()
    await services_of(app).propagation._announce()
    await app.resources.ping_mongodb()
    await app.resources.ping_redis()
    assert spans() == []
    await wire.fetch("GET", "/health/ready")
    assert served(spans()).keys() == {"GET /health/ready"}


@pytest.mark.gen_test
async def test_a_websocket_is_a_span_until_it_is_open(wire: Wire, spans: Spans) -> None:
    socket = await websocket_connect(HTTPRequest(wire.base_url.replace("http:", "ws:") + "/echo"))
    [span] = spans()
    assert (span.name, (span.attributes or {})["http.response.status_code"]) == ("GET /echo", 101)
    socket.close()
    assert await socket.read_message() is None


@pytest.mark.gen_test
async def test_strangers_do_not_say_of_which_trace_they_are(wire: Wire, spans: Spans) -> None:
    await wire.fetch("GET", "/health/live", headers=TRACEPARENT)
    [span] = spans()
    assert span.parent is None
    assert trace_id(span) != TRACE_ID
    [link] = span.links
    assert format_trace_id(link.context.trace_id) == TRACE_ID


class TestBehindProxy:
    @pytest.fixture
    def config(self, config: Config) -> Config:
        return dataclasses.replace(config, trusted_proxies=parse_networks("127.0.0.1"))

    @pytest.mark.gen_test
    async def test_a_trusted_proxy_says_of_which_trace_a_request_is(self, wire: Wire, spans: Spans) -> None:
        await wire.fetch("GET", "/health/live", headers=TRACEPARENT)
        [span] = spans()
        assert span.parent is not None
        assert format_trace_id(span.parent.trace_id) == TRACE_ID
        assert span.links == ()


@pytest.mark.gen_test
async def test_logs_and_the_audit_have_the_id_of_the_trace(
    wire: Wire, app: Application, spans: Spans, caplog: pytest.LogCaptureFixture
) -> None:
    heard: list[str] = []

    def hear(_record: logging.LogRecord) -> bool:
        heard.append(trace_id_context.get())
        return True

    caplog.handler.addFilter(hear)
    await wire.fetch("GET", "/failing")
    await wire.register()
    await wire.token(("nobody", "w" * 40))
    found = served(spans())
    ids = {name: trace_id(span) for name, span in found.items()}
    assert len(set(ids.values())) == 3
    assert ids["GET /failing"] in heard
    events: dict[str, str] = {}
    async with asyncio.timeout(10):
        while "token.refused" not in events:
            await asyncio.sleep(0.05)
            events = {event.action: event.trace_id for event in await app.audit.find(AuditFilter(), limit=10)}
    assert events["client.registered"] == ids["POST /oauth-clients"]
    assert events["token.refused"] == ids["POST /auth/token"]
    assert events["keys.prepared"] == ""
    assert trace_id_context.get() == ""
