"""The parameters of a request to an OAuth endpoint (RFC 6749 3.2), parsed by the letter.

Tornado's own parser merges query and body, takes the last of repeated parameters, strips white space and
rewrites control characters, which would change secrets; so the body is read here.
"""

from __future__ import annotations

import functools
import json
import re
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

from plugins.oauth_m2m.errors import InvalidRequest
from plugins.oauth_m2m.reasons import MEDIA_TYPE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

__all__ = [
    "INTROSPECTION_PARAMETERS",
    "REVOCATION_PARAMETERS",
    "TOKEN_PARAMETERS",
    "Parameters",
    "form_decode",
    "parse_parameters",
    "query_names",
]

_CLIENT = frozenset({"client_id", "client_secret", "client_assertion", "client_assertion_type"})
# RFC 8707 2: resource may repeat, so it is not among them
TOKEN_PARAMETERS = _CLIENT | {"grant_type", "scope"}
REVOCATION_PARAMETERS = _CLIENT | {"token", "token_type_hint"}
INTROSPECTION_PARAMETERS = REVOCATION_PARAMETERS

_NEVER_IN_QUERY = frozenset({"client_secret", "client_assertion", "access_token", "token"})
_FORM = "application/x-www-form-urlencoded"
_JSON = "application/json"
_MALFORMED_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_MAX_FIELDS = 100
_NO_NAMES: frozenset[str] = frozenset()


class Parameters:
    """Recognised parameters by name; a representation never holds the values."""

    __slots__ = ("_values",)

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = {name: value for name, value in values.items() if value}

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
    repeated, and for a secret or token in the query. Everything else in the query is ignored.
    """
    if not _NEVER_IN_QUERY.isdisjoint(query_names(query)):
        raise InvalidRequest("Secrets and tokens do not belong in the query; send them in the body.")
    if (content_encoding or "identity").lower() != "identity":
        raise InvalidRequest("A body with a Content-Encoding is not read here.")
    media_type, charset = _media_type(content_type or "")
    if charset not in {None, "utf-8", "utf8"}:
        raise InvalidRequest("The body must be UTF-8.")
    if media_type == _FORM or (not body and not media_type):
        return _collect(_form_pairs(body), recognised)
    if media_type == _JSON:
        return _collect(_json_pairs(body), recognised)
    raise InvalidRequest(
        f"Send {_FORM} or {_JSON}; the Content-Type is {media_type or 'missing'}.", reason=MEDIA_TYPE
    )


def form_decode(text: str) -> str:
    """Decode one name or value (RFC 6749 App. B): + is a space, %XX is a byte of UTF-8. Else `ValueError`."""
    if "%" not in text and "+" not in text:
        return text
    if _MALFORMED_PERCENT.search(text):
        raise ValueError("malformed percent-encoding")
    return unquote_to_bytes(text.replace("+", " ")).decode()


def query_names(query: str) -> frozenset[str]:
    """The names in a query, decoded; one that is malformed is no error."""
    if not query:
        return _NO_NAMES
    names = (field.partition("=")[0].replace("+", " ") for field in query.split("&"))
    return frozenset(
        unquote_to_bytes(name.encode(errors="replace")).decode(errors="replace") for name in names
    )


@functools.lru_cache(64)
def _media_type(content_type: str) -> tuple[str, str | None]:
    """Media type and charset, both compared without case (RFC 9110 8.3.1)."""
    media_type, *parameters = (part.strip(" \t").lower() for part in content_type.split(";"))
    for name, _, value in (parameter.partition("=") for parameter in parameters):
        if name == "charset":
            return media_type, value.strip('"')
    return media_type, None


def _form_pairs(body: bytes) -> Iterator[tuple[str, object]]:
    try:
        for field in filter(None, body.decode().split("&")):
            name, _, value = field.partition("=")
            yield form_decode(name), form_decode(value)
    except ValueError:
        # the cause would hold the body, and with it a secret
        raise InvalidRequest("The body is not a form in UTF-8 with right percent-encoding.") from None


def _json_pairs(body: bytes) -> Iterable[tuple[str, object]]:
    try:
        # objects become tuples of pairs, which keep repeated members; arrays stay lists
        document = json.loads(body.decode(), object_pairs_hook=tuple, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        # the cause would hold the body, and with it a secret
        raise InvalidRequest("The body is not valid JSON in UTF-8.") from None
    if not isinstance(document, tuple):
        raise InvalidRequest("The body must be a JSON object of strings.")
    return document


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _collect(pairs: Iterable[tuple[str, object]], recognised: frozenset[str]) -> Parameters:
    values: dict[str, str] = {}
    for count, (name, value) in enumerate(pairs, start=1):
        if count > _MAX_FIELDS:
            raise InvalidRequest(f"The body has more than {_MAX_FIELDS} parameters.")
        if name not in recognised:
            continue
        if name in values:
            raise InvalidRequest(f"The parameter {name} is repeated.")
        if not isinstance(value, str) or not _is_unicode(value):
            raise InvalidRequest(f"The parameter {name} must be text.")
        values[name] = value
    return Parameters(values)


def _is_unicode(text: str) -> bool:
    """Whether the text has no lone surrogate, which a JSON escape can smuggle in (RFC 8259 8.2)."""
    return text.isascii() or not any("\ud800" <= character <= "\udfff" for character in text)
