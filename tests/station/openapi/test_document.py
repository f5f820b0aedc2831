"""The document: valid, complete, and what the code says."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest
from marshmallow import Schema, fields
from openapi_spec_validator import OpenAPIV31SpecValidator
from tornado.web import StaticFileHandler
from tornado.websocket import WebSocketHandler

from plugins.oauth_m2m import client_authenticated, scopes
from station import hookimpl
from station.app import Application, RouteInfo, make_app
from station.auth import user_authenticated
from station.config import load_config
from station.errors import StartError
from station.handlers import BaseHandler, Route, route
from station.openapi import Response, describe
from station.openapi.plugin import make_document
from station.security import PUBLIC, public

if TYPE_CHECKING:
    from pathlib import Path

EVERYTHING = ("oauth_m2m", "demo", "fleet", "house_rules")


class NoteSchema(Schema):
    id = fields.String(dump_only=True)
    text = fields.String(required=True)


class TagSchema(Schema):
    tag = fields.String()


class OtherNotes:
    class NoteSchema(Schema):
        title = fields.String()


class NotesHandler(BaseHandler):
    """Notes.

    They are kept for a while.
    """

    @scopes("notes:read")
    @describe(query=TagSchema, responses={200: NoteSchema(many=True)})
    async def get(self, _book_id: str) -> None:
        """List them,
        newest first.

        Nobody else sees them.
        """

    @user_authenticated
    @describe(
        body=NoteSchema,
        responses={201: Response(NoteSchema, ("Location", "X-Of-Its-Own"), "It is written.")},
        errors=(409,),
    )
    async def post(self, _book_id: str) -> None:
        pass


class FormHandler(BaseHandler):
    @public
    @describe(form=OtherNotes.NoteSchema, optional_body=True, responses={204: None})
    def put(self) -> None:
        pass


class SilentHandler(BaseHandler):
    SUPPORTED_METHODS = (*BaseHandler.SUPPORTED_METHODS, "PURGE")

    @client_authenticated
    def get(self) -> None:
        pass

    @public
    def purge(self) -> None:
        pass


@scopes("notes:read")
class FeedHandler(BaseHandler, WebSocketHandler):
    """Hear of new notes."""

    def on_message(self, _message: str | bytes) -> None:
        pass


class NotesPlugin:
    __name__ = "notes"

    def __init__(self, data: Path) -> None:
        self._data = str(data)

    @hookimpl
    def station_handlers(self) -> list[Route]:
        return [
            route(r"/books/([a-z]+)/notes", NotesHandler),
            route(r"/forms", FormHandler),
            route(r"/silent", SilentHandler),
            route(r"/feed", FeedHandler),
            route(r"/files/(.+)", StaticFileHandler, {"path": self._data}, demand=user_authenticated),
        ]


def application(*plugins: str, extra: tuple[object, ...] = (), **environ: str) -> Application:
    given = {"STATION_ENV": "test", "STATION_PLUGINS": ",".join(plugins), "JWT_SECRET": "x" * 32, **environ}
    return make_app(load_config(given), plugins=extra)


def in_the_document(app: Application) -> list[RouteInfo]:
    """The routes but for those of pages."""
    pages = {
        re.sub(r"\\([^A-Za-z0-9])", r"\1", rule.regex.pattern.removesuffix("$"))
        for rule in app.rules
        if issubclass(rule.handler_class, BaseHandler) and not rule.handler_class.in_openapi
    }
    assert all(re.match(r"/docs|/(auth/)?console", path) for path in pages)
    return [info for info in app.routes if info.path not in pages]


def document_of(app: Application) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(make_document(app).body)
    return document


@pytest.fixture
def notes(tmp_path: Path) -> dict[str, Any]:
    return document_of(application("oauth_m2m", extra=(NotesPlugin(tmp_path),)))


@pytest.mark.parametrize(
    "plugins", [(), ("oauth_m2m",), EVERYTHING], ids=["the core", "oauth_m2m", "everything"]
)
def test_it_is_valid_and_has_every_route(plugins: tuple[str, ...]) -> None:
    app = application(*plugins)
    document = document_of(app)
    assert list(OpenAPIV31SpecValidator(document).iter_errors()) == []
    assert document["openapi"].startswith("3.1")
    shown = [
        (method.upper(), re.sub(r"\{[^{}]+\}", "", path))
        for path, item in document["paths"].items()
        for method in item.keys() & {"get", "post", "put", "patch", "delete", "head"}
    ]
    routed = [(info.method, re.sub(r"\([^()]*\)", "", info.path)) for info in in_the_document(app)]
    assert sorted(shown) == sorted(routed)


def test_what_our_handlers_answer_is_described() -> None:
    for path, item in document_of(application(*EVERYTHING))["paths"].items():
        for method, operation in item.items():
            if isinstance(operation, dict):
                assert operation["summary"], f"{method} {path} has no docstring"
                assert "default" not in operation["responses"], f"describe {method} {path}"


def test_demands_are_those_of_the_code() -> None:
    app = application(*EVERYTHING)
    document = document_of(app)
    schemes = document["components"]["securitySchemes"]
    assert schemes["session"]["in"] == "cookie"
    assert schemes["internal-api-key"] == {"type": "apiKey", "in": "header", "name": "x-internal-api-key"}
    assert list(schemes["client"]["flows"]) == ["clientCredentials"]
    operations = {
        operation["operationId"]: operation
        for item in document["paths"].values()
        for operation in item.values()
        if isinstance(operation, dict)
    }
    assert len(operations) == len(in_the_document(app))
    assert operations["getFleet"]["security"] == [{"client": ["fleet:read"]}]
    assert operations["getOauthClients"]["security"] == [{"internal-api-key": []}, {"session": []}]
    assert operations["postAuthIntrospect"]["security"] == [{"client": []}, {"client-secret": []}]
    opened = [operation for operation in operations.values() if operation["security"] == []]
    assert len(opened) == sum(info.security == PUBLIC for info in in_the_document(app))


def test_urls_are_under_the_issuer() -> None:
    document = document_of(application("oauth_m2m", ISSUER="https://station.example/base/"))
    assert document["servers"] == [{"url": "https://station.example/base"}]
    flow = document["components"]["securitySchemes"]["client"]["flows"]["clientCredentials"]
    assert flow["tokenUrl"] == "https://station.example/base/auth/token"


def test_a_private_scope_is_not_named(tmp_path: Path) -> None:
    app = application("oauth_m2m", extra=(NotesPlugin(tmp_path),), OAUTH_M2M_PRIVATE_SCOPES="notes:read")
    assert "notes:read" not in make_document(app).body.decode()
    assert "oauth:introspect" in make_document(app).body.decode()


def test_a_scope_that_nothing_declares_is_in_the_flow_too(notes: dict[str, Any]) -> None:
    assert notes["components"]["securitySchemes"]["client"]["flows"]["clientCredentials"]["scopes"] == {
        "notes:read": ""
    }


def test_texts_and_parameters_come_from_the_code(notes: dict[str, Any]) -> None:
    item = notes["paths"]["/books/{bookId}/notes"]
    assert (item["summary"], item["description"]) == ("Notes", "They are kept for a while.")
    operation = item["get"]
    assert operation["summary"] == "List them, newest first"
    assert operation["description"] == "Nobody else sees them."
    assert operation["operationId"] == "getBooksBookIdNotes"
    assert operation["parameters"] == [
        {
            "name": "bookId",
            "in": "path",
            "required": True,
            "schema": {"type": "string", "pattern": "^[a-z]+$"},
        },
        {"name": "tag", "in": "query", "required": False, "schema": {"type": "string"}},
    ]
    assert "summary" not in item["post"]


def test_bodies_and_answers_are_those_described(notes: dict[str, Any]) -> None:
    item = notes["paths"]["/books/{bookId}/notes"]
    note = {"$ref": "#/components/schemas/Note"}
    assert item["post"]["requestBody"] == {
        "required": True,
        "content": {"application/json": {"schema": note}},
    }
    written = item["post"]["responses"]["201"]
    assert written["description"] == "It is written."
    assert list(written["headers"]) == ["X-Request-ID", "Location", "X-Of-Its-Own"]
    assert written["content"] == {"application/json": {"schema": note}}
    listed = item["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    assert listed == {"type": "array", "items": note}
    schema = notes["components"]["schemas"]["Note"]
    assert schema["required"] == ["text"]
    assert schema["additionalProperties"] is False


def test_a_form_is_read_as_json_too_and_two_schemas_of_one_name_are_two(notes: dict[str, Any]) -> None:
    body = notes["paths"]["/forms"]["put"]["requestBody"]
    assert body["required"] is False
    assert list(body["content"]) == ["application/x-www-form-urlencoded", "application/json"]
    (name,) = {content["schema"]["$ref"].rpartition("/")[2] for content in body["content"].values()}
    assert name.endswith(".Note")
    assert list(notes["components"]["schemas"][name]["properties"]) == ["title"]


JSON, PROBLEM = ["application/json"], ["application/problem+json"]
BOTH = [*JSON, *PROBLEM]


@pytest.mark.parametrize(
    ("path", "method", "expected"),
    [
        (
            "/books/{bookId}/notes",
            "get",
            {"200": JSON, "304": [], "400": BOTH, "401": JSON,
             "403": JSON, "404": PROBLEM, "503": PROBLEM},
        ),
        (
            "/books/{bookId}/notes",
            "post",
            {"201": JSON, "400": PROBLEM, "401": PROBLEM, "403": PROBLEM, "404": PROBLEM,
             "409": PROBLEM, "413": PROBLEM, "415": PROBLEM, "503": PROBLEM},
        ),
        ("/forms", "put", {"204": [], "400": PROBLEM, "403": PROBLEM, "413": PROBLEM, "503": PROBLEM}),
        ("/silent", "get", {"400": BOTH, "401": JSON, "503": PROBLEM, "default": []}),
        (
            "/files/{path}",
            "get",
            {"400": PROBLEM, "401": PROBLEM, "404": PROBLEM, "503": PROBLEM, "default": []},
        ),
        ("/health/ready", "get", {"200": JSON, "304": [], "400": PROBLEM, "503": BOTH}),
        (
            "/auth/introspect",
            "post",
            {"200": JSON, "400": JSON, "401": JSON, "403": JSON, "413": JSON, "429": JSON, "503": JSON},
        ),
    ],
)  # fmt: skip
def test_errors_come_from_the_demand_and_the_handler(
    notes: dict[str, Any], path: str, method: str, expected: dict[str, list[str]]
) -> None:
    responses = {
        status: resolved(notes, response)
        for status, response in notes["paths"][path][method]["responses"].items()
    }
    assert {status: sorted(found.get("content", {})) for status, found in responses.items()} == expected
    for status, found in responses.items():
        assert "X-Request-ID" in found["headers"]
        assert ("WWW-Authenticate" in found["headers"]) == (status == "401")
        assert ("Retry-After" in found["headers"]) == (status in {"429", "503"}) or path == "/health/ready"


def resolved(document: dict[str, Any], response: dict[str, Any]) -> dict[str, Any]:
    if "$ref" in response:
        found: dict[str, Any] = document["components"]["responses"][response["$ref"].rpartition("/")[2]]
        return found
    return response


def test_a_websocket_is_a_get_that_switches_protocols(notes: dict[str, Any]) -> None:
    opening = notes["paths"]["/feed"]["get"]
    assert opening["summary"] == "Hear of new notes"
    assert set(opening["responses"]) == {"101", "400", "401", "403", "426", "503"}


def test_a_method_that_openapi_does_not_have_is_left_out(notes: dict[str, Any]) -> None:
    assert "purge" not in notes["paths"]["/silent"]
    assert list(OpenAPIV31SpecValidator(notes).iter_errors()) == []


def test_of_two_routes_with_one_path_the_first_is_shown() -> None:
    class Twice:
        __name__ = "twice"

        @hookimpl
        def station_handlers(self) -> list[Route]:
            return [route(r"/health/live", SilentHandler)]

    document = document_of(application("oauth_m2m", extra=(Twice(),)))
    assert list(document["paths"]["/health/live"]["get"]["responses"]) == ["200", "304", "400", "503"]


def test_what_cannot_be_written_stops_the_start() -> None:
    class BrokenHandler(BaseHandler):
        @public
        @describe(query="NoSuchSchema", responses={200: None})  # type: ignore[arg-type] # the mistake
        def get(self) -> None:
            pass

    class Broken:
        __name__ = "broken"

        @hookimpl
        def station_handlers(self) -> list[Route]:
            return [route(r"/broken", BrokenHandler)]

    with pytest.raises(StartError, match=r"BrokenHandler \(/broken\$\) cannot be described: .*NoSuchSchema"):
        document_of(application(extra=(Broken(),)))
