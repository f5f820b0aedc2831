"""What operations refer to: schemas, headers and the responses that are the same everywhere."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from apispec import APISpec
from apispec.ext.marshmallow import MarshmallowPlugin
from apispec.ext.marshmallow.common import resolve_schema_cls

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from marshmallow import Schema

    from station.openapi.declaration import ErrorFormat, Response

__all__ = ["Components", "new_spec"]

_JSON = "application/json"
_TEXT = {"type": "string"}
_HEADERS: dict[str, dict[str, Any]] = {
    "X-Request-ID": {"description": "The id of the request, which is also in the log.", "schema": _TEXT},
    "ETag": {"description": "The version of what is answered (RFC 9110 8.8.3).", "schema": _TEXT},
    "Location": {
        "description": "Where it is now (RFC 9110 10.2.2).",
        "schema": {**_TEXT, "format": "uri-reference"},
    },
    "Retry-After": {
        "description": "Seconds to wait (RFC 9110 10.2.3).",
        "schema": {"type": "integer", "minimum": 0},
    },
    "WWW-Authenticate": {"description": "How to authenticate (RFC 9110 11.6.1).", "schema": _TEXT},
    "Set-Cookie": {"description": "The cookies of the session.", "schema": _TEXT},
}
_HEADERS_OF = {401: ("WWW-Authenticate",), 429: ("Retry-After",), 503: ("Retry-After",)}


def new_spec(title: str, version: str, **options: Any) -> APISpec:
    """An empty document."""
    plugin = MarshmallowPlugin(schema_name_resolver=_name_resolver())
    return APISpec(title, version, "3.1.0", plugins=[plugin], **options)


class Components:
    """The components of ``spec``, added when something first refers to them."""

    def __init__(self, spec: APISpec) -> None:
        self._spec = spec
        self._known: set[str] = set()

    def response(self, status: int, answer: Response) -> dict[str, Any]:
        """The response of a method."""
        found = {
            "description": answer.description or HTTPStatus(status).phrase,
            "headers": self.headers(answer.headers),
        }
        if answer.schema is not None:
            found["content"] = {answer.media_type: {"schema": answer.schema}}
        elif answer.media_type != _JSON:
            found["content"] = {answer.media_type: {"schema": _TEXT}}
        return found

    def error(
        self, status: int, formats: Sequence[ErrorFormat], headers: Iterable[str] = ()
    ) -> dict[str, Any]:
        """A reference to the error of ``status`` in any of ``formats``."""
        phrase = HTTPStatus(status).phrase
        named = [*_HEADERS_OF.get(status, ()), *headers]
        schemas = [found.schema.__name__.removesuffix("Schema") for found in formats]
        name = "".join(["".join(phrase.title().split()), *schemas, *(named if headers else ())])
        if name not in self._known:
            self._known.add(name)
            content = {found.media_type: {"schema": found.schema} for found in formats}
            body = {"content": content} if content else {}
            response = {"description": phrase, "headers": self.headers(named), **body}
            self._spec.components.response(name, response)
        return {"$ref": f"#/components/responses/{name}"}

    def headers(self, names: Iterable[str]) -> dict[str, Any]:
        """References to headers; every response has a request id."""
        return {name: self._header(name) for name in ("X-Request-ID", *names)}

    def _header(self, name: str) -> dict[str, Any]:
        if name not in _HEADERS:
            return {"schema": _TEXT}
        if name not in self._spec.components.headers:
            self._spec.components.header(name, _HEADERS[name])
        return {"$ref": f"#/components/headers/{name}"}


def _name_resolver() -> Callable[[type[Schema] | Schema], str]:
    """Name schemas after their classes; of two with one name the second is named after its module too."""
    taken: set[str] = set()

    def resolve(schema: type[Schema] | Schema) -> str:
        found: Any = resolve_schema_cls(schema)
        plain = found.__name__.removesuffix("Schema") or found.__name__
        name: str = plain
        number = 1
        while name in taken:
            name = f"{found.__module__}.{plain}{number if number > 1 else ''}"
            number += 1
        taken.add(name)
        return name

    return resolve
