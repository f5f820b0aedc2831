"""Everything Station raises on purpose.

::

    StationError
    ├── StartError                 the start stops; one message lists every problem
    │   └── ConfigError            ... and each problem names a setting
    └── ResponseError              answered to a client: status, code, description, headers
        └── ProblemError           as RFC 9457 problem details
            ├── BadRequest             400
            │   └── ValidationFailed   400, with the errors by field
            ├── Unauthorized           401, always with a challenge
            ├── Forbidden              403
            ├── NotFound               404
            ├── MethodNotAllowed       405
            ├── Conflict               409
            ├── PreconditionFailed     412
            ├── ContentTooLarge        413
            ├── UnsupportedMediaType   415
            ├── UpgradeRequired        426, naming the version of WebSocket
            ├── TooManyRequests        429, with Retry-After
            ├── InternalError          500
            └── ServiceUnavailable     503, with Retry-After

A plugin adds leaves of its own (``oauth_m2m`` speaks RFC 6749 through another branch of
`ResponseError`). The description goes to the client; the cause belongs in the log and travels by
``raise ... from``. `station.handlers.BaseHandler.write_error` renders them all.
"""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True, slots=True)
class Reason:
    """Why something was really refused: for the audit and the operator, never part of an answer.

    ``code`` is a word (``expired_secret``), ``because`` a sentence without its full stop, ``remedy`` the
    command or the step that would change it, ``client_id`` the client that it concerns.
    """

    code: str
    because: str
    remedy: str = ""
    client_id: str = ""


class StationError(Exception):
    """The base of every error that Station raises on purpose."""


class StartError(StationError):
    """Station cannot start: ``problems`` holds one sentence for each thing that is wrong."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


class ConfigError(StartError):
    """The configuration is wrong: each problem names the setting and how to fix it."""


class ResponseError(StationError):
    """An error that is answered to a client as JSON.

    ``status`` is the HTTP status, ``code`` a short machine-readable name, ``description`` a
    sentence for the client and ``headers`` what the answer carries besides (a challenge, Retry-After).
    A refusal with a ``reason`` is recorded in the audit.
    """

    status: int = 500
    code: str = "internal-error"
    content_type: ClassVar[str] = "application/json"
    reason: Reason | None = None

    def __init__(self, description: str = "", *, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(description or self.code)
        self.description = description
        self.headers: dict[str, str] = dict(headers or {})

    def body(self, request_id: str) -> dict[str, object]:
        """The JSON object that the client gets."""
        raise NotImplementedError


class ProblemError(ResponseError):
    """An error answered as problem details (RFC 9457), with the request id as an extension member."""

    content_type = "application/problem+json"

    def body(self, request_id: str) -> dict[str, object]:
        """``type``, ``title``, ``status``, ``detail`` (RFC 9457 3.1), ``code`` and ``requestId``."""
        problem: dict[str, object] = {
            "type": "about:blank",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "code": self.code,
            "requestId": request_id,
        }
        if self.description:
            problem["detail"] = self.description
        return problem


class BadRequest(ProblemError):
    """The request cannot be understood (RFC 9110 15.5.1)."""

    status = 400
    code = "bad-request"


class ValidationFailed(BadRequest):
    """The body was understood but holds bad values; ``errors`` maps every bad field to its messages."""

    code = "validation-failed"

    def __init__(self, errors: Mapping[str, Sequence[str]]) -> None:
        super().__init__("The request has invalid fields: " + ", ".join(sorted(errors)) + ".")
        self.errors = {field: list(messages) for field, messages in errors.items()}

    def body(self, request_id: str) -> dict[str, object]:
        """Problem details with ``errors``: field name to list of messages."""
        return {**super().body(request_id), "errors": self.errors}


class Unauthorized(ProblemError):
    """Nobody authenticated; ``challenge`` is the value of WWW-Authenticate (RFC 9110 15.5.2)."""

    status = 401
    code = "unauthorized"

    def __init__(self, description: str, *, challenge: str, reason: Reason | None = None) -> None:
        super().__init__(description, headers={"WWW-Authenticate": challenge})
        self.reason = reason


class Forbidden(ProblemError):
    """Authenticated, but not allowed (RFC 9110 15.5.4)."""

    status = 403
    code = "forbidden"

    def __init__(self, description: str = "", *, reason: Reason | None = None) -> None:
        super().__init__(description)
        self.reason = reason


class NotFound(ProblemError):
    """Nothing is here (RFC 9110 15.5.5)."""

    status = 404
    code = "not-found"


class MethodNotAllowed(ProblemError):
    """The resource does not have this method; ``allowed`` are those it has (RFC 9110 15.5.6)."""

    status = 405
    code = "method-not-allowed"

    def __init__(self, allowed: Sequence[str]) -> None:
        super().__init__("Allowed here: " + ", ".join(allowed) + ".", headers={"Allow": ", ".join(allowed)})


class Conflict(ProblemError):
    """The request collides with what is there already (RFC 9110 15.5.10)."""

    status = 409
    code = "conflict"


class PreconditionFailed(ProblemError):
    """The resource is no longer the one that If-Match names (RFC 9110 15.5.13)."""

    status = 412
    code = "precondition-failed"


class ContentTooLarge(ProblemError):
    """The body is larger than this resource reads (RFC 9110 15.5.14)."""

    status = 413
    code = "content-too-large"


class UnsupportedMediaType(ProblemError):
    """The body's media type or content coding is not one this resource reads (RFC 9110 15.5.16)."""

    status = 415
    code = "unsupported-media-type"


class UpgradeRequired(ProblemError):
    """What is here speaks another protocol: WebSocket 13 (RFC 6455 4.2.2, RFC 9110 15.5.22)."""

    status = 426
    code = "upgrade-required"

    def __init__(self) -> None:
        headers = {"Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
        super().__init__("Open this as a WebSocket of version 13.", headers=headers)


class TooManyRequests(ProblemError):
    """A throttle refused; ``retry_after`` is in seconds (RFC 6585 4)."""

    status = 429
    code = "too-many-requests"
    reason = Reason("throttled", "a throttle had counted too many requests, or failures, from there")

    def __init__(self, retry_after: int) -> None:
        super().__init__("Too many requests; try again later.", headers={"Retry-After": str(retry_after)})


class InternalError(ProblemError):
    """Station failed; the cause is in the log under the request id and nowhere else."""


class ServiceUnavailable(ProblemError):
    """Something that Station needs is away for now; ``retry_after`` is in seconds (RFC 9110 15.6.4)."""

    status = 503
    code = "temporarily-unavailable"

    def __init__(self, description: str, *, retry_after: int = 1, reason: Reason | None = None) -> None:
        super().__init__(description, headers={"Retry-After": str(retry_after)})
        self.reason = reason
