"""The JSON of people's accounts. Unknown fields are errors."""

from __future__ import annotations

from marshmallow import Schema, fields, validate

__all__ = [
    "ChangePasswordSchema",
    "ForgotPasswordSchema",
    "LoginSchema",
    "MessageSentSchema",
    "RegisterSchema",
    "ResetPasswordSchema",
    "UserSchema",
]

_EMAIL_LENGTH = validate.Length(max=254)  # RFC 5321 4.5.3.1.3, without the angle brackets
_PASSWORD_MAX = 128
_NEW_PASSWORD = validate.Length(min=12, max=_PASSWORD_MAX)


class RegisterSchema(Schema):
    """``{"email", "password"}`` of a new account: a password has 12 to 128 characters, of any kind."""

    email = fields.Email(required=True, validate=_EMAIL_LENGTH)
    password = fields.String(required=True, validate=_NEW_PASSWORD)


class LoginSchema(Schema):
    """``{"email", "password"}`` as somebody types them: no longer than an account's, and of any form."""

    email = fields.String(required=True, validate=_EMAIL_LENGTH)
    password = fields.String(required=True, validate=validate.Length(max=_PASSWORD_MAX))


class ChangePasswordSchema(Schema):
    """``{"currentPassword", "newPassword"}``: the new one is as a new account's."""

    current_password = fields.String(
        required=True, validate=validate.Length(max=_PASSWORD_MAX), data_key="currentPassword"
    )
    new_password = fields.String(required=True, validate=_NEW_PASSWORD, data_key="newPassword")


class ForgotPasswordSchema(Schema):
    """``{"email"}``, of any form."""

    email = fields.String(required=True, validate=_EMAIL_LENGTH)


class ResetPasswordSchema(Schema):
    """``{"token", "newPassword"}``: the token of a message."""

    token = fields.String(required=True, validate=validate.Length(max=128))
    new_password = fields.String(required=True, validate=_NEW_PASSWORD, data_key="newPassword")


class MessageSentSchema(Schema):
    """``{"detail"}``: the same sentence for every email."""

    detail = fields.String(required=True)


class UserSchema(Schema):
    """``{"id", "email", "roles", "createdAt"}``: what of an account its owner sees."""

    id = fields.String(required=True)
    email = fields.String(required=True)
    roles = fields.List(fields.String(), required=True)
    created_at = fields.AwareDateTime(required=True, format="iso", data_key="createdAt")
