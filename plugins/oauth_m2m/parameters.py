"""The parameters of a request to an OAuth endpoint (RFC 6749 3.2), parsed by the letter.

Tornado's own parser merges query and body, takes the last of repeated parameters, strips white space and
rewrites control characters, which would change secrets; so the body is read here.
"""

from __future__ import annotations

import json
import re
from email.message import Message
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes

from plugins.oauth_m2m.errors import InvalidRequest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

__all__ = ["REVOCATION_PARAMETERS", "TOKEN_PARAMETERS", "Parameters", "form_decode", "parse_parameters"]

_CLIENT = frozenset({"client_id", "client_secret", "client_assertion", "client_assertion_type"})
TOKEN_PARAMETERS = _CLIENT | {"grant_type", "scope"}
REVOCATION_PARAMETERS = _CLIENT | {"token", "token_type_hint"}

_NEVER_IN_QUERY = frozenset({"client_secret", "client_assertion", "access_token", "token"})
_MALFORMED_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_MAX_FIELDS = 100


class Parameters:
    """Recognised parameters by name; a representation never holds the values."""

    __slots__ = ("_values",)

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = dict(values)

    def get(self, name: str) -> str | None:
        """The value, or None if the parameter is absent or empty (RFC 6749 3.2)."""
        return self._values.get(name)

    def __repr__(self) -> str:
        return f"Parameters({', '.join(sorted(self._values))})"


def parse_parameters(
    content_type: str | None,
    content_encoding: str | None,
    query: str,
    body: bytes,
    *,
    recognised: frozenset[str],
) -> Parameters:
    """Read the body, a form or a JSON object of strings.

    Raises `InvalidRequest` for another media type, a malformed body, a recognised parameter that is
    repeated, and for a secret or token in the query.
    """
    _refuse_secrets_in(query)
    if (content_encoding or "identity").lower() != "identity":
        raise InvalidRequest("A body with a Content-Encoding is not read here.")
    media_type, charset = _media_type(content_type)
    if charset not in {"", "utf-8", "utf8"}:
        raise InvalidRequest("The body must be UTF-8.")
    if media_type == "application/x-www-form-urlencoded" or (not body and not media_type):
        return _collect(_form_pairs(body), recognised)
    if media_type == "application/json":
        return _collect(_json_pairs(body), recognised)
    raise InvalidRequest("The Content-Type must be application/x-www-form-urlencoded or application/json.")


def form_decode(text: str) -> str:
    """Decode one name or value (RFC 6749 App. B): + is a space, %XX is a byte of UTF-8. Else `ValueError`."""
    if _MALFORMED_PERCENT.search(text):
        raise ValueError("malformed percent-encoding")
    return unquote_to_bytes(text.replace("+", " ")).decode()


def _refuse_secrets_in(query: str) -> None:
    for field in query.split("&"):
        name = unquote_to_bytes(field.partition("=")[0].replace("+", " "))
        if name.decode(errors="replace") in _NEVER_IN_QUERY:
            raise InvalidRequest("Secrets and tokens do not belong in the query; send them in the body.")


def _media_type(content_type: str | None) -> tuple[str, str]:
    message = Message()
    message["Content-Type"] = content_type or ""
    media_type = (content_type or "").partition(";")[0].strip().lower()
    return media_type, str(message.get_param("charset", "")).lower()


def _form_pairs(body: bytes) -> Iterator[tuple[str, str]]:
    try:
        fields = [field for field in body.decode().split("&") if field]
        if len(fields) > _MAX_FIELDS:
            raise InvalidRequest("The body has too many parameters.")
        for field in fields:
            name, _, value = field.partition("=")
            yield form_decode(name), form_decode(value)
    except ValueError as error:
        raise InvalidRequest("The body is not a form in UTF-8 with right percent-encoding.") from error


def _json_pairs(body: bytes) -> Iterable[tuple[str, Any]]:
    pairs: list[tuple[str, Any]] = []

    def keep(members: list[tuple[str, Any]]) -> dict[str, Any]:
        pairs[:] = members  # the outermost object comes last
        return dict(members)

    try:
        document = json.loads(body.decode(), object_pairs_hook=keep)
    except (ValueError, RecursionError) as error:
        raise InvalidRequest("The body is not valid JSON in UTF-8.") from error
    if not isinstance(document, dict):
        raise InvalidRequest("The body must be a JSON object of strings.")
    return pairs


def _collect(pairs: Iterable[tuple[str, Any]], recognised: frozenset[str]) -> Parameters:
    values: dict[str, str] = {}
    for name, value in pairs:
        if name not in recognised:
            continue
        if name in values:
            raise InvalidRequest(f"The parameter {name} is repeated.")
        if not isinstance(value, str) or not value.isprintable() and _has_surrogate(value):
            raise InvalidRequest(f"The parameter {name} must be text.")
        values[name] = value
    return Parameters({name: value for name, value in values.items() if value})


def _has_surrogate(text: str) -> bool:
    return any("\ud800" <= character <= "\udfff" for character in text)
