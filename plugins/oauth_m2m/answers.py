"""What the admin endpoints answer as /openapi.json shows it; the functions of `schemas` make it."""

from __future__ import annotations

from marshmallow import EXCLUDE, Schema, fields

__all__ = [
    "ChangedClientSchema",
    "ClientPageSchema",
    "ClientSchema",
    "RegisteredClientSchema",
    "SecretListSchema",
    "SecretMadeSchema",
    "TokenPageSchema",
    "TokensRevokedSchema",
]


class AnswerSchema(Schema):
    """An answer may have more members one day."""

    class Meta:
        """No property is forbidden."""

        unknown = EXCLUDE


def _moment(name: str, *, allow_none: bool = False) -> fields.AwareDateTime:
    return fields.AwareDateTime(required=True, data_key=name, allow_none=allow_none)


class ClientSchema(AnswerSchema):
    """A client; a ``tokenTtl`` of null is the default."""

    id = fields.String(required=True)
    client_id = fields.String(required=True, data_key="clientId")
    name = fields.String(required=True)
    scopes = fields.List(fields.String(), required=True)
    is_active = fields.Boolean(required=True, data_key="isActive")
    token_ttl = fields.Integer(required=True, data_key="tokenTtl", allow_none=True)
    version = fields.Integer(required=True)
    created_at = _moment("createdAt")
    updated_at = _moment("updatedAt")


class ConfirmationSchema(AnswerSchema):
    """How many processes apply a change, and how many live ones have not said so; null if that is unknown."""

    confirmed_by = fields.Integer(required=True, data_key="confirmedBy")
    pending = fields.Integer(required=True, allow_none=True)


class ChangedClientSchema(ClientSchema, ConfirmationSchema):
    """A client after a change."""


class RegisteredClientSchema(ClientSchema):
    """A client that was just registered, with its secret if Station made it: nothing else ever shows it."""

    client_secret = fields.String(data_key="clientSecret")


class ClientPageSchema(AnswerSchema):
    """A page of clients; ``nextCursor`` is null on the last one."""

    clients = fields.List(fields.Nested(ClientSchema), required=True)
    next_cursor = fields.String(required=True, data_key="nextCursor", allow_none=True)


class SecretMadeSchema(AnswerSchema):
    """A secret that was just added, with its text if Station made it: nothing else ever shows it."""

    id = fields.String(required=True)
    created_at = _moment("createdAt")
    expires_at = _moment("expiresAt", allow_none=True)
    client_secret = fields.String(data_key="clientSecret")


class SecretShownSchema(AnswerSchema):
    """A secret without its text."""

    id = fields.String(required=True)
    created_at = _moment("createdAt")
    expires_at = _moment("expiresAt", allow_none=True)
    last_used_at = _moment("lastUsedAt", allow_none=True)
    last_used_from = fields.String(required=True, data_key="lastUsedFrom", allow_none=True)
    safe_to_retire = fields.Boolean(required=True, data_key="safeToRetire")


class SecretListSchema(AnswerSchema):
    """The secrets of a client, oldest first."""

    secrets = fields.List(fields.Nested(SecretShownSchema), required=True)


class LiveTokenSchema(AnswerSchema):
    """A live token."""

    jti = fields.String(required=True)
    scopes = fields.List(fields.String(), required=True)
    issued_at = _moment("issuedAt")
    expires_at = _moment("expiresAt")
    address = fields.String(required=True)
    user_agent = fields.String(required=True, data_key="userAgent")
    secret_id = fields.String(required=True, data_key="secretId")


class TokenPageSchema(AnswerSchema):
    """A page of live tokens; ``nextCursor`` is null on the last one."""

    tokens = fields.List(fields.Nested(LiveTokenSchema), required=True)
    next_cursor = fields.String(required=True, data_key="nextCursor", allow_none=True)


class TokensRevokedSchema(ConfirmationSchema):
    """How many live tokens there were; null if Redis could not tell."""

    revoked = fields.Integer(required=True, allow_none=True)
