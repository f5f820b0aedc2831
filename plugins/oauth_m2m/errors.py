"""The plugin's errors, as they stand on the wire.

::

    ResponseError
    └── OAuthError                     RFC 6749 5.2, at the OAuth endpoints
        ├── InvalidRequest                 400 invalid_request
        ├── InvalidClient                  401 invalid_client, with a Basic challenge
        ├── InvalidGrant                   400 invalid_grant
        ├── UnauthorizedClient             400 unauthorized_client
        │   └── IssuanceRefused                ... because a plugin refused
        ├── UnsupportedGrantType           400 unsupported_grant_type
        ├── UnsupportedTokenType           400 unsupported_token_type (RFC 7009 2.2.1)
        ├── InvalidScope                   400 invalid_scope, or 401 with a challenge
        ├── TemporarilyUnavailable         503 or 429 temporarily_unavailable, with Retry-After
        ├── ServerError                    500 server_error
        └── BearerError                RFC 6750 3, at protected handlers
            ├── MissingToken               401, a challenge without an error code
            ├── InvalidBearerRequest       400 invalid_request
            ├── InvalidToken               401 invalid_token
            └── InsufficientScope          403 insufficient_scope, naming the scopes

Whatever a description quotes, it leaves in the characters that RFC 6749 5.2 allows.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from plugins.oauth_m2m import reasons
from station.errors import Reason, ResponseError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = [
    "BearerError",
    "InsufficientScope",
    "InvalidBearerRequest",
    "InvalidClient",
    "InvalidGrant",
    "InvalidRequest",
    "InvalidScope",
    "InvalidToken",
    "IssuanceRefused",
    "MissingToken",
    "OAuthError",
    "ServerError",
    "TemporarilyUnavailable",
    "UnauthorizedClient",
    "UnsupportedGrantType",
    "UnsupportedTokenType",
    "from_response_error",
]

REALM = "station"
BASIC_CHALLENGE = f'Basic realm="{REALM}"'

_NO_STORE = {"Cache-Control": "no-store", "Pragma": "no-cache"}  # RFC 6749 5.2
_FORBIDDEN = re.compile(r"[^\x20-\x21\x23-\x5b\x5d-\x7e]")  # RFC 6749 5.2, RFC 6750 3
_MAX_DESCRIPTION = 300


class OAuthError(ResponseError):
    """An error of an OAuth endpoint: ``{"error": code, "error_description": ...}`` (RFC 6749 5.2).

    ``description`` is cleaned of every character that the RFC forbids and cut to 300. Without a ``reason`` of
    its own it tells the audit what it tells the client.
    """

    status = 400

    def __init__(
        self,
        description: str = "",
        *,
        headers: Mapping[str, str] | None = None,
        reason: Reason | None = None,
    ) -> None:
        super().__init__(_clean(description)[:_MAX_DESCRIPTION], headers={**_NO_STORE, **(headers or {})})
        self.reason = reason or Reason("malformed", self.description.rstrip("."))

    def body(self, request_id: str) -> dict[str, object]:
        """``error`` and, if there is one, ``error_description``; RFC 6749 has no place for the request id."""
        described: dict[str, object] = {"error": self.code}
        if self.description:
            described["error_description"] = self.description
        return described


class InvalidRequest(OAuthError):
    """A parameter is missing, repeated or malformed."""

    code = "invalid_request"


class InvalidClient(OAuthError):
    """Client authentication failed; the text is the same whatever the reason (RFC 6749 5.2)."""

    status = 401
    code = "invalid_client"

    def __init__(self, reason: Reason = reasons.NO_CREDENTIALS) -> None:
        challenge = {"WWW-Authenticate": BASIC_CHALLENGE}
        super().__init__("Client authentication failed.", headers=challenge, reason=reason)


class InvalidGrant(OAuthError):
    """The token was issued to another client."""

    code = "invalid_grant"


class UnauthorizedClient(OAuthError):
    """The client may not do this at all."""

    code = "unauthorized_client"


class IssuanceRefused(UnauthorizedClient):
    """A plugin refuses to issue a token: raised by an issuance check. The client is told ``description``."""

    def __init__(self, description: str) -> None:
        super().__init__(description, reason=reasons.vetoed(description))


class UnsupportedGrantType(OAuthError):
    """The grant is not one of ours."""

    code = "unsupported_grant_type"


class UnsupportedTokenType(OAuthError):
    """Tokens of this kind are not revoked here (RFC 7009 2.2.1)."""

    code = "unsupported_token_type"


class InvalidScope(OAuthError):
    """The scope is malformed (400), or more than the client has (``status`` as configured)."""

    code = "invalid_scope"

    def __init__(self, description: str, *, status: int = 400, reason: Reason | None = None) -> None:
        # a 401 carries a challenge (RFC 9110 15.5.2)
        challenge = {"WWW-Authenticate": BASIC_CHALLENGE} if status == 401 else {}
        super().__init__(description, headers=challenge, reason=reason)
        self.status = status


class TemporarilyUnavailable(OAuthError):
    """A store (503) or a throttle (429) says later; what `from_response_error` makes of the core's errors."""

    status = 503
    code = "temporarily_unavailable"


class ServerError(OAuthError):
    """Station failed."""

    status = 500
    code = "server_error"


def from_response_error(error: ResponseError) -> OAuthError:
    """The same refusal in the words of RFC 6749: headers (Allow, Retry-After) stay, and the status too.

    But for 415: RFC 6749 5.2 answers 400 to what it cannot read.
    """
    if error.status in {429, 503}:
        found: OAuthError = TemporarilyUnavailable(error.description, headers=error.headers)
    elif error.status >= 500:
        found = ServerError(error.description, headers=error.headers)
    else:
        found = InvalidRequest(error.description, headers=error.headers)
    found.status = 400 if error.status == 415 else error.status
    return found


class BearerError(OAuthError):
    """A refusal at a protected handler: the challenge says what the body says, and ``scope`` (RFC 6750 3)."""

    status = 401

    def __init__(self, description: str, *, scope: Sequence[str] = (), reason: Reason | None = None) -> None:
        super().__init__(description, reason=reason)
        attributes = {"realm": REALM, **self._error_attributes()}
        if scope:
            attributes["scope"] = _clean(" ".join(scope))
        quoted = ", ".join(f'{name}="{value}"' for name, value in attributes.items())
        self.headers["WWW-Authenticate"] = f"Bearer {quoted}"

    def name_resource(self, metadata: str) -> None:
        """Add to the challenge where the resource is described: the URL ``metadata`` (RFC 9728 5.1)."""
        self.headers["WWW-Authenticate"] += f', resource_metadata="{_clean(metadata)}"'

    def _error_attributes(self) -> dict[str, str]:
        return {"error": self.code, "error_description": self.description}


class MissingToken(BearerError):
    """Nobody tried to authenticate: the challenge holds no error, the body a code that is no RFC's."""

    code = "unauthorized"

    def __init__(self) -> None:
        super().__init__("This needs a client token: Authorization: Bearer.", reason=reasons.MISSING_TOKEN)

    def _error_attributes(self) -> dict[str, str]:
        return {}  # RFC 6750 3.1: no error code or other error information


class InvalidBearerRequest(BearerError):
    """The token was sent in a wrong place, or more than once."""

    status = 400
    code = "invalid_request"


class InvalidToken(BearerError):
    """The token is expired, revoked, malformed, forged or not for us: one text for all."""

    code = "invalid_token"

    def __init__(self, reason: Reason = reasons.MALFORMED_TOKEN) -> None:
        super().__init__("The token is not valid.", reason=reason)


class InsufficientScope(BearerError):
    """The token is valid and lacks a scope; the challenge names all that are needed."""

    status = 403
    code = "insufficient_scope"
    hint = ""

    def __init__(self, needed: Sequence[str], reason: Reason | None = None) -> None:
        super().__init__(f"This needs the scope {' '.join(needed)}.", scope=needed, reason=reason)

    def give_hint(self) -> None:
        """Tell the caller as well what the operator is told: which scope is missing, and how to grant it.

        In development both are one person. Elsewhere a stolen token must not learn what it could become.
        """
        if self.reason is not None:
            self.hint = f"{self.reason.because}. What would change it: {self.reason.remedy}"

    def body(self, request_id: str) -> dict[str, object]:
        """The error, and in development a ``hint``."""
        return super().body(request_id) | ({"hint": self.hint} if self.hint else {})


def _clean(text: str) -> str:
    """The text with a question mark in place of every character that neither RFC allows."""
    return _FORBIDDEN.sub("?", text)
