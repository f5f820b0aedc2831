"""The JSON of people's accounts. Unknown fields are errors."""

from __future__ import annotations

from marshmallow import Schema, fields, validate

__all__ = ["LoginSchema", "RegisterSchema", "UserSchema"]

_EMAIL_LENGTH = validate.Length(max=254)  # RFC 5321 4.5.3.1.3, without the angle brackets
_PASSWORD_MAX = 128


class RegisterSchema(Schema):
    """``{"email", "password"}`` of a new account: a password has 12 to 128 characters, of any kind."""

    email = fields.Email(required=True, validate=_EMAIL_LENGTH)
    password = fields.String(required=True, validate=validate.Length(min=12, max=_PASSWORD_MAX))


class LoginSchema(Schema):
    """``{"email", "password"}`` as somebody types them: no longer than an account's, and of any form."""

    email = fields.String(required=True, validate=_EMAIL_LENGTH)
    password = fields.String(required=True, validate=validate.Length(max=_PASSWORD_MAX))


class UserSchema(Schema):
    """``{"id", "email", "roles", "createdAt"}``: what of an account its owner sees."""

    id = fields.String()
    email = fields.String()
    roles = fields.List(fields.String())
    created_at = fields.AwareDateTime(format="iso", data_key="createdAt")
