"""The walk over the routes that makes the document."""

from __future__ import annotations

import inspect
import re
from typing import TYPE_CHECKING, Any

from tornado.websocket import WebSocketHandler

from station import __version__
from station.errors import StartError
from station.openapi.components import Components, new_spec
from station.openapi.declaration import Described, Response, described
from station.openapi.paths import path_template
from station.security import PUBLIC, http_methods, security_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from apispec import APISpec

    from station.handlers import Route
    from station.openapi.declaration import ErrorFormat
    from station.security import Security, SecurityScheme

__all__ = ["openapi_document"]

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"})
_SAFE = frozenset({"GET", "HEAD"})
_WEBSOCKET = Described(
    responses={101: Response(description="The WebSocket is open (RFC 6455 4.2.2).")}, errors=(403, 426)
)
_FORM = "application/x-www-form-urlencoded"
_JSON = "application/json"


def openapi_document(
    issuer: str, routes: Sequence[Route], schemes: Mapping[str, SecurityScheme]
) -> dict[str, Any]:
    """Describe ``routes``, which are found under the URL ``issuer`` and protected by ``schemes``.

    Raises `StartError` for a route whose schemas, for example, cannot be written.
    """
    base = issuer.rstrip("/")
    spec = new_spec("Station", __version__, servers=[{"url": base}])
    for name, scheme in _security_schemes(base, routes, schemes).items():
        spec.components.security_scheme(name, scheme)
    writer = _Writer(spec, schemes)
    for route in routes:
        if not getattr(route.handler_class, "in_openapi", True):
            continue
        try:
            writer.write(route)
        except Exception as error:
            where = f"{route.handler_class.__qualname__} ({route.regex.pattern})"
            problem = f"{where} cannot be described: {type(error).__name__}: {error}"
            raise StartError([problem]) from error
    document: dict[str, Any] = spec.to_dict()
    return document


class _Writer:
    """Writes routes into ``spec``."""

    def __init__(self, spec: APISpec, schemes: Mapping[str, SecurityScheme]) -> None:
        self._spec = spec
        self._schemes = schemes
        self._components = Components(spec)
        self._written: set[str] = set()

    def write(self, route: Route) -> None:
        handler = route.handler_class
        methods = {name: method for name, method in http_methods(handler) if name in _METHODS}
        template = path_template(route.regex.pattern, _group_names(methods.values()))
        parameters = [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string", "pattern": pattern}}
            for name, pattern in template.parameters.items()
        ]
        operations = {
            name.lower(): {
                "operationId": _operation_id(name, template.path),
                **_texts(_documented(handler, method)),
                "parameters": [*parameters, *_parameters(described(method))],
                **self._operation(handler, name, method, has_parameters=bool(parameters)),
            }
            for name, method in methods.items()
        }
        if template.path not in self._written:  # of two routes with one path Tornado takes the first
            self._written.add(template.path)
            texts = _texts(handler)
            self._spec.path(
                template.path,
                operations=operations,
                summary=texts.get("summary"),
                description=texts.get("description"),
            )

    def _operation(
        self, handler: type[Any], name: str, method: Callable[..., Any], *, has_parameters: bool
    ) -> dict[str, Any]:
        security, says = security_of(method) or PUBLIC, described(method) or _undescribed(handler, name)
        scheme = self._schemes.get(security.scheme)
        operation: dict[str, Any] = {"security": _requirements(security, scheme)}
        statuses = {400, 503, *says.errors}
        if name not in _SAFE:
            statuses.add(403)  # a page of another origin
        if has_parameters:
            statuses.add(404)
        if says.body is not None or says.form is not None:
            operation["requestBody"] = _request_body(says)
            statuses |= {413} if says.form is not None else {413, 415}
        formats: dict[int, list[ErrorFormat]] = {status: [handler.error_format] for status in statuses}
        if scheme is not None:
            for status in {*scheme.refusals, *({403} if security.scopes else ())}:
                refusal = scheme.error_format or handler.error_format
                if refusal not in formats.setdefault(status, []):
                    formats[status].append(refusal)
        operation["responses"] = self._responses(name, says, formats)
        return operation

    def _responses(
        self, name: str, says: Described, formats: Mapping[int, Sequence[ErrorFormat]]
    ) -> dict[str, Any]:
        components = self._components
        found = {str(status): components.error(status, own) for status, own in sorted(formats.items())}
        for status, answer in says.responses.items():
            response = components.response(status, answer)
            if name == "GET" and status == 200:  # Tornado compares If-None-Match
                response["headers"] |= components.headers(["ETag"])
                found["304"] = components.error(304, (), ["ETag"])
            for other in formats.get(status, ()):
                response.setdefault("content", {})[other.media_type] = {"schema": other.schema}
            found[str(status)] = response
        if not says.responses:
            found["default"] = {
                "description": "What the method answers, which it does not describe.",
                "headers": components.headers(()),
            }
        return dict(sorted(found.items()))


def _documented(handler: type[Any], method: Callable[..., Any]) -> object:
    """What has the texts of a method: of Tornado's own, which opens a WebSocket, the class."""
    return handler if method.__doc__ is None and issubclass(handler, WebSocketHandler) else method


def _undescribed(handler: type[Any], name: str) -> Described:
    """What is known of a method that says nothing of itself."""
    return _WEBSOCKET if name == "GET" and issubclass(handler, WebSocketHandler) else Described()


def _security_schemes(
    base: str, routes: Sequence[Route], schemes: Mapping[str, SecurityScheme]
) -> dict[str, dict[str, Any]]:
    """OpenAPI's Security Scheme Objects; flows have whole URLs and know every scope that is asked for."""
    found: dict[str, dict[str, Any]] = {}
    for scheme in schemes.values():
        asked = {
            name
            for route in routes
            for _, method in http_methods(route.handler_class)
            if (security := security_of(method)) and security.scheme == scheme.name
            for name in security.scopes - scheme.private_scopes
        }
        for name, given in scheme.openapi.items():
            written: dict[str, Any] = dict(found.get(name, given))
            if "flows" in written:
                flows: Mapping[str, Mapping[str, Any]] = written["flows"]
                written["flows"] = {
                    kind: _flow(flow, base, asked, scheme.private_scopes) for kind, flow in flows.items()
                }
            found[name] = written
    return found


def _flow(flow: Mapping[str, Any], base: str, asked: set[str], private: frozenset[str]) -> dict[str, Any]:
    urls = {key: base + url for key, url in flow.items() if key.endswith("Url") and url.startswith("/")}
    scopes = dict.fromkeys(sorted(asked), "") | dict(flow["scopes"])
    return {**flow, **urls, "scopes": {name: text for name, text in scopes.items() if name not in private}}


def _requirements(security: Security, scheme: SecurityScheme | None) -> list[dict[str, list[str]]]:
    """The alternatives that satisfy a demand; none for what is public."""
    if scheme is None:
        return []
    scopes = sorted(security.scopes - scheme.private_scopes)
    return [
        {name: scopes if given.get("type") in {"oauth2", "openIdConnect"} else []}
        for name, given in scheme.openapi.items()
    ]


def _request_body(says: Described) -> dict[str, Any]:
    schema = says.form or says.body
    media_types = [_FORM, _JSON] if says.form is not None else [_JSON]
    return {
        "required": not says.optional_body,
        "content": {media_type: {"schema": schema} for media_type in media_types},
    }


def _parameters(says: Described | None) -> list[dict[str, Any]]:
    if says is None:
        return []
    given = {"query": says.query, "header": says.headers}
    return [{"in": place, "schema": schema} for place, schema in given.items() if schema is not None]


def _group_names(methods: Any) -> list[str]:
    """What the methods of a handler call the groups of its path, in camelCase."""
    for method in methods:
        names = [
            parameter.name.strip("_")
            for parameter in list(inspect.signature(method).parameters.values())[1:]
            if parameter.kind is parameter.POSITIONAL_OR_KEYWORD
        ]
        if names:
            return [re.sub(r"_+(\w)", lambda found: found[1].upper(), name) for name in names]
    return []


def _operation_id(method: str, path: str) -> str:
    words = re.findall(r"[A-Za-z0-9]+", path)
    return "".join([method.lower(), *(word[0].upper() + word[1:] for word in words)])


def _texts(documented: object) -> dict[str, str]:
    """The first paragraph of a docstring of its own is the summary, the rest the description."""
    summary, _, more = inspect.cleandoc(documented.__doc__ or "").partition("\n\n")
    texts = {"summary": " ".join(summary.split()).removesuffix("."), "description": more.strip()}
    return {name: text for name, text in texts.items() if text}
