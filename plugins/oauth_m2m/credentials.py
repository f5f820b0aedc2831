"""What a caller presents: a client's own credentials (RFC 6749 2.3.1) or a bearer token (RFC 6750 2.1)."""

from __future__ import annotations

import base64
import dataclasses
import re
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

from plugins.oauth_m2m.errors import InvalidBearerRequest, InvalidClient, InvalidRequest, InvalidToken, MissingToken
from plugins.oauth_m2m.parameters import form_decode

if TYPE_CHECKING:
    from plugins.oauth_m2m.parameters import Parameters

__all__ = ["ClientCredentials", "claimed_client_id", "read_bearer_token", "read_client_credentials"]

BASIC = "client_secret_basic"
POST = "client_secret_post"

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
    authorization: str | None, parameters: Parameters, *, methods: frozenset[str]
) -> ClientCredentials:
    """The one way in which the client authenticates, among the ``methods`` that are on.

    Raises `InvalidRequest` for two methods at once, and `InvalidClient` for none, a malformed one, or one
    that is off; a failure of one method never falls back to another.
    """
    secret, client_id = parameters.get("client_secret"), parameters.get("client_id")
    if authorization is not None and "," in authorization:
        raise InvalidRequest("There is more than one Authorization header.")
    # RFC 6749 2.3: not more than one method in a request
    presented = [authorization, secret, parameters.get("client_assertion")]
    if sum(method is not None for method in presented) > 1:
        raise InvalidRequest("The request authenticates in more than one way.")
    if authorization is not None:
        found = _read_basic(authorization)
        if client_id is not None and client_id != found.client_id:
            raise InvalidRequest("The parameter client_id names another client than the Authorization header.")
    elif secret is not None and client_id is not None and _VISIBLE_ASCII.fullmatch(secret):
        found = ClientCredentials(client_id, (secret.encode(),), POST)
    else:
        raise InvalidClient
    if found.method not in methods:
        raise InvalidClient
    return found


def claimed_client_id(authorization: str | None, parameters: Parameters) -> str | None:
    """The client id that a request claims, whatever else is wrong with it; for throttles."""
    if authorization is None:
        return parameters.get("client_id")
    try:
        return _read_basic(authorization).client_id
    except InvalidClient:
        return None


def read_bearer_token(authorization: str | None, *, query: str) -> str:
    """The token of the Authorization header (RFC 6750 2.1), the only place that is read.

    Raises `MissingToken` without one, `InvalidBearerRequest` for a malformed or repeated header or a token in
    the query (RFC 6750 2.3), and `InvalidToken` for one that is too long to be ours.
    """
    if any(unquote_to_bytes(field.partition("=")[0]) == b"access_token" for field in query.split("&")):
        raise InvalidBearerRequest("A token in the query is not read; send it as Authorization: Bearer.")
    scheme, _, token = (authorization or "").strip().partition(" ")
    if scheme.lower() != "bearer":
        raise MissingToken
    token = token.strip(" ")
    if not _B64TOKEN.fullmatch(token):
        raise InvalidBearerRequest("The Authorization header must be Bearer and one token.")
    if len(token) > _MAX_TOKEN:
        raise InvalidToken
    return token


def _read_basic(authorization: str) -> ClientCredentials:
    """Read HTTP Basic (RFC 7617 2); both halves are form-encoded, which not every client does."""
    scheme, _, encoded = authorization.strip().partition(" ")
    if scheme.lower() != "basic":
        raise InvalidClient
    try:
        userid, colon, password = base64.b64decode(encoded.strip(" "), validate=True).decode().partition(":")
        client_id = form_decode(userid)
    except ValueError as error:
        raise InvalidClient from error
    secrets = _candidates(password)
    if not colon or not client_id or not secrets:
        raise InvalidClient
    return ClientCredentials(client_id, secrets, BASIC)


def _candidates(password: str) -> tuple[bytes, ...]:
    """The secrets that a password may mean: form-decoded, and as it was sent."""
    readings = [password]
    try:
        readings.insert(0, form_decode(password))
    except ValueError:
        pass
    return tuple(dict.fromkeys(text.encode() for text in readings if _VISIBLE_ASCII.fullmatch(text)))
