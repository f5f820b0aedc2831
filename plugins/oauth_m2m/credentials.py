"""What a caller presents: a client's own credentials (RFC 6749 2.3.1) or a bearer token (RFC 6750 2.1)."""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import re
from typing import TYPE_CHECKING

from plugins.oauth_m2m.errors import (
    InvalidBearerRequest,
    InvalidClient,
    InvalidRequest,
    InvalidToken,
    MissingToken,
)
from plugins.oauth_m2m.parameters import form_decode, query_names
from plugins.oauth_m2m.reasons import MALFORMED_CREDENTIALS, METHOD_OFF, NO_CREDENTIALS

if TYPE_CHECKING:
    from collections.abc import Collection

    from plugins.oauth_m2m.parameters import Parameters

__all__ = [
    "ClientCredentials",
    "claimed_client_id",
    "is_bearer",
    "read_bearer_token",
    "read_client_credentials",
]

BASIC = "client_secret_basic"
POST = "client_secret_post"

_CLIENT_ID = re.compile(r"[\x20-\x7e]+")  # RFC 6749 A.1
_VISIBLE_ASCII = re.compile(r"[\x21-\x7e]+")
_B64TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")
_MAX_TOKEN = 8192


@dataclasses.dataclass(frozen=True, slots=True)
class ClientCredentials:
    """A client id and the ``secrets`` that the request may be read as, most likely first."""

    client_id: str
    secrets: tuple[bytes, ...] = dataclasses.field(repr=False)
    method: str


def read_client_credentials(
    authorization: str | None, parameters: Parameters, *, methods: Collection[str]
) -> ClientCredentials:
    """The one way in which the client authenticates, among the ``methods`` that are on.

    Raises `InvalidRequest` for two methods at once, and `InvalidClient` for none, a malformed one, or one
    that is off; a failure of one method never falls back to another.
    """
    if authorization is not None and _is_repeated(authorization):
        raise InvalidRequest("There is more than one Authorization header.")
    encoded = None if authorization is None else _basic_value(authorization)
    # RFC 6749 2.3: not more than one method in a request
    presented = [encoded, parameters.get("client_secret"), parameters.get("client_assertion")]
    if sum(method is not None for method in presented) > 1:
        raise InvalidRequest("The request authenticates in more than one way.")
    found = _from_body(parameters) if encoded is None else _from_basic(encoded, parameters)
    if found.method not in methods:
        raise InvalidClient(METHOD_OFF)
    return found


def claimed_client_id(authorization: str | None, parameters: Parameters) -> str | None:
    """The client id that a request claims, whatever else is wrong with it; for throttles."""
    if authorization is None:
        return parameters.get("client_id")
    try:
        return _split_basic(_basic_value(authorization))[0]
    except InvalidClient:
        return None


def read_bearer_token(authorization: str | None, *, query: str) -> str:
    """The token of the Authorization header (RFC 6750 2.1), the only place that is read.

    Raises `MissingToken` without one, `InvalidBearerRequest` for a malformed or repeated header or a token in
    the query (RFC 6750 2.3), and `InvalidToken` for one that cannot be ours by its length or characters.
    """
    if "access_token" in query_names(query):
        raise InvalidBearerRequest("A token in the query is not read; send it as Authorization: Bearer.")
    authorization = authorization or ""
    if _is_repeated(authorization):
        raise InvalidBearerRequest("There is more than one Authorization header.")
    scheme, token = _split_scheme(authorization)
    if scheme != "bearer":
        raise MissingToken
    if not token or " " in token:
        raise InvalidBearerRequest("The Authorization header must be Bearer and one token.")
    if len(token) > _MAX_TOKEN or not _B64TOKEN.fullmatch(token):
        raise InvalidToken
    return token


def is_bearer(authorization: str | None) -> bool:
    """Whether this is an attempt to authenticate by a bearer token."""
    return _split_scheme(authorization or "")[0] == "bearer"


def _split_scheme(authorization: str) -> tuple[str, str]:
    """The scheme in lower case, and what follows it (RFC 9110 11.4)."""
    scheme, _, value = authorization.strip(" \t").partition(" ")
    return scheme.lower(), value.strip(" ")


def _is_repeated(authorization: str) -> bool:
    """Whether several headers were joined by a comma (RFC 9110 5.3), which neither of our schemes can hold.

    The parameters of other schemes, such as Digest, are separated by commas: those are one header.
    """
    scheme, value = _split_scheme(authorization)
    return "," in scheme or (scheme in {"basic", "bearer"} and "," in value)


def _basic_value(authorization: str) -> str:
    scheme, value = _split_scheme(authorization)
    if scheme != "basic":
        raise InvalidClient(MALFORMED_CREDENTIALS)
    return value


def _split_basic(encoded: str) -> tuple[str, str]:
    """Client id, decoded, and password, as sent (RFC 7617 2); padding must be right (RFC 4648 3.2)."""
    try:
        userid, colon, password = base64.b64decode(encoded, validate=True).decode().partition(":")
        client_id = form_decode(userid)
    except ValueError:
        # the cause would hold the secret
        raise InvalidClient(MALFORMED_CREDENTIALS) from None
    if not colon or not _CLIENT_ID.fullmatch(client_id):
        raise InvalidClient(MALFORMED_CREDENTIALS)
    return client_id, password


def _from_basic(encoded: str, parameters: Parameters) -> ClientCredentials:
    client_id, password = _split_basic(encoded)
    # a bare client_id is not a method (RFC 6749 3.2.1), but it may not contradict
    if parameters.get("client_id") not in {None, client_id}:
        raise InvalidRequest("The parameter client_id is not the one of the Authorization header.")
    secrets = _candidates(password)
    if not secrets:
        raise InvalidClient(MALFORMED_CREDENTIALS)
    return ClientCredentials(client_id, secrets, BASIC)


def _from_body(parameters: Parameters) -> ClientCredentials:
    client_id, secret = parameters.get("client_id") or "", parameters.get("client_secret") or ""
    if not client_id and not secret:
        raise InvalidClient(NO_CREDENTIALS)
    if not _CLIENT_ID.fullmatch(client_id) or not _VISIBLE_ASCII.fullmatch(secret):
        raise InvalidClient(MALFORMED_CREDENTIALS)
    return ClientCredentials(client_id, (secret.encode(),), POST)


def _candidates(password: str) -> tuple[bytes, ...]:
    """What a password may mean: form-decoded (RFC 6749 2.3.1), and as sent, since many do not encode it."""
    readings = [password]
    with contextlib.suppress(ValueError):
        readings.insert(0, form_decode(password))
    return tuple(dict.fromkeys(text.encode() for text in readings if _VISIBLE_ASCII.fullmatch(text)))
