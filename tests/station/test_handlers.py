from __future__ import annotations

import asyncio
import gzip
import io
import json
import logging
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
from fakeredis import FakeAsyncRedis
from marshmallow import Schema, ValidationError, fields, validates_schema
from mongomock_motor import AsyncMongoMockClient
from tornado.httpclient import HTTPClientError, HTTPRequest
from tornado.web import Finish, HTTPError, StaticFileHandler
from tornado.websocket import WebSocketHandler, websocket_connect

from station import hookimpl
from station.addresses import parse_networks
from station.app import Application, make_app
from station.config import Config
from station.errors import Conflict, Forbidden, InternalError, ServiceUnavailable
from station.handlers import BaseHandler, NotFoundHandler, Route, route
from station.logging import configure_logging
from station.migrations import Migrator
from station.resources import Resources
from station.security import PUBLIC, Security, SecurityScheme, demand, http_methods, public, security_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tornado.ioloop import IOLoop

    from tests.conftest import Answer, Wire

    Log = Callable[[], list[dict[str, Any]]]

ORIGIN = "https://console.example.com"
PRODUCTION = {
    "env": "production",
    "issuer": "https://station.example.com",
    "mongodb_uri": "mongodb://unused",
    "redis_url": "redis://unused",
    "internal_api_key": "an-admin-key-for-the-tests-only-0123456789",
}
JSON = {"Content-Type": "application/json"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


async def enforce_key(handler: BaseHandler, _security: Security) -> None:
    if handler.request.headers.get("X-Key") != "open sesame":
        raise Forbidden("Only with the key.")


keyed = demand(Security("key"), enforce_key)


class OwnerSchema(Schema):
    name = fields.String(required=True)

    @validates_schema
    def check(self, data: dict[str, Any], **_: Any) -> None:
        if data["name"] == "nobody":
            raise ValidationError("Nobody owns nothing.")


class NoteSchema(Schema):
    title = fields.String(required=True)
    size = fields.Integer()
    owner = fields.Nested(OwnerSchema)
    tags = fields.List(fields.String())
    meta = fields.Raw()

    @validates_schema
    def check(self, data: dict[str, Any], **_: Any) -> None:
        if data["title"] == "bad":
            raise ValidationError("Not this note.")
        if data["title"] == "worse":
            raise ValidationError({"size": "Not with this title."})


class NotesHandler(BaseHandler):
    max_body_size: ClassVar[int] = 512 * 1024

    @public
    def get(self) -> None:
        self.write_json({"q": self.get_query_argument("q", "")})

    @public
    def post(self) -> None:
        self.write_json(self.load_json(NoteSchema()), 201)


class NoteHandler(BaseHandler):
    @public
    def get(self, note: str) -> None:
        self.write_json({"note": note})

    @public
    def put(self, note: str) -> None:
        self.write_json({"note": note, "title": self.get_body_argument("title")})


class NamedHandler(BaseHandler):
    @public
    def get(self, *, note: str) -> None:
        self.write_json({"note": note})


class FailingHandler(BaseHandler):
    @public
    async def get(self, how: str) -> None:
        await asyncio.sleep(0)
        if how == "flushed":
            self.write("{")
            await self.flush()
        if how == "unavailable":
            try:
                raise ConnectionRefusedError("mongodb://user:password@host")
            except OSError as error:
                raise ServiceUnavailable("A store is away.", retry_after=7) from error
        self.set_header("X-Half-Done", "yes")
        self.write("half an answer")
        failure = FAILURES[how]()
        raise failure

    @public
    def post(self, _how: str) -> None:
        self.send_error(404)


FAILURES: dict[str, Callable[[], Exception]] = {
    "unexpected": lambda: KeyError("what only the log may know"),
    "flushed": lambda: KeyError("what only the log may know"),
    "internal": lambda: InternalError("Told to the client."),
    "conflict": lambda: Conflict("It is there already."),
    "finish": lambda: Finish('{"done": true}'),
    "http-400": lambda: HTTPError(400, "%s", "what only the log may know"),
    "http-403": lambda: HTTPError(403),
    "http-404": lambda: HTTPError(404, reason="Nope"),
    "http-405": lambda: HTTPError(405),
    "http-409": lambda: HTTPError(409),
    "http-418": lambda: HTTPError(418),
    "http-499": lambda: HTTPError(499),
    "http-500": lambda: HTTPError(500),
    "http-503": lambda: HTTPError(503),
}


@keyed
class EchoSocket(WebSocketHandler, BaseHandler):
    def on_message(self, message: str | bytes) -> None:
        self.write_message(message)


class NotesPlugin:
    """Handlers of many kinds."""

    __name__ = "notes"

    def __init__(self, files: Path) -> None:
        self.files = files

    @hookimpl
    def station_handlers(self) -> list[Route]:
        files = {"path": str(self.files)}
        return [
            route(r"/notes", NotesHandler),
            route(r"/notes/([^/]+)", NoteHandler),
            route(r"/perhaps(?:/([^/]+))?", NoteHandler),
            route(r"/named/(?P<note>[^/]+)", NamedHandler),
            route(r"/fail/([a-z0-9-]+)", FailingHandler),
            route(r"/socket", EchoSocket),
            route(r"/open/(.*)", StaticFileHandler, files, demand=public),
            route(r"/closed/(.*)", StaticFileHandler, files, demand=keyed),
        ]

    @hookimpl
    def station_security_schemes(self) -> list[SecurityScheme]:
        return [SecurityScheme("key", {})]


@pytest.fixture
def settings() -> dict[str, Any]:
    """The settings that differ from the defaults; tests parametrize it."""
    return {}


@pytest.fixture
def config(settings: dict[str, Any], tmp_path: Path) -> Config:
    defaults: dict[str, Any] = {
        "env": "test",
        "data_dir": tmp_path,
        "plugins": (),
        "jwt_secret": "a-signing-secret-for-the-tests-only-0123456789",
        "auth_bcrypt_cost": 4,
        "allowed_origin": (ORIGIN,),
    }
    return Config(**(defaults | settings))


@pytest.fixture
def plugins(tmp_path: Path) -> list[object]:
    files = tmp_path / "files"
    files.mkdir()
    (files / "page.txt").write_text("a page")
    (tmp_path / "secret.txt").write_text("a secret")
    return [NotesPlugin(files)]


@pytest.fixture
def app(io_loop: IOLoop, config: Config, plugins: list[object]) -> Iterator[Application]:
    resources = Resources(AsyncMongoMockClient(tz_aware=True)["station"], FakeAsyncRedis())
    application = make_app(config, resources, plugins)
    migrations = application.plugins.call("station_migrations")
    io_loop.run_sync(Migrator(resources.database, migrations).up)
    lifespan = application.lifespan()
    io_loop.run_sync(lifespan.__aenter__)
    yield application
    io_loop.run_sync(lambda: lifespan.__aexit__(None, None, None))


@pytest.fixture
def log() -> Iterator[Log]:
    """What production would log at the level DEBUG, as the objects that the lines hold."""
    loggers = [logging.getLogger(name) for name in (None, "pymongo", "tornado.general")]
    before = [(logger, logger.handlers[:], logger.level) for logger in loggers]
    configure_logging("production", logging.DEBUG)
    [handler] = logging.getLogger().handlers
    assert isinstance(handler, logging.StreamHandler)
    handler.setStream(stream := io.StringIO())
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    for logger, handlers, level in before:
        logger.handlers[:] = handlers
        logger.setLevel(level)


def assert_whole(answer: Answer) -> None:
    """What every answer has, whatever it is about."""
    assert answer.headers["X-Request-ID"]
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Content-Security-Policy"] == "default-src 'none'; frame-ancestors 'none'"
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert answer.headers["Vary"] == "Origin"
    assert "Server" not in answer.headers
    assert "html" not in answer.headers.get("Content-Type", "")


def assert_problem(answer: Answer, status: int, code: str) -> dict[str, Any]:
    """Problem details (RFC 9457) and nothing else."""
    assert_whole(answer)
    assert answer.status == status
    assert answer.headers["Content-Type"] == "application/problem+json"
    problem: dict[str, Any] = answer.json
    assert problem["status"] == status
    assert problem["code"] == code
    assert problem["type"] == "about:blank"
    assert problem["title"]
    assert problem["requestId"] == answer.headers["X-Request-ID"]
    assert "Traceback" not in answer.body.decode()
    return problem


async def raw(base_url: str, request: bytes) -> bytes:
    """Send bytes and return all that comes until the server closes."""
    host, _, port = base_url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(request)
    answer = await asyncio.wait_for(reader.read(), 10)
    writer.close()
    await writer.wait_closed()
    return answer


def raw_request(first_line: bytes, *headers: bytes) -> bytes:
    return b"\r\n".join([first_line, b"Host: x", b"Connection: close", *headers, b"", b""])


# Answers that are no errors


@pytest.mark.gen_test
async def test_an_answer_is_json(wire: Wire) -> None:
    answer = await wire.fetch("GET", "/notes?q=%C3%A9")
    assert_whole(answer)
    assert (answer.status, answer.json) == (200, {"q": "é"})
    assert answer.headers["Content-Type"] == "application/json"
    assert "Strict-Transport-Security" not in answer.headers


@pytest.mark.gen_test
async def test_finish_ends_a_request_early(wire: Wire) -> None:
    answer = await wire.fetch("GET", "/fail/finish")
    assert_whole(answer)
    assert answer.status == 200


@pytest.mark.gen_test
async def test_options_says_what_is_allowed(wire: Wire) -> None:
    for path, allowed in {
        "/notes": "GET, POST, OPTIONS",
        "/notes/1": "GET, PUT, OPTIONS",
        "/named/1": "GET, OPTIONS",
        "/open/page.txt": "GET, HEAD, OPTIONS",
    }.items():
        answer = await wire.fetch("OPTIONS", path)
        assert_whole(answer)
        assert (answer.status, answer.headers["Allow"], answer.body) == (204, allowed, b"")
        assert "Access-Control-Allow-Methods" not in answer.headers


@pytest.mark.parametrize("settings", [PRODUCTION])
@pytest.mark.gen_test
async def test_production_asks_for_https(wire: Wire) -> None:
    for path in ("/notes", "/nowhere"):
        answer = await wire.fetch("GET", path)
        assert answer.headers["Strict-Transport-Security"] == "max-age=31536000"


@pytest.mark.parametrize("settings", [{"allowed_origin": ()}])
@pytest.mark.gen_test
async def test_without_allowed_origins_answers_do_not_vary(wire: Wire) -> None:
    answer = await wire.fetch("GET", "/notes", headers={"Origin": ORIGIN})
    assert "Vary" not in answer.headers
    assert "Access-Control-Allow-Origin" not in answer.headers


# The request id


@pytest.mark.gen_test
async def test_every_request_has_an_id_of_its_own(wire: Wire) -> None:
    ids = [(await wire.fetch("GET", "/notes")).headers["X-Request-ID"] for _ in range(3)]
    assert len(set(ids)) == 3


@pytest.mark.gen_test
async def test_the_id_of_a_stranger_is_not_taken(wire: Wire) -> None:
    answer = await wire.fetch("GET", "/notes", headers={"X-Request-ID": "mine"})
    assert answer.headers["X-Request-ID"] != "mine"


@pytest.mark.parametrize("settings", [{"trusted_proxies": parse_networks("127.0.0.0/8")}])
@pytest.mark.gen_test
async def test_the_id_of_a_trusted_proxy_is_taken_when_it_is_well_formed(wire: Wire) -> None:
    for path in ("/notes", "/nowhere", "/fail/unexpected"):
        answer = await wire.fetch("GET", path, headers={"X-Request-ID": "Edge-1.2_3"})
        assert answer.headers["X-Request-ID"] == "Edge-1.2_3"
    for malformed in ("", "a b", "a" * 65, 'x"y', "<b>", "a,b", "é"):
        answer = await wire.fetch("GET", "/notes", headers={"X-Request-ID": malformed})
        assert answer.headers["X-Request-ID"] != malformed
        assert_whole(answer)


@pytest.mark.parametrize("settings", [{"trusted_proxies": parse_networks("10.0.0.0/8")}])
@pytest.mark.gen_test
async def test_a_forwarded_address_makes_nobody_trusted(wire: Wire) -> None:
    headers = {"X-Request-ID": "mine", "X-Forwarded-For": "10.0.0.1"}
    answer = await wire.fetch("GET", "/notes", headers=headers)
    assert answer.headers["X-Request-ID"] != "mine"


# Paths and methods


@pytest.mark.gen_test
async def test_unknown_paths_are_404_whatever_the_method(wire: Wire) -> None:
    for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"):
        problem = assert_problem(await wire.fetch(method, "/nowhere"), 404, "not-found")
        assert problem["detail"] == "There is nothing at this path."
    answer = await wire.fetch("HEAD", "/nowhere")
    assert_whole(answer)
    assert (answer.status, answer.body) == (404, b"")


@pytest.mark.gen_test
async def test_unknown_paths_are_404_whatever_the_body(wire: Wire) -> None:
    for headers, body in (
        (FORM, b"&".join([b"a=b"] * 1001)),
        ({"Content-Type": "multipart/form-data; boundary=x"}, b"nothing"),
        (JSON, b"x" * 600_000),
        ({**JSON, "Origin": "https://evil.example"}, b"{}"),
    ):
        assert_problem(await wire.fetch("POST", "/nowhere", headers=headers, body=body), 404, "not-found")


@pytest.mark.gen_test
async def test_unknown_methods_are_405_and_say_which_are_known(wire: Wire) -> None:
    for method in ("DELETE", "PATCH", "TRACE", "BREW", "get"):
        answer = await wire.fetch(method, "/notes")
        assert_problem(answer, 405, "method-not-allowed")
        assert answer.headers["Allow"] == "GET, POST, OPTIONS"
    answer = await wire.fetch("HEAD", "/notes")
    assert_whole(answer)
    assert (answer.status, answer.headers["Allow"], answer.body) == (405, "GET, POST, OPTIONS", b"")


def test_the_default_handler_declares_all_that_it_has() -> None:
    assert {name: security_of(method) for name, method in http_methods(NotFoundHandler)} == {
        "OPTIONS": PUBLIC
    }


@pytest.mark.gen_test
async def test_path_arguments_are_utf8(wire: Wire) -> None:
    answer = await wire.fetch("GET", "/notes/%C3%A9%2F%25")
    assert (answer.status, answer.json) == (200, {"note": "é/%"})
    answer = await wire.fetch("GET", "/notes/%zz%")
    assert (answer.status, answer.json) == (200, {"note": "%zz%"})
    for path in ("/notes/%ff", "/notes/%C3", "/named/%ff", "/notes/%ED%A0%80"):
        assert_problem(await wire.fetch("GET", path), 400, "bad-request")


@pytest.mark.gen_test
async def test_what_is_optional_in_the_path_may_be_missing(wire: Wire) -> None:
    answers = [await wire.fetch("GET", path) for path in ("/perhaps", "/perhaps/one")]
    assert [(answer.status, answer.json) for answer in answers] == [
        (200, {"note": None}),
        (200, {"note": "one"}),
    ]


@pytest.mark.gen_test
async def test_query_arguments_are_utf8(wire: Wire) -> None:
    for query in ("q=%ff", "q=%C3", "q=%ED%A0%80"):
        problem = assert_problem(await wire.fetch("GET", f"/notes?{query}"), 400, "bad-request")
        assert problem["detail"] == "The request is malformed."
    assert (await wire.fetch("GET", "/notes?q=%zz&%ff=%ff")).json == {"q": "%zz"}


@pytest.mark.gen_test
async def test_bytes_beyond_ascii_in_the_path_are_no_failure(wire: Wire) -> None:
    answer = await raw(wire.base_url, raw_request(b"GET /notes/\xff\xfe?q=\xff HTTP/1.1"))
    assert answer.startswith((b"HTTP/1.1 200", b"HTTP/1.1 400"))
    assert b"html" not in answer.lower()


# Bodies


@pytest.mark.gen_test
async def test_a_body_beyond_the_handlers_limit_is_413(wire: Wire) -> None:
    at_most = 64 * 1024
    answer = await wire.fetch("PUT", "/notes/1", headers=FORM, body="title=" + "x" * (at_most - 6))
    assert answer.status == 200
    answer = await wire.fetch("PUT", "/notes/1", headers=FORM, body="title=" + "x" * (at_most - 5))
    problem = assert_problem(answer, 413, "content-too-large")
    assert problem["detail"] == "At most 65536 bytes are read here."


@pytest.mark.gen_test
async def test_a_body_beyond_the_servers_limit_is_400_at_once(app: Application) -> None:
    server = app.listen(0, "127.0.0.1")
    port = next(iter(server._sockets.values())).getsockname()[1]
    request = raw_request(b"POST /notes HTTP/1.1", b"Content-Length: 1048577")
    assert await raw(f"http://127.0.0.1:{port}", request) == b"HTTP/1.1 400 Bad Request\r\n\r\n"
    server.stop()
    await server.close_all_connections()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"{'title': 1}",
        b'{"title": "a"} {}',
        b'{"title": "a",}',
        b'{"title": NaN}',
        b'{"title": "a", "meta": Infinity}',
        b'{"title": "a", "meta": [-Infinity]}',
        b'{"title": "a", "meta": 1e999}',
        b'{"title": "\\ud800"}',
        b'{"title": "a", "meta": {"\\udc00": 1}}',
        b'{"title": "\xed\xa0\x80"}',
        b'{"title": "\xff"}',
        b'{"title": "a\nb"}',
        b'\xef\xbb\xbf{"title": "a"}',
        '{"title": "a"}'.encode("utf-16"),
        '{"title": "a"}'.encode("utf-32-le"),
        b'{"title": "a", "size": ' + b"9" * 5000 + b"}",
        b"[" * 100_000,
        b"[" * 100_000 + b"]" * 100_000,
        b'{"title":' * 40_000,
        b'{"title": "a", "meta": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    ],
    ids=lambda body: str(body[:30]),
)
@pytest.mark.gen_test
async def test_what_is_not_json_is_400(wire: Wire, body: bytes) -> None:
    problem = assert_problem(await wire.fetch("POST", "/notes", headers=JSON, body=body), 400, "bad-request")
    assert problem["detail"] == "The body is not valid JSON."


@pytest.mark.parametrize("body", [b"[]", b"null", b"1", b'"title"', b"true"])
@pytest.mark.gen_test
async def test_json_that_is_no_object_is_400(wire: Wire, body: bytes) -> None:
    problem = assert_problem(await wire.fetch("POST", "/notes", headers=JSON, body=body), 400, "bad-request")
    assert problem["detail"] == "The body must be a JSON object."


@pytest.mark.gen_test
async def test_good_json_passes(wire: Wire) -> None:
    note = {"title": "é\U0001f600\x00", "size": 10**30, "owner": {"name": "ada"}, "tags": ["a"], "meta": {}}
    for media_type in ("application/json", "Application/JSON ; charset=utf-8"):
        headers = {"Content-Type": media_type, "Content-Encoding": "identity"}
        body = json.dumps(note, ensure_ascii=False).encode()
        answer = await wire.fetch("POST", "/notes", headers=headers, body=body)
        assert_whole(answer)
        assert (answer.status, answer.json) == (201, note)


@pytest.mark.parametrize(
    "media_type", ["", "text/plain", "application/jsonx", "text/json", "application/x-www-form-urlencoded"]
)
@pytest.mark.gen_test
async def test_another_media_type_is_415(wire: Wire, media_type: str) -> None:
    answer = await wire.fetch("POST", "/notes", headers={"Content-Type": media_type}, body="{}")
    problem = assert_problem(answer, 415, "unsupported-media-type")
    assert problem["detail"] == "Send the body as application/json."


@pytest.mark.gen_test
async def test_no_media_type_is_415(wire: Wire) -> None:
    assert_problem(await wire.fetch("POST", "/notes", body=b"{}"), 415, "unsupported-media-type")


@pytest.mark.gen_test
async def test_a_compressed_body_is_415(wire: Wire) -> None:
    body = gzip.compress(b'{"title": "a"}')
    for coding in ("gzip", "GZIP", "br", "identity, gzip"):
        headers = {**JSON, "Content-Encoding": coding}
        answer = await wire.fetch("POST", "/notes", headers=headers, body=body)
        assert_problem(answer, 415, "unsupported-media-type")
    headers = {**FORM, "Content-Encoding": "gzip"}  # which Tornado looks at first
    answer = await wire.fetch("PUT", "/notes/1", headers=headers, body=gzip.compress(b"title=a"))
    assert_problem(answer, 400, "bad-request")


@pytest.mark.parametrize(
    ("media_type", "body"),
    [
        ("multipart/form-data", b"no boundary"),
        ("multipart/form-data; boundary=x", b"no final boundary"),
        ("multipart/form-data; boundary=x", b"--x\r\nno headers--x--"),
        ("multipart/form-data; boundary=x", b"--x\r\nContent-Disposition: form-data\r\n\r\na\r\n--x--"),
        ("multipart/form-data; boundary=x", b"--x\r\n" * 200 + b"--x--"),
        ("multipart/form-dataxyz", b"a"),
        ("multipart/form-data; boundary=\xe9", b"a"),
        ("application/x-www-form-urlencoded", b"&".join([b"a=b"] * 1001)),
        ("application/x-www-form-urlencoded", b"title=%ff"),
        ("application/x-www-form-urlencoded", b"title=\xff"),
        ("application/x-www-form-urlencoded", b"nothing=1"),
    ],
)
@pytest.mark.gen_test
async def test_a_malformed_form_is_400(wire: Wire, media_type: str, body: bytes) -> None:
    answer = await wire.fetch("PUT", "/notes/1", headers={"Content-Type": media_type}, body=body)
    problem = assert_problem(answer, 400, "bad-request")
    assert problem["detail"] == "The request is malformed."


@pytest.mark.gen_test
async def test_percent_garbage_in_a_form_is_text(wire: Wire) -> None:
    answer = await wire.fetch("PUT", "/notes/1", headers=FORM, body=b"title=%zz%&%ff=%")
    assert (answer.status, answer.json["title"]) == (200, "%zz%")


# Validation


@pytest.mark.parametrize(
    ("document", "errors"),
    [
        ({}, {"title": ["Missing data for required field."]}),
        (
            {"title": 1, "size": "many", "tail": 1},
            {
                "title": ["Not a valid string."],
                "size": ["Not a valid integer."],
                "tail": ["Unknown field."],
            },
        ),
        ({"title": "a", "owner": {}}, {"owner.name": ["Missing data for required field."]}),
        ({"title": "a", "owner": {"name": 1}}, {"owner.name": ["Not a valid string."]}),
        ({"title": "a", "owner": {"name": "nobody"}}, {"owner": ["Nobody owns nothing."]}),
        ({"title": "a", "owner": 1}, {"owner": ["Invalid input type."]}),
        (
            {"title": "a", "tags": ["a", 1, 2]},
            {"tags.1": ["Not a valid string."], "tags.2": ["Not a valid string."]},
        ),
        ({"title": "bad"}, {"body": ["Not this note."]}),
        ({"title": "worse"}, {"size": ["Not with this title."]}),
    ],
)
@pytest.mark.gen_test
async def test_every_bad_field_is_named(
    wire: Wire, document: dict[str, object], errors: dict[str, list[str]]
) -> None:
    problem = assert_problem(await wire.fetch("POST", "/notes", document=document), 400, "validation-failed")
    assert problem["errors"] == errors
    for field in errors:
        assert field in problem["detail"]


# Failures


@pytest.mark.gen_test
async def test_an_unexpected_failure_is_told_to_the_log_alone(wire: Wire, log: Log) -> None:
    answer = await wire.fetch("GET", "/fail/unexpected?secret=1")
    problem = assert_problem(answer, 500, "internal-error")
    assert "only the log may know" not in answer.body.decode()
    assert "KeyError" not in answer.body.decode()
    assert "X-Half-Done" not in answer.headers
    [record] = [record for record in log() if record["level"] == "ERROR"]
    assert record["request_id"] == problem["requestId"]
    assert record["message"] == "unexpected KeyError"
    assert "what only the log may know" in record["exc_info"]
    assert "Traceback" in record["exc_info"]


@pytest.mark.gen_test
async def test_a_failure_on_purpose_is_logged_with_its_stack_too(wire: Wire, log: Log) -> None:
    problem = assert_problem(await wire.fetch("GET", "/fail/internal"), 500, "internal-error")
    assert problem["detail"] == "Told to the client."
    [record] = [record for record in log() if record["level"] == "ERROR"]
    assert "Traceback" in record["exc_info"]


@pytest.mark.gen_test
async def test_a_store_that_is_away_is_503_and_its_url_in_no_log(wire: Wire, log: Log) -> None:
    answer = await wire.fetch("GET", "/fail/unavailable")
    assert_problem(answer, 503, "temporarily-unavailable")
    assert answer.headers["Retry-After"] == "7"
    records = log()
    [record] = [record for record in records if record["logger"] == "station.handlers"]
    assert record["level"] == "WARNING"
    assert record["message"] == "unavailable: A store is away. (ConnectionRefusedError)"
    assert "password" not in json.dumps(records)


@pytest.mark.parametrize(
    ("how", "status", "code"),
    [
        ("conflict", 409, "conflict"),
        ("http-400", 400, "bad-request"),
        ("http-403", 403, "forbidden"),
        ("http-404", 404, "not-found"),
        ("http-405", 405, "method-not-allowed"),
        ("http-409", 409, "http-409"),
        ("http-418", 418, "http-418"),
        ("http-499", 500, "internal-error"),
        ("http-500", 500, "internal-error"),
        ("http-503", 503, "temporarily-unavailable"),
    ],
)
@pytest.mark.gen_test
async def test_errors_of_a_handler_keep_their_status(
    wire: Wire, log: Log, how: str, status: int, code: str
) -> None:
    answer = await wire.fetch("GET", f"/fail/{how}")
    assert_problem(answer, status, code)
    assert "only the log may know" not in answer.body.decode()
    assert "X-Half-Done" not in answer.headers
    levels = {record["level"] for record in log() if record["logger"] == "station.handlers"}
    assert levels == {"DEBUG" if status < 500 else "WARNING" if status == 503 else "ERROR"}


@pytest.mark.gen_test
async def test_send_error_is_json_as_well(wire: Wire) -> None:
    assert_problem(await wire.fetch("POST", "/fail/any", body=b""), 404, "not-found")


@pytest.mark.gen_test
async def test_a_failure_after_the_headers_ends_the_answer(wire: Wire, log: Log) -> None:
    answer = await raw(wire.base_url, raw_request(b"GET /fail/flushed HTTP/1.1"))
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200")
    assert b"KeyError" not in body
    assert any("what only the log may know" in record.get("exc_info", "") for record in log())
    assert (await wire.fetch("GET", "/notes")).status == 200


@pytest.mark.gen_test
async def test_the_access_log_has_no_query_and_no_secrets(wire: Wire, log: Log) -> None:
    headers = {"Authorization": "Bearer s3cr3t", "Cookie": "a=s3cr3t", "X-Key": "s3cr3t"}
    answer = await wire.fetch("GET", "/notes?q=s3cr3t", headers=headers)
    await wire.fetch("GET", "/nowhere?q=s3cr3t", headers=headers)
    await raw(wire.base_url, raw_request(b"GET / HTTP/1.1", b"Authorization: Bearer s3cr3t\x01"))
    records = log()
    assert "s3cr3t" not in json.dumps(records)
    first = next(record for record in records if record["logger"] == "station.access")
    assert (first["method"], first["path"], first["status"]) == ("GET", "/notes", 200)
    assert first["request_id"] == answer.headers["X-Request-ID"]
    assert first["address"] == "127.0.0.1"
    assert first["milliseconds"] >= 0


# Other origins


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": ""},
        {"Origin": "http://console.example.com"},
        {"Origin": "https://console.example.com.evil.example"},
        {"Origin": "https://console.example.com:8443"},
        {"Origin": "https://[::1"},
        {"Origin": "https://[x]"},
        {"Origin": "\xff"},
        {"Origin": f"{ORIGIN}, https://evil.example"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"},
        {"Sec-Fetch-Site": "cross-site", "Origin": "https://[::1"},
        {"Sec-Fetch-Site": "nonsense"},
    ],
)
@pytest.mark.gen_test
async def test_writes_from_other_origins_are_refused(wire: Wire, headers: dict[str, str]) -> None:
    for method, path in (("POST", "/notes"), ("PUT", "/notes/1"), ("DELETE", "/notes"), ("PATCH", "/fail/x")):
        answer = await wire.fetch(method, path, headers={**JSON, **headers}, body=b'{"title": "a"}')
        assert_problem(answer, 403, "forbidden")
        assert "Access-Control-Allow-Origin" not in answer.headers


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": ORIGIN},
        {"Sec-Fetch-Site": "same-origin"},
        {"Sec-Fetch-Site": "none"},
        {"Sec-Fetch-Site": "cross-site", "Origin": ORIGIN},
    ],
)
@pytest.mark.gen_test
async def test_writes_from_programs_and_allowed_origins_pass(wire: Wire, headers: dict[str, str]) -> None:
    answer = await wire.fetch("POST", "/notes", headers=headers, document={"title": "a"})
    assert_whole(answer)
    assert answer.status == 201


@pytest.mark.gen_test
async def test_a_page_of_our_own_may_write(wire: Wire) -> None:
    answer = await wire.fetch("POST", "/notes", headers={"Origin": wire.base_url}, document={"title": "a"})
    assert answer.status == 201


@pytest.mark.gen_test
async def test_an_allowed_origin_may_read_answers_and_errors(wire: Wire) -> None:
    for path in ("/notes", "/nowhere", "/fail/unexpected"):
        headers = (await wire.fetch("GET", path, headers={"Origin": ORIGIN})).headers
        assert headers["Access-Control-Allow-Origin"] == ORIGIN
        assert headers["Access-Control-Allow-Credentials"] == "true"
        assert headers["Access-Control-Expose-Headers"] == "X-Request-ID, Retry-After, ETag"
        assert headers["Vary"] == "Origin"


@pytest.mark.gen_test
async def test_another_origin_may_not_read(wire: Wire) -> None:
    for origin in ("https://evil.example", "null", "https://CONSOLE.example.com"):
        answer = await wire.fetch("GET", "/notes", headers={"Origin": origin})
        assert_whole(answer)
        assert answer.status == 200
        assert not [name for name in answer.headers if name.startswith("Access-Control")]


@pytest.mark.gen_test
async def test_a_preflight_of_an_allowed_origin_is_answered(wire: Wire) -> None:
    asked = {"Origin": ORIGIN, "Access-Control-Request-Method": "POST"}
    answer = await wire.fetch("OPTIONS", "/notes", headers=asked)
    assert_whole(answer)
    assert answer.status == 204
    assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN
    assert answer.headers["Access-Control-Allow-Methods"] == "GET, POST, OPTIONS"
    assert answer.headers["Access-Control-Allow-Headers"] == "Authorization, Content-Type, If-Match"
    assert answer.headers["Access-Control-Max-Age"] == "600"


@pytest.mark.gen_test
async def test_a_preflight_of_another_origin_gets_nothing(wire: Wire) -> None:
    asked = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
    answer = await wire.fetch("OPTIONS", "/notes", headers=asked)
    assert answer.status == 204
    assert not [name for name in answer.headers if name.startswith("Access-Control")]


# Handlers that are not ours


@pytest.mark.gen_test
async def test_static_files_are_served_under_the_demand_of_their_route(wire: Wire) -> None:
    answer = await wire.fetch("GET", "/open/page.txt")
    assert (answer.status, answer.body) == (200, b"a page")
    assert answer.headers["Content-Type"] == "text/plain"
    assert answer.headers["X-Request-ID"]
    answer = await wire.fetch("HEAD", "/open/page.txt")
    assert (answer.status, answer.headers["Content-Length"], answer.body) == (200, "6", b"")
    for method in ("GET", "HEAD"):
        assert (await wire.fetch(method, "/closed/page.txt")).status == 403
        key = {"X-Key": "open sesame"}
        assert (await wire.fetch(method, "/closed/page.txt", headers=key)).status == 200


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("../secret.txt", 403),
        ("..%2fsecret.txt", 403),
        ("%2e%2e/secret.txt", 403),
        ("/etc/passwd", 403),
        ("a/../../secret.txt", 403),
        ("", 403),
        ("nothing.txt", 404),
        ("page.txt%00", 400),
        ("%ff", 400),
    ],
)
@pytest.mark.gen_test
async def test_static_files_refuse_in_json(wire: Wire, path: str, status: int) -> None:
    answer = await wire.fetch("GET", f"/open/{path}")
    assert_problem(answer, status, {400: "bad-request", 403: "forbidden", 404: "not-found"}[status])
    assert b"secret" not in answer.body


@pytest.mark.gen_test
async def test_static_files_take_no_other_method(wire: Wire) -> None:
    answer = await wire.fetch("POST", "/open/page.txt", body=b"")
    assert_problem(answer, 405, "method-not-allowed")
    assert answer.headers["Allow"] == "GET, HEAD, OPTIONS"


def test_a_demand_on_a_route_leaves_the_handler_as_it_was() -> None:
    route(r"/one/(.*)", StaticFileHandler, {"path": "."}, demand=keyed)
    route(r"/two/(.*)", StaticFileHandler, {"path": "."}, demand=public)
    assert security_of(StaticFileHandler.get) is None


@pytest.mark.gen_test
async def test_the_handshake_of_a_websocket_is_protected(wire: Wire) -> None:
    url = wire.base_url.replace("http", "ws") + "/socket"
    key = {"X-Key": "open sesame"}
    for headers in (
        {},
        {**key, "Origin": "https://evil.example"},
        {**key, "Origin": "https://[::1"},
        {**key, "Sec-Fetch-Site": "cross-site"},
    ):
        with pytest.raises(HTTPClientError) as refused:
            await websocket_connect(HTTPRequest(url, headers=headers))
        assert refused.value.code == 403
    connection = await websocket_connect(HTTPRequest(url, headers={**key, "Origin": ORIGIN}))
    await connection.write_message("hello")
    assert await connection.read_message() == "hello"
    connection.close()
    assert await connection.read_message() is None
