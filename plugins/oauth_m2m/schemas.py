"""The JSON of the admin endpoints, camelCase: what is read, and what is shown."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from marshmallow import Schema, ValidationError, fields, post_load, validate

from plugins.oauth_m2m.config import MAX_TOKEN_TTL, MIN_TOKEN_TTL
from plugins.oauth_m2m.models import Registration
from plugins.oauth_m2m.scope import is_registrable

if TYPE_CHECKING:
    from datetime import datetime

    from plugins.oauth_m2m.models import Client

__all__ = ["CLIENT_ID", "ActivationSchema", "RegistrationSchema", "client_json"]

CLIENT_ID = r"[a-z0-9-]{1,128}"
_MAX_SCOPE = 2000  # both spellings of the scope in a token then leave its header under 8 KiB


def _client_id(value: str) -> None:
    if not re.fullmatch(CLIENT_ID, value):
        raise ValidationError("Must be 1 to 128 characters of a-z, 0-9 and hyphen.")


def _client_secret(value: str) -> None:
    if not re.fullmatch(r"[\x21-\x7e]{32,128}", value):
        raise ValidationError("Must be 32 to 128 characters of visible ASCII.")


def _scope(value: str) -> None:
    if not is_registrable(value):
        raise ValidationError("Is not a scope name (RFC 6749 3.3) without commas.")


def _together(value: list[str]) -> None:
    if sum(map(len, value)) > _MAX_SCOPE:
        raise ValidationError(f"Must be at most {_MAX_SCOPE} characters together.")


class _Boolean(fields.Boolean):
    """JSON's true and false alone; to marshmallow 1 and 1.0 are true as well."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> bool:
        if not isinstance(value, bool):
            raise self.make_error("invalid", input=value)
        return value


class RegistrationSchema(Schema):
    """``POST /oauth-clients``."""

    client_id = fields.String(required=True, data_key="clientId", validate=_client_id)
    client_secret = fields.String(data_key="clientSecret", validate=_client_secret, load_only=True)
    scopes = fields.List(
        fields.String(validate=_scope), required=True, validate=[validate.Length(1, 100), _together]
    )
    name = fields.String(validate=validate.Length(max=200))
    token_ttl = fields.Integer(
        data_key="tokenTtl", strict=True, validate=validate.Range(MIN_TOKEN_TTL, MAX_TOKEN_TTL)
    )

    @post_load
    def make(self, data: dict[str, Any], **_kwargs: object) -> Registration:
        """Return a `Registration`; repeated scopes collapse."""
        return Registration(**{**data, "scopes": tuple(dict.fromkeys(data["scopes"]))})


class ActivationSchema(Schema):
    """``PATCH /oauth-clients/{clientId}``: ``{"isActive": ...}``."""

    is_active = _Boolean(required=True, data_key="isActive")


def client_json(client: Client) -> dict[str, object]:
    """A client as admins see it: never a secret, never a hash."""
    return {
        "id": client.id,
        "clientId": client.client_id,
        "name": client.name,
        "scopes": list(client.scopes),
        "isActive": client.is_active,
        "tokenTtl": client.token_ttl,
        "createdAt": timestamp(client.created_at),
        "updatedAt": timestamp(client.updated_at),
    }


def timestamp(moment: datetime) -> str:
    """RFC 3339 in UTC with milliseconds."""
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
