"""The handlers that all of Station's are made from, and how they are routed.

The smallest protected endpoint::

    class FleetHandler(BaseHandler):
        @user_authenticated
        async def get(self):
            self.write_json({"bots": 3})

    routes = [route(r"/fleet", FleetHandler)]

A `BaseHandler` answers JSON and nothing else: errors are problem details (RFC 9457), every answer has a
request id and security headers. Override `response_error` to speak another error format.
"""

from __future__ import annotations

import functools
import json
import logging
import os
import re
import time
import weakref
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, ClassVar

from marshmallow import Schema, ValidationError
from tornado.httputil import HTTPHeaders, format_timestamp
from tornado.iostream import StreamClosedError
from tornado.routing import URLSpec
from tornado.web import HTTPError
from tornado.websocket import WebSocketClosedError, WebSocketHandler

from station import addresses, errors
from station.audit import Actor, Event, refusal_reason
from station.audit.models import actor_context
from station.connections import LongLivedHandler
from station.logging import request_id_context
from station.openapi import PROBLEM
from station.security import http_methods, public

if TYPE_CHECKING:
    from asyncio import Future
    from collections.abc import Callable, Iterator
    from types import TracebackType

    from tornado.web import RequestHandler

    from station.app import Application
    from station.audit.models import ActorKind
    from station.openapi import ErrorFormat

__all__ = ["BaseHandler", "NotFoundHandler", "Route", "route"]

_log = logging.getLogger(__name__)
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_HEADERS = {
    "Content-Type": "application/json",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
# What is answered where Tornado, or a handler by Tornado's HTTPError, chose a status and nothing else
_PROBLEMS: dict[int, tuple[Callable[[str], errors.ProblemError], str]] = {
    400: (errors.BadRequest, "The request is malformed."),
    403: (errors.Forbidden, "This is not allowed, or not from a page of this origin."),
    404: (errors.NotFound, "There is nothing at this path."),
    413: (errors.ContentTooLarge, "The body is too large."),
    503: (errors.ServiceUnavailable, "Station cannot do this now; try again later."),
}
_CLIENT_ERRORS = frozenset(status.value for status in HTTPStatus if 400 <= status < 500)


class Route(URLSpec):
    """A URL pattern and its handler; made by `route`."""


def route(
    pattern: str,
    handler: type[RequestHandler],
    kwargs: dict[str, Any] | None = None,
    *,
    demand: Callable[[type[RequestHandler]], type[RequestHandler]] | None = None,
) -> Route:
    """Route a pattern to a handler.

    ``demand`` is for handlers that are not ours, such as Tornado's StaticFileHandler: one of the security
    decorators, applied to a `BaseHandler` made from it for this route, so that the route enforces what it
    declares and refuses in JSON.
    """
    if demand is not None:
        bases = (handler, BaseHandler)
        handler = demand(type(handler.__name__, bases, {"__module__": handler.__module__}))
    return Route(pattern, handler, kwargs)


class BaseHandler(LongLivedHandler):
    """A handler that speaks JSON: request id, security headers, CORS, body limit, problem details.

    ``max_body_size`` is how many bytes of body it reads (413 beyond); Tornado itself reads no more than
    1 MiB on any path. ``audit_action`` is what the audit calls a refusal, ``audit_client_id`` the client that
    a refused request claims to come from. ``error_format`` tells /openapi.json what `response_error` makes;
    ``in_openapi`` is False for what is no part of the API, such as pages for people.
    """

    application: Application
    error_format: ClassVar[ErrorFormat] = PROBLEM
    in_openapi: ClassVar[bool] = True
    max_body_size: ClassVar[int] = 64 * 1024
    audit_action: str = "request.refused"
    audit_client_id: str = ""
    _actor: tuple[ActorKind, str] = ("anonymous", "")

    @property
    def request_id(self) -> str:
        """The id of this request, in the answer's X-Request-ID and in every log line."""
        if not hasattr(self, "_request_id"):
            inbound = self.request.headers.get("X-Request-ID", "") if self._from_trusted_proxy() else ""
            self._request_id = inbound if _REQUEST_ID.fullmatch(inbound) else os.urandom(16).hex()
        return self._request_id

    @property
    def client_address(self) -> str:
        """The address of the real client: X-Forwarded-For counts only behind a trusted proxy."""
        if not hasattr(self, "_client_address"):
            self._client_address = addresses.client_address(
                self.request.remote_ip or "", self.request.headers, self.application.config.trusted_proxies
            )
        return self._client_address

    @property
    def throttle_key(self) -> str:
        """What throttles count this request under: the client's address, IPv6 by /64."""
        return addresses.throttle_key(self.client_address)

    @property
    def actor(self) -> Actor:
        """Who makes this request, as far as it is known by now."""
        return Actor(*self._actor, self.client_address, self.request_id)

    def identify(self, kind: ActorKind, actor_id: str) -> None:
        """Say who makes this request, for the audit: decorators do that once they know."""
        self._actor = (kind, actor_id)

    def clear(self) -> None:
        """Begin an answer (called by Tornado, whose own formats the date anew for each)."""
        self._headers = HTTPHeaders({"Date": _date(int(time.time()))})
        self.set_default_headers()
        self._write_buffer = []
        self._status_code = 200
        self._reason = HTTPStatus.OK.phrase

    def set_default_headers(self) -> None:
        """Give every answer, errors included, its request id, security and CORS headers."""
        request_id_context.set(self.request_id)
        # weakly: the context of an idle connection outlives the request and its body
        actor_context.set(_actor_of(weakref.ref(self)))
        # these are constants, or checked: what set_header looks for in a value is not in them
        self._headers["X-Request-ID"] = self.request_id
        for name, value in _HEADERS.items():
            self._headers[name] = value
        config = self.application.config
        if config.production:
            self.set_header("Strict-Transport-Security", "max-age=31536000")
        if config.allowed_origin:
            self.set_header("Vary", "Origin")
            origin = self.request.headers.get("Origin")
            if origin in config.allowed_origin:
                self.set_header("Access-Control-Allow-Origin", origin)
                self.set_header("Access-Control-Allow-Credentials", "true")
                self.set_header("Access-Control-Expose-Headers", "X-Request-ID, Retry-After, ETag")

    def prepare(self) -> None:
        """Refuse what no handler reads: bodies that are too large or compressed."""
        if len(self.request.body) > self.max_body_size:
            raise errors.ContentTooLarge(f"At most {self.max_body_size} bytes are read here.")
        encodings = self.request.headers.get_list("Content-Encoding")
        if encodings and ",".join(encodings).lower() != "identity":
            raise errors.UnsupportedMediaType(
                "A compressed body is not read: send it without Content-Encoding."
            )

    def decode_argument(self, value: bytes, name: str | None = None) -> str:
        """Refuse NUL as well as what is not UTF-8: file systems and databases fail on it."""
        if value and b"\0" in value:  # None is what an optional group of a route did not match
            raise HTTPError(400)
        return super().decode_argument(value, name)

    @public
    def options(self, *_args: str, **_kwargs: str) -> None:
        """Answer what is allowed here, and a CORS preflight (Fetch 3.2)."""
        self.set_header("Allow", ", ".join(self.allowed_methods()))
        if self._headers.get("Access-Control-Allow-Origin"):
            self.set_header("Access-Control-Allow-Methods", ", ".join(self.allowed_methods()))
            self.set_header("Access-Control-Allow-Headers", "Authorization, Content-Type, If-Match")
            self.set_header("Access-Control-Max-Age", "600")
        self.set_status(204)

    def write_json(self, body: object, status: int = 200) -> None:
        """Answer a JSON document."""
        self.set_status(status)
        self._headers["Content-Type"] = "application/json"
        self.write(json.dumps(body))

    def load_json(self, schema: Schema) -> Any:
        """Return what ``schema`` makes of the JSON body.

        Raises `UnsupportedMediaType`, `BadRequest`, or `ValidationFailed` with every bad field named.
        """
        media_type = self.request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if media_type != "application/json":
            raise errors.UnsupportedMediaType("Send the body as application/json.")
        try:
            document = json.loads(self.request.body.decode())  # no other encoding (RFC 8259 8.1)
            # What could not be sent back is refused: NaN, 1e999, a lone surrogate (RFC 8259 6, 8.2).
            json.dumps(document, allow_nan=False, ensure_ascii=False).encode()
        except (ValueError, RecursionError) as error:
            raise errors.BadRequest("The body is not valid JSON.") from error
        if not isinstance(document, dict):
            raise errors.BadRequest("The body must be a JSON object.")
        try:
            return schema.load(document)
        except ValidationError as error:
            raise errors.ValidationFailed(dict(_flatten(error.messages))) from error

    def response_error(self, error: BaseException | None, status: int) -> errors.ResponseError:
        """The error that is answered for an exception that left the handler."""
        if isinstance(error, errors.ResponseError):
            return error
        if status == 405:
            return errors.MethodNotAllowed(self.allowed_methods())
        return _problem(status)

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Render every error as `error_body` says (called by Tornado)."""
        exc_info = kwargs.get("exc_info")
        raised = exc_info[1] if exc_info else None
        error = self.response_error(raised, status_code)
        recorded = isinstance(raised, errors.ResponseError) and self.application.audit.has_recorded(raised)
        reason = None if recorded else _refusal(raised, error)
        if reason is not None:
            self._audit_refusal(reason, error)
        self.set_status(error.status)
        for name, value in error.headers.items():
            self.set_header(name, value)
        content_type, body = self.error_body(error)
        self.set_header("Content-Type", content_type)
        super().finish(body)

    def error_body(self, error: errors.ResponseError) -> tuple[str, str | bytes]:
        """The media type and the body of an error: JSON, unless a handler is for people."""
        return error.content_type, json.dumps(error.body(self.request_id))

    def record_refusal(self, error: errors.ResponseError) -> None:
        """Tell the audit of a refusal that is answered by something else than the error."""
        reason = None if self.application.audit.has_recorded(error) else _refusal(error, error)
        if reason is not None:
            self._audit_refusal(reason, error)

    def finish(self, chunk: str | bytes | dict[str, Any] | None = None) -> Future[None]:
        """Finish the answer; what Tornado's WebSocketHandler refuses in plain text is raised, and so JSON."""
        if self._status_code >= 400 and isinstance(self, WebSocketHandler):
            is_json = self._write_buffer or isinstance(chunk, dict)
            if not is_json:
                raise _no_websocket(self._status_code)
        return super().finish(chunk)

    def log_exception(
        self,
        typ: type[BaseException] | None,
        value: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        """Log failures of ours with their cause; a refusal is one debug line."""
        if isinstance(value, (StreamClosedError, WebSocketClosedError)):
            _log.debug("the connection was closed before everything was sent")
            return
        status = value.status_code if isinstance(value, HTTPError) else 500
        status = self.response_error(value, status).status
        if status < 500:
            _log.debug("refused: %s", type(value).__name__)
        elif status == 503:
            cause = value and value.__cause__
            _log.warning("unavailable: %s (%s)", value, type(cause).__name__ if cause else "no cause")
        else:
            _log.error("unexpected %s", type(value).__name__, exc_info=(typ, value, tb))  # type: ignore[arg-type] # as logging takes it

    def allowed_methods(self) -> list[str]:
        """The methods of this resource, for Allow (RFC 9110 10.2.1)."""
        return [name for name, _ in http_methods(type(self))]

    def _check_cross_origin(self, check: Callable[[str], bool]) -> str | None:
        """Refuse an Origin that is no URL as well, which Tornado fails to parse."""
        headers = self.request.headers
        if not headers.get_list("Origin") and not headers.get_list("Sec-Fetch-Site"):
            return None  # a program: `get` takes ten times as long to find out
        try:
            return super()._check_cross_origin(check)
        except ValueError:
            return "malformed Origin"

    def _audit_refusal(self, reason: errors.Reason, answered: errors.ResponseError) -> None:
        """Queue the real reason, which the answer keeps from the client."""
        request, actor = self.request, self.actor
        known = actor.id if actor.kind == "client" else self.audit_client_id
        self.application.audit.refuse(
            Event(
                action=self.audit_action,
                actor=actor,
                target=f"{request.method} {request.path[:200]}",
                client_id=reason.client_id or known,
                outcome="refused",
                reason=reason,
                detail={"status": answered.status, "error": answered.code},
            )
        )

    def _from_trusted_proxy(self) -> bool:
        return addresses.is_trusted(self.request.remote_ip or "", self.application.config.trusted_proxies)


@public
class NotFoundHandler(BaseHandler):
    """Answers every path that no route matches."""

    def prepare(self) -> None:
        """Refuse whatever the method."""
        raise _problem(404)

    def response_error(self, error: BaseException | None, status: int) -> errors.ResponseError:
        """Say 404, whatever else is wrong with the request."""
        return _problem(404)


@functools.lru_cache(2)
def _date(now: int) -> str:
    return format_timestamp(now)


def _actor_of(reference: weakref.ref[BaseHandler]) -> Callable[[], Actor]:
    def describe() -> Actor:
        handler = reference()
        return Actor("system") if handler is None else handler.actor

    return describe


def _refusal(raised: BaseException | None, answered: errors.ResponseError) -> errors.Reason | None:
    """Why it is refused; None where nothing is: what does not exist, and failures of ours."""
    if isinstance(raised, errors.ResponseError) and raised.reason is not None:
        return raised.reason
    if answered.status in _CLIENT_ERRORS - {404, 405}:
        return refusal_reason(answered)
    return None


def _problem(status: int) -> errors.ProblemError:
    if status in _PROBLEMS:
        problem, description = _PROBLEMS[status]
        return problem(description)
    if status in _CLIENT_ERRORS:
        error = errors.ProblemError()
        error.status, error.code = status, f"http-{status}"
        return error
    return errors.InternalError("Station failed to answer; the request id finds the reason in its log.")


def _no_websocket(status: int) -> errors.ProblemError:
    """Why a WebSocket is not opened."""
    if status == 400:
        return errors.BadRequest("This is a WebSocket, and the request is not its handshake (RFC 6455 4.1).")
    return errors.UpgradeRequired() if status == 426 else _problem(status)


def _flatten(messages: object, path: tuple[str, ...] = ()) -> Iterator[tuple[str, list[str]]]:
    """Turn marshmallow's nested messages into pairs of a dotted field name and its messages."""
    if isinstance(messages, dict):
        for key, value in messages.items():
            yield from _flatten(value, path if key == "_schema" else (*path, str(key)))
    else:
        found = messages if isinstance(messages, list) else [messages]
        yield ".".join(path) or "body", [str(message) for message in found]
