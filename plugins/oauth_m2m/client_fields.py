"""The fields of a client, as every schema reads them: from JSON, from a query or from a file."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from marshmallow import ValidationError, fields, validate

from plugins.oauth_m2m.config import MAX_TOKEN_TTL, MIN_TOKEN_TTL
from plugins.oauth_m2m.scope import is_registrable

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "CLIENT_ID",
    "Boolean",
    "Digits",
    "Flag",
    "client_id",
    "client_secret",
    "is_client_secret",
    "messages_of",
    "name",
    "scope",
    "scopes",
    "token_ttl",
]

CLIENT_ID = r"[a-z0-9-]{1,128}"
CLIENT_SECRET = r"[\x21-\x7e]{32,128}"  # noqa: S105 - the pattern of one
SCOPE = r"[\x21\x23-\x2b\x2d-\x5b\x5d-\x7e]+"  # as `is_registrable` reads it
_MAX_SCOPE = 2000  # both spellings of the scope in a token then leave its header under 8 KiB


class Boolean(fields.Boolean):
    """JSON's true and false alone; to marshmallow 1 and 1.0 are true as well."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> bool:
        if not isinstance(value, bool):
            raise self.make_error("invalid", input=value)
        return value


class Flag(fields.Boolean):
    """The words true and false, as they stand in a query."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> bool:
        if value not in {"true", "false"}:
            raise self.make_error("invalid", input=value)
        return bool(value == "true")


class Digits(fields.Integer):
    """A number of a few ASCII digits, as it stands in a query; Python reads more, such as 5_0."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> int:
        if not re.fullmatch(r"[0-9]{1,9}", value):
            raise self.make_error("invalid", input=value)
        return int(value)


def client_id(**options: Any) -> fields.String:
    """1 to 128 characters of a-z, 0-9 and hyphen: no id of a user, which begins with ``usr_``, is one."""
    return fields.String(validate=_client_id, metadata={"pattern": f"^{CLIENT_ID}$"}, **options)


def client_secret(**options: Any) -> fields.String:
    """A secret that an operator chose."""
    return fields.String(
        validate=_client_secret, load_only=True, metadata={"pattern": f"^{CLIENT_SECRET}$"}, **options
    )


def scope() -> fields.String:
    """One scope."""
    return fields.String(validate=_scope, metadata={"pattern": f"^{SCOPE}$"})


def scopes(**options: Any) -> fields.List[str]:
    """What a client is registered for."""
    return fields.List(scope(), validate=(validate.Length(1, 100), _together), **options)


def name() -> fields.String:
    """A name for people."""
    return fields.String(validate=validate.Length(max=200))


def token_ttl(**options: Any) -> fields.Integer:
    """The lifetime of a client's tokens, in seconds."""
    return fields.Integer(strict=True, validate=validate.Range(MIN_TOKEN_TTL, MAX_TOKEN_TTL), **options)


def is_client_secret(text: str) -> bool:
    """Whether an operator may choose it: 32 to 128 characters of visible ASCII."""
    return re.fullmatch(CLIENT_SECRET, text) is not None


def messages_of(error: ValidationError) -> list[str]:
    """What is wrong, one ``field: message`` each."""
    return list(_lines(error.messages))


def _lines(messages: object, path: str = "") -> Iterator[str]:
    if isinstance(messages, dict):
        for key, value in messages.items():
            yield from _lines(value, path if key == "_schema" else f"{path}.{key}".lstrip("."))
    else:
        texts = messages if isinstance(messages, list) else [messages]
        yield ": ".join(filter(None, [path, " ".join(map(str, texts))]))


def _client_id(value: str) -> None:
    if not re.fullmatch(CLIENT_ID, value):
        raise ValidationError("Must be 1 to 128 characters of a-z, 0-9 and hyphen.")


def _client_secret(value: str) -> None:
    if not is_client_secret(value):
        raise ValidationError("Must be 32 to 128 characters of visible ASCII.")


def _scope(value: str) -> None:
    if not is_registrable(value):
        raise ValidationError("Is not a scope name (RFC 6749 3.3) without commas.")


def _together(value: list[str]) -> None:
    if sum(map(len, value)) > _MAX_SCOPE:
        raise ValidationError(f"Must be at most {_MAX_SCOPE} characters together.")
