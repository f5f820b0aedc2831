"""The JSON of the admin endpoints, camelCase: what is read, and what is shown."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

from marshmallow import Schema, ValidationError, fields, post_load, validate, validates_schema

from plugins.oauth_m2m import client_fields
from plugins.oauth_m2m.models import Registration, SecretAddition

if TYPE_CHECKING:
    from plugins.oauth_m2m.models import Client, ClientChange, ClientSecret, Confirmation, TokenRecord

__all__ = [
    "RECORD_ID",
    "ChangeSchema",
    "EndSecretSchema",
    "PageSchema",
    "QuerySchema",
    "RegistrationSchema",
    "SecretSchema",
    "client_json",
    "confirmation_json",
    "secret_json",
    "secrets_json",
    "timestamp",
    "token_json",
]


RECORD_ID = r"[a-z0-9-]{1,64}"
"""The id of a secret, or of a token, in a path."""


class _Moment(fields.AwareDateTime):
    """A time to come (RFC 3339, with an offset), to the second."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> datetime:
        if not isinstance(value, str):
            raise self.make_error("invalid", input=value, obj_type=self.OBJ_TYPE)
        try:
            moment = super()._deserialize(value, attr, data, **kwargs).astimezone(UTC).replace(microsecond=0)
        except OverflowError:
            raise self.make_error("invalid", input=value, obj_type=self.OBJ_TYPE) from None
        if moment <= datetime.now(UTC):
            raise ValidationError("Must lie in the future.")
        return moment


class RegistrationSchema(Schema):
    """``POST /oauth-clients``."""

    client_id = client_fields.client_id(required=True, data_key="clientId")
    client_secret = client_fields.client_secret(data_key="clientSecret")
    scopes = client_fields.scopes(required=True)
    name = client_fields.name()
    token_ttl = client_fields.token_ttl(data_key="tokenTtl")

    @post_load
    def make(self, data: dict[str, Any], **_kwargs: object) -> Registration:
        """Return a `Registration`; repeated scopes collapse."""
        return Registration(**{**data, "scopes": tuple(dict.fromkeys(data["scopes"]))})


class ChangeSchema(Schema):
    """``PATCH /oauth-clients/{clientId}``: one or more of what may change."""

    error_messages = {"unknown": "Is unknown or cannot be changed."}  # noqa: RUF012 - marshmallow's own way

    name = client_fields.name()
    scopes = client_fields.scopes()
    token_ttl = client_fields.token_ttl(data_key="tokenTtl", allow_none=True)
    is_active = client_fields.Boolean(data_key="isActive")

    @validates_schema(skip_on_field_errors=True)
    def check(self, data: dict[str, Any], **_kwargs: object) -> None:
        """Refuse a change of nothing."""
        if not data:
            raise ValidationError("Must change at least one of name, scopes, tokenTtl and isActive.")

    @post_load
    def make(self, data: dict[str, Any], **_kwargs: object) -> ClientChange:
        """Return a `ClientChange`; repeated scopes collapse."""
        if "scopes" in data:
            data["scopes"] = tuple(dict.fromkeys(data["scopes"]))
        return cast("ClientChange", data)


class QuerySchema(Schema):
    """The query of ``GET /oauth-clients``: all that is given must match."""

    search = fields.String(validate=validate.Length(max=200))
    scope = client_fields.scope()
    is_active = client_fields.Flag(data_key="isActive")
    limit = client_fields.Digits(validate=validate.Range(1, 200))
    cursor = fields.String(validate=validate.Length(1, 500))


class SecretSchema(Schema):
    """``POST /oauth-clients/{clientId}/secrets``: all is optional. Times end in whole seconds."""

    client_secret = client_fields.client_secret(data_key="clientSecret")
    expires_at = _Moment(data_key="expiresAt")
    end_others_at = _Moment(data_key="endOthersAt")
    end_others_in = fields.Integer(
        data_key="endOthersIn", strict=True, validate=validate.Range(0, 366 * 24 * 3600)
    )

    @validates_schema(skip_on_field_errors=True)
    def check(self, data: dict[str, Any], **_kwargs: object) -> None:
        """Refuse two times for one end."""
        if "end_others_at" in data and "end_others_in" in data:
            raise ValidationError("Is given beside endOthersAt.", "endOthersIn")

    @post_load
    def make(self, data: dict[str, Any], **_kwargs: object) -> SecretAddition:
        """Return a `SecretAddition`."""
        return SecretAddition(**data)


class EndSecretSchema(Schema):
    """The query of ``DELETE /oauth-clients/{clientId}/secrets/{secretId}``."""

    force = client_fields.Flag()
    revoke_tokens = client_fields.Flag(data_key="revokeTokens")


class PageSchema(Schema):
    """The query of a list without filters."""

    limit = client_fields.Digits(validate=validate.Range(1, 200), load_default=50)
    cursor = fields.String(validate=validate.Length(1, 500))


def client_json(client: Client) -> dict[str, object]:
    """A client as admins see it: never a secret, never a hash."""
    return {
        "id": client.id,
        "clientId": client.client_id,
        "name": client.name,
        "scopes": list(client.scopes),
        "isActive": client.is_active,
        "tokenTtl": client.token_ttl,
        "version": client.version,
        "createdAt": timestamp(client.created_at),
        "updatedAt": timestamp(client.updated_at),
    }


def secret_json(secret: ClientSecret) -> dict[str, object]:
    """A secret that was just made, without its text."""
    return {
        "id": secret.id,
        "createdAt": timestamp(secret.created_at),
        "expiresAt": secret.expires_at and timestamp(secret.expires_at),
    }


def secrets_json(client: Client, now: datetime) -> list[dict[str, object]]:
    """The secrets of a client in the order in which they were made: never their text, never a hash."""
    return [
        {
            **secret_json(secret),
            "lastUsedAt": secret.last_used_at and timestamp(secret.last_used_at),
            "lastUsedFrom": secret.last_used_from,
            "safeToRetire": client.is_safe_to_retire(secret, now),
        }
        for secret in client.secrets
    ]


def confirmation_json(confirmation: Confirmation) -> dict[str, object]:
    """``confirmedBy`` and ``pending``: how many processes apply a change, and how many have not said so."""
    return {"confirmedBy": confirmation.confirmed_by, "pending": confirmation.pending}


def token_json(token: TokenRecord) -> dict[str, object]:
    """A live token, as far as its record tells."""
    return {
        "jti": token.jti,
        "scopes": list(token.scopes),
        "issuedAt": timestamp(datetime.fromtimestamp(token.iat, UTC)),
        "expiresAt": timestamp(datetime.fromtimestamp(token.exp, UTC)),
        "address": token.address,
        "userAgent": token.user_agent,
        "secretId": token.secret_id,
    }


def timestamp(moment: datetime) -> str:
    """RFC 3339 in UTC with milliseconds."""
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
